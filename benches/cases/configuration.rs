//! Loading and checking a configuration.

use std::{fmt::Write, fs, path::PathBuf};

use hareway::config::{self, Sources, raw::ProcessEnvironment};

/// A file with this many accept routes, and the queue that they publish to.
pub(crate) struct Configuration {
    routes: usize,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Configuration {
    pub(crate) fn new(routes: usize) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("hareway.yaml");
        fs::write(&path, text(routes)).expect("written");
        Self {
            routes,
            path,
            _dir: dir,
        }
    }

    /// Reads, interpolates, compiles and checks the file.
    pub(crate) fn load(&self) -> usize {
        let sources = Sources {
            files: vec![self.path.clone()],
            set: Vec::new(),
        };
        let loaded = config::load(&sources, &ProcessEnvironment::default());
        // What it says of a mistake has the whole file in it.
        let loaded = loaded.map_err(|_| "not compiled").expect("no mistake");
        assert_eq!(loaded.config.routes.len(), self.routes, "every route");
        loaded.config.routes.len()
    }
}

fn text(routes: usize) -> String {
    let mut text = String::from("queues:\n  orders: {}\nroutes:\n");
    for number in 0..routes {
        let team = number % 100;
        // Writing to a string does not fail.
        let _written = writeln!(
            text,
            "  orders-{number}:\n    from: {{ http: \"POST /team-{team}/orders-{number}/{{id}}\" }}\n    \
             to: {{ amqp: orders }}"
        );
    }
    text
}
