//! Which queues, and which of their messages.

use std::time::Duration;

use crate::{
    amqp::parked::Filter,
    cli::sources,
    config::{Config, model::Park},
    policy::StatusSet,
};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) sources: sources::Arguments,
    /// Look into this queue, Hareway's or not; repeated for more. Default: every queue into which
    /// a route parks.
    #[arg(long, value_name = "NAME")]
    queue: Vec<String>,
    /// Look into the queue of this route; repeated for more.
    #[arg(long, value_name = "NAME")]
    route: Vec<String>,
    /// Only the message with this id; repeated for more.
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Only messages parked for this reason, such as `exhausted`, `rejected` or `expired`.
    #[arg(long)]
    reason: Option<String>,
    /// Only messages whose last status is this, such as `502` or `5xx`.
    #[arg(long, value_parser = str::parse::<StatusSet>)]
    status: Option<StatusSet>,
    /// Only messages parked at least so long ago, such as `2h`.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only messages parked less than so long ago.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
    /// Only messages with this header; repeated, all must be there.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
}

/// The queues to look into.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) names: Vec<String>,
    /// Whether they were asked for, so that one that does not exist is a failure.
    pub(super) named: bool,
}

impl Arguments {
    /// All but the ids of `show`, which are no options.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            ids: self.id.clone(),
            reason: self.reason.clone(),
            status: self.status.clone(),
            older_than: self.older_than,
            newer_than: self.newer_than,
            headers: self.header.clone(),
        }
    }

    /// # Errors
    /// Why there is none, for the user.
    pub(super) fn queues(&self, config: &Config) -> Result<Queues, String> {
        let mut names = self.queue.clone();
        for route in &self.route {
            names.push(parked_by(config, route)?);
        }
        let named = !names.is_empty();
        if !named {
            names = config.parked_queues();
        }
        if names.is_empty() {
            return Err("no route parks messages; name a queue with `--queue`".to_owned());
        }
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(Queues { names, named })
    }
}

/// A `via` route parks by the deliver route that it is compiled into.
fn parked_by(config: &Config, name: &str) -> Result<String, String> {
    let delivers = format!("{name}.deliver");
    let mut routes = config.routes.iter();
    let found = routes.find(|route| {
        let named = &*route.name == name || *route.name == *delivers;
        named && route.deliver().is_some()
    });
    let Some(deliver) = found.and_then(|route| route.deliver()) else {
        return Err(format!("no route `{name}` delivers messages"));
    };
    match &deliver.failure.park {
        Park::Queue { name } => Ok(name.clone()),
        Park::Drop | Park::Requeue => Err(format!("route `{name}` parks no messages")),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write `NAME=VALUE`".to_owned()),
    }
}
