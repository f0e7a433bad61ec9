//! What every listener of the bridge shares: the accept loop with its limits, problem documents,
//! and reading bodies within bounds.

mod activity;
pub mod body;
mod connection;
mod kind;
pub mod problem;
mod quiet;
mod serve;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use body::{BodyError, Limits as BodyLimits, refuse};
pub use kind::{Kind, Row};
pub use problem::Problem;
pub use serve::{Handler, Limits, serve};

use bytes::Bytes;
use http_body_util::Full;

/// Every answer is whole before its head is sent.
pub type Response = http::Response<Full<Bytes>>;
