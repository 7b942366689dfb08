//! A webhook on a database and a queue of its own, and a stand-in for everything behind them:
//! whatever job is due is done at once.

use crate::queue::Queue;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use domain::{AgentId, AgentState, JobKind, Payment, Timestamp};
use host::{Clock, Entropy};
use secrecy::SecretString;
use serde_json::{Value, json};
use sim::stripe::Signer;
use std::sync::Arc;
use store::{
    AgentStatus, ConnectConfig, MachineFacts, OpenedAttempt, ReportOutcome, ReportRecord,
    ReportSaid, Store, Unjoined, migrate,
};
use stripe_webhook::{
    handler::{Deps, routes},
    signature::Verifier,
};
use tower::ServiceExt;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(crate) const SECRET: &str = "whsec_test";
pub(crate) const AGENT: &str = "0192f3a4-7b1c-7def-8a90-123456789abc";

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    entropy: Entropy,
}

/// The agent's state, what is paid, and the job that is open.
pub(crate) type Stand = (AgentState, Payment, Option<JobKind>);

pub(crate) fn config(url: &str) -> ConnectConfig {
    ConnectConfig {
        url: url.to_owned().into(),
        ca_pem: None,
    }
}

/// A new database with the current schema.
pub(crate) async fn database() -> String {
    let postgres = localpg::shared().await.unwrap();
    let url = postgres.fresh_database("webhook").await.unwrap();
    migrate(&config(&url)).await.unwrap();
    url
}

/// One instance of the webhook; its ids follow from the seed.
pub(crate) fn webhook(
    config: &ConnectConfig,
    queue: &Queue,
    (seed, livemode): (u64, Option<bool>),
) -> Router {
    routes(Arc::new(Deps {
        store: Store::new(config).unwrap(),
        nudges: queue.nudges(),
        clock: Clock::from_fn(|| NOW),
        entropy: Entropy::seeded(seed),
        verifier: Verifier::new(&SecretString::from(SECRET)).unwrap(),
        livemode,
    }))
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(&config(&database().await), None).await
    }

    pub(crate) async fn on(config: &ConnectConfig, livemode: Option<bool>) -> Self {
        let queue = Queue::start().await;
        Self {
            router: webhook(config, &queue, (1, livemode)),
            queue,
            store: Store::new(config).unwrap(),
            entropy: Entropy::seeded(2),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(crate) async fn post(&self, body: impl Into<Vec<u8>>) -> (StatusCode, Value) {
        self.send(signed(body)).await
    }

    /// Delivers events one after the other; all are taken.
    pub(crate) async fn hear<'a>(&self, events: impl IntoIterator<Item = &'a Value>) {
        for event in events {
            assert_eq!(self.post(event.to_string()).await, ok(), "{event}");
        }
    }

    pub(crate) async fn status(&self, agent: &str) -> Option<AgentStatus> {
        let agent: AgentId = agent.parse().unwrap();
        self.store.agent_status(agent, NOW).await.unwrap()
    }

    pub(crate) async fn state(&self, agent: &str) -> Option<AgentState> {
        Some(self.status(agent).await?.state)
    }

    /// The agent's state, what is paid, and the job that is open.
    pub(crate) async fn stand(&self, agent: &str) -> Stand {
        let status = self.status(agent).await.unwrap();
        let open = status.job.filter(|job| job.state.is_open());
        (status.state, status.payment, open.map(|job| job.kind))
    }

    /// What is shown to the operator as belonging to nobody.
    pub(crate) async fn unjoined(&self) -> Vec<String> {
        let told = |Unjoined { what, says, .. }: &Unjoined| format!("{what} {says}");
        let overview = self.store.overview(NOW).await.unwrap();
        overview.unjoined.iter().map(told).collect()
    }

    /// Does whatever is due, and says what that was.
    pub(crate) async fn work(&self) -> Vec<JobKind> {
        let mut done = Vec::new();
        loop {
            let call = self.entropy.uuid_v7(NOW);
            let opened = self.store.open_due_attempts(NOW, 10, call).await.unwrap();
            if opened.is_empty() {
                assert_eq!(self.store.contradictions().await.unwrap(), [""; 0]);
                return done;
            }
            for attempt in opened {
                let report = self.success(&attempt);
                let applied = self.store.apply_report(&report, NOW).await.unwrap();
                let accepted = matches!(applied.outcome, ReportOutcome::Accepted(_));
                assert!(accepted, "{attempt:?} {applied:?}");
                done.push(attempt.kind);
            }
        }
    }

    fn success(&self, attempt: &OpenedAttempt) -> ReportRecord {
        let made = MachineFacts {
            server_id: Some("42".to_owned()),
            server_ip: Some("203.0.113.5".to_owned()),
            tailscale_ip: Some("100.64.0.5".to_owned()),
            device_id: Some("n1".to_owned()),
            server_name: Some("agent-1".to_owned()),
        };
        let makes = attempt.kind == JobKind::Provision;
        ReportRecord {
            job_id: attempt.job_id,
            fence: attempt.fence,
            workflow_run_id: format!("70{}", attempt.fence),
            run_attempt: 1,
            seq: 1,
            step: None,
            facts: if makes { made } else { MachineFacts::default() },
            said: ReportSaid::Succeeded {
                awaiting_credentials: false,
            },
            fresh_job_id: domain::JobId(self.entropy.uuid_v7(NOW)),
            installation: "default".to_owned(),
        }
    }
}

pub(crate) fn request(header: &str, body: Vec<u8>) -> Request<Body> {
    let request = Request::post("/webhooks/stripe").header("stripe-signature", header);
    request.body(Body::from(body)).unwrap()
}

/// A delivery as Stripe makes it.
pub(crate) fn signed(body: impl Into<Vec<u8>>) -> Request<Body> {
    let body = body.into();
    let header = Signer::new(SECRET).sign(&body, NOW.unix_seconds());
    request(&header, body)
}

pub(crate) fn ok() -> (StatusCode, Value) {
    (StatusCode::OK, json!({"received": true}))
}

/// Every order of some things.
pub(crate) fn orders<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = all.split_first() else {
        return vec![Vec::new()];
    };
    let mut found = Vec::new();
    for order in orders(rest) {
        for place in 0..=order.len() {
            let mut order = order.clone();
            order.insert(place, first.clone());
            found.push(order);
        }
    }
    found
}
