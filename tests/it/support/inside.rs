//! The bridge as a part of this process: built and run as the program does it, without a program.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use hareway::{
    app::{App, Drained, Listeners},
    config::{self, Sources, raw::ProcessEnvironment},
    shutdown::Shutdown,
};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinHandle};

use super::{Client, eventually};

/// On a runtime of its own, so that nothing of it is left when the value has gone.
#[derive(Debug)]
pub struct Inside {
    http: SocketAddr,
    admin: SocketAddr,
    shutdown: Shutdown,
    running: Option<JoinHandle<Drained>>,
    runtime: Option<Runtime>,
}

impl Inside {
    pub(super) async fn start(files: Vec<PathBuf>) -> Self {
        let sources = Sources {
            files,
            ..Sources::default()
        };
        let loaded = config::load(&sources, &ProcessEnvironment::default());
        let config = loaded.unwrap_or_else(|errors| panic!("{errors:?}")).config;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let shutdown = Shutdown::default();
        let (asked, told) = (shutdown.clone(), tokio::sync::oneshot::channel());
        let (tell, addresses) = told;
        let running = runtime.spawn(async move {
            let listeners = Listeners {
                http: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
                admin: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            };
            let bound = [&listeners.http, &listeners.admin].map(|l| l.local_addr().expect("bound"));
            tell.send(bound).expect("somebody listens");
            let app = App::build(config, listeners).expect("it builds");
            app.run(asked).await.expect("it runs")
        });
        let [http, admin] = addresses.await.expect("addresses");
        let inside = Self {
            http,
            admin,
            shutdown,
            running: Some(running),
            runtime: Some(runtime),
        };
        let client = Client::new(admin);
        eventually(Duration::from_secs(30), "ready", async || {
            let reply = client.get("/readyz").attempt().await?;
            match reply.status.as_u16() {
                200 => Ok(()),
                _ => Err(reply.text()),
            }
        })
        .await;
        inside
    }

    pub fn client(&self) -> Client {
        Client::new(self.http)
    }

    pub fn admin(&self) -> Client {
        Client::new(self.admin)
    }

    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// What its end left undone.
    pub async fn drained(mut self) -> Drained {
        let running = self.running.take().expect("it runs");
        running.await.expect("no panic")
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
