//! Sets of HTTP statuses, written `2xx`, `429`, `502-504`.

use std::{fmt, str::FromStr};

use http::StatusCode;

/// A set of statuses, as inclusive ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(Vec<(u16, u16)>);

/// Not a status class, a status or a range of them.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a status (`429`), a class (`2xx`) or a range (`502-504`)")]
pub struct InvalidStatus(String);

impl StatusSet {
    /// Every 2xx.
    pub fn success() -> Self {
        Self(vec![(200, 299)])
    }

    /// What is worth a second attempt by default: 408, 425, 429 and every 5xx.
    pub fn retryable() -> Self {
        Self(vec![(408, 408), (425, 425), (429, 429), (500, 599)])
    }

    /// Parses each word and joins them.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidStatus> {
        words
            .into_iter()
            .map(parse_range)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn contains(&self, status: StatusCode) -> bool {
        let code = status.as_u16();
        self.0
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&code))
    }
}

impl FromStr for StatusSet {
    type Err = InvalidStatus;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::parse([word])
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (low, high)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            match (low % 100, high - low) {
                (0, 99) => write!(f, "{}xx", low / 100)?,
                (_, 0) => write!(f, "{low}")?,
                _ => write!(f, "{low}-{high}")?,
            }
        }
        Ok(())
    }
}

fn parse_range(word: &str) -> Result<(u16, u16), InvalidStatus> {
    let invalid = || InvalidStatus(word.to_owned());
    if let Some(class) = word.strip_suffix("xx") {
        let class: u16 = class.parse().map_err(|_| invalid())?;
        return (1..=5)
            .contains(&class)
            .then_some((class * 100, class * 100 + 99))
            .ok_or_else(invalid);
    }
    let (low, high) = word.split_once('-').unwrap_or((word, word));
    let low: u16 = low.trim().parse().map_err(|_| invalid())?;
    let high: u16 = high.trim().parse().map_err(|_| invalid())?;
    let valid = (100..=599).contains(&low) && low <= high && high <= 599;
    valid.then_some((low, high)).ok_or_else(invalid)
}
