//! One connection attempt.

use lapin::{
    Connection, ConnectionProperties, runtime,
    tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig},
    uri::AMQPUri,
};

use super::{
    error::{Error, bounded},
    wash::{self, Washed, WashingRuntime},
};
use crate::config::model::{Amqp, BrokerUrl};

/// What every RabbitMQ offers unless told otherwise. The library's buffers are 32 times as large, for
/// each direction. Asked for from the start they take memory as they are used; grown later they are
/// written over at once, and without a limit they would have none either.
const FRAME_MAX: u32 = 128 * 1024;

/// Which of the two connections: each has its own, so that an alarm that blocks publishing cannot
/// hold back acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Publish,
    Consume,
}

impl Role {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// Connects to `url` within the configured time.
pub(super) async fn connect(
    config: &Amqp,
    url: &BrokerUrl,
    role: Role,
) -> Result<Connection, Error> {
    let mut uri = url.uri.clone();
    uri.query.heartbeat = Some(u16::try_from(config.heartbeat.as_secs()).unwrap_or(u16::MAX));
    uri.query.frame_max = Some(uri.query.frame_max.unwrap_or(FRAME_MAX));
    let limit_ms = u64::try_from(config.connect_timeout.as_millis()).unwrap_or(u64::MAX);
    uri.query.connection_timeout = Some(limit_ms);
    let name = format!("hareway {} {}", config.instance, role.as_str());
    let properties = ConnectionProperties::default().with_connection_name(name.as_str().into());
    let tls = tls(config).await?;
    let tokio = runtime::default_runtime()?;
    let runtime = wash::runtime(&tokio);
    // The stream is washed above TLS: below it there is nothing to be seen.
    let dial = async move |uri: AMQPUri, _: WashingRuntime| {
        let stream = uri.connect_with_config_async(tls.as_ref(), &tokio).await?;
        Ok(AsyncTcpStream::Plain(Washed::new(stream)))
    };
    let connecting = Connection::connector(uri, runtime, dial, properties);
    bounded(config.connect_timeout, "connecting", connecting).await
}

/// Read at every attempt, so that renewed certificates are taken up without a restart.
async fn tls(config: &Amqp) -> Result<OwnedTLSConfig, Error> {
    let mut tls = OwnedTLSConfig::default();
    if let Some(path) = &config.ca_file {
        let pem = read(path).await?;
        let pem = String::from_utf8(pem).unwrap_or_default();
        if !pem.contains("BEGIN CERTIFICATE") {
            return Err(Error::NoCertificate { path: path.clone() });
        }
        tls.cert_chain = Some(pem);
    }
    if let Some((path, password)) = &config.identity {
        let der = read(path).await?;
        let password = password.expose().to_owned();
        tls.identity = Some(lapin::tcp::OwnedIdentity::PKCS12 { der, password });
    }
    Ok(tls)
}

async fn read(path: &std::path::Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

/// Whether a broker answers and lets this process in: tries every URL once.
///
/// # Errors
/// What the last of them said.
pub async fn probe(config: &Amqp) -> Result<BrokerUrl, Error> {
    let mut last = Error::Connection("no broker is configured".to_owned());
    for url in &config.urls {
        match connect(config, url, Role::Consume).await {
            Ok(connection) => {
                let closing = connection.close(200, "goodbye".into());
                drop(bounded(config.connect_timeout, "closing the connection", closing).await);
                return Ok(url.clone());
            }
            Err(error) => last = Error::Connection(format!("{url}: {error}")),
        }
    }
    Err(last)
}
