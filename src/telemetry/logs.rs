//! Structured logs: text on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// The client library logs whole returned messages at WARN, bodies and headers included, and its
/// own reconnects; what matters of both is logged here, without the bodies.
const QUIET: &str = "lapin=off,hyper=warn,hyper_util=warn,rustls=warn";

/// Installs the process's subscriber; a second call does nothing.
///
/// `RUST_LOG` overrides `level` with `tracing-subscriber`'s filter syntax.
pub fn init(level: &str, json: Option<bool>) {
    let chosen = std::env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::new(format!("{QUIET},{chosen}"));
    let json = json.unwrap_or_else(|| !std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let installed = if json {
        registry
            .with(layer.json().flatten_event(true).with_current_span(false))
            .try_init()
    } else {
        registry
            .with(layer.with_ansi(std::io::stderr().is_terminal()))
            .try_init()
    };
    drop(installed);
}
