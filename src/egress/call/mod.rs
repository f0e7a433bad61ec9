//! A message → the request that delivers it.

use bytes::Bytes;
use http::{HeaderName, Method, Request, Uri, uri::PathAndQuery};
use http_body_util::Full;
use percent_encoding::percent_decode_str;

use crate::{
    config::model::{Deliver, HeaderRules, UrlTarget},
    message::{Message, MessageValues, forward, names},
    template::{RenderError, Target},
};

/// A request, and how many of the message's headers HTTP could not carry.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request<Full<Bytes>>,
    pub(super) skipped: u64,
}

/// Why no request can be made of a message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Unforwardable {
    #[error(transparent)]
    Template(#[from] RenderError),
    #[error("`{0}` is not an http or https URL")]
    Url(String),
    #[error("the message's `http-path` is not the path of a URL, or has dot segments")]
    Path,
}

/// Builds the request; the body is shared, not copied.
pub(super) fn build(deliver: &Deliver, message: &Message, id: &str) -> Result<Call, Unforwardable> {
    let values = MessageValues::new(message);
    let set = rendered(&deliver.headers, &values)?;
    let uri = match &deliver.target.url {
        UrlTarget::Exact(template) => exact(template.render(&values, Target::Url)?)?,
        UrlTarget::Base(base) => on_base(base, message)?,
    };
    let queue = &deliver.source.queue;
    let forwarded = forward::headers(message, id, queue, &deliver.headers, &set);
    let mut request = Request::new(Full::new(message.body.clone()));
    *request.method_mut() = method(deliver, message);
    *request.uri_mut() = uri;
    *request.headers_mut() = forwarded.headers;
    Ok(Call {
        request,
        skipped: forwarded.skipped,
    })
}

/// The headers that the route sets, as text.
pub(super) fn rendered(
    rules: &HeaderRules,
    values: &MessageValues<'_>,
) -> Result<Vec<(HeaderName, String)>, RenderError> {
    rules
        .set
        .iter()
        .map(|(name, template)| Ok((name.clone(), template.render(values, Target::Text)?)))
        .collect()
}

fn method(deliver: &Deliver, message: &Message) -> Method {
    let carried = || {
        let text = message.header_text(names::HTTP_METHOD)?;
        // CONNECT asks for a tunnel, which no message can be sent through.
        Method::from_bytes(text.as_bytes())
            .ok()
            .filter(|method| method != Method::CONNECT)
    };
    deliver
        .target
        .method
        .clone()
        .or_else(carried)
        .unwrap_or(Method::POST)
}

fn exact(text: String) -> Result<Uri, Unforwardable> {
    let uri: Option<Uri> = text.parse().ok();
    uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
        .ok_or(Unforwardable::Url(text))
}

/// Scheme and authority are the route's, path and query the message's: no text in a message can
/// lead the call to another host.
fn on_base(base: &Uri, message: &Message) -> Result<Uri, Unforwardable> {
    let path = message.header_text(names::HTTP_PATH);
    let path = path.as_deref().unwrap_or("/");
    let query = message.header_text(names::HTTP_QUERY);
    if !is_path(path) || !query.as_deref().is_none_or(is_query) {
        return Err(Unforwardable::Path);
    }
    let target = match query {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(target.map_err(|_| Unforwardable::Path)?);
    Uri::from_parts(parts).map_err(|_| Unforwardable::Path)
}

/// An absolute path whose meaning no server can mistake: some take `//host` for an authority, some
/// a backslash for a slash, and all climb by dot segments, encoded or not.
fn is_path(text: &str) -> bool {
    let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#');
    let climbs = percent_decode_str(text)
        .collect::<Vec<u8>>()
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| matches!(segment, b"." | b".."));
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(visible) && !climbs
}

fn is_query(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

#[cfg(test)]
mod tests;
