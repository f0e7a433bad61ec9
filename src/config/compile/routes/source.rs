//! `from.http`: method and path.

use std::sync::Arc;

use http::Method;

use super::{
    super::{section::Section, values},
    Context, is_short,
};
use crate::config::{
    model::{HttpSource, PathPattern},
    raw::{Node, Place},
};

pub(super) fn source<'a>(node: &'a Node, context: &mut Context<'a, '_>) -> Option<HttpSource> {
    let mut body_limit = context.body_limit;
    let (method, method_place, path, place) = if is_short(node) {
        let text = values::text(node, context.out)?;
        let Some((method, path)) = text.trim().split_once(char::is_whitespace) else {
            let help = format!(
                "write a method and a path: `\"POST {text}\"`, or `\"* {text}\"` for every method"
            );
            context.out.error(
                &node.place,
                format!("`{text}` is not a method and a path"),
                help,
            );
            return None;
        };
        let place = &node.place;
        (method.to_owned(), place, path.trim().to_owned(), place)
    } else {
        let mut section = Section::open(node, "routes.*.from.http", context.out)?;
        let method = section.get("method", context.out);
        let method_place = method.map_or(&node.place, |method| &method.place);
        let method = method.and_then(|node| values::text(node, context.out));
        let path = section.get("path", context.out);
        let limit = section.get("body_limit", context.out);
        if let Some(limit) = limit.and_then(|node| values::size(node, context.out)) {
            body_limit = limit;
        }
        let place = path.map_or(&node.place, |path| &path.place);
        let path = path.and_then(|node| values::text(node, context.out));
        if path.is_none() && !section.has("path") {
            context.out.error(
                section.place,
                "`http` needs `path`",
                "write for example `path: /orders`",
            );
        }
        section.finish(context.out);
        let method = method.unwrap_or_else(|| "*".to_owned());
        (method, method_place, path?, place)
    };
    let method = self::method(&method, method_place, context);
    let path = self::path(&path, place, context);
    let (method, path) = (method?, path?);
    context
        .facts
        .claim(method.clone(), &path, place, context.name);
    context.facts.body_limits.push((body_limit, place));
    Some(HttpSource {
        method,
        path,
        body_limit,
    })
}

/// `Some(None)` for every method.
fn method(text: &str, place: &Place, context: &mut Context<'_, '_>) -> Option<Option<Method>> {
    if text == "*" {
        return Some(None);
    }
    let method = values::method(text);
    if method.is_none() {
        let upper = text.to_ascii_uppercase();
        let help = if values::method(&upper).is_some() {
            format!("methods are in capital letters (RFC 9110 §9.1): `{upper}`")
        } else if upper == "CONNECT" {
            "it asks for a tunnel, which no queue can hold; choose another method".to_owned()
        } else {
            "write a method such as `POST`, or `*` for every method".to_owned()
        };
        context
            .out
            .error(place, format!("`{text}` is not a method"), help);
    }
    method.map(Some)
}

fn path(text: &str, place: &Place, context: &mut Context<'_, '_>) -> Option<PathPattern> {
    match parse_path(text) {
        Ok(path) => Some(path),
        Err((message, help)) => {
            context
                .out
                .error(place, format!("the path `{text}` {message}"), help);
            None
        }
    }
}

fn parse_path(text: &str) -> Result<PathPattern, (&'static str, String)> {
    if !text.starts_with('/') {
        return Err(("does not begin with `/`", format!("write `/{text}`")));
    }
    if text.contains(['?', '#']) || text.chars().any(char::is_whitespace) {
        return Err((
            "holds a `?`, a `#` or white space",
            "write the path alone; every query is taken".to_owned(),
        ));
    }
    let mut parameters: Vec<Arc<str>> = Vec::new();
    let mut wildcard = false;
    for segment in text.split('/').skip(1) {
        if wildcard {
            return Err((
                "goes on after its wildcard",
                "`{*name}` can only be the last segment".to_owned(),
            ));
        }
        if matches!(segment, "." | "..") {
            return Err((
                "has a dot segment",
                "no request can have one (RFC 3986 §5.2.4)".to_owned(),
            ));
        }
        let Some(name) = parameter(segment)? else {
            continue;
        };
        let (name, rest) = name
            .strip_prefix('*')
            .map_or((name, false), |name| (name, true));
        let valid = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if name.is_empty() || !valid {
            return Err((
                "names a parameter badly",
                "a parameter's name has letters, digits, `_` and `-`".to_owned(),
            ));
        }
        if parameters.iter().any(|known| **known == *name) {
            return Err((
                "names a parameter twice",
                format!("give the second `{{{name}}}` another name"),
            ));
        }
        wildcard = rest;
        parameters.push(name.into());
    }
    Ok(PathPattern {
        text: text.to_owned(),
        parameters,
        wildcard,
    })
}

/// The name in a segment that is one parameter; `None` for a literal segment.
fn parameter(segment: &str) -> Result<Option<&str>, (&'static str, String)> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    segment
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .filter(|inner| !inner.contains(['{', '}']))
        .map(Some)
        .ok_or_else(|| {
            (
                "has a parameter that is not a whole segment",
                "write `/{name}/`, nothing before or after the braces".to_owned(),
            )
        })
}
