//! An SQS of a test's own: takes messages in Amazon's JSON protocol and keeps them, or refuses.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use host::{AwsKeys, Nudge, Nudges, QueueSettings};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// A message as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) nudge: Nudge,
    pub(crate) delay_seconds: u64,
}

#[derive(Debug, Default)]
struct Inner {
    sent: Mutex<Vec<Sent>>,
    away: AtomicBool,
}

/// The queue; it ends with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    inner: Arc<Inner>,
    address: String,
}

impl Queue {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(Arc::clone(&inner));
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { inner, address }
    }

    /// A sender to this queue.
    pub(crate) fn nudges(&self) -> Nudges {
        let secret = || "test".to_owned().into();
        Nudges::new(QueueSettings {
            url: format!("{}/1/jobs", self.address),
            endpoint: Some(self.address.clone()),
            region: "eu-central-1".to_owned(),
            keys: AwsKeys {
                id: secret(),
                secret: secret(),
                session: None,
            },
        })
    }

    /// From now on messages are refused, or taken again.
    pub(crate) fn be_away(&self, away: bool) {
        self.inner.away.store(away, Ordering::SeqCst);
    }

    /// What was sent since the last call.
    pub(crate) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.inner.sent.lock().unwrap())
    }
}

async fn take(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: String) -> Response {
    if inner.away.load(Ordering::SeqCst) {
        // A refusal that the SDK does not repeat, so that tests need not wait.
        let body = json!({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "away"});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    assert_eq!(headers["x-amz-target"], "AmazonSQS.SendMessage");
    let message: Value = serde_json::from_str(&body).unwrap();
    let sent = Sent {
        nudge: Nudge::read(message["MessageBody"].as_str().unwrap()),
        delay_seconds: message["DelaySeconds"].as_u64().unwrap_or(0),
    };
    inner.sent.lock().unwrap().push(sent);
    Json(json!({"MessageId": "1", "MD5OfMessageBody": "0"})).into_response()
}
