//! `hareway run`: the bridge itself.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context;
use tokio::net::TcpListener;

use super::sources;
use crate::{
    app::{App, Drained, Listeners},
    config::{
        Config, Described, Loaded,
        diagnostic::Diagnostics,
        model::{Log, LogFormat},
    },
    shutdown::Shutdown,
    store,
    telemetry::logs,
};

pub(super) fn command(arguments: &sources::Arguments) -> anyhow::Result<ExitCode> {
    let Loaded { config, warnings } = match arguments.load() {
        Ok(loaded) => loaded,
        Err(found) => return Ok(sources::refuse(&found)),
    };
    logs::init(&config.log.level, json(&config.log));
    leave_panics_of_the_store_to_it();
    run(config, &warnings)
}

fn json(log: &Log) -> Option<bool> {
    match log.format {
        LogFormat::Auto => None,
        LogFormat::Text => Some(false),
        LogFormat::Json => Some(true),
    }
}

fn announce(config: &Config, warnings: &Diagnostics) {
    for warning in warnings.iter() {
        let place = warning.place.as_ref().map(tracing::field::display);
        let help = warning.help.as_deref();
        tracing::warn!(place, help, "{}", warning.message);
    }
    for route in &config.routes {
        let Described {
            name,
            place: _,
            flow,
            from,
            to,
            guarantee,
        } = Described::new(route);
        tracing::info!(route = %name, flow, from, to, guarantee, "route");
    }
}

/// A damaged store is one line of ours, not a stack trace of somebody else's.
fn leave_panics_of_the_store_to_it() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !store::is_caught(panic) {
            usual(panic);
        }
    }));
}

/// Runs until a signal ends it. Exit code 0: everything was finished; 1: something was cut off.
///
/// # Errors
/// An address that is taken, or a part that cannot be built; nothing has run then.
fn run(config: Config, warnings: &Diagnostics) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let drained = runtime.block_on(serve(config, warnings))?;
    // What is still running has been told to end and was waited for; nothing more is owed to it.
    runtime.shutdown_background();
    Ok(if drained == Drained::default() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn serve(config: Config, warnings: &Diagnostics) -> anyhow::Result<Drained> {
    // First of all: what cannot run has nothing to announce.
    let listeners = Listeners {
        http: bind(config.http.listen, "http.listen").await?,
        admin: bind(config.admin.listen, "admin.listen").await?,
    };
    let [http, admin] = [&listeners.http, &listeners.admin].map(TcpListener::local_addr);
    let app = App::build(config, listeners)?;
    let config = app.config();
    tracing::info!(
        http = %http?,
        admin = %admin?,
        instance = config.amqp.instance,
        version = env!("CARGO_PKG_VERSION"),
        "starting"
    );
    announce(config, warnings);
    let shutdown = Shutdown::default();
    let signals = async {
        if let Err(error) = shutdown.follow_signals().await {
            tracing::error!(%error, "cannot follow signals");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        drained = app.run(shutdown.clone()) => Ok(drained?),
        () = signals => Ok(Drained::default()),
    }
}

/// Address and key in the error: with two instances on one port it is all that a person needs.
async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (`{key}`)"))
}
