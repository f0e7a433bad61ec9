//! Routes that park into each other's queues.

use std::collections::BTreeSet;

use super::{Facts, Parked};
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};

impl<'a> Facts<'a> {
    /// What fails everywhere on such a way round comes back for ever.
    pub(super) fn check_circles(&self, out: &mut Diagnostics) {
        let mut said: BTreeSet<&str> = BTreeSet::new();
        for first in &self.parked {
            let (_, place, route) = first;
            let mut way = vec![first];
            if said.contains(route) || !self.leads_back(route, &mut way, &mut BTreeSet::new()) {
                continue;
            }
            // A route that parks into its own queue is an error of its own.
            if way.len() < 2 {
                continue;
            }
            said.extend(way.iter().map(|(_, _, route)| route));
            let message = "these routes park into each other's queues: a message that fails in all of them goes round for ever";
            let help = "leave `park` out in one of them, or let it park into a queue that no route takes from";
            let mut diagnostic = Diagnostic::new(Severity::Warning, place, message, help);
            diagnostic.related = way
                .iter()
                .skip(1)
                .map(|(_, place, route)| ((*place).clone(), format!("route `{route}`")))
                .collect();
            out.push(diagnostic);
        }
    }

    /// Whether what the last route of `way` parks can reach the route `first`; `way` is how.
    fn leads_back<'s>(
        &'s self,
        first: &str,
        way: &mut Vec<&'s Parked<'a>>,
        tried: &mut BTreeSet<&'s str>,
    ) -> bool {
        let Some((queue, _, _)) = way.last() else {
            return false;
        };
        for reader in self.consumed.iter().filter(|known| known.queue == *queue) {
            if reader.route == first {
                return true;
            }
            if !tried.insert(reader.route) {
                continue;
            }
            let next = self
                .parked
                .iter()
                .find(|(_, _, name)| *name == reader.route);
            let Some(next) = next else { continue };
            way.push(next);
            if self.leads_back(first, way, tried) {
                return true;
            }
            way.pop();
        }
        false
    }
}
