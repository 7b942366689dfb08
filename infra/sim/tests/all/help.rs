//! A small caller for the tests: one call in, status, headers and JSON out. Knows no rules.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sim::{DelayRange, Sim, SimConfig, Vendor};
use tower::ServiceExt as _;

/// An answer taken apart.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Got {
    /// Hetzner's error code.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The message of Hetzner's, Tailscale's or GitHub's error.
    pub(crate) fn message(&self) -> &str {
        let message = self.body.pointer("/error/message");
        let message = message.or_else(|| self.body.get("message"));
        message.and_then(Value::as_str).unwrap_or_default()
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// The same delay always.
pub(crate) fn exactly(seconds: u64) -> DelayRange {
    DelayRange::millis(seconds * 1000, seconds * 1000)
}

/// Create 10 s, start 5 s, boot 30 s, delete 4 s, enrolment 3 s, run start 6 s.
pub(crate) fn config() -> SimConfig {
    let mut config = SimConfig::default();
    config.hetzner.create_delay = exactly(10);
    config.hetzner.start_delay = exactly(5);
    config.hetzner.boot_delay = exactly(30);
    config.hetzner.delete_delay = exactly(4);
    config.tailscale.enrol_delay = exactly(3);
    config.github.run_start_delay = exactly(6);
    config
}

/// One call in process with exactly these headers.
pub(crate) async fn send(sim: &Sim, vendor: Vendor, request: Request<Body>) -> Got {
    let response = sim.router(vendor).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Got {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    }
}

fn request(target: &str, token: &str, body: Option<&Value>) -> Request<Body> {
    let (method, path) = target.split_once(' ').unwrap();
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("user-agent", "tests")
        .body(body)
        .unwrap()
}

/// `"GET /servers"` at Hetzner with the right token.
pub(crate) async fn hetzner(sim: &Sim, target: &str, body: Option<Value>) -> Got {
    let token = SimConfig::default().hetzner.token;
    let target = target.replacen(" /", " /v1/", 1);
    send(
        sim,
        Vendor::Hetzner,
        request(&target, &token, body.as_ref()),
    )
    .await
}

/// `"GET /repos/…"` at GitHub with the right token.
pub(crate) async fn github(sim: &Sim, target: &str, body: Option<Value>) -> Got {
    let token = SimConfig::default().github.token;
    send(sim, Vendor::Github, request(target, &token, body.as_ref())).await
}

/// A call at GitHub with another token or version.
pub(crate) async fn github_with(
    sim: &Sim,
    (token, version): (&str, &str),
    (target, body): (&str, Option<Value>),
) -> Got {
    let mut request = request(target, token, body.as_ref());
    let headers = request.headers_mut();
    headers.insert("x-github-api-version", version.parse().unwrap());
    send(sim, Vendor::Github, request).await
}

/// A fresh access token of Tailscale.
pub(crate) async fn tailscale_token(sim: &Sim) -> String {
    let config = SimConfig::default().tailscale;
    let form = format!(
        "client_id={}&client_secret={}&grant_type=client_credentials",
        config.client_id, config.client_secret
    );
    let request = Request::post("/api/v2/oauth/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    let got = send(sim, Vendor::Tailscale, request).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.body["access_token"].as_str().unwrap().to_owned()
}

/// `"GET /tailnet/-/devices"` at Tailscale with this token.
pub(crate) async fn tailscale_as(
    sim: &Sim,
    token: &str,
    (target, body): (&str, Option<Value>),
) -> Got {
    let target = target.replacen(" /", " /api/v2/", 1);
    send(
        sim,
        Vendor::Tailscale,
        request(&target, token, body.as_ref()),
    )
    .await
}

/// The same with a fresh token.
pub(crate) async fn tailscale(sim: &Sim, target: &str, body: Option<Value>) -> Got {
    let token = tailscale_token(sim).await;
    tailscale_as(sim, &token, (target, body)).await
}

/// The order of a small server with an SSH key.
pub(crate) fn order(name: &str) -> Value {
    json!({
        "name": name, "server_type": "cpx11", "image": "ubuntu-22.04", "location": "ash",
        "ssh_keys": [1], "labels": {"managed_by": "tests"},
    })
}

/// Creates a server; gives its id.
pub(crate) async fn create(sim: &Sim, order: &Value) -> u64 {
    let got = hetzner(sim, "POST /servers", Some(order.clone())).await;
    assert_eq!(got.status, 201, "{got:?}");
    got.body["server"]["id"].as_u64().unwrap()
}

/// The wish for a one-off key with the client's tag.
pub(crate) fn key_wish() -> Value {
    json!({
        "capabilities": {"devices": {"create": {"reusable": false, "ephemeral": false,
            "preauthorized": true, "tags": ["tag:agent"]}}},
        "expirySeconds": 3600, "description": "job x f1",
    })
}

/// Makes a key; gives its id and secret.
pub(crate) async fn make_key(sim: &Sim, wish: Value) -> (String, String) {
    let got = tailscale(sim, "POST /tailnet/-/keys", Some(wish)).await;
    assert_eq!(got.status, 200, "{got:?}");
    let text = |name: &str| got.body[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

/// User data that enrols as `hostname` with `key`, the key in a file.
pub(crate) fn user_data(hostname: &str, key: &str) -> String {
    let config = json!({
        "write_files": [{"path": "/run/enrol-key", "permissions": "0600", "content": key}],
        "runcmd": [
            ["sh", "-c", "curl -fsSL https://tailscale.com/install.sh | sh"],
            ["tailscale", "up", "--auth-key=file:/run/enrol-key", format!("--hostname={hostname}")],
            "rm -f /run/enrol-key",
        ],
    });
    format!("#cloud-config\n{config}")
}

/// Lets virtual time pass.
pub(crate) async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}
