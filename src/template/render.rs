//! Templates with their values put in.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Part, Property, RenderError, Source, Target, Template, Values};

/// All but the unreserved characters (RFC 3986 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const SEGMENTS: &AsciiSet = &SEGMENT.remove(b'/');
/// AMQP short string.
const ROUTING_KEY_LIMIT: usize = 255;

impl Template {
    /// The text with `values` put in, in the form that `target` needs.
    ///
    /// A fallback is the author's text: it may have dots in a routing key and slashes in a URL.
    ///
    /// # Errors
    /// A missing value without a fallback, or one that would change the shape of a routing key or
    /// a URL.
    pub fn render(&self, values: &dyn Values, target: Target) -> Result<String, RenderError> {
        let mut text = String::new();
        let mut first = None;
        for part in self.parts() {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value {
                    source,
                    verbatim,
                    fallback,
                } => {
                    first = first.or(Some(source));
                    match (values.get(source), fallback) {
                        (Some(value), _) => put(&mut text, &value, source, *verbatim, target)?,
                        (None, Some(fallback)) => put(&mut text, fallback, source, true, target)?,
                        (None, None) => return Err(RenderError::Missing(source.to_string())),
                    }
                }
            }
        }
        match (target, first) {
            (Target::RoutingKey, _) if text.len() > ROUTING_KEY_LIMIT => {
                Err(RenderError::TooLong(text.len()))
            }
            (Target::Url, Some(source)) if climbs(&text) => {
                Err(RenderError::DotSegment(source.to_string()))
            }
            _ => Ok(text),
        }
    }
}

fn put(
    text: &mut String,
    value: &str,
    source: &Source,
    verbatim: bool,
    target: Target,
) -> Result<(), RenderError> {
    match target {
        Target::Text => text.push_str(value),
        Target::RoutingKey if !verbatim && value.contains('.') => {
            return Err(RenderError::DotInWord(source.to_string()));
        }
        Target::RoutingKey => text.push_str(value),
        Target::Url => {
            let kept = if verbatim { SEGMENTS } else { SEGMENT };
            text.extend(utf8_percent_encode(value, kept));
        }
    }
    Ok(())
}

/// Whether a path segment of the URL is `.` or `..`; looked for in the whole, as a value and the
/// text beside it may make one together.
fn climbs(url: &str) -> bool {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let path = url.get(..end).unwrap_or(url);
    path.split('/').any(|segment| {
        let segment = percent_decode_str(segment).collect::<Vec<u8>>();
        matches!(segment.as_slice(), b"." | b"..")
    })
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Property(property) => write!(f, "property.{}", property.as_str()),
            Self::RoutingKey => f.write_str("routing_key"),
            Self::Json(pointer) => write!(f, "json:{pointer}"),
        }
    }
}

impl Property {
    /// As templates write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageId => "message_id",
            Self::CorrelationId => "correlation_id",
            Self::ContentType => "content_type",
            Self::ContentEncoding => "content_encoding",
            Self::ReplyTo => "reply_to",
            Self::Type => "type",
            Self::UserId => "user_id",
            Self::AppId => "app_id",
            Self::Priority => "priority",
            Self::Expiration => "expiration",
            Self::Timestamp => "timestamp",
            Self::DeliveryMode => "delivery_mode",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    struct One(Option<String>);

    impl Values for One {
        fn get(&self, _: &Source) -> Option<Cow<'_, str>> {
            self.0.as_deref().map(Cow::Borrowed)
        }
    }

    fn template(before: &str, verbatim: bool, fallback: Option<&str>, after: &str) -> Template {
        Template::from_parts(vec![
            Part::Literal(before.into()),
            Part::Value {
                source: Source::Path("x".into()),
                verbatim,
                fallback: fallback.map(Into::into),
            },
            Part::Literal(after.into()),
        ])
    }

    fn rendered(
        template: &Template,
        value: Option<&str>,
        target: Target,
    ) -> Result<String, RenderError> {
        template.render(&One(value.map(str::to_owned)), target)
    }

    #[test]
    fn a_value_is_one_word_of_a_routing_key() {
        let word = template("order.", false, None, ".new");
        let key = |value: &str| rendered(&word, Some(value), Target::RoutingKey);
        assert_eq!(key("eu").unwrap(), "order.eu.new");
        assert_eq!(key("e.u"), Err(RenderError::DotInWord("path.x".into())));
        assert_eq!(key(&"x".repeat(246)), Err(RenderError::TooLong(256)));
        assert_eq!(key(&"x".repeat(245)).unwrap().len(), 255);
        let words = template("order.", true, None, "");
        assert_eq!(
            rendered(&words, Some("e.u"), Target::RoutingKey).unwrap(),
            "order.e.u"
        );
    }

    #[test]
    fn a_value_is_one_segment_of_a_url() {
        let segment = template("http://b/o/", false, None, "?q=1");
        let url = |value: &str| rendered(&segment, Some(value), Target::Url);
        assert_eq!(
            url("a/b ?&é").unwrap(),
            "http://b/o/a%2Fb%20%3F%26%C3%A9?q=1"
        );
        assert_eq!(url("..x").unwrap(), "http://b/o/..x?q=1");
        let climbs = Err(RenderError::DotSegment("path.x".into()));
        assert_eq!(url(".."), climbs);
        let segments = template("http://b/", true, None, "");
        assert_eq!(
            rendered(&segments, Some("a/b c"), Target::Url).unwrap(),
            "http://b/a/b%20c"
        );
        assert_eq!(rendered(&segments, Some("a/../b"), Target::Url), climbs);
        let joined = template("http://b/.", false, None, "/c");
        assert_eq!(rendered(&joined, Some("."), Target::Url), climbs);
    }

    #[test]
    fn a_missing_value_needs_a_fallback() {
        let missing = Err(RenderError::Missing("path.x".into()));
        assert_eq!(
            rendered(&template("a", false, None, ""), None, Target::Text),
            missing
        );
        let fallback = template("order.", false, Some("no.region"), "");
        assert_eq!(
            rendered(&fallback, None, Target::RoutingKey).unwrap(),
            "order.no.region"
        );
    }

    proptest! {
        /// Whatever the value: the authority and the number of segments are the template's.
        #[test]
        fn a_value_cannot_change_a_urls_shape(value in any::<String>()) {
            prop_assume!(!value.is_empty());
            let template = template("http://backend:9000/a/", false, None, "/z?k=v");
            if let Ok(url) = rendered(&template, Some(&value), Target::Url) {
                let uri: http::Uri = url.parse().unwrap();
                prop_assert_eq!(uri.authority().unwrap().as_str(), "backend:9000");
                prop_assert_eq!(uri.path().split('/').count(), 4);
                prop_assert_eq!(uri.query(), Some("k=v"));
            }
        }
    }
}
