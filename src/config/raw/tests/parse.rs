use proptest::prelude::*;

use super::{at, messages, parsed, places, scalar};
use crate::config::raw::{Node, Place, Value};

fn tree(text: &str) -> Node {
    let (node, diagnostics) = parsed(text);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    node.unwrap()
}

fn shape(place: &Place) -> (usize, usize, usize) {
    (place.line, place.column, place.length)
}

#[test]
fn every_value_keeps_its_place() {
    let tree = tree("é: \"ü x\"\nlist:\n  - 12 # c\n  - { a: b }\nlong:\n  deeper: x\n");
    assert_eq!(shape(&at(&tree, &["é"]).place), (1, 4, 5));
    let Value::List(items) = &at(&tree, &["list"]).value else {
        panic!("no list")
    };
    assert_eq!(shape(&items[0].place), (3, 5, 2));
    assert_eq!(shape(&items[1].place), (4, 5, 8));
    assert_eq!(shape(&at(&items[1], &["a"]).place), (4, 10, 1));
    assert_eq!(shape(&at(&tree, &["long"]).place), (6, 3, 9));
    let Value::Map(entries) = &tree.value else {
        panic!("no map")
    };
    let keys = entries.iter().map(|entry| shape(&entry.key.place));
    assert_eq!(keys.collect::<Vec<_>>(), [(1, 1, 1), (2, 1, 4), (5, 1, 4)]);
}

#[test]
fn a_scalar_knows_whether_it_was_quoted() {
    let tree = tree("a: 1\nb: '1'\nc: \"1\"\nd: |\n  1\ne: >-\n  1\n  2\n");
    let read = |key| {
        let scalar = scalar(&tree, &[key]);
        (scalar.text(), scalar.quoted)
    };
    assert_eq!(read("a"), ("1".to_owned(), false));
    assert_eq!(read("b"), ("1".to_owned(), true));
    assert_eq!(read("c"), ("1".to_owned(), true));
    assert_eq!(read("d"), ("1\n".to_owned(), true));
    assert_eq!(read("e"), ("1 2".to_owned(), true));
}

#[test]
fn only_plain_words_are_null() {
    let tree = tree("a:\nb: ~\nc: null\nd: 'null'\ne: \"\"\nf: no\n");
    for key in ["a", "b", "c"] {
        assert!(matches!(at(&tree, &[key]).value, Value::Null), "{key}");
    }
    assert_eq!(scalar(&tree, &["d"]).text(), "null");
    assert_eq!(scalar(&tree, &["e"]).text(), "");
    assert_eq!(scalar(&tree, &["f"]).text(), "no");
    assert!(matches!(super::parsed("").0.unwrap().value, Value::Null));
}

#[test]
fn a_duplicate_key_shows_both_places_and_the_first_counts() {
    let (node, diagnostics) = parsed("r:\n  x: 1\n  y: 2\n  x: 3\n");
    assert_eq!(scalar(&node.unwrap(), &["r", "x"]).text(), "1");
    let found = diagnostics.iter().collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "{diagnostics}");
    assert_eq!(found[0].message, "`x` is defined twice");
    assert_eq!(shape(found[0].place.as_ref().unwrap()), (4, 3, 1));
    assert_eq!(shape(&found[0].related[0].0), (2, 3, 1));
}

#[test]
fn aliases_stand_for_what_they_name() {
    let tree = tree("a: &x { b: [c] }\nd: *x\n");
    assert!(matches!(at(&tree, &["d", "b"]).value, Value::List(_)));
    assert_eq!(shape(&at(&tree, &["d", "b"]).place), (1, 12, 3));
}

#[test]
fn a_file_may_be_long() {
    let text = format!("list: [{}]\n", "x, ".repeat(150_000));
    let Value::List(items) = at(&tree(&text), &["list"]).value.clone() else {
        panic!("no list");
    };
    assert_eq!(items.len(), 150_000);
}

#[test]
fn aliases_cannot_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let items = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{items}]\n"));
    }
    let (node, diagnostics) = parsed(&text);
    assert!(node.is_none());
    assert_eq!(
        messages(&diagnostics),
        ["the aliases of the file stand for more than 100000 values"]
    );
    let large = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(300_000),
        "*a, ".repeat(1_000)
    );
    assert!(parsed(&large).0.is_none());
    let (_, diagnostics) = parsed("a: &a [b, *a]\n");
    assert_eq!(
        messages(&diagnostics),
        ["this alias stands inside what it names"]
    );
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| format!("a: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    assert!(parsed(&nested(63)).1.is_empty());
    let (node, diagnostics) = parsed(&nested(64));
    assert!(node.is_none());
    assert_eq!(places(&diagnostics), ["test.yaml:1:67"]);
    assert_eq!(parsed(&nested(5_000)).1.iter().count(), 1);
}

#[test]
fn what_yaml_allows_and_we_do_not_is_said() {
    let says = |text, message: &str, place| {
        let (_, diagnostics) = parsed(text);
        assert_eq!(places(&diagnostics), [place], "{diagnostics}");
        assert!(messages(&diagnostics)[0].contains(message), "{diagnostics}");
    };
    says(
        "a: &a {x: 1}\nb:\n  <<: *a\n",
        "merge keys",
        "test.yaml:3:3",
    );
    says("a: 1\n---\nb: 2\n", "a second document", "test.yaml:2:1");
    says("a: !!str 1\n", "the tag `!!str`", "test.yaml:1:4");
    says("[a]: 1\n", "a key is a word", "test.yaml:1:1");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ \\ta-c:\\-#*&!|>'\"{}\\[\\],.$\\n\u{e9}\u{feff}]{0,60}") {
        let (_, diagnostics) = parsed(&text);
        // Every diagnostic can be shown, too.
        let _shown = diagnostics.to_string();
    }

    #[test]
    fn no_bytes_make_it_panic(text in any::<String>()) {
        let (_, diagnostics) = parsed(&text);
        let _shown = diagnostics.to_string();
    }
}
