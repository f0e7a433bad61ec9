use std::path::Path;

use crate::config::raw::{Environment, ProcessEnvironment, parse_env_file};

#[test]
fn an_env_file_has_keys_values_quotes_and_comments() {
    let text =
        "# c\n\nA=1\nexport B = two words # c\nC='x # y'\nD=\"q\" # c\nE=\nexported=a#b\nA=2\n";
    let read = parse_env_file(text).unwrap();
    let read = read.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    assert_eq!(
        read.collect::<Vec<_>>(),
        [
            ("A", "2"),
            ("B", "two words"),
            ("C", "x # y"),
            ("D", "q"),
            ("E", ""),
            ("exported", "a#b")
        ]
    );
}

#[test]
fn a_line_that_is_something_else_is_named_but_not_shown() {
    for text in [
        "A=1\nhunter2\n",
        "A=1\n2hunter=x\n",
        "A=1\nB='hunter\n",
        "A=1\nB='x' hunter\n",
    ] {
        let error = parse_env_file(text).unwrap_err();
        assert_eq!(error.line, 2);
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
}

#[test]
fn the_processs_own_environment_wins() {
    let extra = [
        ("PATH".to_owned(), "x".to_owned()),
        ("HAREWAY_T".to_owned(), "y".to_owned()),
    ];
    let env = ProcessEnvironment {
        extra: extra.into(),
    };
    assert_eq!(env.var("PATH"), std::env::var("PATH").ok());
    assert_eq!(env.var("HAREWAY_T").as_deref(), Some("y"));
    assert_eq!(env.var("HAREWAY_UNSET"), None);
}

#[test]
fn a_file_is_read_up_to_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let env = ProcessEnvironment::default();
    std::fs::write(&path, "x".repeat(4 << 20)).unwrap();
    assert_eq!(env.read_file(&path).unwrap().len(), 4 << 20);
    std::fs::write(&path, "x".repeat((4 << 20) + 1)).unwrap();
    assert!(env.read_file(&path).is_err());
    std::fs::write(&path, [0xff]).unwrap();
    assert!(env.read_file(&path).is_err());
    assert!(env.read_file(Path::new("/nowhere/x")).is_err());
}
