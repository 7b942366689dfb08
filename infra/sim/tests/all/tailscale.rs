//! The rules of the fake Tailscale, in virtual time.

use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use http::Request;
use serde_json::json;
use sim::{DecoyDevice, Knob, RateLimit, Sim, SimConfig, Vendor};

use crate::help::{
    config, key_wish, make_key, pass, send, tailscale, tailscale_as, tailscale_token,
};

#[tokio::test(start_paused = true)]
async fn tokens_come_by_form_or_basic_and_end_after_an_hour() {
    let sim = Sim::in_process(config());
    let own = SimConfig::default().tailscale;
    let ask = async |basic: Option<&str>, form: &str| {
        let mut request = Request::post("/api/v2/oauth/token");
        if let Some(pair) = basic {
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            request = request.header("authorization", format!("Basic {pair}"));
        }
        let request = request.body(Body::from(form.to_owned())).unwrap();
        send(&sim, Vendor::Tailscale, request).await
    };
    let pair = format!("{}:{}", own.client_id, own.client_secret);
    let by_basic = ask(Some(&pair), "grant_type=client_credentials").await;
    assert_eq!(by_basic.status, 200);
    assert_eq!(by_basic.body["expires_in"], 3600);
    assert_eq!(by_basic.body["tags"], "tag:agent");
    let wrong = ask(None, "client_id=kSimCNTRL&client_secret=wrong").await;
    assert_eq!(wrong.status, 401);
    assert!(!wrong.message().is_empty());

    let token = tailscale_token(&sim).await;
    let list = ("GET /tailnet/-/devices", None);
    assert_eq!(tailscale_as(&sim, &token, list.clone()).await.status, 200);
    pass(3599).await;
    assert_eq!(tailscale_as(&sim, &token, list.clone()).await.status, 200);
    pass(1).await;
    assert_eq!(tailscale_as(&sim, &token, list).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn a_narrowed_token_may_only_what_it_asked_for() {
    let sim = Sim::in_process(config());
    let own = SimConfig::default().tailscale;
    let form = format!(
        "client_id={}&client_secret={}&scope=devices:core:read",
        own.client_id, own.client_secret
    );
    let request = Request::post("/api/v2/oauth/token")
        .body(Body::from(form))
        .unwrap();
    let got = send(&sim, Vendor::Tailscale, request).await;
    let token = got.body["access_token"].as_str().unwrap();
    let list = tailscale_as(&sim, token, ("GET /tailnet/-/devices", None)).await;
    assert_eq!(list.status, 200);
    let make = ("POST /tailnet/-/keys", Some(key_wish()));
    let refused = tailscale_as(&sim, token, make).await;
    assert_eq!(refused.status, 403);
    assert!(
        refused
            .message()
            .contains("does not have access to this operation")
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_has_the_whole_tag_set_a_short_life_and_a_plain_description() {
    let sim = Sim::in_process(config());
    let with = async |pointer: &str, value: serde_json::Value| {
        let mut wish = key_wish();
        *wish.pointer_mut(pointer).unwrap() = value;
        let got = tailscale(&sim, "POST /tailnet/-/keys", Some(wish)).await;
        (got.status, got.message().to_owned())
    };
    let tags = "/capabilities/devices/create/tags";
    let (status, message) = with(tags, json!(["tag:other"])).await;
    assert_eq!(status, 400);
    assert_eq!(
        message,
        "requested tags [tag:other] are invalid or not permitted"
    );
    assert_eq!(with(tags, json!(["tag:agent", "tag:other"])).await.0, 400);
    assert_eq!(with(tags, json!([])).await.0, 400);
    assert_eq!(with("/expirySeconds", json!(7_776_001)).await.0, 400);
    assert_eq!(with("/expirySeconds", json!(0)).await.0, 400);
    assert_eq!(with("/description", json!("x".repeat(51))).await.0, 400);
    assert_eq!(with("/description", json!("job: x")).await.0, 400);
    assert!(sim.world().keys.is_empty());
    let uuid = "0193a1b2-0000-7000-8000-123456789abc f12";
    assert_eq!(with("/description", json!(uuid)).await.0, 200);
    assert_eq!(sim.world().keys[0].description, uuid);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_shown_once_listed_revoked_and_forgotten() {
    let sim = Sim::in_process(config());
    let got = tailscale(&sim, "POST /tailnet/-/keys", Some(key_wish())).await;
    let key = &got.body;
    assert!(key["key"].as_str().unwrap().starts_with("tskey-auth-"));
    assert_eq!(key["revoked"], "0001-01-01T00:00:00Z");
    assert_eq!(key["created"], "2026-11-21T10:00:00Z");
    assert_eq!(key["expires"], "2026-11-21T11:00:00Z");
    let id = key["id"].as_str().unwrap();
    let path = format!("/tailnet/-/keys/{id}");
    let seen = tailscale(&sim, &format!("GET {path}"), None).await;
    assert!(seen.body.get("key").is_none());
    assert_eq!(seen.body["invalid"], false);
    let own = tailscale(&sim, "GET /tailnet/-/keys", None).await;
    assert_eq!(own.body["keys"], json!([]), "an OAuth client is no user");
    let list = async || {
        let got = tailscale(&sim, "GET /tailnet/-/keys?all=true", None).await;
        let rows = got.body["keys"].as_array().unwrap().clone();
        let row = |row: serde_json::Value| (row["keyType"].clone(), row["id"].clone());
        rows.into_iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(list().await, [(json!("auth"), json!(id))]);

    let deleted = tailscale(&sim, &format!("DELETE {path}"), None).await;
    assert_eq!(
        (deleted.status, deleted.body),
        (200, serde_json::Value::Null)
    );
    assert_eq!(
        tailscale(&sim, &format!("DELETE {path}"), None)
            .await
            .status,
        404
    );
    let dead = tailscale(&sim, &format!("GET {path}"), None).await;
    assert_eq!(dead.body["invalid"], true);
    assert_eq!(list().await, [], "a dead key is not listed");
    pass(24 * 3600).await;
    assert_eq!(
        tailscale(&sim, &format!("GET {path}"), None).await.status,
        404
    );
}

fn decoy(hostname: &str, tags: &[&str]) -> DecoyDevice {
    DecoyDevice {
        hostname: hostname.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        online: true,
        external: false,
        age: Duration::from_mins(1),
    }
}

#[tokio::test(start_paused = true)]
async fn devices_are_filtered_by_property_unless_the_server_ignores_it() {
    let sim = Sim::in_process(config());
    sim.add_device(&decoy("a", &["tag:agent"]));
    sim.add_device(&decoy("b", &["tag:agent", "tag:web"]));
    sim.add_device(&decoy("c", &[]));
    let count = async |query: &str| {
        let got = tailscale(&sim, &format!("GET /tailnet/-/devices?{query}"), None).await;
        got.body["devices"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 3);
    assert_eq!(count("hostname=b").await, 1);
    assert_eq!(count("tags=tag:agent").await, 2);
    assert_eq!(count("tags=tag:agent&tags=tag:web").await, 1);
    assert_eq!(count("isEphemeral=true").await, 0);
    assert_eq!(count("fields=all&hostname=a").await, 1);
    sim.turn(Knob::IgnoreFilters(true));
    assert_eq!(count("hostname=b").await, 3);
    let list = tailscale(&sim, "GET /tailnet/-/devices", None).await;
    let devices = list.body["devices"].as_array().unwrap();
    assert!(
        devices[2].get("tags").is_none(),
        "tags are absent for untagged devices"
    );
    assert_eq!(devices[0]["expires"], "0001-01-01T00:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn a_device_is_read_changed_and_deleted_by_either_id() {
    let sim = Sim::in_process(config());
    let id = sim.add_device(&decoy("a", &["tag:agent"]));
    let node = sim.world().devices[0].node_id.clone();
    for id in [id.to_string(), node.clone()] {
        let got = tailscale(&sim, &format!("GET /device/{id}"), None).await;
        assert_eq!(got.body["hostname"], "a");
    }
    let body = Some(json!({"authorized": false}));
    let changed = tailscale(&sim, &format!("POST /device/{node}/authorized"), body).await;
    assert_eq!(changed.status, 200);
    assert!(!sim.world().devices[0].authorized);
    assert_eq!(
        tailscale(&sim, &format!("DELETE /device/{node}"), None)
            .await
            .status,
        200
    );
    assert_eq!(
        tailscale(&sim, &format!("DELETE /device/{node}"), None)
            .await
            .status,
        404
    );

    let foreign = sim.add_device(&DecoyDevice {
        external: true,
        ..decoy("x", &[])
    });
    let list = tailscale(&sim, "GET /tailnet/-/devices", None).await;
    assert_eq!(list.body["devices"][0]["created"], "");
    let refused = tailscale(&sim, &format!("DELETE /device/{foreign}"), None).await;
    assert_eq!(refused.status, 501);
}

#[tokio::test(start_paused = true)]
async fn tokens_can_end_early_and_other_tailnets_are_refused() {
    let sim = Sim::in_process(config());
    let token = tailscale_token(&sim).await;
    make_key(&sim, key_wish()).await;
    sim.turn(Knob::ExpireTokens);
    let list = ("GET /tailnet/-/devices", None);
    assert_eq!(tailscale_as(&sim, &token, list).await.status, 401);
    let other = tailscale(&sim, "GET /tailnet/example.com/devices", None).await;
    assert_eq!(
        (other.status, other.message()),
        (403, "user tailnet does not match")
    );
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_a_limit_are_refused_until_some_come_back() {
    let sim = Sim::in_process(config());
    let token = tailscale_token(&sim).await;
    let list = ("GET /tailnet/-/devices", None);
    for retry_after in [None, Some(7)] {
        sim.turn(Knob::TailscaleLimit(Some(RateLimit {
            burst: 2,
            per_second: 10,
            retry_after,
        })));
        let ask = async || tailscale_as(&sim, &token, list.clone()).await;
        let statuses = [ask().await.status, ask().await.status];
        assert_eq!(statuses, [200, 200]);
        let refused = ask().await;
        assert_eq!(
            (refused.status, refused.message()),
            (429, "API rate limit exceeded")
        );
        let header = retry_after.map_or(String::new(), |seconds| seconds.to_string());
        assert_eq!(refused.header("retry-after"), header);
        tokio::time::advance(Duration::from_millis(100)).await;
        let statuses = [ask().await.status, ask().await.status];
        assert_eq!(statuses, [200, 429], "one came back");
        pass(60).await;
        let statuses = [ask().await.status, ask().await.status, ask().await.status];
        assert_eq!(
            statuses,
            [200, 200, 429],
            "no more come back than there were"
        );
    }
    sim.turn(Knob::TailscaleLimit(None));
    for _ in 0..9 {
        assert_eq!(tailscale_as(&sim, &token, list.clone()).await.status, 200);
    }
}
