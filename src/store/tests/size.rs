//! The file follows its content down as well.

use super::*;

fn length(folder: &TempDir) -> u64 {
    let file = folder.path().join("hareway.redb");
    std::fs::metadata(file).unwrap().len()
}

#[tokio::test]
async fn an_emptied_store_gives_the_disk_back() {
    let folder = folder();
    let store = Store::open(folder.path()).unwrap();
    let (line, kept) = (spool(&store, "orders"), spool(&store, "invoices"));
    kept.append(message("kept")).await.unwrap();
    for n in 0..40 {
        let mut message = message(&n.to_string());
        message.body = vec![1; 1 << 20].into();
        line.append(message).await.unwrap();
    }
    let full = length(&folder);
    assert!(full > 40 << 20);
    while !line.is_empty() {
        let first = line.first(3, u64::MAX).await.unwrap();
        line.remove(keys(&first)).await.unwrap();
    }
    // The file is made shorter after the last removal was answered; a question waits for that.
    assert_eq!(ids(&all(&kept).await), ["kept"]);
    assert!(
        length(&folder) < 16 << 20,
        "still {} of {full}",
        length(&folder)
    );
    line.append(message("more")).await.unwrap();
    store.close().await;
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(ids(&all(&spool(&store, "invoices")).await), ["kept"]);
    assert_eq!(ids(&all(&spool(&store, "orders")).await), ["more"]);
    store.close().await;
}
