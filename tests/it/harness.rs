//! The tools of the tests do what the tests rely on.

use std::time::Duration;

use lapin::BasicProperties;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{
    Answer, Backend, Broker, Client, Proxy, Rig, SOON, amqp::with_id, backend::raw_server,
    broker::address_of, client::Raw, eventually,
};

/// A script is answered in order, then the usual answer; every request is remembered whole.
#[tokio::test]
async fn the_backend_follows_its_script() {
    let backend = Backend::start().await;
    backend.script([
        Answer::status(503).header("retry-after", "1"),
        Answer::echo(),
        Answer::closed(),
        Answer::broken(),
    ]);
    let client = Client::new(backend.address());
    let reply = client.post("/a?b=c").body("one").send_plain().await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("retry-after")),
        (503, "1")
    );
    let reply = client.post("/").body("two").send_plain().await;
    assert_eq!(reply.body, "two");
    client.post("/").attempt().await.expect_err("closed");
    client.post("/").attempt().await.expect_err("broken off");
    client.get("/").send_plain().await.expect(200);
    let seen = backend.requests();
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[0].path, "/a");
    assert_eq!(seen[0].query.as_deref(), Some("b=c"));
    assert_eq!(seen[0].body, "one");
}

/// A hanging answer comes when it is let go, and counts as under way until then.
#[tokio::test]
async fn the_backend_hangs_until_released() {
    let backend = Backend::start().await;
    backend.otherwise(Answer::hang());
    let client = Client::h2c(backend.address());
    let call = tokio::spawn(async move { client.get("/").send_plain().await.status });
    backend.wait_for(1, Duration::from_secs(5)).await;
    assert_eq!(backend.busy(), 1);
    backend.release();
    assert_eq!(call.await.unwrap(), 200);
    assert_eq!((backend.busy(), backend.busiest()), (0, 1));
}

/// Garbage is what no HTTP client takes for an answer.
#[tokio::test]
async fn garbage_is_no_answer() {
    let address = raw_server(b"\x00\x01 this is not HTTP\r\n\r\n").await;
    let answer = Client::new(address).get("/").attempt().await;
    answer.expect_err("garbage");
    let mut raw = Raw::connect(address).await;
    assert!(raw.write(b"x").await);
    let (said, ended) = raw.read_to_end(Duration::from_secs(5)).await;
    assert!(ended && said.ends_with(b"HTTP\r\n\r\n"));
}

async fn echo_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    address
}

async fn echoed(stream: &mut TcpStream, text: &[u8]) -> bool {
    stream.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    let read = timeout(Duration::from_millis(300), stream.read_exact(&mut back)).await;
    matches!(read, Ok(Ok(_))) && back == text
}

/// Stalled bytes are held back, not lost; a cut breaks what is there and lets the next through.
#[tokio::test]
async fn the_proxy_stalls_and_cuts() {
    let proxy = Proxy::start(&echo_server().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(echoed(&mut stream, b"fair").await);
    proxy.set(|weather| weather.stall_down = true);
    assert!(!echoed(&mut stream, b"held").await);
    proxy.resume();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"held");
    proxy.stall();
    assert!(!echoed(&mut stream, b"both").await);
    proxy.cut();
    proxy.resume();
    let end = timeout(Duration::from_secs(5), stream.read(&mut back)).await;
    assert!(matches!(end, Ok(Ok(0) | Err(_))), "{end:?}");
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(echoed(&mut next, b"again").await);
}

/// A half-closed connection ends for the client while it may still write; refused ones end at once.
#[tokio::test]
async fn the_proxy_half_closes_and_refuses() {
    let proxy = Proxy::start(&echo_server().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(echoed(&mut stream, b"fair").await);
    proxy.half_close();
    let mut back = [0; 4];
    let end = timeout(Duration::from_secs(5), stream.read(&mut back)).await;
    assert_eq!(end.expect("in time").expect("no reset"), 0);
    stream
        .write_all(b"more")
        .await
        .expect("the other half lives");
    proxy.set(|weather| weather.refuse = true);
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    let end = timeout(Duration::from_secs(5), next.read(&mut back)).await;
    assert!(matches!(end, Ok(Ok(0) | Err(_))), "{end:?}");
}

/// What a test makes at the shared broker is gone after it.
#[tokio::test]
async fn a_rig_cleans_up() {
    let witness = Rig::new().await;
    let rig = Rig::new().await;
    let queue = rig.queue("made").await;
    let retry = hareway::config::names::retry_queue(&queue, Duration::from_millis(1200));
    rig.fill("retry: [1200ms]");
    rig.amqp().queue(&retry, &[]).await;
    rig.amqp().send(&queue, with_id("a"), b"x").await;
    rig.settles_at(&queue, 1).await;
    assert_eq!(witness.amqp().drain_many(&queue).await[0].message_id(), "a");
    drop(rig);
    assert_eq!(witness.amqp().counts(&queue).await, None);
    assert_eq!(witness.amqp().counts(&retry).await, None);
}

/// A private node keeps its messages over a restart and a crash, and is gone at the end.
#[tokio::test]
async fn a_private_node_comes_back_and_goes() {
    let broker = Broker::private().await;
    let mut rig = Rig::on(&broker).await;
    let queue = rig.queue("kept").await;
    rig.amqp().send(&queue, with_id("a"), b"x").await;
    broker.restart().await;
    rig.reconnect().await;
    rig.amqp()
        .send(
            &queue,
            BasicProperties::default().with_delivery_mode(2),
            b"y",
        )
        .await;
    broker.kill().await;
    eventually(SOON, "it is dead", async || {
        match TcpStream::connect(broker.address()).await {
            Err(_) => Ok(()),
            Ok(_) => Err("it answers".to_owned()),
        }
    })
    .await;
    broker.start_again().await;
    rig.reconnect().await;
    rig.settles_at(&queue, 2).await;
    assert!(broker.ctl(&["list_queues", "name"]).await.contains(&queue));
    let address = address_of(broker.url());
    drop(rig);
    drop(broker);
    eventually(SOON, "it has ended", async || {
        match TcpStream::connect(&address).await {
            Err(_) => Ok(()),
            Ok(_) => Err("it answers".to_owned()),
        }
    })
    .await;
}
