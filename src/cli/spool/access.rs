//! The way to the spools: the running bridge, which has the store's file to itself, or the file.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::{
    admin::spool::work::{self, Deed, Done, Page, Spools, Wanted},
    config::Config,
    store::Store,
};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Moving a million messages takes a while.
const CALL_LIMIT: Duration = Duration::from_secs(300);

pub(super) enum Access {
    Bridge(SocketAddr),
    File(Store),
}

impl Access {
    /// `None`: no bridge runs, and there is no file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) async fn find(config: &Config) -> anyhow::Result<Option<Self>> {
        let address = reachable(config.admin.listen);
        let connecting = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
        if matches!(connecting, Ok(Ok(_))) {
            return Ok(Some(Self::Bridge(address)));
        }
        let folder = &config.store.path;
        if !Store::exists(folder) {
            return Ok(None);
        }
        Ok(Some(Self::File(Store::open(folder)?)))
    }

    pub(super) async fn close(&self) {
        if let Self::File(store) = self {
            store.close().await;
        }
    }

    pub(super) async fn spools(&self) -> anyhow::Result<Spools> {
        match self {
            Self::Bridge(address) => call(*address, Method::GET, "/spool", None).await,
            Self::File(store) => Ok(work::spools(store)),
        }
    }

    pub(super) async fn apart(
        &self,
        route: &str,
        after: Option<u64>,
        most: usize,
    ) -> anyhow::Result<Page> {
        match self {
            Self::Bridge(address) => {
                let after = after.map_or_else(String::new, |key| format!("&after={key}"));
                let path = format!("/spool/{}/apart?limit={most}{after}", encoded(route));
                call(*address, Method::GET, &path, None).await
            }
            Self::File(store) => Ok(work::apart(store, route, after, most).await?),
        }
    }

    pub(super) async fn act(
        &self,
        route: &str,
        wanted: Wanted,
        deed: Deed,
    ) -> anyhow::Result<Done> {
        match self {
            Self::Bridge(address) => {
                let verb = match deed {
                    Deed::Return => "return",
                    Deed::Discard => "discard",
                };
                let path = format!("/spool/{}/apart/{verb}", encoded(route));
                let body = serde_json::to_vec(&wanted).context("cannot write JSON")?;
                call(*address, Method::POST, &path, Some(body)).await
            }
            Self::File(store) => Ok(work::act(store, route, wanted, deed).await?),
        }
    }
}

/// One call to a bridge's admin listener.
async fn call<T: DeserializeOwned>(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> anyhow::Result<T> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .context("cannot make the request")?;
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let calling = async {
        let response = client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, body))
    };
    let (status, body) = tokio::time::timeout(CALL_LIMIT, calling)
        .await
        .with_context(|| format!("no answer from {address} within {CALL_LIMIT:?}"))?
        .with_context(|| format!("cannot ask the bridge at {address}"))?;
    if !status.is_success() {
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = problem.get("detail").and_then(|detail| detail.as_str());
        bail!("{}", detail.unwrap_or(status.as_str()));
    }
    let answer = serde_json::from_slice(&body);
    answer.with_context(|| format!("what answers at {address} is not this version of Hareway"))
}

/// As one segment of a path.
fn encoded(route: &str) -> impl std::fmt::Display {
    utf8_percent_encode(route, NON_ALPHANUMERIC)
}

/// Where something that listens everywhere can be called.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
