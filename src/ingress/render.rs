//! Templates of inbound routes: words of a routing key, and text.

use crate::template::{Part, RenderError, Source, Target, Template, Values};

/// The longest routing key: an AMQP short string.
const ROUTING_KEY_LIMIT: usize = 255;

/// The text of `template` for one request.
pub(super) fn render(
    template: &Template,
    values: &dyn Values,
    target: Target,
) -> Result<String, RenderError> {
    let mut text = String::new();
    for part in template.parts() {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Value {
                source,
                verbatim,
                fallback,
            } => {
                let Some(value) = values.get(source) else {
                    let missing = || RenderError::Missing(name(source));
                    text.push_str(fallback.as_ref().ok_or_else(missing)?);
                    continue;
                };
                if target == Target::RoutingKey && !verbatim && value.contains('.') {
                    return Err(RenderError::DotInWord(name(source)));
                }
                text.push_str(&value);
            }
        }
    }
    if target == Target::RoutingKey && text.len() > ROUTING_KEY_LIMIT {
        return Err(RenderError::TooLong(text.len()));
    }
    Ok(text)
}

fn name(source: &Source) -> String {
    match source {
        Source::Path(name) => format!("path.{name}"),
        Source::Query(name) => format!("query.{name}"),
        Source::Header(name) => format!("header.{name}"),
        Source::Property(property) => format!("property.{property:?}"),
        Source::RoutingKey => "routing_key".to_owned(),
        Source::Json(pointer) => format!("json:{pointer}"),
    }
}
