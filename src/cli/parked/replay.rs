//! `hareway parked replay`.

use std::process::ExitCode;

use serde_json::json;

use super::{
    selection,
    work::{self, Plan, printable},
};
use crate::{
    amqp::parked::{Deed, Destination, Pace, document},
    cli::output,
};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    selection: selection::Arguments,
    /// Every message; needed where no filter is given.
    #[arg(long)]
    all: bool,
    /// At most so many messages.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Say what would be replayed, and where to, and leave it.
    #[arg(long)]
    dry_run: bool,
    /// At most so fast, such as `50/s` or `10/m`.
    #[arg(long, value_parser = str::parse::<Pace>)]
    rate: Option<Pace>,
    /// To this queue, instead of the one that each message came from.
    #[arg(long, value_name = "QUEUE", conflicts_with = "to_exchange")]
    to_queue: Option<String>,
    /// To this exchange.
    #[arg(long, value_name = "EXCHANGE")]
    to_exchange: Option<String>,
    /// With this routing key, instead of the one that each message was published with first.
    #[arg(long, value_name = "KEY", requires = "to_exchange")]
    routing_key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn command(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let filter = arguments.selection.filter();
    if filter.is_all() && !arguments.all {
        return Ok(work::usage(
            "nothing says which messages to replay: add a filter such as `--reason exhausted`, or `--all`",
        ));
    }
    let (config, queues) = match work::prepare(&arguments.selection) {
        Ok(prepared) => prepared,
        Err(code) => return Ok(code),
    };
    let to = arguments.destination();
    let deed = match arguments.dry_run {
        true => Deed::Look,
        false => Deed::Replay {
            to: to.clone(),
            pace: arguments.rate,
        },
    };
    let plan = Plan {
        queues: &queues,
        filter,
        limit: arguments.limit,
        deed,
    };
    let mut written = Ok(());
    let mut lost = 0_u64;
    let mut outcome = work::run(&config, &plan, &mut |queue, message, facts| {
        if !arguments.dry_run {
            return;
        }
        let way = to.way(message, facts, queue);
        lost += u64::from(way.is_err());
        let way = way.map_or_else(|no_way| no_way.to_string(), |way| format!("to {way}"));
        if written.is_ok() {
            written = match arguments.json {
                true => output::print(&format!(
                    "{}\n",
                    json!({ "message": document::entry(queue, facts), "way": way })
                )),
                false => {
                    let id = facts.id.as_deref().unwrap_or("(no id)");
                    output::print(&format!("{}: {}\n", printable(id), printable(&way)))
                }
            };
        }
    })?;
    written?;
    outcome.total.failed += lost;
    summary(arguments, &outcome)?;
    Ok(outcome.exit_code())
}

impl Arguments {
    fn destination(&self) -> Destination {
        match (&self.to_queue, &self.to_exchange) {
            (Some(queue), _) => Destination::Queue(queue.clone()),
            (None, Some(name)) => Destination::Exchange {
                name: name.clone(),
                routing_key: self.routing_key.clone(),
            },
            (None, None) => Destination::Origin,
        }
    }
}

fn summary(arguments: &Arguments, outcome: &work::Outcome) -> anyhow::Result<()> {
    let total = &outcome.total;
    if arguments.json {
        let document = json!({ "tally": total, "dry_run": arguments.dry_run });
        return output::print(&format!("{document}\n"));
    }
    let done = match arguments.dry_run {
        true => format!(
            "would replay {}",
            total.matched - total.failed.min(total.matched)
        ),
        false => format!("replayed {}", total.replayed),
    };
    output::print(&format!(
        "{done}, failed {}, looked at {} of {}\n",
        total.failed, total.scanned, total.messages
    ))
}
