//! The callback's own router before a real database, with a queue on the other side of a socket.

use crate::queue::Queue;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use callback::handler::{Deps, routes};
use contract::{Report, RunPair, Said, Sender, ServerFacts, Verifier, sign};
use domain::{AgentId, JobId, News, Timestamp};
use host::{Clock, Entropy};
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{AgentStatus, CheckoutRecord, ConnectConfig, EventRecord, Store, migrate};
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// Not the default, so that whoever puts the default is found out.
pub(crate) const INSTALLATION: &str = "blue";
pub(crate) const AGENT: AgentId = AgentId(Uuid::from_u128(1));
pub(crate) const JOB: JobId = JobId(Uuid::from_u128(2));

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    /// How long after `NOW` it is.
    pub(crate) seconds: Arc<AtomicU64>,
}

impl World {
    /// A paid agent whose attempt was opened.
    pub(crate) async fn new() -> Self {
        let postgres = localpg::shared().await.unwrap();
        let url = postgres.fresh_database("callback").await.unwrap();
        let config = ConnectConfig {
            url: url.into(),
            ca_pem: None,
        };
        migrate(&config).await.unwrap();
        let world = Self::on(&config).await;
        world.store.record_event(&payment(), NOW).await.unwrap();
        assert_eq!(
            world
                .store
                .open_due_attempts(NOW, 1, Uuid::from_u128(1))
                .await
                .unwrap()
                .len(),
            1
        );
        world
    }

    pub(crate) async fn on(config: &ConnectConfig) -> Self {
        let queue = Queue::start().await;
        let seconds = Arc::new(AtomicU64::new(0));
        let deps = Deps {
            store: Store::new(config).unwrap(),
            nudges: queue.nudges(),
            clock: Clock::from_fn({
                let seconds = Arc::clone(&seconds);
                move || NOW.plus(Duration::from_secs(seconds.load(Ordering::Relaxed)))
            }),
            entropy: Entropy::seeded(1),
            verifier: Verifier::new(vec![SECRET.to_vec()]).unwrap(),
            installation: INSTALLATION.to_owned(),
        };
        Self {
            router: routes(Arc::new(deps)),
            queue,
            seconds,
            store: Store::new(config).unwrap(),
        }
    }

    /// A run's attempt, writing now.
    pub(crate) fn sender(&self, run_id: &str, fence: i64) -> Sender {
        let seconds = i64::try_from(self.seconds.load(Ordering::Relaxed)).unwrap();
        match sender(run_id, fence) {
            Sender::Attempt {
                fence,
                run,
                sent_at,
            } => Sender::Attempt {
                fence,
                run,
                sent_at: sent_at + seconds,
            },
            Sender::FirstVersion => Sender::FirstVersion,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(crate) async fn post(&self, body: Vec<u8>) -> (StatusCode, Value) {
        self.send(signed(&sign(SECRET, &body), body)).await
    }

    pub(crate) async fn report(&self, report: &Report) -> (StatusCode, Value) {
        self.post(report.to_body().unwrap()).await
    }

    pub(crate) async fn status(&self) -> AgentStatus {
        self.store.agent_status(AGENT, NOW).await.unwrap().unwrap()
    }
}

pub(crate) fn payment() -> EventRecord {
    EventRecord {
        event_id: "evt_1".parse().unwrap(),
        kind: "checkout.session.completed".to_owned(),
        created: 1,
        livemode: false,
        payload: "{}".to_owned(),
        subscription_id: Some("sub_1".parse().unwrap()),
        references: Vec::new(),
        news: Some(News::Active),
        dispute: None,
        checkout: Some(CheckoutRecord {
            session_id: "cs_1".to_owned(),
            made_at: 1,
            binds: true,
            agent_id: AGENT,
            other_agent_id: AgentId(Uuid::from_u128(3)),
            reference: None,
            region: "eu-west".to_owned(),
            name: "Ada's agent".to_owned(),
        }),
        reason: None,
        fresh_job_id: JOB,
    }
}

pub(crate) fn signed(signature: &str, body: Vec<u8>) -> Request<Body> {
    let request = Request::post("/callback").header("x-signature", signature);
    request.body(Body::from(body)).unwrap()
}

pub(crate) fn sender(run_id: &str, fence: i64) -> Sender {
    let run = RunPair {
        workflow_run_id: run_id.to_owned(),
        run_attempt: 1,
    };
    Sender::Attempt {
        fence,
        run,
        sent_at: NOW.unix_seconds(),
    }
}

pub(crate) fn report(seq: i64, said: Said) -> Report {
    Report::new(JOB.to_string(), sender("42", 1), seq, said)
}

pub(crate) fn facts() -> ServerFacts {
    ServerFacts {
        server_id: Some("7".to_owned()),
        server_ip: Some("203.0.113.7".to_owned()),
        tailscale_ip: Some("100.64.0.7".to_owned()),
        device_id: Some("n7".to_owned()),
        server_name: None,
    }
}

pub(crate) fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap()
}
