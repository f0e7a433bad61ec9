//! Parts that were measured once more take their places in the last whole run.

use crate::{model::Run, settings::Part};

/// Takes what `from` has of these parts.
///
/// # Errors
/// One of them failed.
pub(crate) fn amend(whole: &mut Run, parts: &[Part], from: &Run) -> anyhow::Result<()> {
    anyhow::ensure!(
        from.failed.is_empty(),
        "a part failed, so that nothing was changed: {}",
        from.failed.join("; ")
    );
    for part in parts {
        match part {
            Part::Accept | Part::Deliver | Part::RequestReply => {
                for rounds in &mut whole.flows {
                    let same = from.flows.iter().find(|other| {
                        (&other.point, other.subject) == (&rounds.point, rounds.subject)
                    });
                    if let Some(same) = same {
                        rounds.clone_from(same);
                    }
                }
            }
            Part::Routes => {
                whole.routes.clone_from(&from.routes);
                whole.check_seconds.clone_from(&from.check_seconds);
            }
            Part::Connections => whole.connections.clone_from(&from.connections),
            Part::Bodies => whole.bodies.clone_from(&from.bodies),
            Part::Spool => {
                whole.outages.clone_from(&from.outages);
                whole.long_spool.clone_from(&from.long_spool);
            }
            Part::Backlog => whole.backlogs.clone_from(&from.backlogs),
            Part::Held => whole.held.clone_from(&from.held),
            Part::Start => whole.starts.clone_from(&from.starts),
            Part::Micro => whole.micro.clone_from(&from.micro),
        }
        let machine = from.machine.clone();
        whole.amended.insert(part.name().to_owned(), machine);
    }
    Ok(())
}
