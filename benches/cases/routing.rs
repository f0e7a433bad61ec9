//! Finding the route of a request.

use std::sync::Arc;

use hareway::config::model::PathPattern;
use http::{Method, Uri};

use super::router::Router;

/// A table of routes, and requests that are spread over it.
pub(crate) struct Routing {
    router: Router<usize>,
    requests: Vec<Uri>,
    next: usize,
}

const REQUESTS: usize = 64;

impl Routing {
    /// `routes` paths of three segments, the last of them a parameter.
    pub(crate) fn new(routes: usize) -> Self {
        let all = (0..routes).map(|number| {
            let pattern = PathPattern {
                text: format!("{}/{{id}}", front(number)),
                parameters: vec!["id".into()],
                wildcard: false,
            };
            (Some(Method::POST), pattern, Arc::new(number))
        });
        let router = Router::new(all).expect("the paths differ");
        let request = |index: usize| {
            let number = index * routes / REQUESTS;
            let path = format!("{}/o-7f3a?dry=1", front(number));
            path.parse().expect("a path")
        };
        Self {
            router,
            requests: (0..REQUESTS).map(request).collect(),
            next: 0,
        }
    }

    /// Finds one request's route.
    pub(crate) fn find(&mut self) -> usize {
        self.next = (self.next + 1) % REQUESTS;
        let uri = &self.requests[self.next];
        let found = self.router.find(&Method::POST, uri).expect("a route");
        assert_eq!(found.parameters.len(), 1, "the parameter");
        *found.target
    }
}

/// Of one length for every number, so that only how many there are makes a difference.
fn front(number: usize) -> String {
    format!("/team-{:02}/orders-{number:05}", number % 100)
}
