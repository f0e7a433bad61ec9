//! The spools over HTTP: the same as `hareway spool`.

pub mod work;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;

use self::work::{Deed, SpoolError, Wanted};
use super::{
    json as page,
    order::{self, bad, decoded},
    pages::{Found, SpoolPage},
};
use crate::{
    buffer::Buffer,
    server::{Kind, Problem, Response},
    store::Store,
};

/// Messages of a page that does not say how many.
const USUAL: usize = 100;

/// What stands behind `/spool`.
pub(super) struct Spools {
    store: Option<Store>,
    buffer: Buffer,
}

impl Spools {
    pub(super) fn new(store: Option<Store>) -> Self {
        Self {
            store,
            buffer: order::room(),
        }
    }

    pub(super) async fn respond(
        &self,
        which: SpoolPage,
        found: Found,
        request: Request<Incoming>,
    ) -> Response {
        let answered = match which {
            SpoolPage::Routes => self.routes(),
            SpoolPage::Apart => self.apart(&found, &request).await,
            SpoolPage::Return | SpoolPage::Discard => {
                let body = match order::read(request, &self.buffer).await {
                    Ok(body) => body,
                    Err(refused) => return *refused,
                };
                let deed = match which {
                    SpoolPage::Return => Deed::Return,
                    _ => Deed::Discard,
                };
                self.act(&found, &body, deed).await
            }
        };
        match answered {
            Ok(document) => page(StatusCode::OK, &document),
            Err(problem) => problem.into_response(),
        }
    }

    fn routes(&self) -> Result<Value, Problem> {
        let spools = match &self.store {
            Some(store) => work::spools(store),
            None => work::Spools { routes: Vec::new() },
        };
        document(&spools)
    }

    async fn apart(&self, found: &Found, request: &Request<Incoming>) -> Result<Value, Problem> {
        let (mut after, mut limit) = (None, USUAL);
        let query = request.uri().query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let number = |text: &str| {
                text.parse::<u64>()
                    .map_err(|_| bad(format!("`{pair}` is not a whole number")))
            };
            match pair.split_once('=') {
                Some(("after", key)) => after = Some(number(key)?),
                Some(("limit", most)) => {
                    limit = usize::try_from(number(most)?).unwrap_or(usize::MAX);
                }
                _ => return Err(bad("the query may have `after` and `limit`")),
            }
        }
        let route = decoded(&found.route)?;
        let apart = work::apart(self.store(&route)?, &route, after, limit).await;
        document(&apart.map_err(|error| problem(&error))?)
    }

    async fn act(&self, found: &Found, body: &[u8], deed: Deed) -> Result<Value, Problem> {
        let wanted: Wanted = serde_json::from_slice(body)
            .map_err(|error| bad(format!("the body is not as it should be: {error}")))?;
        let route = decoded(&found.route)?;
        let done = work::act(self.store(&route)?, &route, wanted, deed).await;
        document(&done.map_err(|error| problem(&error))?)
    }

    fn store(&self, route: &str) -> Result<&Store, Problem> {
        let missing = || problem(&SpoolError::NoSuchRoute(route.to_owned()));
        self.store.as_ref().ok_or_else(missing)
    }
}

fn problem(error: &SpoolError) -> Problem {
    let kind = match error {
        SpoolError::NoSuchRoute(_) => Kind::NotFound,
        SpoolError::Which => Kind::BadRequest,
        SpoolError::Store(_) => Kind::StoreUnavailable,
    };
    Problem::new(kind, error.to_string())
}

fn document(value: &impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(value).map_err(|error| Problem::new(Kind::Internal, error.to_string()))
}
