//! A bare server: reads the body and answers 202. No broker.

use bytes::Bytes;
use hyper::StatusCode;

use super::server::{Handler, serve};

struct Accepted;

/// Serves until something fails.
pub(crate) async fn run(port: u16) -> anyhow::Result<()> {
    serve(port, async || Ok(Accepted)).await
}

impl Handler for Accepted {
    async fn handle(&self, _: &str, _: Bytes) -> StatusCode {
        StatusCode::ACCEPTED
    }
}
