//! Events through the webhook's own router into a real database and a queue on the other side
//! of a socket.

#![cfg(test)]

mod checkouts;
mod concurrent;
mod life;
mod logs;
mod money_back;
mod story;
mod world;

#[path = "../../../host/tests/support/queue.rs"]
mod queue;

use axum::{
    body::Body,
    http::{HeaderName, Request, StatusCode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use domain::AgentState;
use queue::Sent;
use serde_json::{Value, json};
use sim::stripe::Signer;
use store::ConnectConfig;
use stripe_webhook::handler::EVENT_BYTES_MAX;
use tower::ServiceExt;
use world::{AGENT, NOW, SECRET, World, ok, request};

fn event(id: &str, kind: &str, session: &Value) -> String {
    json!({"id": id, "object": "event", "created": 1_799_999_990, "livemode": false,
        "type": kind, "data": {"object": session}})
    .to_string()
}

fn paid(id: &str) -> String {
    let session = json!({"object": "checkout.session", "id": "cs_1", "payment_status": "paid",
        "subscription": "sub_1", "client_reference_id": AGENT});
    event(id, "checkout.session.completed", &session)
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap()
}

#[tokio::test]
async fn a_payment_leaves_a_queued_job_and_a_nudge_and_so_does_its_repeat() {
    let world = World::new().await;
    assert_eq!(world.post(paid("evt_1")).await, ok());
    assert_eq!(world.state(AGENT).await, Some(AgentState::Provisioning));
    let first = world.queue.take();
    assert_eq!(first.len(), 1);
    assert!(first[0].nudge.job.is_some());
    for event in ["evt_1", "evt_2"] {
        assert_eq!(world.post(paid(event)).await, ok());
        assert_eq!(world.queue.take(), first, "{event} nudges for the same job");
    }
}

#[tokio::test]
async fn a_payment_that_could_not_be_nudged_is_503_until_its_repeat_nudges() {
    let world = World::new().await;
    world.queue.be_away(true);
    let (status, answer) = world.post(paid("evt_1")).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
    assert_eq!(world.state(AGENT).await, Some(AgentState::Provisioning));
    world.queue.be_away(false);
    assert_eq!(world.post(paid("evt_1")).await, ok());
    assert_eq!(world.queue.take().len(), 1);
}

#[tokio::test]
async fn other_events_are_stored_and_change_nothing() {
    let world = World::new().await;
    let thin = json!({"id": "evt_2", "object": "v2.core.event", "livemode": false,
        "created": "2026-11-21T10:00:00.000Z", "type": "v1.checkout.session.completed"});
    for body in [
        thin.to_string(),
        event("evt_3", "moon.landed", &json!("not even an object")),
    ] {
        assert_eq!(world.post(body).await, ok());
    }
    assert_eq!(world.state(AGENT).await, None);
    assert_eq!(world.queue.take(), []);
}

#[tokio::test]
async fn a_database_that_is_away_is_503_and_tells_nothing() {
    let url = "postgres://user:hunter2@127.0.0.1:9/nowhere".to_owned();
    let world = World::on(
        &ConnectConfig {
            url: url.into(),
            ca_pem: None,
        },
        None,
    )
    .await;
    let (status, answer) = world.post(paid("evt_1")).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
    assert!(!answer.to_string().contains("hunter2"));
}

#[tokio::test]
async fn what_is_not_believed_or_understood_is_refused_and_not_stored() {
    let world = World::new().await;
    let body = paid("evt_1").into_bytes();
    let header = Signer::new(SECRET).sign(&body, NOW.unix_seconds());
    let mut altered = body.clone();
    altered.push(b'\n');
    let other = Signer::new("whsec_other").sign(&body, NOW.unix_seconds());
    let old = Signer::new(SECRET).sign(&body, NOW.unix_seconds() - 301);
    for (header, body) in [
        (&header, altered),
        (&other, body.clone()),
        (&old, body.clone()),
    ] {
        let (status, answer) = world.send(request(header, body)).await;
        assert_eq!(
            (status, code(&answer)),
            (StatusCode::BAD_REQUEST, "bad_signature")
        );
    }
    let bare = Request::post("/webhooks/stripe")
        .body(Body::from(body))
        .unwrap();
    assert_eq!(world.send(bare).await.0, StatusCode::BAD_REQUEST);
    for body in [&b"not json"[..], b"{}", b"\xff\xfe", b""] {
        let (status, answer) = world.post(body).await;
        assert_eq!(
            (status, code(&answer)),
            (StatusCode::BAD_REQUEST, "malformed")
        );
    }
    let (status, answer) = world.post(vec![b' '; EVENT_BYTES_MAX + 1]).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
    );
    assert_eq!(world.state(AGENT).await, None);
    assert_eq!(world.queue.take(), []);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let world = World::new().await;
    let get = Request::get("/webhooks/stripe")
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(get).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let elsewhere = Request::post("/callback").body(Body::empty()).unwrap();
    assert_eq!(world.send(elsewhere).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_event_of_the_other_kind_is_refused() {
    let url = "postgres://127.0.0.1:9/nowhere".to_owned();
    let world = World::on(
        &ConnectConfig {
            url: url.into(),
            ca_pem: None,
        },
        Some(true),
    )
    .await;
    let (status, answer) = world.post(paid("evt_1")).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::BAD_REQUEST, "wrong_livemode")
    );
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("STRIPE_LIVEMODE")
    );
}

#[tokio::test]
async fn several_signature_headers_count_as_one() {
    let world = World::new().await;
    let body = paid("evt_1").into_bytes();
    let mut request = request("v1=00", body.clone());
    let header = Signer::new(SECRET).sign(&body, NOW.unix_seconds());
    let name = HeaderName::from_static("stripe-signature");
    request.headers_mut().append(name, header.parse().unwrap());
    assert_eq!(world.send(request).await, ok());
    let sent: Vec<Sent> = world.queue.take();
    assert_eq!(sent.len(), 1);
}

#[tokio::test]
async fn a_body_that_lambda_carries_as_base64_is_verified_as_it_was_sent() {
    let world = World::new().await;
    let body = paid("evt_1");
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/webhooks/stripe",
        "rawQueryString": "", "isBase64Encoded": true, "body": BASE64_STANDARD.encode(&body),
        "headers": {
            "content-type": "application/json; charset=utf-8",
            "stripe-signature": Signer::new(SECRET).sign(body.as_bytes(), NOW.unix_seconds()),
        },
        "requestContext": {
            "accountId": "anonymous", "apiId": "a", "domainName": "d", "domainPrefix": "p",
            "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "21/Nov/2026:10:00:00 +0000", "timeEpoch": 0,
            "http": {"method": "POST", "path": "/webhooks/stripe", "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.9", "userAgent": "Stripe/1.0"},
        },
    });
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(world.state(AGENT).await, Some(AgentState::Provisioning));
}
