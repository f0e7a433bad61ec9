//! From a request's method and path to its route.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderValue, Method};

use super::path;
use crate::{
    config::{model::PathPattern, paths},
    message::{BadRequest, values::path_parameters},
    server::{Kind, Problem},
};

/// The longest path and query, in bytes; RFC 9110 §4.1 asks for at least 8,000.
const TARGET_LIMIT: usize = 8 * 1024;

/// An immutable table of routes; `T` is what a route leads to.
#[derive(Debug)]
pub(super) struct Router<T> {
    paths: matchit::Router<Endpoint<T>>,
}

/// A path's methods.
#[derive(Debug)]
struct Endpoint<T> {
    /// The first that fits is taken: a pattern's own routes, then wildcards that end here; within
    /// both, named methods first.
    methods: Vec<Candidate<T>>,
    allow: HeaderValue,
}

#[derive(Debug)]
struct Candidate<T> {
    /// The wildcard that made this has nothing to match here.
    bare: bool,
    /// `None`: every method.
    method: Option<Method>,
    names: Vec<Arc<str>>,
    target: Arc<T>,
}

/// A route and the values of its path parameters, percent-decoded, in the pattern's order.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) target: Arc<T>,
    pub(super) parameters: Vec<(Arc<str>, String)>,
}

/// Why no route was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Missed {
    #[error("no route has this path")]
    NotFound,
    #[error("the path does not know this method")]
    MethodNotAllowed(HeaderValue),
    #[error("{0}")]
    BadHead(&'static str),
    #[error("{0}")]
    BadPath(&'static str),
    #[error(transparent)]
    BadParameter(#[from] BadRequest),
    #[error("path and query are longer than {TARGET_LIMIT} bytes")]
    TooLong,
}

/// Two routes that cannot stand side by side.
#[derive(Debug, thiserror::Error)]
#[error("the path `{path}` cannot be routed: {reason}")]
pub struct RouteConflict {
    pub path: String,
    pub reason: String,
}

// === impl Router ===

impl<T> Router<T> {
    /// Compiles the table.
    ///
    /// # Errors
    /// Patterns that overlap so that no order decides between them.
    pub(super) fn new(
        routes: impl IntoIterator<Item = (Option<Method>, PathPattern, Arc<T>)>,
    ) -> Result<Self, RouteConflict> {
        // By the text that the routing tree sees; with what was written, for messages.
        let mut endpoints: BTreeMap<String, (String, Vec<Candidate<T>>)> = BTreeMap::new();
        let mut add = |text, written: &str, candidate| {
            let endpoint = endpoints.entry(text);
            let (_, methods) = endpoint.or_insert_with(|| (written.to_owned(), Vec::new()));
            methods.push(candidate);
        };
        for (method, pattern, target) in routes {
            let text = paths::normalise_pattern(&pattern.text);
            for prefix in paths::bare_prefixes(&text) {
                let candidate = Candidate {
                    bare: true,
                    method: method.clone(),
                    names: pattern.parameters.clone(),
                    target: target.clone(),
                };
                add(prefix, &pattern.text, candidate);
            }
            let candidate = Candidate {
                bare: false,
                method,
                names: pattern.parameters,
                target,
            };
            add(text, &pattern.text, candidate);
        }
        let mut paths = matchit::Router::new();
        for (text, (written, mut methods)) in endpoints {
            methods.sort_by_key(|candidate| (candidate.bare, candidate.method.is_none()));
            let allow = allow(&methods);
            paths
                .insert(&text, Endpoint { methods, allow })
                .map_err(|error| RouteConflict {
                    path: written,
                    reason: error.to_string(),
                })?;
        }
        Ok(Self { paths })
    }

    /// Finds the route of a request.
    pub(super) fn find(&self, method: &Method, uri: &http::Uri) -> Result<Found<T>, Missed> {
        let path = uri.path();
        if path.len() + uri.query().map_or(0, str::len) > TARGET_LIMIT {
            return Err(Missed::TooLong);
        }
        let path = path::normalise(path)?;
        let matched = self.paths.at(&path).map_err(|_| Missed::NotFound)?;
        let endpoint = matched.value;
        let candidate = endpoint
            .methods
            .iter()
            .find(|candidate| {
                candidate
                    .method
                    .as_ref()
                    .is_none_or(|known| known == method)
            })
            .ok_or_else(|| Missed::MethodNotAllowed(endpoint.allow.clone()))?;
        // A bare prefix has no value for the wildcard: it is empty then.
        let values = matched.params.iter().map(|(_, value)| value);
        let parameters = path_parameters(&candidate.names, values.chain(std::iter::once("")))?;
        Ok(Found {
            target: candidate.target.clone(),
            parameters,
        })
    }
}

fn allow<T>(methods: &[Candidate<T>]) -> HeaderValue {
    let mut names: Vec<&str> = methods
        .iter()
        .filter_map(|candidate| candidate.method.as_ref())
        .map(Method::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    // Methods are tokens (RFC 9110 §9.1), which every header value may hold.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

impl Missed {
    /// What the caller is told.
    pub(super) fn problem(self) -> Problem {
        let kind = match self {
            Self::NotFound => Kind::NotFound,
            Self::MethodNotAllowed(allow) => return Problem::not_allowed(allow),
            Self::BadHead(_) | Self::BadPath(_) | Self::BadParameter(_) => Kind::BadRequest,
            Self::TooLong => Kind::UriTooLong,
        };
        Problem::new(kind, self.to_string())
    }
}
