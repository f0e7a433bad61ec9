//! What a drained batch leaves to be done.

use crate::amqp::Outcome;

/// Why a message is set apart: it was in line for longer than the route's `max_age`.
pub(super) const EXPIRED: &str = "expired";
const UNROUTABLE: &str = "unroutable";
const TOO_LARGE: &str = "too_large";
const REFUSED: &str = "refused";
/// Every reason for which a drain sets messages apart.
pub(super) const REASONS: [&str; 4] = [EXPIRED, UNROUTABLE, TOO_LARGE, REFUSED];

/// What becomes of a batch, as far as it is settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// In a queue, or in none where the route allows that.
    pub(super) remove: Vec<u64>,
    /// Never to be taken by the broker as they are, and why.
    pub(super) apart: Vec<(u64, &'static str)>,
    /// What stopped the line: the outcome of the first message that must be published again. It and
    /// all after it stay in line, those too that the broker has taken: they follow it once more, so
    /// that the last copies at the queue have the order of the line.
    pub(super) stopped_by: Option<Outcome>,
}

/// `settled` are the keys of a batch with their outcomes, in order.
pub(super) fn plan<'a>(
    settled: impl IntoIterator<Item = (u64, &'a Outcome)>,
    discards: bool,
) -> Plan {
    let mut plan = Plan::default();
    for (key, outcome) in settled {
        match outcome {
            Outcome::Routed => plan.remove.push(key),
            Outcome::Unroutable if discards => plan.remove.push(key),
            Outcome::Unroutable => plan.apart.push((key, UNROUTABLE)),
            Outcome::TooLarge => plan.apart.push((key, TOO_LARGE)),
            Outcome::Refused(_) => plan.apart.push((key, REFUSED)),
            Outcome::Nacked
            | Outcome::Unknown
            | Outcome::Unavailable
            | Outcome::Blocked
            | Outcome::Overloaded => {
                plan.stopped_by = Some(outcome.clone());
                break;
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        use Outcome as O;
        prop_oneof![
            4 => Just(O::Routed),
            1 => Just(O::Unroutable),
            1 => Just(O::TooLarge),
            1 => Just(O::Refused(String::new())),
            1 => Just(O::Nacked),
            1 => Just(O::Unknown),
            1 => Just(O::Unavailable),
            1 => Just(O::Blocked),
            1 => Just(O::Overloaded),
        ]
    }

    proptest! {
        /// A message leaves the line only with everything before it, and is forgotten only where
        /// it is in a queue or the route discards it.
        #[test]
        fn nothing_is_forgotten_and_nothing_overtakes(
            outcomes in prop::collection::vec(outcome(), 0..40),
            discards in any::<bool>(),
        ) {
            let settled = (0..).zip(&outcomes);
            let plan = plan(settled, discards);
            let mut gone: Vec<u64> = plan.remove.clone();
            gone.extend(plan.apart.iter().map(|(key, _)| *key));
            gone.sort_unstable();
            let count = gone.len();
            prop_assert!(gone.into_iter().eq(0..count as u64), "a prefix");
            for key in &plan.remove {
                let outcome = &outcomes[usize::try_from(*key).unwrap()];
                let forgotten = *outcome == Outcome::Routed
                    || (discards && *outcome == Outcome::Unroutable);
                prop_assert!(forgotten, "{outcome:?}");
            }
            prop_assert_eq!(plan.stopped_by.as_ref(), outcomes.get(count));
        }
    }
}
