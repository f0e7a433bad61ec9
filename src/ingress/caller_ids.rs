//! The caller's own correlation ids, which go back in the headers that they came in.

use http::{HeaderMap, HeaderName, HeaderValue};

const NAMES: [HeaderName; 3] = [
    HeaderName::from_static("correlation-id"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("x-request-id"),
];

/// Copies: a value of the request would keep the whole buffer that the request was read into for as
/// long as its call is held.
#[derive(Debug, Default, Clone)]
pub(super) struct CallerIds([Option<HeaderValue>; 3]);

impl CallerIds {
    pub(super) fn of(request: &HeaderMap) -> Self {
        Self(NAMES.map(|name| {
            let own = request.get(name)?;
            HeaderValue::from_bytes(own.as_bytes()).ok()
        }))
    }

    pub(super) fn put(&self, headers: &mut HeaderMap) {
        for (name, own) in NAMES.into_iter().zip(&self.0) {
            if let Some(own) = own {
                headers.insert(name, own.clone());
            }
        }
    }

    /// Takes whatever stands in those headers out.
    pub(super) fn strip(headers: &mut HeaderMap) {
        for name in NAMES {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_goes_back_as_it_came() {
        let mut request = HeaderMap::new();
        request.insert("x-request-id", HeaderValue::from_bytes(b"a \xe9").unwrap());
        request.insert("correlation-id", HeaderValue::from_static("c"));
        request.insert("accept", HeaderValue::from_static("*/*"));
        let ids = CallerIds::of(&request);
        request.remove("accept");
        let mut response = HeaderMap::new();
        response.insert("x-request-id", HeaderValue::from_static("the worker's"));
        ids.put(&mut response);
        assert_eq!(response, request);
        CallerIds::strip(&mut response);
        assert!(response.is_empty());
    }
}
