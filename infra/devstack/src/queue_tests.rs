//! The queue and its mapping in virtual time; the front over a socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::mapping::{Mapping, MappingConfig};
use crate::mischief::Mischief;
use crate::queue::{Queue, QueueConfig};
use crate::sqs_server::QueueServer;

const VISIBILITY: Duration = Duration::from_mins(1);

fn queue() -> Queue {
    let config = QueueConfig {
        visibility: VISIBILITY,
        receives_max: 5,
    };
    Queue::new(config, Clock::system())
}

/// Batches as the function got them, and when.
type Batches = mpsc::UnboundedReceiver<(Instant, Vec<Value>)>;

/// A mapping to a function that answers by the text of each message: `ok`, or anything else to
/// be reported as failed, or `throw`.
fn map(queue: &Queue) -> (Mapping, Batches) {
    let (sender, batches) = mpsc::unbounded_channel();
    let invoke = move |event: Bytes| {
        let event: Value = serde_json::from_slice(&event).unwrap();
        let records = event["Records"].as_array().unwrap().clone();
        let throws = records.iter().any(|record| record["body"] == "throw");
        let failed = records.iter().filter(|record| record["body"] != "ok");
        let failed: Vec<_> = failed
            .map(|record| json!({ "itemIdentifier": record["messageId"] }))
            .collect();
        sender.send((Instant::now(), records)).unwrap();
        let answer = json!({ "batchItemFailures": failed }).to_string();
        async move { (!throws).then_some(Bytes::from(answer)) }
    };
    (
        Mapping::start(queue.clone(), MappingConfig::default(), invoke),
        batches,
    )
}

/// Whether this comes to be so in less time than a message takes to come back.
async fn until(is_so: impl Fn() -> bool) -> bool {
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    let comes = async {
        while !is_so() {
            looks.tick().await;
        }
    };
    let comes = tokio::time::timeout(VISIBILITY / 2, comes);
    comes.await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_at_work_when_it_can_be_received_and_until_it_is_handled() {
    let queue = queue();
    queue.send("later", Duration::from_mins(15));
    assert!(!queue.is_at_work(), "it waits for its time");
    let id = queue.send("now", Duration::ZERO);
    assert!(queue.is_at_work());
    assert_eq!(queue.receive_now(5).len(), 1);
    assert!(queue.is_at_work(), "it is being handled");
    queue.give_back(&[id]);
    assert!(
        !queue.is_at_work(),
        "it waits for the end of its visibility"
    );
    tokio::time::advance(VISIBILITY).await;
    assert!(queue.is_at_work());
}

#[tokio::test(start_paused = true)]
async fn a_delayed_message_arrives_in_its_time() {
    let queue = queue();
    let (_mapping, mut batches) = map(&queue);
    let sent = Instant::now();
    queue.send("ok", Duration::from_mins(15));
    queue.send("ok", Duration::ZERO);
    let (at, records) = batches.recv().await.unwrap();
    assert_eq!(
        (at - sent < Duration::from_secs(1), records.len()),
        (true, 1)
    );
    let (at, records) = batches.recv().await.unwrap();
    assert_eq!(((at - sent).as_secs(), records.len()), (900, 1));
}

#[tokio::test(start_paused = true)]
async fn messages_come_in_batches_and_leave_after_success() {
    let queue = queue();
    for _ in 0..12 {
        queue.send("ok", Duration::ZERO);
    }
    let (_mapping, mut batches) = map(&queue);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        sizes.push(batches.recv().await.unwrap().1.len());
    }
    assert_eq!(sizes, [5, 5, 2]);
    assert!(until(|| queue.depth() == 0).await, "messages are left");
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_comes_back_alone_and_dies_after_five_receives() {
    let queue = queue();
    queue.send("ok", Duration::ZERO);
    queue.send("poison", Duration::ZERO);
    let (_mapping, mut batches) = map(&queue);
    let start = Instant::now();
    for receive in 1..=5_u32 {
        let (at, records) = batches.recv().await.unwrap();
        assert_eq!(records.len(), if receive == 1 { 2 } else { 1 });
        let poison = records.last().unwrap();
        assert_eq!(poison["body"], "poison");
        assert_eq!(
            poison["attributes"]["ApproximateReceiveCount"],
            receive.to_string()
        );
        let expected = VISIBILITY * (receive - 1);
        assert!(at - start >= expected && at - start < expected + Duration::from_secs(1));
        assert!(until(|| !queue.is_at_work()).await, "it is given back");
    }
    let sixth = tokio::time::timeout(VISIBILITY + Duration::from_secs(1), batches.recv());
    assert!(sixth.await.is_err(), "it came a sixth time");
    assert_eq!(
        (queue.dead_letters(), queue.depth()),
        (vec!["poison".to_owned()], 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_thrown_error_fails_the_whole_batch() {
    let queue = queue();
    queue.send("ok", Duration::ZERO);
    queue.send("throw", Duration::ZERO);
    let (_mapping, mut batches) = map(&queue);
    for _ in 0..2 {
        assert_eq!(batches.recv().await.unwrap().1.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_invocations_at_once_than_allowed() {
    let queue = queue();
    for _ in 0..50 {
        queue.send("x", Duration::ZERO);
    }
    let most = MappingConfig::default().concurrency_max;
    let gate = Arc::new(Semaphore::new(0));
    let (tell, mut begun) = mpsc::unbounded_channel();
    let invoke = {
        let gate = Arc::clone(&gate);
        move |_: Bytes| {
            let (gate, tell) = (Arc::clone(&gate), tell.clone());
            async move {
                tell.send(()).unwrap();
                gate.acquire().await.unwrap().forget();
                Some(Bytes::from_static(b"{}"))
            }
        }
    };
    let _mapping = Mapping::start(queue.clone(), MappingConfig::default(), invoke);
    for _ in 0..most {
        begun.recv().await.unwrap();
    }
    // Nothing ends meanwhile, so with time to spare another one must not begin.
    let another = tokio::time::timeout(Duration::from_secs(1), begun.recv());
    assert!(another.await.is_err(), "more than {most} at once");
    gate.add_permits(50);
    assert!(until(|| queue.depth() == 0).await, "messages are left");
}

async fn post(server: &QueueServer, operation: &str, body: &str) -> (u16, String) {
    let address = server.endpoint.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: q\r\nx-amz-target: AmazonSQS.{operation}\r\n\
         content-type: application/x-amz-json-1.0\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test]
async fn the_front_speaks_sqs() {
    let queue = queue();
    let server = QueueServer::start(queue.clone()).await.unwrap();
    assert!(server.queue_url().starts_with(&server.endpoint));
    let (status, answer) = post(
        &server,
        "SendMessage",
        r#"{"QueueUrl":"q","MessageBody":"hello"}"#,
    )
    .await;
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer.contains("5d41402abc4b2a76b9719d911017c592"),
        "{answer}"
    );

    let batch = r#"{"QueueUrl":"q","Entries":[{"Id":"a","MessageBody":"x"},
        {"Id":"b","MessageBody":"y","DelaySeconds":901}]}"#;
    let (status, answer) = post(&server, "SendMessageBatch", batch).await;
    assert_eq!(status, 200, "{answer}");
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&body["Successful"][0]["Id"], &body["Failed"][0]["Id"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!(queue.depth(), 2);

    let late = r#"{"QueueUrl":"q","MessageBody":"x","DelaySeconds":901}"#;
    for (operation, body) in [
        ("SendMessage", late),
        ("SendMessage", "{}"),
        ("SendMessage", "no json"),
        ("SendMessageBatch", r#"{"Entries":[]}"#),
        ("PurgeQueue", "{}"),
    ] {
        let (status, answer) = post(&server, operation, body).await;
        assert_eq!(status, 400, "{operation} {body}: {answer}");
        assert!(answer.contains("x-amzn-query-error: "), "{answer}");
    }
    assert_eq!(queue.depth(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_disturbed_queue_loses_doubles_and_recovers() {
    let queue = queue();
    let all = |lose, double| Mischief {
        lose,
        double,
        delay: 0.0,
        delay_max: Duration::ZERO,
    };
    queue.disturb(Some(all(1.0, 0.0)), 1);
    queue.send("ok", Duration::ZERO);
    assert_eq!(queue.depth(), 0);
    queue.disturb(Some(all(0.0, 1.0)), 1);
    queue.send("ok", Duration::ZERO);
    let ids: Vec<_> = queue
        .receive_now(5)
        .into_iter()
        .map(|r| r.message_id)
        .collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1], "each copy is deleted for itself");
    queue.disturb(None, 1);
    queue.send("ok", Duration::ZERO);
    assert_eq!(queue.depth(), 3);
    assert_eq!((queue.mishaps().lost, queue.mishaps().doubled), (1, 1));
    assert_eq!((queue.lose_all(), queue.depth()), (3, 0));
}
