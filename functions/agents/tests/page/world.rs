//! The function's router with a database, a queue and a clock of its own, and what a browser
//! would ask it.

use crate::{life::Life, queue::Queue};
use agents::{
    handler::{Deps, routes},
    link::{LINK_LIFE, make},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use domain::Timestamp;
use host::{Clock, Entropy};
use secrecy::SecretString;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{ConnectConfig, Store, migrate};
use tower::ServiceExt;

pub(crate) const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(crate) const TOKEN: &str = "operator-token";

/// What stands between the first `from` and the next `to`.
pub(crate) fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    Some(rest.split_once(to)?.0)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The page's `<main>`, which is what it says.
    pub(crate) fn main(&self) -> &str {
        between(&self.text, "<main", "</main>").expect("a page")
    }

    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(
                self.main().contains(word),
                "{word:?} is not in {}",
                self.main()
            );
        }
    }

    #[track_caller]
    pub(crate) fn never_says(&self, words: &[&str]) {
        for word in words {
            assert!(!self.text.contains(word), "{word:?} is in {}", self.text);
        }
    }

    /// The commands that have a button, in order.
    pub(crate) fn buttons(&self) -> Vec<&str> {
        let parts = self.main().split(r#"<form id="do-"#).skip(1);
        parts.map(|part| part.split_once('"').unwrap().0).collect()
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) life: Life,
    pub(crate) queue: Queue,
    pub(crate) key: SecretString,
    seconds: Arc<AtomicU64>,
    config: ConnectConfig,
    router: Router,
}

impl World {
    pub(crate) async fn new() -> Self {
        let postgres = localpg::shared().await.unwrap();
        let url = postgres.fresh_database("pages").await.unwrap();
        let config = ConnectConfig {
            url: url.into(),
            ca_pem: None,
        };
        migrate(&config).await.unwrap();
        let queue = Queue::start().await;
        let seconds = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&seconds);
        let clock =
            Clock::from_fn(move || START.plus(Duration::from_secs(told.load(Ordering::SeqCst))));
        let key = SecretString::from("0123456789abcdef0123456789abcdef");
        let deps = Deps {
            store: Store::new(&config).unwrap(),
            nudges: queue.nudges(),
            clock: clock.clone(),
            entropy: Entropy::seeded(1),
            api_token: TOKEN.to_owned().into(),
            link_key: key.clone(),
            public_url: None,
        };
        Self {
            life: Life::new(Store::new(&config).unwrap(), clock, 1),
            queue,
            key,
            seconds,
            router: routes(Arc::new(deps)),
            config,
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        START.plus(Duration::from_secs(self.seconds.load(Ordering::SeqCst)))
    }

    /// The life of another agent.
    pub(crate) fn another(&self, number: u64) -> Life {
        let now = self.now();
        let store = Store::new(&self.config).unwrap();
        Life::new(store, Clock::from_fn(move || now), number)
    }

    /// Path of the agent's page.
    pub(crate) fn page(&self) -> String {
        let expires = self.now().plus(LINK_LIFE);
        format!("/s/{}", make(&self.key, self.life.agent_id, expires))
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 22).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// The customer looks.
    pub(crate) async fn look(&self) -> Answer {
        let answer = self.get(&self.page()).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer
    }

    /// The customer presses a button.
    pub(crate) async fn press(&self, command: &str) -> Answer {
        let path = format!("{}/{command}", self.page());
        self.post(
            &path,
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://pages.test"),
            ],
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path).header("host", "pages.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The operator looks, as a browser does.
    pub(crate) async fn operator(&self, path: &str) -> Answer {
        let basic =
            base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("anyone:{TOKEN}"));
        let request = Request::get(path).header("authorization", format!("Basic {basic}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }
}
