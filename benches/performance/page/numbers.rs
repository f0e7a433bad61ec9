//! Numbers in tables.

/// The median of the values with the least and the most of them.
pub(super) fn spread(values: &[f64], decimals: usize) -> String {
    let Some(median) = median(values.to_vec()) else {
        return "–".to_owned();
    };
    let mut text = format!("{median:.decimals$}");
    if values.len() > 1 {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        text.push_str(&format!(" ({least:.decimals$}–{most:.decimals$})"));
    }
    text
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get((values.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// A table's head: the first columns are text, the others numbers.
pub(super) fn head(texts: &[&str], numbers: &[&str]) -> String {
    let titles = [texts, numbers].concat().join(" | ");
    let marks = "---|".repeat(texts.len()) + &"---:|".repeat(numbers.len());
    format!("| {titles} |\n|{marks}\n")
}
