//! The operator asks how an agent is, through the function's own router and a real database.

#![cfg(test)]

#[path = "../../host/tests/support/queue.rs"]
mod queue;

use agents::handler::{Deps, routes};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use domain::{AgentId, Fence, JobId, Payment, Timestamp};
use host::{Clock, Nudge};
use queue::{Queue, Sent};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use store::{
    ConnectConfig, EventRecord, MachineFacts, PaymentRecord, Refusal, ReportRecord, ReportSaid,
    Store, migrate,
};
use tower::ServiceExt;
use uuid::Uuid;

const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const AGENT: AgentId = AgentId(Uuid::from_u128(1));
const JOB: JobId = JobId(Uuid::from_u128(2));
const TOKEN: &str = "operator-token";

struct World {
    router: Router,
    queue: Queue,
    store: Store,
}

impl World {
    async fn new() -> Self {
        let postgres = localpg::shared().await.unwrap();
        let url = postgres.fresh_database("agents").await.unwrap();
        let config = ConnectConfig {
            url: url.into(),
            ca_pem: None,
        };
        migrate(&config).await.unwrap();
        let queue = Queue::start().await;
        let deps = Deps {
            store: Store::new(&config).unwrap(),
            nudges: queue.nudges(),
            clock: Clock::from_fn(|| at(10)),
            api_token: TOKEN.to_owned().into(),
        };
        Self {
            router: routes(Arc::new(deps)),
            queue,
            store: Store::new(&config).unwrap(),
        }
    }

    async fn ask(&self, path: &str, authorization: Option<&str>) -> (StatusCode, Value) {
        let mut request = Request::get(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn agent(&self) -> Value {
        let (status, body) = self
            .ask(&format!("/agents/{AGENT}"), Some("Bearer operator-token"))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    async fn pay(&self, now: Timestamp) {
        let payment = PaymentRecord {
            event: EventRecord {
                event_id: "evt_1".parse().unwrap(),
                kind: "checkout.session.completed".to_owned(),
                created: 1,
                livemode: false,
                subscription_id: None,
                payload: "{}".to_owned(),
            },
            subscription_id: "sub_1".parse().unwrap(),
            payment: Payment::Active,
            agent_id: AGENT,
            other_agent_id: AgentId(Uuid::from_u128(3)),
            reference: Some("order 7".to_owned()),
            region: "eu-west".to_owned(),
            name: "Ada's agent".to_owned(),
            job_id: JOB,
        };
        self.store.record_payment(&payment, now).await.unwrap();
    }

    async fn report(&self, seq: i64, step: Option<&str>, said: ReportSaid) {
        let report = ReportRecord {
            job_id: JOB,
            fence: Fence(1),
            workflow_run_id: "42".to_owned(),
            run_attempt: 1,
            seq,
            step: step.map(str::to_owned),
            facts: MachineFacts {
                server_id: Some("7".to_owned()),
                server_ip: Some("203.0.113.7".to_owned()),
                tailscale_ip: Some("100.64.0.7".to_owned()),
                device_id: None,
                server_name: None,
            },
            said,
            fresh_job_id: JobId(Uuid::from_u128(9)),
        };
        self.store.apply_report(&report, at(5)).await.unwrap();
    }
}

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

#[tokio::test]
async fn an_agent_is_followed_from_payment_to_active() {
    let world = World::new().await;
    world.pay(at(9)).await;
    let paid = world.agent().await;
    assert_eq!(paid["status"], "provisioning");
    assert_eq!(paid["payment"], "active");
    assert_eq!(paid["name"], "Ada's agent");
    assert_eq!(paid["reference"], "order 7");
    assert_eq!(paid["awaits"], "dispatch");
    assert_eq!(paid["job"]["state"], "queued");
    assert_eq!(paid["created_at"], "2027-01-15T08:00:09Z");
    assert_eq!(paid["active_at"], Value::Null);

    world
        .store
        .open_due_attempts(at(9), 1, Uuid::from_u128(1))
        .await
        .unwrap();
    assert_eq!(world.agent().await["awaits"], "GitHub's answer");
    world
        .store
        .accept_attempt(AGENT, Fence(1), Some(42), at(9))
        .await
        .unwrap();
    assert_eq!(world.agent().await["awaits"], "a runner to take the run");
    world.report(1, None, ReportSaid::Progress).await;
    assert_eq!(world.agent().await["awaits"], "the runner's first step");
    world
        .report(2, Some("vm_created"), ReportSaid::Progress)
        .await;
    let running = world.agent().await;
    assert_eq!(running["awaits"], "the step after vm_created");
    assert_eq!(running["job"]["attempt"]["number"], 1);

    world
        .report(
            3,
            None,
            ReportSaid::Succeeded {
                awaiting_credentials: false,
            },
        )
        .await;
    let active = world.agent().await;
    assert_eq!(active["status"], "active");
    assert_eq!(active["awaits"], Value::Null);
    assert_eq!(active["active_at"], "2027-01-15T08:00:05Z");
    assert_eq!(active["instance"]["tailscale_ip"], "100.64.0.7");
    let steps = active["steps"].as_array().unwrap();
    let made = json!({"step": "vm_created", "kind": "step", "fence": 1, "at": active["active_at"]});
    assert!(steps.contains(&made), "{steps:?}");
}

#[tokio::test]
async fn a_waiting_job_says_why_and_until_when() {
    let world = World::new().await;
    world.pay(at(9)).await;
    world
        .store
        .open_due_attempts(at(9), 1, Uuid::from_u128(1))
        .await
        .unwrap();
    let refusal = Refusal {
        reason: "GITHUB_TOKEN was refused (401): Bad credentials",
        not_before: at(9),
        fresh_job_id: JobId(Uuid::from_u128(9)),
    };
    world
        .store
        .refuse_attempt(AGENT, Fence(1), refusal, at(9))
        .await
        .unwrap();
    let waiting = world.agent().await;
    assert_eq!(
        waiting["reason"],
        "GITHUB_TOKEN was refused (401): Bad credentials"
    );
    assert_eq!(waiting["awaits"], "the next try at 2027-01-15T08:00:39Z");
}

#[tokio::test]
async fn something_overdue_nudges_dispatch() {
    let world = World::new().await;
    world.pay(at(0)).await;
    world.agent().await;
    assert_eq!(
        world.queue.take(),
        [Sent {
            nudge: Nudge::EMPTY,
            delay_seconds: 0
        }]
    );
    world.agent().await;
    assert_eq!(world.queue.take(), []);
}

#[tokio::test]
async fn a_status_is_shown_while_the_queue_is_away() {
    let world = World::new().await;
    world.pay(at(0)).await;
    world.queue.be_away(true);
    assert_eq!(world.agent().await["awaits"], "dispatch");
}

#[tokio::test]
async fn only_the_token_opens_and_only_agents_are_shown() {
    let world = World::new().await;
    let path = format!("/agents/{AGENT}");
    for authorization in [
        None,
        Some("Bearer x"),
        Some("operator-token"),
        Some("Basic operator-token"),
    ] {
        let (status, body) = world.ask(&path, authorization).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(body["error"]["code"], "unauthorized");
    }
    let bearer = Some("bearer operator-token");
    for (path, expected) in [
        (path.as_str(), StatusCode::NOT_FOUND),
        ("/agents/7", StatusCode::BAD_REQUEST),
        ("/agents", StatusCode::NOT_FOUND),
        ("/agents/7/steps", StatusCode::NOT_FOUND),
    ] {
        let (status, body) = world.ask(path, bearer).await;
        assert_eq!(status, expected, "{path}: {body}");
    }
}
