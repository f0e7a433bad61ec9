//! Putting values into a template.

use std::sync::Arc;

use bytes::Bytes;
use hareway::{
    message::RequestValues,
    template::{self, Target, Template},
};
use http::{Request, request::Parts};

/// A request and the templates of a route.
pub(crate) struct Rendering {
    parts: Parts,
    path: Vec<(Arc<str>, String)>,
    body: Bytes,
    key: Template,
    url: Template,
    json: Template,
}

impl Rendering {
    pub(crate) fn new() -> Self {
        let (parts, ()) = Request::post("/orders/eu/7?dry=1")
            .header("x-tenant", "acme")
            .body(())
            .expect("a request")
            .into_parts();
        let compiled =
            |text: &str| template::parse(&[(str::to_owned(text), false)]).expect("a template");
        Self {
            parts,
            path: vec![("region".into(), "eu".into()), ("id".into(), "7".into())],
            body: Bytes::from_static(br#"{"order":{"id":"o-7","lines":[1,2,3]},"total":12.5}"#),
            key: compiled("order.placed.{path.region}.{header.x-tenant:-none}"),
            url: compiled("http://backend:9000/orders/{path.id}?dry={query.dry}"),
            json: compiled("{json:/order/id}"),
        }
    }

    /// A routing key of two values.
    pub(crate) fn key(&self) -> usize {
        self.render(&self.key, Target::RoutingKey)
    }

    /// A URL of two values.
    pub(crate) fn url(&self) -> usize {
        self.render(&self.url, Target::Url)
    }

    /// A value of a small JSON body, parsing included.
    pub(crate) fn json(&self) -> usize {
        self.render(&self.json, Target::Text)
    }

    fn render(&self, template: &Template, target: Target) -> usize {
        let values = RequestValues::new(&self.parts, &self.path, &self.body);
        template.render(&values, target).expect("a text").len()
    }
}
