//! A function with a database and a queue of its own, the short sentences that tests are made
//! of, and the rule that every answer is one of those that the document names.

use crate::queue::Queue;
use agents::handler::{Deps, routes};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, request::Builder},
    response::Response,
};
use domain::{AgentId, ErrorClass, Fence, JobId, News, Timestamp};
use host::{Clock, Entropy};
use serde_json::Value;
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{
    CheckoutRecord, ConnectConfig, EventRecord, MachineFacts, ReportRecord, ReportSaid, Store,
    migrate,
};
use tower::ServiceExt;
use uuid::Uuid;

pub(crate) const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(crate) const AGENT: AgentId = AgentId(Uuid::from_u128(1));
pub(crate) const JOB: JobId = JobId(Uuid::from_u128(2));
pub(crate) const TOKEN: &str = "operator-token";
pub(crate) const LINK_KEY: &str = "0123456789abcdef0123456789abcdef";

/// What the function says about itself.
pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap());

pub(crate) fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of an answer with this status.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Refused, with this code; the message.
    pub(crate) fn refused(self, status: u16, code: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["error"]["code"], code, "{body}");
        body["error"]["message"].as_str().unwrap().to_owned()
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    router: Router,
    config: ConnectConfig,
    seeds: AtomicU64,
    seconds: Arc<AtomicU64>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let postgres = localpg::shared().await.unwrap();
        let url = postgres.fresh_database("agents").await.unwrap();
        let config = ConnectConfig {
            url: url.into(),
            ca_pem: None,
        };
        migrate(&config).await.unwrap();
        let mut world = Self {
            queue: Queue::start().await,
            store: Store::new(&config).unwrap(),
            router: Router::new(),
            config,
            seeds: AtomicU64::new(1),
            seconds: Arc::new(AtomicU64::new(10)),
        };
        world.router = world.process();
        world
    }

    /// The function in one more process, with connections of its own.
    pub(crate) fn process(&self) -> Router {
        self.process_at(None)
    }

    /// The function in a process that knows its own address.
    pub(crate) fn process_at(&self, public_url: Option<&str>) -> Router {
        self.process_of(&self.config, public_url)
    }

    /// The function in a process whose database is away.
    pub(crate) fn process_without_database(&self) -> Router {
        let nowhere = ConnectConfig {
            url: "postgres://nobody@127.0.0.1:1/none".to_owned().into(),
            ca_pem: None,
        };
        self.process_of(&nowhere, None)
    }

    fn process_of(&self, config: &ConnectConfig, public_url: Option<&str>) -> Router {
        let seconds = Arc::clone(&self.seconds);
        let deps = Deps {
            store: Store::new(config).unwrap(),
            nudges: self.queue.nudges(),
            clock: Clock::from_fn(move || at(seconds.load(Ordering::SeqCst))),
            entropy: Entropy::seeded(self.seeds.fetch_add(1, Ordering::SeqCst)),
            api_token: TOKEN.to_owned().into(),
            link_key: LINK_KEY.to_owned().into(),
            public_url: public_url.map(str::to_owned),
        };
        routes(Arc::new(deps))
    }

    /// What time it is for the function; 10 at first.
    pub(crate) fn be_at(&self, seconds: u64) {
        self.seconds.store(seconds, Ordering::SeqCst);
    }

    /// Any request, as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(self.router.clone(), request).await
    }

    /// The operator reads.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = operator(Method::GET, path).body(Body::empty());
        self.send(request.unwrap()).await
    }

    /// The operator commands, without a body.
    pub(crate) async fn post(&self, path: &str, key: Option<&str>) -> Answer {
        self.send(command(Method::POST, path, key)).await
    }

    /// The operator deletes.
    pub(crate) async fn delete(&self, path: &str, key: Option<&str>) -> Answer {
        self.send(command(Method::DELETE, path, key)).await
    }

    /// How the agent is.
    pub(crate) async fn agent(&self) -> Value {
        self.get(&format!("/agents/{AGENT}")).await.expect(200)
    }

    /// A paid checkout of the agent.
    pub(crate) async fn pay(&self, now: Timestamp) {
        self.pay_for(AGENT, "sub_1", now).await;
    }

    pub(crate) async fn pay_for(&self, agent_id: AgentId, subscription: &str, now: Timestamp) {
        let mut event = event(
            &format!("evt_{subscription}"),
            subscription,
            News::Active,
            1,
        );
        event.fresh_job_id = JobId(Uuid::from_u128(agent_id.0.as_u128() + 1));
        event.checkout = Some(CheckoutRecord {
            session_id: format!("cs_{subscription}"),
            made_at: 1,
            binds: true,
            agent_id,
            other_agent_id: AgentId(Uuid::from_u128(agent_id.0.as_u128() + 2)),
            reference: Some("order 7".to_owned()),
            region: "eu-west".to_owned(),
            name: "Ada's agent".to_owned(),
        });
        self.store.record_event(&event, now).await.unwrap();
    }

    /// Something else that Stripe says about the agent's subscription.
    pub(crate) async fn stripe_says(&self, news: News, created: i64) {
        let event = event(&format!("evt_{created}"), "sub_1", news, created);
        self.store.record_event(&event, at(10)).await.unwrap();
    }

    /// Opens an attempt for whatever is due.
    pub(crate) async fn open(&self) {
        let call = Uuid::from_u128(u128::from(self.seeds.fetch_add(1, Ordering::SeqCst)));
        let opened = self.store.open_due_attempts(at(10), 1, call).await.unwrap();
        assert_eq!(opened.len(), 1, "nothing was due");
    }

    pub(crate) async fn report(&self, seq: i64, step: Option<&str>, said: ReportSaid) {
        self.report_of(JOB, Fence(1), seq, (step, said)).await;
    }

    /// A report of any attempt.
    pub(crate) async fn report_of(
        &self,
        job_id: JobId,
        fence: Fence,
        seq: i64,
        (step, said): (Option<&str>, ReportSaid),
    ) {
        let report = ReportRecord {
            job_id,
            fence,
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
            fresh_job_id: JobId(Uuid::from_u128(0x900 + u128::from(fence.0.unsigned_abs()))),
            installation: "default".to_owned(),
        };
        self.store.apply_report(&report, at(5)).await.unwrap();
    }

    /// The agent is paid and active.
    pub(crate) async fn activate(&self) {
        self.pay(at(9)).await;
        self.open().await;
        self.report(1, None, done()).await;
        assert_eq!(self.agent().await["status"], "active");
        self.queue.take();
    }

    /// The agent is paid, and provisioning was given up.
    pub(crate) async fn give_up(&self) {
        self.pay(at(9)).await;
        self.open().await;
        let said = ReportSaid::Failed {
            error: "the image is not known".to_owned(),
            class: ErrorClass::Permanent,
            step: None,
            retry_delays: Vec::new(),
        };
        self.report(1, None, said).await;
        self.queue.take();
    }
}

/// The operation succeeded.
pub(crate) fn done() -> ReportSaid {
    ReportSaid::Succeeded {
        awaiting_credentials: false,
    }
}

/// A request with the operator's token.
pub(crate) fn operator(method: Method, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {TOKEN}"))
}

/// A command with or without a key.
pub(crate) fn command(method: Method, path: &str, key: Option<&str>) -> Request<Body> {
    let mut request = operator(method, path);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(Body::empty()).unwrap()
}

/// Sends a request to one process, and holds the answer to the document.
pub(crate) async fn send(router: Router, request: Request<Body>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = read(router.oneshot(request).await.unwrap()).await;
    documented(&method, &path, &answer);
    answer
}

async fn read(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    assert_eq!(parts.headers["content-type"], "application/json");
    assert_eq!(parts.headers["cache-control"], "no-store");
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap(),
    }
}

/// The path of the document that a path belongs to.
fn template(path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let same = |template: &str| {
        let (theirs, ours) = (template.split('/'), path.split('/'));
        theirs.clone().count() == ours.clone().count()
            && theirs.zip(ours).all(|(a, b)| a == b || a == "{id}")
    };
    paths.get(path).or_else(|| {
        let mut found = paths.iter().filter(|(template, _)| same(template));
        found.next().map(|(_, operations)| operations)
    })
}

/// An answer of a documented operation is one that the document names, with all it promises.
fn documented(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = template(path).and_then(|path| path.get(method.as_str().to_lowercase()))
    else {
        assert!(
            [404, 405].contains(&answer.status.as_u16()),
            "{method} {path}: {answer:?}"
        );
        return;
    };
    let named = &operation["responses"][answer.status.as_str()];
    assert!(
        named.is_object(),
        "{method} {path}: {} is not documented",
        answer.status
    );
    let schema = &resolved(named)["content"]["application/json"]["schema"];
    for wanted in required(schema) {
        assert!(
            answer.body.get(&wanted).is_some(),
            "{method} {path}: no {wanted}"
        );
    }
    if operation["operationId"] != "describe" {
        let told = answer.body.as_object().unwrap().keys();
        let promised = required(schema);
        assert!(
            told.clone().all(|key| promised.contains(key)),
            "{method} {path}: {told:?}"
        );
    }
}

fn required(schema: &'static Value) -> Vec<String> {
    let schema = resolved(schema);
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let own = schema["required"].as_array().into_iter().flatten();
    let own = own.map(|name| name.as_str().unwrap().to_owned());
    own.chain(parts.flat_map(required)).collect()
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(place) => DOCUMENT.pointer(place.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

fn event(id: &str, subscription: &str, news: News, created: i64) -> EventRecord {
    EventRecord {
        event_id: id.parse().unwrap(),
        kind: "test".to_owned(),
        created,
        livemode: false,
        payload: "{}".to_owned(),
        subscription_id: Some(subscription.parse().unwrap()),
        references: Vec::new(),
        news: Some(news),
        dispute: None,
        checkout: None,
        reason: None,
        fresh_job_id: JobId(Uuid::from_u128(0x800 + u128::from(created.unsigned_abs()))),
    }
}
