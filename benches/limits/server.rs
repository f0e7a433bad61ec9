//! hyper, and nothing around it.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet};
use uuid::Uuid;

const BODY_LIMIT: usize = 1 << 20;

/// What deals with the requests of one connection.
pub(super) trait Handler: Send + Sync + 'static {
    /// The status for a message of this id and body.
    fn handle(&self, id: &str, body: Bytes) -> impl Future<Output = StatusCode> + Send;
}

/// Serves for ever; `handler` makes one for each connection.
pub(super) async fn serve<H: Handler>(
    port: u16,
    mut handler: impl AsyncFnMut() -> anyhow::Result<H>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let handler = std::sync::Arc::new(handler().await?);
        let service = service_fn(move |request| answer(request, handler.clone()));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new());
        connections.spawn(http.serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer<H: Handler>(
    request: Request<Incoming>,
    handler: std::sync::Arc<H>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let id = Uuid::now_v7().to_string();
    let limited = Limited::new(request.into_body(), BODY_LIMIT);
    let status = match limited.collect().await {
        Ok(body) => handler.handle(&id, body.to_bytes()).await,
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status == StatusCode::ACCEPTED {
        let body = format!(r#"{{"id":"{id}","status":"accepted"}}"#);
        *response.body_mut() = Full::new(body.into());
    }
    Ok(response)
}
