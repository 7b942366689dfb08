//! The pages on a port of this machine, on a real database and the real time, and a second port
//! on which a scenario says what Stripe, GitHub and the runner do next.

use crate::{life::Life, queue::Queue};
use agents::{
    handler::{Deps, routes},
    link::{LINK_LIFE, make},
};
use axum::{
    Router,
    extract::{Path, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use domain::{AgentId, ErrorClass, News, Timestamp};
use host::{Clock, Entropy};
use secrecy::SecretString;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::{ConnectConfig, Store, migrate};
use tokio::net::TcpListener;

pub(crate) const TOKEN: &str = "operator-token";

#[derive(Debug)]
pub(crate) struct Site {
    /// The agent that the second port is about.
    pub(crate) life: Life,
    pub(crate) url: String,
    pub(crate) control: String,
    pub(crate) clock: Clock,
    key: SecretString,
    config: ConnectConfig,
    queue: Queue,
    away: AtomicBool,
}

impl Site {
    pub(crate) async fn start() -> Arc<Self> {
        let postgres = localpg::shared().await.unwrap();
        let url = postgres.fresh_database("browser").await.unwrap();
        let config = ConnectConfig {
            url: url.into(),
            ca_pem: None,
        };
        migrate(&config).await.unwrap();
        let (pages, url) = listen().await;
        let (steering, control) = listen().await;
        let clock = Clock::system();
        let site = Arc::new(Self {
            life: Life::new(Store::new(&config).unwrap(), clock.clone(), 1),
            url,
            control,
            clock,
            key: SecretString::from("0123456789abcdef0123456789abcdef"),
            config,
            queue: Queue::start().await,
            away: AtomicBool::new(false),
        });
        let deps = Deps {
            store: Store::new(&site.config).unwrap(),
            nudges: site.queue.nudges(),
            clock: site.clock.clone(),
            entropy: Entropy::seeded(1),
            api_token: TOKEN.to_owned().into(),
            link_key: site.key.clone(),
            public_url: None,
        };
        let shut = from_fn_with_state(Arc::clone(&site), unless_away);
        let router = routes(Arc::new(deps)).layer(shut);
        tokio::spawn(async { axum::serve(pages, router).await.unwrap() });
        let router = Router::new()
            .route("/{verb}", post(steer))
            .route("/{verb}/{what}", post(steer_with))
            .with_state(Arc::clone(&site));
        tokio::spawn(async { axum::serve(steering, router).await.unwrap() });
        site
    }

    /// Another agent's life, some time ago.
    pub(crate) fn another(&self, number: u64, ago: Duration) -> Life {
        let micros = i64::try_from(ago.as_micros()).unwrap();
        let clock = self.clock.clone();
        let clock = Clock::from_fn(move || Timestamp::from_micros(clock.now().micros() - micros));
        Life::new(Store::new(&self.config).unwrap(), clock, number)
    }

    /// A link to an agent's page that expires so long after now, or before it.
    pub(crate) fn link(&self, agent_id: AgentId, is_fresh: bool) -> String {
        let now = self.clock.now();
        let expires = if is_fresh { now.plus(LINK_LIFE) } else { now };
        format!("{}/s/{}", self.url, make(&self.key, agent_id, expires))
    }

    /// What a scenario is told.
    pub(crate) fn told(&self) -> serde_json::Value {
        serde_json::json!({
            "url": self.url,
            "control": self.control,
            "page": self.link(self.life.agent_id, true),
            "expired": self.link(self.life.agent_id, false),
            "welcome": format!("{}/welcome?session_id={}", self.url, self.life.session()),
            "token": TOKEN,
        })
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

async fn unless_away(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if site.away.load(Ordering::SeqCst) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    next.run(request).await
}

async fn steer(State(site): State<Arc<Site>>, Path(verb): Path<String>) -> StatusCode {
    let life = &site.life;
    match verb.as_str() {
        "pay" => life.pay("Ada's agent").await,
        "open" => life.open().await,
        "accept" => life.accept().await,
        "claim" => life.claim().await,
        "succeed" => life.succeed(false).await,
        "activate" => life.activate("Ada's agent").await,
        "past_due" => life.stripe_says(News::PastDue).await,
        "away" => site.away.store(true, Ordering::SeqCst),
        "back" => site.away.store(false, Ordering::SeqCst),
        _ => return StatusCode::NOT_FOUND,
    }
    StatusCode::OK
}

async fn steer_with(
    State(site): State<Arc<Site>>,
    Path((verb, what)): Path<(String, String)>,
) -> StatusCode {
    let life = &site.life;
    match verb.as_str() {
        "step" => life.step(&what).await,
        "fail" => {
            let class: ErrorClass = what.parse().unwrap();
            life.fail(class, "hcloud: resource_unavailable", 0).await;
        }
        _ => return StatusCode::NOT_FOUND,
    }
    StatusCode::OK
}
