//! From a request to the message that it becomes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, request::Parts};
use lapin::types::ShortString;

use super::{caller_ids::CallerIds, inlet::Inlet};
use crate::{
    message::{BadRequest, Publish, RequestOptions, RequestValues, request},
    server::{Kind, Problem},
    template::{Target, Template},
};

/// A whole request.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) parts: Parts,
    pub(super) parameters: Vec<(Arc<str>, String)>,
    pub(super) body: Bytes,
}

/// A message, and how its caller knows it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) publish: Publish,
    pub(super) id: ShortString,
    /// To go back in the answer, where the route does that.
    pub(super) own: CallerIds,
}

impl Draft {
    /// Gives the message another id.
    pub(super) fn rename(&mut self, id: ShortString) {
        let properties = std::mem::take(&mut self.publish.properties);
        self.publish.properties = properties.with_message_id(id.clone());
        self.id = id;
    }
}

impl Received {
    /// Renders the route's templates and maps the headers.
    ///
    /// # Errors
    /// 400 with what is missing or malformed, 431 where the headers do not fit into a message.
    pub(super) fn draft(&self, inlet: &Inlet) -> Result<Draft, Problem> {
        let target = &inlet.inbound.target;
        let values = RequestValues::new(&self.parts, &self.parameters, &self.body);
        let render = |template: &Template, what: &dyn std::fmt::Display, target: Target| {
            template.render(&values, target).map_err(|error| {
                Problem::new(Kind::BadRequest, format!("{what} cannot be built: {error}"))
            })
        };
        let text = |template: &Option<Template>, what: &str| {
            let rendered = template.as_ref().map(|t| render(t, &what, Target::Text));
            rendered.transpose()
        };
        let key = render(&target.routing_key, &"the routing key", Target::RoutingKey)?;
        let routing_key = ShortString::try_new(key)
            .map_err(|_| Problem::new(Kind::BadRequest, "the routing key is over 255 bytes"))?;
        let message_id = text(&target.message_id, "the message id")?;
        let kind = text(&target.kind, "the type")?;
        let mut set: Vec<(HeaderName, String)> = Vec::new();
        for (name, template) in &inlet.inbound.headers.set {
            let what = format_args!("the header `{name}`");
            set.push((name.clone(), render(template, &what, Target::Text)?));
        }
        let options = RequestOptions {
            message_id: message_id.as_deref(),
            kind: kind.as_deref(),
            priority: target.priority,
            expiration: target.expiration,
            persistent: target.persistent,
            path: if target.carry_path {
                &self.parameters
            } else {
                &[]
            },
        };
        let properties = request::properties(&self.parts, &inlet.inbound.headers, &set, &options)
            .map_err(|error| refused(&error))?;
        let id = properties.message_id().clone().unwrap_or_default();
        let publish = Publish {
            exchange: inlet.exchange.clone(),
            routing_key,
            properties,
            body: self.body.clone(),
        };
        let own = match inlet.gives_ids_back() {
            true => CallerIds::of(&self.parts.headers),
            false => CallerIds::default(),
        };
        Ok(Draft { publish, id, own })
    }
}

fn refused(error: &BadRequest) -> Problem {
    let kind = match error {
        BadRequest::HeadersTooLarge(_) => Kind::HeadersTooLarge,
        _ => Kind::BadRequest,
    };
    Problem::new(kind, error.to_string())
}
