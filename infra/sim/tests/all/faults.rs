//! Faults, most of them over real sockets: what a client sees, and what happened in the world
//! meanwhile.

use std::pin::pin;
use std::time::Duration;

use http::Method;
use serde_json::json;
use sim::{Cut, DecoyServer, Effect, Fault, FaultBody, Sim, SimConfig, Vendor};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::help::{hetzner, order};

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .user_agent("tests")
        .build()
        .unwrap()
}

async fn create(sim: &Sim, name: &str) -> reqwest::Result<reqwest::Response> {
    client()
        .post(format!("{}/servers", sim.hetzner_url()))
        .bearer_auth(SimConfig::default().hetzner.token)
        .json(&order(name))
        .send()
        .await
}

fn on_create(effect: Effect) -> Fault {
    Fault::once(Vendor::Hetzner, Method::POST, "/servers", effect)
}

#[tokio::test]
async fn a_cut_connection_gives_no_answer_with_or_without_the_effect() {
    let sim = Sim::start(SimConfig::default()).await.unwrap();
    sim.add_fault(on_create(Effect::CutBefore));
    sim.add_fault(on_create(Effect::CutAfter));
    assert!(create(&sim, "a").await.is_err());
    assert!(sim.world().servers.is_empty());
    assert!(create(&sim, "a").await.is_err());
    assert_eq!(sim.world().servers.len(), 1);
    assert_eq!(create(&sim, "a").await.unwrap().status(), 409);
    let world = sim.world();
    let calls = world.calls_to(Vendor::Hetzner, &Method::POST, "/servers");
    let statuses: Vec<_> = calls.iter().map(|call| call.status).collect();
    assert_eq!(statuses, [None, None, Some(409)]);
    assert_eq!(calls[0].authorization.as_deref(), Some("Bearer [redacted]"));
}

#[tokio::test(start_paused = true)]
async fn in_process_a_cut_is_marked_on_the_response() {
    let sim = Sim::in_process(SimConfig::default());
    sim.add_fault(Fault::every(Vendor::Github, Effect::CutAfter));
    let request = http::Request::get("/")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = sim.router(Vendor::Github).oneshot(request).await.unwrap();
    assert_eq!(response.extensions().get::<Cut>(), Some(&Cut));
}

#[tokio::test]
async fn lost_replies_are_504_in_the_vendors_shape_or_any_page() {
    let sim = Sim::start(SimConfig::default()).await.unwrap();
    sim.add_fault(on_create(Effect::ReplyLost504));
    sim.add_fault(on_create(Effect::ReplyReplaced {
        status: 502,
        body: FaultBody::gateway_page("Bad Gateway"),
    }));
    let answer = create(&sim, "a").await.unwrap();
    assert_eq!(answer.status(), 504);
    assert!(answer.headers().contains_key("ratelimit-remaining"));
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "timeout");
    let answer = create(&sim, "b").await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.headers()["content-type"], "text/html");
    assert!(answer.text().await.unwrap().contains("Bad Gateway"));
    assert_eq!(sim.world().servers.len(), 2);
}

#[tokio::test]
async fn a_rule_skips_counts_and_can_be_taken_back() {
    let sim = Sim::start(SimConfig::default()).await.unwrap();
    let refusal = Effect::refuse(403, "resource_limit_exceeded", "server limit exceeded");
    sim.add_fault(Fault {
        skip: 1,
        times: 2,
        ..on_create(refusal)
    });
    let mut statuses = Vec::new();
    for name in ["a", "b", "c", "d"] {
        statuses.push(create(&sim, name).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [201, 403, 403, 201]);
    sim.add_fault(Fault::every(Vendor::Hetzner, Effect::CutBefore));
    assert!(create(&sim, "e").await.is_err());
    sim.clear_faults();
    assert_eq!(create(&sim, "e").await.unwrap().status(), 201);
}

#[tokio::test(start_paused = true)]
async fn a_delay_holds_the_call_and_a_slow_reply_only_its_answer() {
    let sim = Sim::in_process(SimConfig::default());
    let minute = Duration::from_mins(1);
    for (name, effect, at_once) in [
        ("a", Effect::Delay(minute), false),
        ("b", Effect::SlowReply(minute), true),
    ] {
        sim.add_fault(on_create(effect));
        let mut call = pin!(hetzner(&sim, "POST /servers", Some(order(name))));
        let waited = Duration::from_secs(59);
        assert!(timeout(waited, &mut call).await.is_err(), "{name}");
        assert_eq!(sim.world().server(name).is_some(), at_once, "{name}");
        let answer = timeout(Duration::from_secs(2), call).await;
        assert_eq!(answer.unwrap().status, 201, "{name}");
        assert!(sim.world().server(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn github_and_tailscale_refuse_in_their_own_shapes() {
    let sim = Sim::start(SimConfig::default()).await.unwrap();
    let limit = Effect::github_secondary_limit(403, Some(60));
    sim.add_fault(Fault::every(Vendor::Github, limit));
    let answer = client().get(sim.github_url()).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers()["retry-after"], "60");
    let body: serde_json::Value = answer.json().await.unwrap();
    assert!(
        body["documentation_url"]
            .as_str()
            .unwrap()
            .ends_with("secondary-rate-limits")
    );
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("secondary rate limit")
    );

    sim.add_fault(Fault::every(
        Vendor::Tailscale,
        Effect::refuse(429, "", "rate limited"),
    ));
    let url = format!("{}/tailnet/-/devices", sim.tailscale_url());
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body, json!({"message": "rate limited"}));
}

#[tokio::test]
async fn the_listeners_close_with_the_last_handle() {
    let sim = Sim::start(SimConfig::default()).await.unwrap();
    let decoy = DecoyServer {
        name: "the listeners close".to_owned(),
        ..DecoyServer::default()
    };
    sim.add_server(&decoy);
    let url = format!("{}/servers", sim.hetzner_url());
    // Once it is free, another world may take the port.
    let answers = async || {
        let token = SimConfig::default().hetzner.token;
        let call = client().get(&url).bearer_auth(token);
        let Ok(answer) = call.send().await else {
            return false;
        };
        let text = answer.text().await.unwrap_or_default();
        text.contains(&decoy.name)
    };
    let other = sim.clone();
    drop(sim);
    assert!(answers().await);
    drop(other);
    let closed = async {
        while answers().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_mins(1), closed)
        .await
        .expect("a listener closes");
}
