//! A file that is not this store is refused in one line that names it, and stays as it is.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
};

use redb::{Database, TableDefinition};

use super::*;

const ANY: TableDefinition<'_, &str, u64> = TableDefinition::new("anything");

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("hareway.redb")
}

/// Opens it, and sees that the refusal is one line with its name and that no byte has changed.
fn refusal(folder: &TempDir) -> StoreError {
    let names = || fs::read_dir(folder.path()).unwrap().count();
    let (before, beside) = (fs::read(file(folder)).unwrap(), names());
    let error = Store::open(folder.path()).unwrap_err();
    assert_eq!(fs::read(file(folder)).unwrap(), before, "the file changed");
    assert_eq!(names(), beside, "something was left beside it");
    let text = error.to_string();
    assert!(text.contains(file(folder).to_str().unwrap()), "{text}");
    assert!(!text.contains('\n'), "{text}");
    error
}

/// A store with some messages, closed.
async fn filled(folder: &TempDir, messages: usize) {
    let store = Store::open(folder.path()).unwrap();
    let line = spool(&store, "orders");
    for n in 0..messages {
        line.append(message(&n.to_string())).await.unwrap();
    }
    store.close().await;
}

/// The file as a crash leaves it: copied while it is open.
async fn crashed(folder: &TempDir) -> Vec<u8> {
    let store = Store::open(folder.path()).unwrap();
    spool(&store, "orders")
        .append(message("last"))
        .await
        .unwrap();
    let image = fs::read(file(folder)).unwrap();
    store.close().await;
    image
}

#[test]
fn text_and_zeros_and_nothing_are_no_store() {
    for content in [
        b"name: value\n".repeat(1000),
        vec![0; 5000],
        b"re".to_vec(),
        Vec::new(),
    ] {
        let folder = folder();
        fs::write(file(&folder), content).unwrap();
        assert!(matches!(refusal(&folder), StoreError::Foreign(_)));
    }
}

#[test]
fn a_database_of_something_else_is_no_store() {
    let folder = folder();
    let database = Database::create(file(&folder)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ANY).unwrap().insert("a", 1).unwrap();
    transaction.commit().unwrap();
    // Not closed properly either: it must not be repaired.
    let image = fs::read(file(&folder)).unwrap();
    drop(database);
    assert!(matches!(refusal(&folder), StoreError::Foreign(_)));
    fs::write(file(&folder), image).unwrap();
    assert!(matches!(refusal(&folder), StoreError::Foreign(_)));
}

#[tokio::test]
async fn another_format_is_refused_with_both_numbers() {
    let folder = folder();
    filled(&folder, 3).await;
    let database = Database::open(file(&folder)).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = TableDefinition::<&str, u64>::new("hareway");
    transaction
        .open_table(meta)
        .unwrap()
        .insert("format", 7)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refusal(&folder);
    assert!(
        matches!(
            error,
            StoreError::Version {
                found: 7,
                expected: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_store_in_use_is_locked() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    spool(&store, "orders").append(message("a")).await.unwrap();
    assert!(matches!(refusal(&folder), StoreError::Locked(_)));
    store.close().await;
    Store::open(folder.path()).unwrap().close().await;
}

#[tokio::test]
async fn what_is_no_file_is_an_error_of_the_system() {
    let folder = folder();
    fs::create_dir(file(&folder)).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    let error = Store::open(&file(&folder).join("x\0y")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[tokio::test]
async fn a_store_that_is_cut_short_is_damaged() {
    let folder = folder();
    filled(&folder, 300).await;
    let whole = fs::read(file(&folder)).unwrap();
    for length in [10, 320, 4096, 5000, whole.len() / 2, whole.len() - 1] {
        fs::write(file(&folder), &whole[..length]).unwrap();
        let error = refusal(&folder);
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{length}: {error}"
        );
    }
}

/// After a crash every page is checked, whatever it holds.
#[tokio::test]
async fn a_crashed_store_with_a_broken_page_is_damaged() {
    let folder = folder();
    filled(&folder, 300).await;
    let image = crashed(&folder).await;
    let text = b"body of 17";
    let place = image
        .windows(text.len())
        .position(|bytes| bytes == text)
        .unwrap();
    fs::write(file(&folder), &image).unwrap();
    let mut broken = fs::OpenOptions::new()
        .write(true)
        .open(file(&folder))
        .unwrap();
    broken.seek(SeekFrom::Start(place as u64)).unwrap();
    broken.write_all(b"B").unwrap();
    drop(broken);
    let error = refusal(&folder);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");

    fs::write(file(&folder), &image).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(spool(&store, "orders").usage().messages, 301);
    store.close().await;
}

#[tokio::test]
async fn a_new_store_is_made_with_its_folder_and_is_empty() {
    let parent = folder();
    let path = parent.path().join("a/b");
    let store = Store::open(&path).unwrap();
    assert!(store.is_up());
    assert!(store.spooled().is_empty());
    store.close().await;
    let names: Vec<_> = fs::read_dir(&path).unwrap().collect();
    assert_eq!(names.len(), 2, "the file and the reserve: {names:?}");
}

/// Whoever comes first makes it; the other finds it in use, and nobody loses a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_start_at_once_have_one_store() {
    for _ in 0..20 {
        let folder = folder();
        let path = folder.path().to_owned();
        let open = move || Store::open(&path);
        let (one, other) = tokio::join!(
            tokio::task::spawn_blocking(open.clone()),
            tokio::task::spawn_blocking(open)
        );
        let (mut opened, mut refused) = (Vec::new(), 0);
        for result in [one.unwrap(), other.unwrap()] {
            match result {
                Ok(store) => opened.push(store),
                Err(StoreError::Locked(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((opened.len(), refused), (1, 1));
        let store = opened.pop().unwrap();
        spool(&store, "orders").append(message("a")).await.unwrap();
        store.close().await;
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(spool(&store, "orders").usage().messages, 1);
        store.close().await;
    }
}
