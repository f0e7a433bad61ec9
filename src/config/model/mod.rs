//! The compiled configuration: values that cannot be wrong.
//!
//! Nothing here is optional by accident: every default has been filled in, every name resolved,
//! every template compiled. The raw tree and its places stay behind in the compiler.

mod guards;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, Method, StatusCode};
use lapin::types::FieldTable;

pub use guards::{Circuit, CircuitOn, Idempotency, Limits, Rate, Spool};

use crate::{
    policy::{Schedule, StatusSet},
    template::Template,
};

/// A whole, valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub amqp: Amqp,
    pub http: Http,
    pub admin: Admin,
    pub store: Store,
    pub log: Log,
    /// The most bytes of bodies held at once, over all routes and directions.
    pub buffer_limit: u64,
    /// How long a graceful shutdown may take before what is left is requeued.
    pub drain_timeout: Duration,
    pub exchanges: BTreeMap<String, Exchange>,
    /// Every queue that is declared or only named: those of `queues:` and those that a route's
    /// `from.amqp` or `via` declares itself. Retry, parked and reply queues are not listed here;
    /// they follow from the routes.
    pub queues: BTreeMap<String, Queue>,
    /// In the order of the files; a `via` route appears as the two routes it is compiled into.
    pub routes: Vec<Arc<Route>>,
}

/// The broker, and how to live with it.
#[derive(Debug, Clone)]
pub struct Amqp {
    /// Tried in turn, starting anew from the first after the last.
    pub urls: Vec<BrokerUrl>,
    /// PEM file of the certificate authorities trusted for `amqps`, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PKCS#12 client identity for `amqps`: file and password.
    pub identity: Option<(PathBuf, Secret)>,
    pub topology: TopologyMode,
    /// The type given to queues that this process creates, unless their arguments say otherwise.
    pub queue_type: QueueType,
    /// Confirm channels that publish side by side.
    pub lanes: usize,
    /// Publishes a lane writes before it waits for their confirms.
    pub window: usize,
    /// Publishes accepted and not yet answered, over all lanes; beyond it: `overloaded`.
    pub in_flight: usize,
    pub heartbeat: Duration,
    pub connect_timeout: Duration,
    /// Longest pause between two attempts to connect; the first is 100 ms, doubled each time, jittered.
    pub reconnect_max: Duration,
    /// Names this process at the broker and in its reply queue. Unique among running processes.
    pub instance: String,
    /// How long the broker keeps this process's reply queue when nobody consumes from it.
    pub reply_queue_expires: Duration,
}

/// A broker's URL. `Debug` and `Display` leave the password out.
#[derive(Clone)]
pub struct BrokerUrl {
    pub uri: lapin::uri::AMQPUri,
}

/// A text that must never be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopologyMode {
    /// What is missing is created, what exists is taken as it is.
    Ensure,
    /// Nothing is created; what is missing is an error that names it.
    Passive,
    /// Nothing is created and nothing is checked.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    Quorum,
    Classic,
    Stream,
}

/// The inbound listener and its limits.
#[derive(Debug, Clone)]
pub struct Http {
    pub listen: SocketAddr,
    pub body_limit: u64,
    /// Open connections; further ones wait in the kernel's accept queue.
    pub connections: usize,
    /// From accept, or from the end of the previous request, until a request's head is complete.
    pub header_timeout: Duration,
    /// From the head until the body is complete.
    pub body_timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct Admin {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Store {
    pub path: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

#[derive(Debug, Clone)]
pub struct Exchange {
    /// `direct`, `fanout`, `topic`, `headers`, or a plugin's type.
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: FieldTable,
    pub bind: Vec<Binding>,
    pub external: bool,
}

#[derive(Debug, Clone)]
pub struct Queue {
    pub kind: QueueType,
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    /// What the user gave; they win over everything Hareway would add.
    pub arguments: FieldTable,
    pub bind: Vec<Binding>,
    pub external: bool,
}

/// A binding of the queue or exchange that holds it, to `exchange`.
#[derive(Debug, Clone)]
pub struct Binding {
    pub exchange: String,
    pub routing_key: String,
    pub arguments: FieldTable,
}

/// One route: what comes in, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Route {
    /// Also the label of its metrics; the halves of a `via` route are `NAME` and `NAME.deliver`.
    pub name: Arc<str>,
    /// `FILE:LINE:COLUMN`, for messages.
    pub place: String,
    pub flow: Flow,
}

#[derive(Debug, Clone)]
pub enum Flow {
    Inbound(Inbound),
    Deliver(Deliver),
}

// === HTTP → AMQP ===

/// Accept (store and forward), or request/reply when [`Inbound::answer`] says so.
#[derive(Debug, Clone)]
pub struct Inbound {
    pub source: HttpSource,
    pub target: AmqpTarget,
    /// Request → message.
    pub headers: HeaderRules,
    pub answer: Answer,
    /// Never beside a reply: a held call cannot wait for a broker that is away.
    pub spool: Option<Spool>,
    pub idempotency: Option<Idempotency>,
    pub limits: Limits,
}

#[derive(Debug, Clone)]
pub struct HttpSource {
    /// `None`: every method.
    pub method: Option<Method>,
    pub path: PathPattern,
    pub body_limit: u64,
}

/// A path such as `/orders/{region}` or `/invoices/{*rest}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// As written.
    pub text: String,
    /// The parameters' names, in order; the last is a wildcard where `wildcard` is set.
    pub parameters: Vec<Arc<str>>,
    pub wildcard: bool,
}

#[derive(Debug, Clone)]
pub struct AmqpTarget {
    pub exchange: String,
    pub routing_key: Template,
    /// Instead of the client's `Message-Id` or a new UUIDv7.
    pub message_id: Option<Template>,
    pub kind: Option<Template>,
    pub priority: Option<u8>,
    pub expiration: Option<Duration>,
    pub persistent: bool,
    pub confirm_timeout: Duration,
    pub unroutable: Unroutable,
    /// Set where the path parameters must travel with the message (`via`).
    pub carry_path: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unroutable {
    Refuse,
    Discard,
}

#[derive(Debug, Clone)]
pub enum Answer {
    Accepted(Accepted),
    Reply(Reply),
}

/// What success looks like to the caller of an accept route.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub status: StatusCode,
    /// `None`: the JSON object with id and status.
    pub body: Option<bytes::Bytes>,
    pub headers: http::HeaderMap,
}

#[derive(Debug, Clone)]
pub struct Reply {
    /// From the arrival of the request to the answer.
    pub timeout: Duration,
    /// A named queue that several processes may share; `None`: this process's own.
    pub queue: Option<String>,
    pub correlate: Correlate,
    /// Gives the response's status from the reply; `None`: header `http-status`, else 200.
    pub status: Option<Template>,
    /// Reply → response.
    pub headers: HeaderRules,
    /// Calls held at once on this route; beyond it 503.
    pub waiting: usize,
}

/// Which property of the request the worker puts into its reply's correlation id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correlate {
    CorrelationId,
    MessageId,
}

// === AMQP → HTTP ===

#[derive(Debug, Clone)]
pub struct Deliver {
    pub source: AmqpSource,
    pub target: HttpTarget,
    /// Message → request.
    pub headers: HeaderRules,
    /// Response → reply, for messages that carry `reply_to`.
    pub reply_headers: HeaderRules,
    pub failure: Failure,
    /// `None`: a backend that is down is called all the same.
    pub circuit: Option<Circuit>,
    pub limits: Limits,
}

#[derive(Debug, Clone)]
pub struct AmqpSource {
    pub queue: String,
    /// Forwards under way at once, per process.
    pub concurrency: usize,
    /// Unacknowledged deliveries the broker may send ahead. Never below `concurrency`.
    pub prefetch: u16,
}

#[derive(Debug, Clone)]
pub struct HttpTarget {
    pub url: UrlTarget,
    /// `None`: the message's `http-method` header where it is a valid method, else `POST`.
    pub method: Option<Method>,
    pub timeout: Duration,
    pub success: StatusSet,
    pub response_limit: u64,
}

#[derive(Debug, Clone)]
pub enum UrlTarget {
    /// The whole URL.
    Exact(Template),
    /// Scheme and authority only; path and query are the message's `http-path` and `http-query`.
    Base(http::Uri),
}

/// What becomes of a message whose backend call did not succeed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// `None`: no retries.
    pub retry: Option<Retry>,
    pub park: Park,
}

#[derive(Debug, Clone)]
pub struct Retry {
    pub schedule: Schedule,
    /// Retryable statuses; connect failures, DNS failures and timeouts always are.
    pub on: StatusSet,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Park {
    /// Into this queue, with the reason in its headers.
    Queue { name: String },
    /// Acknowledged and gone, counted.
    Drop,
    /// Back into its own queue after a pause: at the price of blocking behind it.
    Requeue,
}

// === Headers ===

/// Which headers cross over, and which are set.
#[derive(Debug, Clone, Default)]
pub struct HeaderRules {
    /// `None`: every header that `drop` and the built-in list let through.
    pub pass: Option<Vec<HeaderPattern>>,
    pub drop: Vec<HeaderPattern>,
    pub set: Vec<(HeaderName, Template)>,
}

/// A header name in lower case, possibly ending in `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderPattern {
    Exact(String),
    Prefix(String),
}

// === impls ===

impl Config {
    /// The queues into which routes park messages, each once, in the order of the routes.
    pub fn parked_queues(&self) -> Vec<String> {
        let mut names = Vec::new();
        for deliver in self.routes.iter().filter_map(|route| route.deliver()) {
            match &deliver.failure.park {
                Park::Queue { name } if !names.contains(name) => names.push(name.clone()),
                Park::Queue { .. } | Park::Drop | Park::Requeue => {}
            }
        }
        names
    }
}

impl Route {
    pub fn inbound(&self) -> Option<&Inbound> {
        match &self.flow {
            Flow::Inbound(inbound) => Some(inbound),
            Flow::Deliver(_) => None,
        }
    }

    pub fn deliver(&self) -> Option<&Deliver> {
        match &self.flow {
            Flow::Deliver(deliver) => Some(deliver),
            Flow::Inbound(_) => None,
        }
    }
}

impl Inbound {
    /// The reply settings of a request/reply route.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.answer {
            Answer::Reply(reply) => Some(reply),
            Answer::Accepted(_) => None,
        }
    }
}

impl QueueType {
    /// The value of `x-queue-type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
            Self::Stream => "stream",
        }
    }
}

impl HeaderPattern {
    /// `name` must be in lower case.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl std::fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let authority = &self.uri.authority;
        let scheme = match self.uri.scheme {
            lapin::uri::AMQPScheme::AMQP => "amqp",
            lapin::uri::AMQPScheme::AMQPS => "amqps",
        };
        write!(
            f,
            "{scheme}://{}@{}:{}/{}",
            authority.userinfo.username,
            authority.host,
            authority.port,
            percent_encoding::utf8_percent_encode(
                &self.uri.vhost,
                percent_encoding::NON_ALPHANUMERIC
            ),
        )
    }
}

impl std::fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
