//! The front over real sockets, with real processes behind it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::function_tests::world;
use crate::gateway::{Gateway, Routes, bind};
use crate::runtime_api::PAYLOAD_BYTES_MAX;

struct Front {
    url: String,
    http: reqwest::Client,
    _gateway: Gateway,
    _world: crate::function_tests::World,
}

async fn front(limit: Duration) -> Front {
    let world = world(4, limit, None);
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Routes {
        stripe_webhook: world.function.clone(),
        callback: world.function.clone(),
        agents: world.function.clone(),
    };
    let gateway = Gateway::start(listener, routes, Clock::system(), false);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Front {
        url,
        http,
        _gateway: gateway,
        _world: world,
    }
}

impl Front {
    async fn call(&self, method: Method, path: &str, body: String) -> (StatusCode, Value) {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn order(&self, method: Method, path: &str, order: &str) -> (StatusCode, Value) {
        self.call(method, path, json!({ "do": order }).to_string())
            .await
    }
}

#[tokio::test]
async fn public_paths_reach_a_function_and_others_none() {
    let front = front(Duration::from_secs(20)).await;
    let known = [
        (Method::POST, "/webhooks/stripe"),
        (Method::POST, "/callback"),
        (Method::GET, "/agents"),
        (Method::POST, "/agents"),
        (Method::DELETE, "/agents/1"),
        (Method::POST, "/agents/1/provision"),
        (Method::GET, "/agents/1/events?after=3&limit=5"),
        (Method::POST, "/s/link/stop"),
        (Method::GET, "/?state=failed"),
        (Method::GET, "/welcome?session_id=1"),
        (Method::GET, "/s/link"),
        (Method::GET, "/"),
    ];
    for (method, path) in known {
        let (status, body) = front.order(method.clone(), path, "echo").await;
        assert_eq!(status, StatusCode::OK, "{method} {path}: {body}");
        assert!(body["handled"].is_u64(), "{body}");
    }
    let unknown = [
        (Method::GET, "/webhooks/stripe"),
        (Method::GET, "/callback"),
        (Method::POST, "/callback/"),
        (Method::GET, "/agentsx"),
        (Method::GET, "/other"),
    ];
    for (method, path) in unknown {
        let (status, body) = front.order(method, path, "echo").await;
        assert_eq!(
            (status, &body["message"]),
            (StatusCode::NOT_FOUND, &json!("Not Found"))
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_reaches_no_function() {
    let front = front(Duration::from_secs(20)).await;
    let body = "x".repeat(PAYLOAD_BYTES_MAX + 1);
    let (status, _) = front.call(Method::POST, "/callback", body).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_broken_function_is_the_gateways_error() {
    let front = front(Duration::from_secs(20)).await;
    for (order, expected) in [
        ("fail", StatusCode::BAD_GATEWAY),
        ("die", StatusCode::BAD_GATEWAY),
        ("echo", StatusCode::OK),
    ] {
        assert_eq!(
            front.order(Method::POST, "/callback", order).await.0,
            expected,
            "{order}"
        );
    }
}
