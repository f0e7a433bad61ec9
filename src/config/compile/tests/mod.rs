//! The compiler on whole texts: what valid ones compile to, and mistakes that have no file in
//! `tests/config`.

mod defaults;
mod flows;
mod guards;
mod mistakes;
mod secrets;

use std::sync::Arc;

use crate::config::{
    Config,
    diagnostic::Diagnostics,
    raw::{self, Source},
};

/// What a text compiles to, and what is said about it.
fn compile(text: &str) -> (Option<Config>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let source = Arc::new(Source {
        name: "a.yaml".to_owned(),
        text: text.to_owned(),
    });
    let config = raw::parse(source, &mut diagnostics)
        .and_then(|root| super::compile(&root, &mut diagnostics));
    assert_eq!(config.is_none(), diagnostics.has_errors(), "{diagnostics}");
    (config, diagnostics)
}

/// A text without any mistake or doubt.
#[track_caller]
fn good(text: &str) -> Config {
    let (config, diagnostics) = compile(text);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    config.unwrap()
}
