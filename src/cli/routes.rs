//! `hareway routes`: the routes as a table.

use std::process::ExitCode;

use super::{output, sources};
use crate::config::Described;

pub(super) fn command(arguments: &sources::Arguments) -> anyhow::Result<ExitCode> {
    let loaded = match arguments.load() {
        Ok(loaded) => loaded,
        Err(found) => return Ok(sources::refuse(&found)),
    };
    let mut rows = vec![["NAME", "FLOW", "FROM", "TO"].map(str::to_owned)];
    rows.extend(loaded.config.routes.iter().map(|route| {
        let Described {
            name,
            flow,
            from,
            to,
            ..
        } = Described::new(route);
        [name.to_string(), flow.to_owned(), from, to]
    }));
    output::print(&output::table(&rows))?;
    Ok(ExitCode::SUCCESS)
}
