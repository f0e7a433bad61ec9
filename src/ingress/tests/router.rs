//! From paths to routes.

use std::sync::Arc;

use http::{Method, Uri};
use proptest::prelude::*;

use crate::{
    config::model::PathPattern,
    ingress::router::{Missed, Router},
};

fn pattern(text: &str) -> PathPattern {
    let names = text.split('{').skip(1).map(|part| {
        let name = part.split('}').next().unwrap();
        name.trim_start_matches('*').into()
    });
    PathPattern {
        text: text.to_owned(),
        parameters: names.collect(),
        wildcard: text.contains("{*"),
    }
}

/// Routes as a configuration writes them; each leads to its own text.
fn router(routes: &[&'static str]) -> Router<&'static str> {
    let routes = routes.iter().map(|route| {
        let (method, path) = route.split_once(' ').unwrap();
        let method = (method != "*").then(|| method.parse().unwrap());
        (method, pattern(path), Arc::new(*route))
    });
    Router::new(routes).unwrap()
}

type Found = (&'static str, Vec<(String, String)>);

fn find(router: &Router<&'static str>, request: &str) -> Result<Found, Missed> {
    let (method, uri) = request.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let found = router.find(&method, &uri.parse::<Uri>().unwrap())?;
    let parameters = found.parameters.into_iter();
    let parameters = parameters.map(|(name, value)| (name.to_string(), value));
    Ok((*found.target, parameters.collect()))
}

fn parameter(router: &Router<&'static str>, request: &str) -> String {
    find(router, request).unwrap().1.remove(0).1
}

#[test]
fn parameters_have_their_own_routes_names() {
    let router = router(&["GET /o/{id}", "POST /o/{region}", "PUT /o/{a}/x/{b}"]);
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        find(&router, "GET /o/7").unwrap(),
        ("GET /o/{id}", vec![own("id", "7")])
    );
    assert_eq!(
        find(&router, "POST /o/eu").unwrap(),
        ("POST /o/{region}", vec![own("region", "eu")])
    );
    assert_eq!(
        find(&router, "PUT /o/1/x/2").unwrap().1,
        vec![own("a", "1"), own("b", "2")]
    );
}

#[test]
fn an_unknown_method_learns_the_known_ones() {
    let router = router(&["POST /o", "GET /o"]);
    let Err(Missed::MethodNotAllowed(allow)) = find(&router, "DELETE /o") else {
        panic!("found")
    };
    assert_eq!(allow, "GET, POST");
    assert!(matches!(
        find(&router, "HEAD /o"),
        Err(Missed::MethodNotAllowed(_))
    ));
    assert_eq!(find(&router, "GET /p"), Err(Missed::NotFound));
    assert_eq!(find(&router, "GET /o/"), Err(Missed::NotFound));
}

#[test]
fn every_method_yields_to_a_named_one() {
    let router = router(&["* /o", "GET /o"]);
    assert_eq!(find(&router, "GET /o").unwrap().0, "GET /o");
    for method in ["POST", "HEAD", "OPTIONS", "PROPFIND"] {
        assert_eq!(find(&router, &format!("{method} /o")).unwrap().0, "* /o");
    }
}

#[test]
fn a_wildcard_matches_what_is_below_and_the_bare_prefix() {
    let router = router(&["* /invoices/{*rest}"]);
    for (path, rest) in [
        ("/invoices", ""),
        ("/invoices/", ""),
        ("/invoices/7", "7"),
        ("/invoices/2026/7/", "2026/7/"),
        ("/invoices/a%20b", "a b"),
    ] {
        assert_eq!(parameter(&router, &format!("GET {path}")), rest, "{path}");
    }
    assert_eq!(find(&router, "GET /invoicesx"), Err(Missed::NotFound));
    let root = self::router(&["* /{*rest}"]);
    assert_eq!(parameter(&root, "GET /"), "");
    assert_eq!(parameter(&root, "GET /a"), "a");
}

#[test]
fn a_route_of_its_own_goes_before_a_wildcard_that_ends_there() {
    let router = router(&["POST /a/{*rest}", "* /a"]);
    assert_eq!(find(&router, "POST /a").unwrap().0, "* /a");
    assert_eq!(find(&router, "POST /a/b").unwrap().0, "POST /a/{*rest}");
}

#[test]
fn dot_segments_are_refused_however_they_are_written() {
    let router = router(&["* /{*rest}"]);
    for path in [
        "/..",
        "/.",
        "/a/../b",
        "/a/./b",
        "/a/%2e%2E/b",
        "/a/.%2e",
        "/a%2F..%2Fb",
        "/a%5C..%5Cb",
        "/%2e",
    ] {
        let missed = find(&router, &format!("GET {path}")).unwrap_err();
        assert!(matches!(missed, Missed::BadPath(_)), "{path}: {missed}");
    }
    for path in ["/...", "/a..b", "/.well-known/x", "/a/..b"] {
        assert!(find(&router, &format!("GET {path}")).is_ok(), "{path}");
    }
}

#[test]
fn parameters_are_decoded_and_stay_in_their_segment() {
    let router = router(&["GET /o/{id}", "GET /o/{id}/lines"]);
    assert_eq!(parameter(&router, "GET /o/a%2Fb"), "a/b");
    assert_eq!(parameter(&router, "GET /o/a%2Flines"), "a/lines");
    assert_eq!(parameter(&router, "GET /o/%C3%BC"), "ü");
    assert_eq!(parameter(&router, "GET /o/a+b"), "a+b");
    for bad in ["%FF", "%0D%0A", "%00", "%C3"] {
        let missed = find(&router, &format!("GET /o/{bad}")).unwrap_err();
        assert_eq!(missed.problem().kind.row().status, 400, "{bad}");
    }
    for bad in ["%", "%4", "%zz", "%+1"] {
        let missed = find(&router, &format!("GET /o/{bad}")).unwrap_err();
        assert!(matches!(missed, Missed::BadPath(_)), "{bad}");
    }
}

#[test]
fn equal_paths_are_one_however_they_are_encoded() {
    let router = router(&["GET /orders", "GET /grün er", "GET /{{a}}/{x}"]);
    assert_eq!(find(&router, "GET /%6Frders").unwrap().0, "GET /orders");
    for path in ["/gr%C3%BCn%20er", "/gr%c3%bcn%20er"] {
        assert!(find(&router, &format!("GET {path}")).is_ok(), "{path}");
    }
    assert_eq!(parameter(&router, "GET /%7Ba%7D/1"), "1");
}

#[test]
fn patterns_that_no_order_decides_between_are_an_error() {
    let conflict = |a: &str, b: &str| {
        let routes = [a, b].map(|path| (None, pattern(path), Arc::new(())));
        Router::new(routes).err().map(|conflict| conflict.path)
    };
    for (a, b) in [
        ("/a/{*rest}", "/a/{x}"),
        ("/{*rest}", "/{x}suffix"),
        ("/a/{x}/b", "/a/b-{y}.c/d"),
    ] {
        let path = conflict(a, b).unwrap();
        assert!(path == a || path == b, "{path}");
    }
    assert_eq!(conflict("/a/{*rest}", "/a/x"), None);
}

#[test]
fn a_target_that_is_too_long_is_refused() {
    let router = router(&["* /{*rest}"]);
    let fits = format!("GET /{}?{}", "x".repeat(4000), "y".repeat(4191));
    assert!(find(&router, &fits).is_ok());
    assert_eq!(find(&router, &format!("{fits}y")), Err(Missed::TooLong));
}

#[test]
fn ten_thousand_routes_are_told_apart() {
    let path = |n: usize| format!("/team-{}/service-{n}/{{id}}", n % 100);
    let routes = (0..10_000).map(|n| (Some(Method::POST), pattern(&path(n)), Arc::new(n)));
    let router = Router::new(routes).unwrap();
    for n in 0..10_000 {
        let uri = path(n).replace("{id}", "x").parse().unwrap();
        assert_eq!(*router.find(&Method::POST, &uri).unwrap().target, n);
    }
}

proptest! {
    #[test]
    fn no_path_breaks_the_router(path in "(/|%2e|%2F|%[0-9a-f]{2}|\\.|[a-z]|\\PC){0,24}") {
        let router = router(&[
            "* /{*rest}", "GET /a/{x}/b", "GET /c/b-{y}.d", "POST /a",
        ]);
        if let Ok(uri) = format!("/{path}").parse::<Uri>()
            && let Ok(found) = router.find(&Method::GET, &uri)
        {
            for (_, value) in found.parameters {
                prop_assert!(!value.contains(char::is_control));
                prop_assert!(value.split('/').all(|part| part != "." && part != ".."));
            }
        }
    }
}
