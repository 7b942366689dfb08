//! Repeats at the same time make one agent, and an event costs one round trip to the database,
//! counted on the wire.

use crate::{
    life::histories,
    queue::Queue,
    story::{Shape, Story},
    world::{World, config, database, signed, webhook},
};
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tower::ServiceExt;

fn paid(event: &str) -> Request<Body> {
    let body = json!({"id": event, "object": "event", "created": 1_799_999_990, "livemode": false,
        "type": "checkout.session.completed", "data": {"object": {"object": "checkout.session",
            "id": "cs_1", "payment_status": "paid", "subscription": "sub_1"}}})
    .to_string();
    signed(body)
}

#[tokio::test]
async fn a_hundred_repeats_at_once_make_one_job() {
    let url = database().await;
    let queue = Queue::start().await;
    let senders: Vec<_> = (0..10)
        .map(|seed| {
            let webhook = webhook(&config(&url), &queue, (seed, None));
            tokio::spawn(async move {
                for _ in 0..10 {
                    let response = webhook.clone().oneshot(paid("evt_1")).await.unwrap();
                    assert_eq!(response.status(), StatusCode::OK);
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let sent = queue.take();
    let jobs: BTreeSet<_> = sent.iter().map(|sent| sent.nudge.job.unwrap()).collect();
    assert_eq!((sent.len(), jobs.len()), (100, 1));
}

/// A way to the database that counts how often the client speaks after having listened.
#[derive(Default)]
struct Wire {
    listened: AtomicBool,
    turns: AtomicUsize,
}

impl Wire {
    async fn carry(self: Arc<Self>, listener: TcpListener, database: String) {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&database).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(Arc::clone(&self).pass(from_client, to_server, true));
            tokio::spawn(Arc::clone(&self).pass(from_server, to_client, false));
        }
    }

    async fn pass(
        self: Arc<Self>,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        client_speaks: bool,
    ) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if client_speaks && self.listened.swap(false, Ordering::SeqCst) {
                self.turns.fetch_add(1, Ordering::SeqCst);
            }
            self.listened.fetch_or(!client_speaks, Ordering::SeqCst);
            to.write_all(&bytes[..count]).await.unwrap();
        }
    }
}

/// The URL with another port, and the address it had.
fn through(url: &str, port: u16) -> (String, String) {
    let (head, tail) = url.split_once('@').unwrap();
    let (address, name) = tail.split_once('/').unwrap();
    (
        format!("{head}@127.0.0.1:{port}/{name}"),
        address.to_owned(),
    )
}

#[tokio::test]
async fn an_event_costs_one_round_trip() {
    let direct = database().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (url, address) = through(&direct, listener.local_addr().unwrap().port());
    let wire = Arc::new(Wire::default());
    tokio::spawn(Arc::clone(&wire).carry(listener, address));
    let queue = Queue::start().await;
    let webhook = webhook(&config(&url), &queue, (1, None));
    let post =
        async |request: Request<Body>| webhook.clone().oneshot(request).await.unwrap().status();
    assert_eq!(
        post(paid("evt_0")).await,
        StatusCode::OK,
        "the connection stands"
    );
    for event in ["evt_1", "evt_1", "evt_2"] {
        wire.turns.store(0, Ordering::SeqCst);
        assert_eq!(post(paid(event)).await, StatusCode::OK);
        assert_eq!(wire.turns.load(Ordering::SeqCst), 1, "{event}");
    }
    assert_eq!(queue.take().len(), 4);
}

/// Sends an event until it is taken, as Stripe does, which calls again after a 503: the database of
/// a busy machine may answer too late.
async fn deliver(webhook: &Router, event: &str) {
    for _ in 0..5 {
        let sent = webhook.clone().oneshot(signed(event.to_owned()));
        match sent.await.unwrap().status() {
            StatusCode::OK => return,
            StatusCode::SERVICE_UNAVAILABLE => {}
            other => panic!("{other} to {event}"),
        }
    }
    panic!("never taken: {event}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_events_of_a_history_at_once_end_as_one_after_the_other() {
    let url = database().await;
    let world = World::on(&config(&url), None).await;
    let webhooks: Vec<_> = (0..6)
        .map(|seed| webhook(&config(&url), &world.queue, (10 + seed, None)))
        .collect();
    let mut number = 0;
    for _ in 0..4 {
        for which in 0..histories(1, Shape::New).len() {
            number += 1;
            let (events, stand) = histories(number, Shape::New).swap_remove(which);
            let senders: Vec<_> = events
                .iter()
                .zip(&webhooks)
                .map(|(event, webhook)| (event.to_string(), webhook.clone()))
                .map(|(event, webhook)| {
                    tokio::spawn(async move {
                        for _ in 0..2 {
                            deliver(&webhook, &event).await;
                        }
                    })
                })
                .collect();
            for sender in senders {
                sender.await.unwrap();
            }
            let agent = Story::subscribed(number, Shape::New).agent();
            assert_eq!(world.stand(&agent).await, stand, "{events:#?}");
        }
    }
    assert_eq!(world.store.contradictions().await.unwrap(), [""; 0]);
}
