//! Repeats at the same time make one agent, and an event costs one round trip to the database,
//! counted on the wire.

use crate::queue::Queue;
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use domain::Timestamp;
use host::{Clock, Entropy};

use secrecy::SecretString;
use serde_json::json;
use sim::stripe::Signer;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use store::{ConnectConfig, Store, migrate};
use stripe_webhook::{
    handler::{Deps, routes},
    signature::Verifier,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tower::ServiceExt;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const SECRET: &str = "whsec_test";

async fn database() -> String {
    let postgres = localpg::shared().await.unwrap();
    let url = postgres.fresh_database("webhook").await.unwrap();
    migrate(&config(&url)).await.unwrap();
    url
}

fn config(url: &str) -> ConnectConfig {
    ConnectConfig {
        url: url.to_owned().into(),
        ca_pem: None,
    }
}

fn webhook(url: &str, queue: &Queue, seed: u64) -> Router {
    routes(Arc::new(Deps {
        store: Store::new(&config(url)).unwrap(),
        nudges: queue.nudges(),
        clock: Clock::from_fn(|| NOW),
        entropy: Entropy::seeded(seed),
        verifier: Verifier::new(&SecretString::from(SECRET)).unwrap(),
        livemode: None,
    }))
}

fn paid(event: &str) -> Request<Body> {
    let body = json!({"id": event, "object": "event", "created": 1_799_999_990, "livemode": false,
        "type": "checkout.session.completed", "data": {"object": {"object": "checkout.session",
            "id": "cs_1", "payment_status": "paid", "subscription": "sub_1"}}})
    .to_string();
    let header = Signer::new(SECRET).sign(body.as_bytes(), NOW.unix_seconds());
    let request = Request::post("/webhooks/stripe").header("stripe-signature", header);
    request.body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn a_hundred_repeats_at_once_make_one_job() {
    let url = database().await;
    let queue = Queue::start().await;
    let senders: Vec<_> = (0..10)
        .map(|seed| {
            let webhook = webhook(&url, &queue, seed);
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
    let webhook = webhook(&url, &queue, 1);
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
