use super::parsed;

/// One diagnostic: its place as `line:column+length`, a piece of its message, and its help.
fn says(text: &str, place: &str, message: &str, help: &str) {
    let (_, diagnostics) = parsed(text);
    let found = diagnostics.iter().collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "{text:?}\n{diagnostics}");
    let at = found[0].place.as_ref().unwrap();
    let at = format!("{}:{}+{}", at.line, at.column, at.length);
    assert_eq!(at, place, "{text:?}\n{diagnostics}");
    assert!(
        found[0].message.contains(message),
        "{text:?}\n{diagnostics}"
    );
    assert_eq!(found[0].help.as_deref(), Some(help), "{text:?}");
}

#[test]
fn braces_in_a_flow_map_want_quotes() {
    let said = |text, place, help| says(text, place, "needs quotes", help);
    said(
        "from: { http: POST /x/{id} }\nb: 1\n",
        "1:15+12",
        r#"write "POST /x/{id}""#,
    );
    said(
        "to: { http: http://x/{path.id} }\n",
        "1:13+18",
        r#"write "http://x/{path.id}""#,
    );
    said(
        "to: { http: http://x/{path.id}/y, method: PUT }\n",
        "1:13+20",
        r#"write "http://x/{path.id}/y""#,
    );
    said("a: { k: /x/{*rest} }\n", "1:9+10", r#"write "/x/{*rest}""#);
    said("a: { url: ${X:-y} }\n", "1:11+7", r#"write "${X:-y}""#);
    said("a: [b, ${X}, c]\n", "1:8+4", r#"write "${X}""#);
    said(
        "to: { amqp: { exchange: o, routing_key: a.{path.b}.c } }\n",
        "1:41+12",
        r#"write "a.{path.b}.c""#,
    );
}

#[test]
fn braces_at_the_beginning_of_a_value_want_quotes() {
    let said = |text, place, help| says(text, place, "braces at the beginning", help);
    said(
        "a:\n  b: {path.id}\nc: 1\n",
        "2:6+9",
        r#"write "{path.id}""#,
    );
    said("a: { b: {json:/x} }\n", "1:9+9", r#"write "{json:/x}""#);
    said(
        "a: [{header.x:-y}] # no\n",
        "1:5+13",
        r#"write "{header.x:-y}""#,
    );
    said("a: {routing_key}\n", "1:4+13", r#"write "{routing_key}""#);
    said(
        "a:\n  b: {path.id}.y\nc: 1\n",
        "2:6+11",
        r#"write "{path.id}.y""#,
    );
    said(
        "a: { b: {path.id}.y }\n",
        "1:9+11",
        r#"write "{path.id}.y""#,
    );
    said("a: {*path.rest}\n", "1:4+12", r#"write "{*path.rest}""#);
}

#[test]
fn a_hash_wants_quotes() {
    let hides = |text, place, help| says(text, place, "hides the end of this line", help);
    hides("b: { orders: # }\nc: 1\n", "1:14+1", r##"write "#""##);
    hides(
        "b: { orders: a.* #.b, x: 1 }\n",
        "1:14+7",
        r##"write "a.* #.b""##,
    );
    hides("b: { x: [ # ] }\nc: 1\n", "1:11+1", r##"write "#""##);
    let nothing = |text, place, help| says(text, place, "has no value", help);
    nothing(
        "b:\n  orders: #\nc: 1\n",
        "2:11+1",
        r##"write "#", or give a value"##,
    );
    nothing(
        "b:\n  - #.x\nc: 1\n",
        "2:5+3",
        r##"write "#.x", or give a value"##,
    );
    assert!(
        parsed("b: { orders: order.# }\nc: # why\n  d: 1\n")
            .1
            .is_empty()
    );
}

#[test]
fn a_leading_star_wants_quotes() {
    let said = |text, place, help| says(text, place, "`*` at the beginning", help);
    said("http: * /x\n", "1:7+4", r#"write "* /x""#);
    said("a: { http: * /x/{y} }\n", "1:12+8", r#"write "* /x/{y}""#);
    said("a: { http: */x, b: c }\n", "1:12+3", r#"write "*/x""#);
    said("a: *é\n", "1:4+2", r#"write "*é""#);
}

#[test]
fn a_colon_with_a_space_wants_quotes() {
    says(
        "a:\n  b: x: y\n",
        "2:6+4",
        "cannot hold `: `",
        r#"write "x: y""#,
    );
    says(
        "a: { x: y: z }\n",
        "1:9+4",
        "cannot hold `: `",
        r#"write "y: z""#,
    );
}

#[test]
fn tabs_do_not_indent() {
    says("a:\n\tb: 1\n", "2:1+1", "tab", "indent with spaces");
    says("a:\n  b: 1\n\tc: 2\n", "3:1+1", "tab", "indent with spaces");
}
