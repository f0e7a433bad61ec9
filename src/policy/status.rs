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

    /// What says that a backend is down, rather than that a request is bad: 502, 503, 504.
    pub fn unavailable() -> Self {
        Self(vec![(502, 504)])
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
    let range = match (word.strip_suffix("xx"), word.split_once('-')) {
        (Some(class), _) => number(class).map(|class| (class.saturating_mul(100), 99)),
        (None, Some((low, high))) => number(low)
            .zip(number(high))
            .and_then(|(low, high)| Some((low, high.checked_sub(low)?))),
        (None, None) => number(word).map(|status| (status, 0)),
    };
    range
        .map(|(low, more)| (low, low.saturating_add(more)))
        .filter(|(low, high)| *low >= 100 && *high <= 599)
        .ok_or_else(|| InvalidStatus(word.to_owned()))
}

/// Digits only: the standard parser takes a sign as well.
fn number(text: &str) -> Option<u16> {
    let text = text.trim();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status(code: u16) -> StatusCode {
        StatusCode::from_u16(code).unwrap()
    }

    #[test]
    fn classes_statuses_and_ranges_are_understood() {
        let set = StatusSet::parse(["2xx", "429", "502-504"]).unwrap();
        let expected = |code| matches!(code, 200..=299 | 429 | 502..=504);
        for code in 100..=999 {
            assert_eq!(set.contains(status(code)), expected(code), "{code}");
        }
        assert_eq!(set.to_string(), "2xx 429 502-504");
    }

    #[test]
    fn anything_else_is_refused_with_its_text() {
        for word in [
            "",
            "xx",
            "0xx",
            "6xx",
            "9xx",
            "2XX",
            "20x",
            "+2xx",
            "+200",
            "99",
            "600",
            "504-502",
            "502-",
            "-504",
            "500-600",
            "502-503-504",
            "2xx-4xx",
            "65536",
            "99999xx",
            "abc",
            "২০০",
        ] {
            let error = StatusSet::parse([word]).unwrap_err();
            assert_eq!(error, InvalidStatus(word.to_owned()));
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        assert_eq!(StatusSet::success().to_string(), "2xx");
        assert_eq!(StatusSet::retryable().to_string(), "408 425 429 5xx");
    }

    proptest! {
        #[test]
        fn what_is_printed_can_be_read(
            ranges in prop::collection::vec((100u16..=599, 100u16..=599), 1..6),
            code in 100u16..=599,
        ) {
            let words: Vec<String> = ranges
                .iter()
                .map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)))
                .collect();
            let set = StatusSet::parse(words.iter().map(String::as_str)).unwrap();
            let within = ranges.iter().any(|(a, b)| (*a.min(b)..=*a.max(b)).contains(&code));
            prop_assert_eq!(set.contains(status(code)), within);
            let text = set.to_string();
            prop_assert_eq!(StatusSet::parse(text.split(' ')).unwrap(), set);
        }

        #[test]
        fn no_word_panics(word in "\\PC{0,12}") {
            drop(word.parse::<StatusSet>());
        }
    }
}
