use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn circuit(failures: u32, pause: u64, pause_max: u64) -> Circuit {
    Circuit::new(Rule {
        failures,
        pause: ms(pause),
        pause_max: ms(pause_max),
    })
}

fn call(circuit: &mut Circuit, now: Instant) -> Ticket {
    match circuit.admit(now) {
        Admission::Call(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn probe(circuit: &mut Circuit, now: Instant) -> Ticket {
    match circuit.admit(now) {
        Admission::Probe(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

/// Calls once, with this outcome.
fn fail(circuit: &mut Circuit, now: Instant) -> Recorded {
    let ticket = call(circuit, now);
    circuit.record(now, ticket, Health::Bad)
}

#[test]
fn it_opens_probes_and_closes() {
    let start = Instant::now();
    let at = |after| start + ms(after);
    let mut circuit = circuit(2, 100, 150);
    assert!(!fail(&mut circuit, at(0)).spared);
    let opened = fail(&mut circuit, at(0));
    assert_eq!(opened.change, Some(Change::Opened { until: at(100) }));
    assert!(!opened.spared, "what opens it is an ordinary failure");
    assert_eq!(circuit.admit(at(99)), Admission::Wait(Some(at(100))));

    let first = probe(&mut circuit, at(100));
    assert!(first.is_probe());
    assert_eq!(circuit.admit(at(1000)), Admission::Wait(None));
    let failed = circuit.record(at(200), first, Health::Bad);
    // Doubled, but no longer than the longest.
    assert_eq!(failed.change, Some(Change::Reopened { until: at(350) }));
    assert!(failed.spared);

    let second = probe(&mut circuit, at(350));
    let closed = circuit.record(at(400), second, Health::Good);
    assert_eq!(closed.change, Some(Change::Closed { after: ms(400) }));
    assert!(circuit.is_closed());

    // The pause begins anew, and so does the count.
    fail(&mut circuit, at(400));
    let opened = fail(&mut circuit, at(400));
    assert_eq!(opened.change, Some(Change::Opened { until: at(500) }));
}

#[test]
fn only_failures_in_a_row_count() {
    let now = Instant::now();
    let mut circuit = circuit(3, 100, 100);
    for health in [Health::Bad, Health::Bad, Health::Good, Health::Bad] {
        let ticket = call(&mut circuit, now);
        assert_eq!(circuit.record(now, ticket, health).change, None);
    }
    // What says nothing neither counts nor breaks the row.
    let ticket = call(&mut circuit, now);
    circuit.record(now, ticket, Health::Neutral);
    assert_eq!(circuit.state(), State::Closed { failures: 1 });
    fail(&mut circuit, now);
    assert!(matches!(
        fail(&mut circuit, now).change,
        Some(Change::Opened { .. })
    ));
}

#[test]
fn late_outcomes_change_nothing() {
    let start = Instant::now();
    let at = |after| start + ms(after);
    let mut circuit = circuit(1, 100, 1000);
    let late: Vec<Ticket> = (0..4).map(|_| call(&mut circuit, at(0))).collect();
    fail(&mut circuit, at(0));
    let mut late = late.into_iter();
    let mut next = || late.next().unwrap();

    let good = circuit.record(at(10), next(), Health::Good);
    assert_eq!((good.change, good.spared), (None, false));
    let bad = circuit.record(at(20), next(), Health::Bad);
    assert_eq!((bad.change, bad.spared), (None, true));
    assert_eq!(circuit.admit(at(30)), Admission::Wait(Some(at(100))));

    // Nor does one close it in the place of the probe, or open it again after the probe.
    let ticket = probe(&mut circuit, at(100));
    assert_eq!(circuit.record(at(110), next(), Health::Good).change, None);
    assert!(!circuit.is_closed());
    circuit.record(at(120), ticket, Health::Good);
    let bad = circuit.record(at(130), next(), Health::Bad);
    assert_eq!((bad.change, bad.spared), (None, false));
    assert_eq!(circuit.state(), State::Closed { failures: 0 });
}

#[test]
fn a_probe_that_says_nothing_leaves_its_place() {
    let start = Instant::now();
    let at = |after| start + ms(after);
    let mut circuit = circuit(1, 100, 1000);
    fail(&mut circuit, at(0));
    let ticket = probe(&mut circuit, at(100));
    circuit.give_back(at(150), ticket);
    // Nobody was called, so the next one need not wait.
    let ticket = probe(&mut circuit, at(150));
    let recorded = circuit.record(at(160), ticket, Health::Neutral);
    assert_eq!(recorded.change, Some(Change::Reopened { until: at(260) }));
    assert!(!recorded.spared);
    assert_eq!(circuit.admit(at(259)), Admission::Wait(Some(at(260))));
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Admit,
    Record(prop::sample::Index, Health),
    GiveBack(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let health = prop_oneof![
        2 => Just(Health::Bad),
        1 => Just(Health::Good),
        1 => Just(Health::Neutral),
    ];
    prop_oneof![
        2 => (0u64..150).prop_map(Step::Wait),
        4 => Just(Step::Admit),
        4 => (any::<prop::sample::Index>(), health).prop_map(|(which, health)| Step::Record(which, health)),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
    ]
}

/// What a bystander sees: every rule of the promise, kept without looking at the circuit.
#[derive(Debug, Default)]
struct Bystander {
    /// Tickets under way, each with the number of openings and closings before it.
    under_way: Vec<(Ticket, u32)>,
    turns: u32,
    open: bool,
    in_a_row: u32,
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(
        failures in 1u32..5,
        pause in 1u64..100,
        factor in 1u64..20,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut circuit = circuit(failures, pause, pause * factor);
        let mut seen = Bystander::default();
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Wait(after) => now += ms(after),
                Step::Admit => match circuit.admit(now) {
                    Admission::Call(ticket) => {
                        prop_assert!(!seen.open, "a call while it is open");
                        prop_assert!(!ticket.is_probe());
                        seen.under_way.push((ticket, seen.turns));
                    }
                    Admission::Probe(ticket) => {
                        prop_assert!(seen.open && ticket.is_probe());
                        let other = seen.under_way.iter().any(|(ticket, _)| ticket.is_probe());
                        prop_assert!(!other, "two probes at once");
                        seen.under_way.push((ticket, seen.turns));
                    }
                    Admission::Wait(until) => {
                        prop_assert!(seen.open, "a wait while it is closed");
                        let probing = seen.under_way.iter().any(|(ticket, _)| ticket.is_probe());
                        prop_assert_eq!(until.is_none(), probing);
                        prop_assert!(until.is_none_or(|until| until > now));
                        prop_assert!(until.is_none_or(|until| until <= now + ms(pause * factor)));
                    }
                },
                Step::Record(which, health) if !seen.under_way.is_empty() => {
                    let (ticket, turn) = seen.under_way.swap_remove(which.index(seen.under_way.len()));
                    let (counts, is_probe) = (turn == seen.turns, ticket.is_probe());
                    let recorded = circuit.record(now, ticket, health);
                    prop_assert_eq!(recorded.spared, seen.open && health == Health::Bad);
                    if is_probe {
                        prop_assert_eq!(
                            matches!(recorded.change, Some(Change::Closed { .. })),
                            health == Health::Good
                        );
                    } else if counts && !seen.open {
                        seen.in_a_row = match health {
                            Health::Good => 0,
                            Health::Bad => seen.in_a_row + 1,
                            Health::Neutral => seen.in_a_row,
                        };
                        let opens = seen.in_a_row == failures;
                        prop_assert_eq!(matches!(recorded.change, Some(Change::Opened { .. })), opens);
                    } else {
                        prop_assert_eq!(recorded.change, None, "a late outcome changes nothing");
                    }
                    match recorded.change {
                        Some(Change::Opened { .. }) => {
                            (seen.open, seen.turns) = (true, seen.turns + 1);
                        }
                        Some(Change::Closed { .. }) => {
                            (seen.open, seen.turns, seen.in_a_row) = (false, seen.turns + 1, 0);
                        }
                        Some(Change::Reopened { .. }) | None => {}
                    }
                }
                Step::GiveBack(which) if !seen.under_way.is_empty() => {
                    let (ticket, _) = seen.under_way.swap_remove(which.index(seen.under_way.len()));
                    circuit.give_back(now, ticket);
                }
                Step::Record(..) | Step::GiveBack(_) => {}
            }
            prop_assert_eq!(circuit.is_closed(), !seen.open);
        }
        // It is never stuck: with nothing under way, a call is to be had after the longest pause.
        for (ticket, _) in seen.under_way.drain(..) {
            circuit.give_back(now, ticket);
        }
        now += ms(pause * factor);
        match circuit.admit(now) {
            Admission::Call(ticket) | Admission::Probe(ticket) => circuit.give_back(now, ticket),
            Admission::Wait(until) => prop_assert!(false, "{until:?}"),
        }
    }
}
