//! Taps before a real socket.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

#[test]
fn heads_tell_the_question_and_no_secret() {
    assert_eq!(
        head(b"GET /v1/servers?label=x HTTP/1.1\r\nhost: a\r\n"),
        "GET /v1/servers"
    );
    assert_eq!(head(b"p\0\0\0\x0csecret\0"), "message p");
    assert_eq!(head(b"\0\0\0\x08\x04\xd2"), "start");
}

/// Answers every line with `ok` and counts the lines it saw.
async fn upstream() -> (String, Arc<Mutex<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut byte = [0];
                while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
                    if byte == *b"\n" {
                        *count.lock().unwrap() += 1;
                        stream.write_all(b"ok").await.unwrap();
                    }
                }
            });
        }
    });
    (url, seen)
}

async fn connect(wire: &Wire, url: &str) -> TcpStream {
    let tapped = Url::parse(&wire.tap("echo", url).await.unwrap()).unwrap();
    assert_eq!(tapped.path(), "/base");
    TcpStream::connect(("127.0.0.1", tapped.port().unwrap()))
        .await
        .unwrap()
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"two ").await.unwrap();
    stream.write_all(b"parts\n").await.unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ok");
}

/// Ends our side; what is still passed back until the other side ends.
async fn rest_of(mut stream: TcpStream) -> String {
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    let read = timeout(Duration::from_mins(1), stream.read_to_string(&mut rest)).await;
    read.expect("the connection ends").unwrap();
    rest
}

#[tokio::test]
async fn turns_are_counted_over_all_connections() {
    let (url, _) = upstream().await;
    let wire = Wire::new(None);
    let mut one = connect(&wire, &url).await;
    let mut two = connect(&wire, &url).await;
    ask(&mut one).await;
    ask(&mut two).await;
    ask(&mut one).await;
    let turns = wire.turns();
    let seen: Vec<_> = turns
        .iter()
        .map(|t| (t.ordinal, t.connection, t.in_connection))
        .collect();
    assert_eq!(seen, [(1, 1, 1), (2, 2, 1), (3, 1, 2)]);
}

#[tokio::test]
async fn killed_before_a_turn_it_has_no_effect() {
    let (url, seen) = upstream().await;
    let wire = Wire::new(Some(KillPoint {
        turn: 2,
        side: Side::Before,
    }));
    let mut stream = connect(&wire, &url).await;
    ask(&mut stream).await;
    stream.write_all(b"never\n").await.unwrap();
    wire.struck().await;
    assert_eq!(rest_of(stream).await, "", "it was answered");
    assert_eq!(*seen.lock().unwrap(), 1);
}

#[tokio::test]
async fn killed_after_a_turn_it_has_its_effect_and_no_answer() {
    let (url, seen) = upstream().await;
    let wire = Wire::new(Some(KillPoint {
        turn: 2,
        side: Side::After,
    }));
    let mut stream = connect(&wire, &url).await;
    ask(&mut stream).await;
    stream.write_all(b"unseen\n").await.unwrap();
    wire.struck().await;
    assert_eq!(*seen.lock().unwrap(), 2);
    assert_eq!(rest_of(stream).await, "", "the answer was passed back");
}

#[tokio::test]
async fn a_kill_freezes_the_other_connections() {
    let (url, seen) = upstream().await;
    let wire = Wire::new(Some(KillPoint {
        turn: 2,
        side: Side::Before,
    }));
    let mut one = connect(&wire, &url).await;
    let mut two = connect(&wire, &url).await;
    ask(&mut one).await;
    two.write_all(b"never\n").await.unwrap();
    wire.struck().await;
    one.write_all(b"nor this\n").await.unwrap();
    for stream in [one, two] {
        assert_eq!(rest_of(stream).await, "", "it was answered");
    }
    assert_eq!(*seen.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_gate_holds_one_question_until_it_is_open() {
    let (url, seen) = upstream().await;
    for side in [Side::Before, Side::After] {
        let begun = *seen.lock().unwrap();
        let wire = Wire::new(None);
        let gate = Gate::new();
        wire.hold(KillPoint { turn: 2, side }, gate.clone());
        let mut held = connect(&wire, &url).await;
        let mut other = connect(&wire, &url).await;
        ask(&mut held).await;
        let question = tokio::spawn(async move {
            ask(&mut held).await;
        });
        gate.reached().await;
        ask(&mut other).await;
        assert!(!question.is_finished(), "{side:?}");
        let there = if side == Side::Before { 2 } else { 3 };
        assert_eq!(*seen.lock().unwrap() - begun, there, "{side:?}");
        gate.open();
        question.await.unwrap();
        assert_eq!(*seen.lock().unwrap() - begun, 3, "{side:?}");
    }
}

#[tokio::test]
async fn a_running_process_is_struck_at_its_next_question_unless_it_is_spared() {
    let (url, seen) = upstream().await;
    let wire = Wire::new(None);
    let mut stream = connect(&wire, &url).await;
    ask(&mut stream).await;
    wire.strike_next(Side::Before);
    wire.spare();
    ask(&mut stream).await;
    wire.strike_next(Side::Cut);
    stream.write_all(b"unseen\n").await.unwrap();
    let mut end = [0];
    assert_eq!(
        stream.read(&mut end).await.unwrap(),
        0,
        "the connection ends"
    );
    assert!(wire.was_cut() && !wire.is_struck());
    assert_eq!(*seen.lock().unwrap(), 3, "the question arrived");
    // Once only: the next connection is let be.
    let mut stream = connect(&wire, &url).await;
    ask(&mut stream).await;
    wire.strike_next(Side::Before);
    stream.write_all(b"never\n").await.unwrap();
    wire.struck().await;
    assert_eq!(rest_of(stream).await, "", "it was answered");
    assert_eq!(*seen.lock().unwrap(), 4);
}
