//! The command line, from outside: what is printed where, and the exit codes.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

const GOOD: &str = "\
routes:
  place-order:
    from: { http: \"POST /orders\" }
    to: { amqp: orders }
  fulfil-order:
    from: { amqp: orders }
    to: { http: \"http://127.0.0.1:9/\" }
";

/// A folder with a `hareway.yaml`, in which the program is started.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hareway.yaml"), text).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn hareway(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hareway"))
            .args(arguments)
            .current_dir(self.path())
            .env_remove("RUST_LOG")
            .env_remove("HAREWAY_TEST_PATH")
            .output()
            .unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn wrong_usage_is_64_and_what_was_asked_for_is_0() {
    let folder = Folder::with(GOOD);
    for wrong in [
        &["bogus"][..],
        &["run", "--nonsense"],
        &["completions"],
        &["parked"],
        &["parked", "replay"],
        &["parked", "discard", "--yes"],
        &["parked", "list", "--route", "place-order"],
        &[],
    ] {
        let output = folder.hareway(wrong);
        assert_eq!(code(&output), 64, "{wrong:?}");
        assert!(out(&output).is_empty(), "{wrong:?}");
        assert!(!err(&output).is_empty(), "{wrong:?}");
    }
    for asked in [&["--help"][..], &["--version"], &["check", "--help"]] {
        let output = folder.hareway(asked);
        assert_eq!(code(&output), 0, "{asked:?}");
        assert!(!out(&output).is_empty(), "{asked:?}");
    }
}

#[test]
fn check_tells_each_route_and_how_many_there_are() {
    let output = Folder::with(GOOD).hareway(&["check"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    assert!(
        text.starts_with("place-order (accept): POST /orders"),
        "{text}"
    );
    assert!(text.contains("\nfulfil-order (deliver): "), "{text}");
    assert!(text.ends_with("\nOK: 2 routes, 0 warnings\n"), "{text}");
}

#[test]
fn every_command_that_reads_a_bad_configuration_explains_it_and_is_64() {
    let folder = Folder::with(&GOOD.replace("from: { amqp", "form: { amqp"));
    for command in ["check", "routes", "run"] {
        let output = folder.hareway(&[command]);
        assert_eq!(code(&output), 64, "{command}");
        assert!(out(&output).is_empty(), "{command}");
        let text = err(&output);
        assert!(text.contains("hareway.yaml:6:5"), "{text}");
        assert!(text.contains("did you mean `from`?"), "{text}");
    }
}

#[test]
fn a_configuration_that_is_not_there_is_64() {
    let output = Folder::with(GOOD).hareway(&["check", "-c", "other.yaml"]);
    assert_eq!(code(&output), 64);
    assert!(err(&output).contains("`other.yaml` cannot be read"));
}

#[test]
fn warnings_are_denied_where_that_is_asked_for() {
    let folder = Folder::with(&format!("{GOOD}    retry: none\n"));
    let output = folder.hareway(&["check"]);
    assert_eq!(code(&output), 0);
    assert!(err(&output).starts_with("warning: "), "{}", err(&output));
    assert!(out(&output).ends_with("OK: 2 routes, 1 warning\n"));
    let denied = folder.hareway(&["check", "--deny-warnings"]);
    assert_eq!(code(&denied), 64);
    assert_eq!(err(&denied), err(&output));
    assert!(!out(&denied).contains("OK"));
}

#[test]
fn routes_are_a_table() {
    let output = Folder::with(GOOD).hareway(&["routes"]);
    assert_eq!(code(&output), 0);
    let text = out(&output);
    let lines: Vec<&str> = text.lines().collect();
    let column = |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(lines.len(), 3, "{text}");
    let flow = column(lines[0], "FLOW");
    assert_eq!(column(lines[1], "accept"), flow, "{text}");
    assert_eq!(column(lines[2], "deliver"), flow, "{text}");
}

#[test]
fn layers_sets_and_variables_come_from_the_arguments() {
    let folder = Folder::with(&GOOD.replace("POST /orders", "POST ${HAREWAY_TEST_PATH:-/a}"));
    let path = |arguments: &[&str]| {
        let output = folder.hareway(&[&["routes"][..], arguments].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        out(&output).lines().nth(1).unwrap().to_owned()
    };
    assert!(path(&[]).contains("POST /a "));
    fs::write(folder.path().join("test.env"), "HAREWAY_TEST_PATH=/b\n").unwrap();
    assert!(path(&["--env-file", "test.env"]).contains("POST /b "));
    let over = "routes: { place-order: { from: { http: PUT /c } } }";
    fs::write(folder.path().join("over.yaml"), over).unwrap();
    let layers = ["-c", "hareway.yaml", "-c", "over.yaml"];
    assert!(path(&layers).contains("PUT /c "));
    let set = ["--set", "routes.place-order.from.http=GET /d"];
    assert!(path(&[&layers[..], &set].concat()).contains("GET /d "));
}

#[test]
fn an_unreadable_env_file_is_64_and_shows_no_line_of_it() {
    let folder = Folder::with(GOOD);
    let output = folder.hareway(&["check", "--env-file", "none.env"]);
    assert_eq!(code(&output), 64);
    assert!(err(&output).starts_with("error: `none.env` cannot be read"));
    fs::write(folder.path().join("bad.env"), "A=1\nhunter2\n").unwrap();
    let output = folder.hareway(&["check", "--env-file", "bad.env"]);
    assert_eq!(code(&output), 64);
    assert_eq!(
        err(&output),
        "error: `bad.env`: line 2: this is not `KEY=VALUE`\n"
    );
}

#[test]
fn an_address_that_is_taken_is_1_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let set = format!("http.listen={address}");
    let output = Folder::with(GOOD).hareway(&["run", "--set", &set]);
    assert_eq!(code(&output), 1);
    let text = err(&output);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("error: cannot listen on"), "{text}");
    assert!(last.contains(&address.to_string()), "{text}");
    assert!(last.contains("`http.listen`"), "{text}");
}

#[test]
fn parked_messages_need_a_broker_that_answers() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let set = format!("amqp.url=amqp://{port}");
    let output = Folder::with(GOOD).hareway(&["parked", "list", "--set", &set]);
    assert_eq!(code(&output), 1);
    assert!(out(&output).is_empty());
    let text = err(&output);
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("error: cannot connect to the broker: "),
        "{text}"
    );
}

#[test]
fn the_schema_and_the_reference_are_printed() {
    let folder = Folder::with(GOOD);
    let schema = folder.hareway(&["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema.pointer("/properties/routes").is_some());
    let reference = out(&folder.hareway(&["schema", "--markdown"]));
    assert!(reference.starts_with("# Configuration\n"));
}

#[test]
fn there_are_completions_for_each_shell() {
    let folder = Folder::with(GOOD);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = folder.hareway(&["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(out(&output).contains("deny-warnings"), "{shell}");
    }
}
