//! Which deliveries of a channel are settled, and the fewest frames that tell the broker.

use std::collections::BTreeSet;

/// The delivery tags of one channel with one consumer: 1, 2, 3, …
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// The highest tag delivered.
    delivered: u64,
    /// Every tag up to here is settled at the broker.
    floor: u64,
    /// Settled above the floor.
    settled: BTreeSet<u64>,
}

/// One `basic.ack` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    /// This tag and every earlier one.
    pub(super) multiple: bool,
}

impl Unsettled {
    pub(super) fn delivered(&mut self, tag: u64) {
        self.delivered = self.delivered.max(tag);
    }

    /// How many deliveries the broker still waits for.
    pub(super) fn outstanding(&self) -> u64 {
        self.delivered - self.floor - self.settled.len() as u64
    }

    /// The frames for `acked`, which may be in any order: one for the run that follows what is
    /// settled already, one for each of the others.
    pub(super) fn ack(&mut self, mut acked: Vec<u64>) -> Vec<Ack> {
        acked.sort_unstable();
        let mut run = 0;
        let mut singles = Vec::new();
        let mut last_of_run = None;
        for tag in acked {
            self.settled.insert(tag);
            self.raise();
            if self.floor >= tag {
                run += 1;
                last_of_run = Some(tag);
            } else {
                singles.push(tag);
            }
        }
        let mut frames = Vec::with_capacity(singles.len() + 1);
        if let Some(tag) = last_of_run {
            frames.push(Ack {
                tag,
                multiple: run > 1,
            });
        }
        frames.extend(singles.into_iter().map(|tag| Ack {
            tag,
            multiple: false,
        }));
        frames
    }

    /// Notes a tag that was given back; the caller sends its frame.
    pub(super) fn requeued(&mut self, tag: u64) {
        self.settled.insert(tag);
        self.raise();
    }

    fn raise(&mut self) {
        while self.settled.remove(&(self.floor + 1)) {
            self.floor += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Applies frames as a broker does: `multiple` settles every open tag up to its own.
    fn broker(open: &mut BTreeSet<u64>, frames: &[Ack]) {
        for frame in frames {
            if frame.multiple {
                open.retain(|tag| *tag > frame.tag);
            } else {
                assert!(open.remove(&frame.tag), "tag {} was not open", frame.tag);
            }
        }
    }

    #[test]
    fn a_run_is_one_frame() {
        let mut unsettled = Unsettled::default();
        (1..=5).for_each(|tag| unsettled.delivered(tag));
        assert_eq!(
            unsettled.ack(vec![3, 1, 2]),
            [Ack {
                tag: 3,
                multiple: true
            }]
        );
        assert_eq!(
            unsettled.ack(vec![5]),
            [Ack {
                tag: 5,
                multiple: false
            }]
        );
        assert_eq!(unsettled.outstanding(), 1);
        assert_eq!(
            unsettled.ack(vec![4]),
            [Ack {
                tag: 4,
                multiple: false
            }]
        );
    }

    proptest! {
        /// Whatever the order of settling, the broker ends with exactly the tags that were never
        /// settled, and a cumulative frame never covers one of those.
        #[test]
        fn the_broker_agrees(
            order in Just((1..=40u64).collect::<Vec<_>>()).prop_shuffle(),
            cuts in prop::collection::vec(1..6usize, 1..20),
            give_back in prop::collection::btree_set(1..=40u64, 0..10),
            never in prop::collection::btree_set(1..=40u64, 0..5),
        ) {
            let mut unsettled = Unsettled::default();
            (1..=40).for_each(|tag| unsettled.delivered(tag));
            let mut open: BTreeSet<u64> = (1..=40).collect();
            let mut order = order.into_iter().filter(|tag| !never.contains(tag)).collect::<Vec<_>>();
            for cut in cuts.into_iter().chain([40]) {
                let batch: Vec<u64> = order.drain(..cut.min(order.len())).collect();
                let (back, acked): (Vec<u64>, Vec<u64>) =
                    batch.into_iter().partition(|tag| give_back.contains(tag));
                for tag in back {
                    unsettled.requeued(tag);
                    open.remove(&tag);
                }
                broker(&mut open, &unsettled.ack(acked));
            }
            prop_assert_eq!(&open, &never);
            prop_assert_eq!(unsettled.outstanding(), never.len() as u64);
        }
    }
}
