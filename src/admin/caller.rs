//! Web pages that have a browser call this listener, which has no authentication of its own.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header};

/// Why a request is refused, in words for its caller; `None`: it is not.
///
/// An order that a browser sends says from which site. And a site that points its own name at a
/// loopback address (DNS rebinding) has the browser send that name as `Host`, and could read the
/// answers as well.
pub(super) fn refusal(
    uri: &Uri,
    headers: &HeaderMap,
    acts: bool,
    loopback: bool,
) -> Option<&'static str> {
    let host = headers.get(header::HOST).map(|value| value.as_bytes());
    let host = host.or_else(|| {
        uri.authority()
            .map(|authority| authority.as_str().as_bytes())
    });
    let origin = headers.get(header::ORIGIN).filter(|_| acts);
    if let Some(origin) = origin {
        let origin = std::str::from_utf8(origin.as_bytes()).unwrap_or_default();
        // `null` and what is no origin have none.
        let site = origin.split_once("://").map(|(_, site)| site.as_bytes());
        let same = site.zip(host);
        if !same.is_some_and(|(site, host)| site.eq_ignore_ascii_case(host)) {
            return Some("the order comes from a page of another site: `Origin` is not `Host`");
        }
    }
    let host = host.map(|host| std::str::from_utf8(host).unwrap_or("?.?"));
    if loopback && !host.is_none_or(is_local) {
        return Some(
            "a listener on loopback is asked by an IP address, `localhost` or a name without a dot: send such a `Host`",
        );
    }
    None
}

/// Whether no stranger can have a browser send this as `Host`: names without a dot are nobody's in
/// public, and an address is not looked up.
fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let name = host.to_ascii_lowercase();
    host.parse::<IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn refused(host: &str, origin: Option<&str>, acts: bool, loopback: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        refusal(&Uri::from_static("/parked"), &headers, acts, loopback).is_some()
    }

    #[test]
    fn an_order_from_another_site_is_refused() {
        for loopback in [true, false] {
            for origin in [
                "http://evil.example",
                "null",
                "http://localhost:80",
                "",
                "localhost:9090",
            ] {
                assert!(
                    refused("localhost:9090", Some(origin), true, loopback),
                    "{origin}"
                );
                // Browsers keep the answer from such a page themselves.
                assert!(
                    !refused("localhost:9090", Some(origin), false, loopback),
                    "{origin}"
                );
            }
            assert!(!refused(
                "localhost:9090",
                Some("http://LOCALHOST:9090"),
                true,
                loopback
            ));
            assert!(!refused("localhost:9090", None, true, loopback));
        }
    }

    #[test]
    fn a_foreign_name_for_loopback_is_refused() {
        let own = [
            "localhost:9090",
            "LOCALHOST",
            "a.localhost:9090",
            "127.0.0.1:9090",
            "[::1]:9090",
            "10.1.2.3",
            "bridge:9090",
        ];
        let foreign = [
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "evil.example.",
            "localhost.evil.example",
        ];
        for acts in [true, false] {
            for host in own {
                assert!(!refused(host, None, acts, true), "{host}");
            }
            for host in foreign {
                assert!(refused(host, None, acts, true), "{host}");
                let origin = format!("http://{host}");
                assert!(refused(host, Some(&origin), acts, true), "{host}");
                // A service's name, for all that can be told.
                assert!(!refused(host, Some(&origin), acts, false), "{host}");
            }
        }
    }

    /// HTTP/1.0 needs no `Host`, HTTP/2 has it in the target.
    #[test]
    fn the_target_may_say_the_host() {
        let headers = HeaderMap::new();
        let refused = |uri| refusal(&Uri::from_static(uri), &headers, true, true).is_some();
        assert!(!refused("/parked"));
        assert!(!refused("http://localhost:9090/parked"));
        assert!(refused("http://evil.example:9090/parked"));
    }
}
