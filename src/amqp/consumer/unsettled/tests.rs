use proptest::prelude::*;

use super::{
    Frame::{Ack, AckUpTo, Requeue},
    *,
};

/// With `count` deliveries on a channel of this prefetch.
fn delivered(prefetch: u16, count: u64) -> Unsettled {
    let mut unsettled = Unsettled::new(prefetch);
    (1..=count).for_each(|tag| unsettled.delivered(tag));
    unsettled
}

#[test]
fn one_success_waits_a_moment_for_others() {
    let begin = Instant::now();
    let mut unsettled = delivered(128, 1);
    assert_eq!(unsettled.due(begin), None);
    unsettled.done(1, begin);
    assert_eq!(unsettled.due(begin), Some(begin + PATIENCE));
    assert_eq!(unsettled.outstanding(), 1);
    assert_eq!(unsettled.frames(begin + PATIENCE), [Ack(1)]);
    assert_eq!((unsettled.due(begin), unsettled.outstanding()), (None, 0));
}

#[test]
fn a_small_prefetch_leaves_no_room_for_waiting() {
    let now = Instant::now();
    for prefetch in 1..8 {
        let mut unsettled = delivered(prefetch, 1);
        unsettled.done(1, now);
        assert_eq!(unsettled.due(now), Some(now), "{prefetch}");
    }
}

#[test]
fn a_run_is_one_frame_when_it_is_long_enough() {
    let now = Instant::now();
    let mut unsettled = delivered(16, 10);
    for tag in [3, 1, 2] {
        unsettled.done(tag, now);
        assert_eq!(unsettled.due(now), Some(now + PATIENCE));
    }
    unsettled.done(4, now);
    assert_eq!(unsettled.due(now), Some(now));
    assert_eq!(unsettled.frames(now), [AckUpTo(4)]);
    assert_eq!((unsettled.due(now), unsettled.outstanding()), (None, 6));
}

#[test]
fn nobody_waits_long_for_one_that_stays_open() {
    let begin = Instant::now();
    let mut unsettled = delivered(64, 6);
    unsettled.done(1, begin);
    unsettled.done(3, begin);
    let later = begin + PATIENCE / 2;
    unsettled.done(4, later);
    let due = begin + PATIENCE;
    assert_eq!(unsettled.due(later), Some(due));
    // 2 is open: 3 has waited long enough, 4 has not.
    assert_eq!(unsettled.frames(due), [Ack(1), Ack(3)]);
    assert_eq!(unsettled.due(due), Some(later + PATIENCE));
    unsettled.done(2, due);
    unsettled.done(5, due);
    assert_eq!(unsettled.frames(due), [AckUpTo(5)]);
    assert_eq!(unsettled.outstanding(), 1);
}

#[test]
fn one_that_stays_open_leaves_the_others_most_of_the_prefetch() {
    let now = Instant::now();
    let mut unsettled = delivered(16, 16);
    (2..=8).for_each(|tag| unsettled.done(tag, now));
    assert_eq!(unsettled.due(now), Some(now + PATIENCE));
    unsettled.done(9, now);
    assert_eq!(unsettled.due(now), Some(now));
    let singles: Vec<Frame> = (2..=9).map(Ack).collect();
    assert_eq!(unsettled.frames(now), singles);
}

#[test]
fn what_is_given_back_is_told_at_once_and_before_a_frame_that_would_cover_it() {
    let now = Instant::now();
    let mut unsettled = delivered(64, 4);
    unsettled.done(1, now);
    unsettled.done(3, now);
    unsettled.give_back(2);
    assert_eq!(unsettled.due(now), Some(now));
    assert_eq!(unsettled.frames(now), [Requeue(2), AckUpTo(3)]);
    assert_eq!(unsettled.outstanding(), 1);
}

#[test]
fn nothing_is_settled_twice() {
    let now = Instant::now();
    let mut unsettled = delivered(1, 2);
    unsettled.done(1, now);
    unsettled.done(1, now);
    unsettled.give_back(1);
    unsettled.give_back(2);
    unsettled.give_back(2);
    assert_eq!(unsettled.frames(now), [Requeue(2), Ack(1)]);
    unsettled.done(1, now);
    unsettled.done(2, now);
    assert_eq!((unsettled.due(now), unsettled.frames(now)), (None, vec![]));
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    GivenBack,
    Never,
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![8 => Just(End::Done), 1 => Just(End::GivenBack), 1 => Just(End::Never)]
}

/// A broker with one consumer, to which it sends no more than the prefetch ahead.
struct Broker {
    open: BTreeSet<u64>,
    prefetch: usize,
    next: u64,
}

impl Broker {
    fn deliver(&mut self, unsettled: &mut Unsettled, held: &mut Vec<u64>) {
        while self.open.len() < self.prefetch {
            self.open.insert(self.next);
            unsettled.delivered(self.next);
            held.push(self.next);
            self.next += 1;
        }
    }

    /// As RabbitMQ does: the tag of a frame must be open, whatever else the frame settles.
    fn take(&mut self, frames: &[Frame], done: &BTreeSet<u64>, back: &BTreeSet<u64>) {
        for frame in frames {
            let (tag, first, by) = match *frame {
                Ack(tag) => (tag, tag, done),
                AckUpTo(tag) => (tag, 0, done),
                Requeue(tag) => (tag, tag, back),
            };
            assert!(self.open.contains(&tag), "{frame:?}: not open");
            let settled: Vec<u64> = self.open.range(first..=tag).copied().collect();
            for tag in settled {
                assert!(by.contains(&tag), "{frame:?} settles {tag}");
                self.open.remove(&tag);
            }
        }
    }
}

proptest! {
    /// Whatever the order and the pace: each success is told once and in time, nothing else is told
    /// to be one, and what is never finished holds up nobody.
    #[test]
    fn the_broker_learns_every_success_and_nothing_else(
        prefetch in 1..40u16,
        steps in prop::collection::vec((any::<prop::sample::Index>(), ends(), 0..3000u64), 1..200),
    ) {
        let mut now = Instant::now();
        let mut unsettled = Unsettled::new(prefetch);
        let (open, prefetch) = (BTreeSet::new(), usize::from(prefetch));
        let mut broker = Broker { open, prefetch, next: 1 };
        let (mut held, mut done, mut back) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut never = BTreeSet::new();
        for (which, end, micros) in steps {
            broker.deliver(&mut unsettled, &mut held);
            if !held.is_empty() {
                let tag = held.swap_remove(which.index(held.len()));
                match end {
                    End::Done => { done.insert(tag); unsettled.done(tag, now) }
                    End::GivenBack => { back.insert(tag); unsettled.give_back(tag) }
                    End::Never => { never.insert(tag); }
                }
            }
            let next = now + Duration::from_micros(micros);
            while let Some(due) = unsettled.due(now).filter(|due| *due <= next) {
                prop_assert!(due <= now + PATIENCE);
                now = now.max(due);
                let frames = unsettled.frames(now);
                prop_assert!(!frames.is_empty(), "due, and nothing to tell");
                broker.take(&frames, &done, &back);
            }
            now = next;
            prop_assert_eq!(unsettled.outstanding(), broker.open.len());
        }
        broker.take(&unsettled.all_frames(now), &done, &back);
        prop_assert_eq!(unsettled.due(now), None);
        let left: BTreeSet<u64> = held.into_iter().chain(never).collect();
        prop_assert_eq!(unsettled.outstanding(), left.len());
        prop_assert_eq!(broker.open, left);
    }
}
