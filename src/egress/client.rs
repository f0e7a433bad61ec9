//! The HTTP client that all routes share.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, builderstates::WantsSchemes};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

/// Idle connections are closed after this; most servers keep theirs longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// A pooled client for `http` and `https`, HTTP/1.1 and, over TLS, HTTP/2. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the TLS client cannot be set up: {0}")]
pub struct ClientError(#[from] rustls::Error);

/// Why a call has no response, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// DNS, TCP or TLS.
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the response is larger than {0} bytes")]
    TooLarge(u64),
}

/// When one call has to be over, its body included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

// === impl Client ===

impl Client {
    /// With the system's certificate authorities, for at most so many calls at once.
    ///
    /// # Errors
    /// When the TLS library refuses its own defaults.
    pub fn new(calls: usize) -> Result<Self, ClientError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_keepalive(Some(TCP_KEEPALIVE));
        let connector = tls()?
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            // A connection for each call that there can be: a smaller pool would close and open one
            // for every call beyond its size.
            .pool_max_idle_per_host(calls)
            .build(connector);
        Ok(Self(client))
    }

    /// The response's head; its body is still to come.
    pub(super) async fn call(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Deadline,
    ) -> Result<Response<Incoming>, CallError> {
        match timeout_at(deadline.at, self.0.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => Err(CallError::Connect(cause(&error))),
            Ok(Err(error)) => Err(CallError::Broken(cause(&error))),
            Err(_) => Err(deadline.passed()),
        }
    }
}

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        let at = Instant::now() + timeout;
        Self { at, timeout }
    }

    fn passed(self) -> CallError {
        CallError::Timeout(self.timeout)
    }
}

/// The whole body, `limit` bytes at most.
pub(super) async fn collect(
    body: Incoming,
    limit: u64,
    deadline: Deadline,
) -> Result<Bytes, CallError> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    match timeout_at(deadline.at, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(CallError::TooLarge(limit)),
        Ok(Err(error)) => Err(CallError::Broken(cause(&*error))),
        Err(_) => Err(deadline.passed()),
    }
}

/// Reads the body and forgets it, so that its connection can be used again. Past `limit` or the
/// deadline the connection is given up instead: the response's head has said all that matters.
pub(super) async fn discard(body: Incoming, limit: u64, deadline: Deadline) {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut body = Limited::new(body, most);
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whether it ended or timed out makes no difference.
    drop(timeout_at(deadline.at, rest).await);
}

/// Without any system certificates, `https` calls fail and `http` ones do not.
fn tls() -> Result<HttpsConnectorBuilder<WantsSchemes>, ClientError> {
    let provider = rustls::crypto::ring::default_provider();
    match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider.clone()) {
        Ok(builder) => Ok(builder),
        Err(error) => {
            tracing::warn!(%error, "no certificate authorities: calls to https backends will fail");
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            Ok(HttpsConnectorBuilder::new().with_tls_config(config))
        }
    }
}

/// The innermost error says what happened; those around it only where.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
