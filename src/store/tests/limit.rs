//! A real process whose files may not grow.
#![cfg(target_os = "linux")]

use std::process::Command;

use super::{
    trouble::{fill, holds, up},
    *,
};

const CHILD: &str = "store::tests::limit::child_whose_files_are_limited";

#[test]
fn a_process_whose_files_may_not_grow_refuses_and_recovers() {
    // A process that does not ignore the signal is ended by its first write beyond the limit.
    let limited = r#"trap "" XFSZ; ulimit -S -f 8192; exec "$0" "$@""#;
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "the test above starts it under a limit"]
async fn child_whose_files_are_limited() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    let (mut stored, refused) = fill(&line, "a").await;
    assert!(matches!(refused, Refused::Unknown(_)), "{refused:?}");
    assert!(!store.is_up());
    assert!(stored.len() > 10, "only {} fitted", stored.len());
    assert!(holds(&ids(&all(&line).await), &stored), "it can be read");

    let own = std::process::id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &own, "--fsize=unlimited"])
        .status()
        .unwrap();
    assert!(raised.success());
    up(&store).await;
    let (more, name) = (message("more"), "more".to_owned());
    line.append(more).await.unwrap();
    stored.push(name);
    store.close().await;
    let store = Store::open(folder.path()).unwrap();
    assert!(holds(&ids(&all(&spool(&store, "orders")).await), &stored));
    store.close().await;
}
