//! The rules of the fake Hetzner, in virtual time.

use http::Request;
use serde_json::{Value, json};
use sim::{Sim, SimConfig, Vendor};

use crate::help::{config, create, hetzner, order, pass, send};

#[tokio::test(start_paused = true)]
async fn a_server_comes_up_through_its_states_and_its_actions_progress() {
    let sim = Sim::in_process(config());
    let got = hetzner(&sim, "POST /servers", Some(order("agent-1"))).await;
    assert_eq!(got.status, 201, "{got:?}");
    let server = &got.body["server"];
    assert_eq!(server["status"], "initializing");
    assert_eq!(server["locked"], true);
    assert!(server.get("datacenter").is_none());
    assert_eq!(server["location"]["name"], "ash");
    assert_eq!(got.body["root_password"], Value::Null);
    assert_eq!(got.body["action"]["command"], "create_server");
    assert_eq!(got.body["next_actions"][0]["command"], "start_server");
    let id = server["id"].as_u64().unwrap();
    assert!(id > u64::from(u32::MAX), "ids are longer than 32 bits");
    let action = got.body["action"]["id"].as_u64().unwrap();
    let next = got.body["next_actions"][0]["id"].as_u64().unwrap();

    pass(5).await;
    let half = hetzner(&sim, &format!("GET /actions/{action}"), None).await;
    assert_eq!(half.body["action"]["status"], "running");
    assert_eq!(half.body["action"]["progress"], 50);
    pass(6).await;
    let path = format!("GET /actions?id={action}&id={next}&page=1&sort=status&sort=id");
    let both = hetzner(&sim, &path, None).await;
    let states: Vec<(u64, &str)> = both.body["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["id"].as_u64().unwrap(), a["status"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [(action, "success"), (next, "running")]);
    let starting = hetzner(&sim, &format!("GET /servers/{id}"), None).await;
    assert_eq!(starting.body["server"]["status"], "starting");
    pass(5).await;
    let running = hetzner(&sim, &format!("GET /servers/{id}"), None).await;
    assert_eq!(running.body["server"]["status"], "running");
    assert_eq!(running.body["server"]["locked"], false);
    let own = hetzner(&sim, &format!("GET /servers/{id}/actions"), None).await;
    assert_eq!(own.body["actions"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_create_without_start_leaves_the_server_off_and_without_keys_gives_a_password() {
    let sim = Sim::in_process(config());
    let mut wish = order("quiet");
    wish["start_after_create"] = json!(false);
    wish.as_object_mut().unwrap().remove("ssh_keys");
    let got = hetzner(&sim, "POST /servers", Some(wish)).await;
    assert_eq!(got.body["next_actions"], json!([]));
    assert!(got.body["root_password"].as_str().unwrap().len() > 10);
    let id = got.body["server"]["id"].as_u64().unwrap();
    pass(11).await;
    assert_eq!(sim.world().servers[0].status, "off");
    let on = hetzner(&sim, &format!("POST /servers/{id}/actions/poweron"), None).await;
    assert_eq!(on.status, 201, "{on:?}");
    pass(6).await;
    assert_eq!(sim.world().servers[0].status, "running");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_until_its_server_is_gone() {
    let sim = Sim::in_process(config());
    let id = create(&sim, &order("agent-1")).await;
    let again = hetzner(&sim, "POST /servers", Some(order("agent-1"))).await;
    assert_eq!((again.status, again.code()), (409, "uniqueness_error"));
    assert_eq!(again.body["error"]["details"]["fields"][0]["name"], "name");

    let busy = hetzner(&sim, &format!("DELETE /servers/{id}"), None).await;
    assert_eq!((busy.status, busy.code()), (423, "locked"));
    pass(16).await;
    let deleted = hetzner(&sim, &format!("DELETE /servers/{id}"), None).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(deleted.body["action"]["command"], "delete_server");
    assert_eq!(sim.world().primary_ips.len(), 2);
    let early = hetzner(&sim, "POST /servers", Some(order("agent-1"))).await;
    assert_eq!(early.code(), "uniqueness_error");
    pass(5).await;
    let gone = hetzner(&sim, &format!("GET /servers/{id}"), None).await;
    assert_eq!((gone.status, gone.code()), (404, "not_found"));
    let action = deleted.body["action"]["id"].as_u64().unwrap();
    let done = hetzner(&sim, &format!("GET /actions/{action}"), None).await;
    assert_eq!(done.body["action"]["status"], "success");
    assert!(
        sim.world().primary_ips.is_empty(),
        "addresses go with their server"
    );
    assert_eq!(sim.world().deleted_servers.len(), 1);
    create(&sim, &order("agent-1")).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_is_checked_field_by_field() {
    let sim = Sim::in_process(config());
    let cases = [
        ("name", json!("under_score"), 422, "RFC 1123"),
        ("name", json!("-edge"), 422, "RFC 1123"),
        ("server_type", json!("cx99"), 422, "server type not found"),
        ("image", json!("plan-9"), 422, "image not found"),
        ("ssh_keys", json!([77]), 422, "SSH key not found"),
        ("location", json!("moon"), 422, "location not found"),
        (
            "location",
            json!("fsn1"),
            422,
            "unsupported location for server type",
        ),
        ("datacenter", json!("ash-dc1"), 422, "unknown field"),
        ("labels", json!({"a b": "c"}), 422, "label key"),
        ("labels", json!({"a": "x@y"}), 422, "label value"),
        ("labels", json!({"hetzner.cloud/a": "x"}), 422, "label key"),
        ("user_data", json!("x".repeat(32_769)), 422, "0 and 32768"),
        (
            "firewalls",
            json!([{"firewall": 5}]),
            422,
            "firewall not found",
        ),
        (
            "public_net",
            json!({"enable_ipv4": false, "enable_ipv6": false}),
            422,
            "network",
        ),
    ];
    for (field, value, status, message) in cases {
        let mut wish = order("agent-1");
        wish[field] = value.clone();
        let got = hetzner(&sim, "POST /servers", Some(wish)).await;
        assert_eq!(
            (got.status, got.code()),
            (status, "invalid_input"),
            "{field}={value}"
        );
        assert!(
            got.message().contains(message),
            "{field}: {}",
            got.message()
        );
        let named = got.body["error"]["details"]["fields"][0]["name"].as_str();
        assert_eq!(named, Some(field));
    }
    assert!(sim.world().servers.is_empty());
    let mut widest = order("agent-1");
    widest["user_data"] = json!("x".repeat(32_768));
    widest["server_type"] = json!(22);
    widest["labels"] = json!({"empty": "", "example.com/key": "a-b_c.d"});
    create(&sim, &widest).await;
}

#[tokio::test(start_paused = true)]
async fn arm_types_are_for_europe_and_take_the_arm_image_of_the_same_name() {
    let sim = Sim::in_process(config());
    let mut wish = order("arm");
    wish["server_type"] = json!("cax11");
    let overseas = hetzner(&sim, "POST /servers", Some(wish.clone())).await;
    assert!(
        overseas
            .message()
            .contains("unsupported location for server type")
    );
    wish["location"] = json!("nbg1");
    let got = hetzner(&sim, "POST /servers", Some(wish)).await;
    assert_eq!(got.body["server"]["image"]["architecture"], "arm");
}

#[tokio::test(start_paused = true)]
async fn lists_filter_by_name_label_and_status_and_come_in_pages() {
    let sim = Sim::in_process(config());
    for number in 0..30 {
        let mut wish = order(&format!("agent-{number}"));
        let tier = if number % 2 == 0 { "a" } else { "b" };
        wish["labels"] = json!({"managed_by": "tests", "tier": tier});
        create(&sim, &wish).await;
    }
    let first = hetzner(&sim, "GET /servers", None).await;
    assert_eq!(first.body["servers"].as_array().unwrap().len(), 25);
    let pagination = &first.body["meta"]["pagination"];
    assert_eq!(pagination["next_page"], 2);
    assert_eq!(pagination["total_entries"], 30);
    assert!(first.header("link").contains("page=2"));
    let second = hetzner(&sim, "GET /servers?page=2", None).await;
    assert_eq!(second.body["servers"].as_array().unwrap().len(), 5);
    assert_eq!(second.body["meta"]["pagination"]["next_page"], Value::Null);

    let count = async |query: &str| {
        let got = hetzner(&sim, &format!("GET /servers?{query}"), None).await;
        assert_eq!(got.status, 200, "{query}: {got:?}");
        got.body["meta"]["pagination"]["total_entries"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(count("name=agent-7").await, 1);
    assert_eq!(count("name=nobody").await, 0);
    assert_eq!(count("status=initializing").await, 30);
    assert_eq!(count("status=running&status=off").await, 0);
    let selectors = [
        ("managed_by", 30),
        ("!managed_by", 0),
        ("tier==a", 15),
        ("tier=a", 15),
        ("tier!=a", 15),
        ("tier in (a,b)", 30),
        ("tier notin (a)", 15),
        ("managed_by==tests,tier==b", 15),
        ("managed_by==tests,tier in (c, d)", 0),
    ];
    for (selector, wanted) in selectors {
        let encoded: String = url::form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        assert_eq!(
            count(&format!("label_selector={encoded}")).await,
            wanted,
            "{selector}"
        );
    }
    let bad = hetzner(&sim, "GET /servers?label_selector=a%20b%20c", None).await;
    assert_eq!((bad.status, bad.code()), (422, "invalid_input"));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_checked_and_read_only_ones_only_read() {
    let mut config = config();
    config.hetzner.read_only_token = Some("ro".repeat(32));
    let sim = Sim::in_process(config);
    let with = async |method: &str, token: &str| {
        let request = Request::builder()
            .method(method)
            .uri("/v1/servers")
            .header("authorization", format!("Bearer {token}"))
            .body(order("x").to_string().into())
            .unwrap();
        let got = send(&sim, Vendor::Hetzner, request).await;
        assert!(!got.header("x-correlation-id").is_empty());
        (got.status, got.code().to_owned())
    };
    let read_only = "ro".repeat(32);
    assert_eq!(with("GET", "wrong").await, (401, "unauthorized".to_owned()));
    assert_eq!(with("GET", &read_only).await, (200, String::new()));
    assert_eq!(
        with("POST", &read_only).await,
        (401, "token_readonly".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn the_rate_bucket_empties_and_gives_back_one_call_a_second() {
    let mut config = config();
    config.hetzner.rate_remaining = 2;
    let sim = Sim::in_process(config);
    let first = hetzner(&sim, "GET /locations", None).await;
    assert_eq!(first.header("ratelimit-limit"), "3600");
    assert_eq!(first.header("ratelimit-remaining"), "1");
    hetzner(&sim, "GET /nothing", None).await;
    let refused = hetzner(&sim, "GET /locations", None).await;
    assert_eq!(
        (refused.status, refused.code()),
        (429, "rate_limit_exceeded")
    );
    let token = SimConfig::default().hetzner.token;
    assert!(
        refused.message().contains(token.get(..8).unwrap()),
        "the message quotes the token's beginning"
    );
    let reset: i64 = refused.header("ratelimit-reset").parse().unwrap();
    assert_eq!(
        reset,
        sim.unix_seconds() + 3600,
        "reset is when the bucket is full"
    );
    pass(1).await;
    assert_eq!(hetzner(&sim, "GET /locations", None).await.status, 200);
    assert_eq!(hetzner(&sim, "GET /locations", None).await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn the_catalog_says_what_is_sold_where() {
    let sim = Sim::in_process(config());
    let types = hetzner(&sim, "GET /server_types?name=cpx11", None).await;
    let list = types.body["server_types"].as_array().unwrap();
    assert_eq!(list.len(), 1);
    let here = list[0]["locations"].as_array().unwrap();
    let find = |name: &str| here.iter().find(|place| place["name"] == name).unwrap();
    assert_eq!(find("ash")["available"], true);
    assert_eq!(find("ash")["deprecation"], Value::Null);
    assert_eq!(find("fsn1")["available"], false);
    assert!(find("fsn1")["deprecation"]["unavailable_after"].is_string());
    let places = hetzner(&sim, "GET /locations", None).await;
    assert_eq!(places.body["locations"].as_array().unwrap().len(), 6);
    let images = "GET /images?name=ubuntu-22.04&architecture=x86&type=system";
    let images = hetzner(&sim, images, None).await;
    assert_eq!(images.body["images"].as_array().unwrap().len(), 1);
    let gone = hetzner(&sim, "GET /datacenters", None).await;
    assert_eq!((gone.status, gone.code()), (410, "deprecated_api_endpoint"));
    let all = hetzner(&sim, "GET /actions", None).await;
    assert_eq!(all.status, 422);
}

#[tokio::test(start_paused = true)]
async fn firewalls_are_made_once_by_name_and_stay_while_used() {
    let sim = Sim::in_process(config());
    let wish = json!({"name": "agents", "rules": [{"direction": "in", "protocol": "udp",
        "port": "41641", "source_ips": ["0.0.0.0/0", "::/0"]}]});
    let made = hetzner(&sim, "POST /firewalls", Some(wish.clone())).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["firewall"]["id"].as_u64().unwrap();
    let again = hetzner(&sim, "POST /firewalls", Some(wish)).await;
    assert_eq!((again.status, again.code()), (409, "uniqueness_error"));
    let found = hetzner(&sim, "GET /firewalls?name=agents", None).await;
    assert_eq!(found.body["firewalls"][0]["id"], id);
    for (field, value) in [
        ("port", json!(null)),
        ("port", json!("70000")),
        ("protocol", json!("carrier-pigeon")),
        ("source_ips", json!(["everywhere"])),
    ] {
        let mut rule = json!({"direction": "in", "protocol": "tcp", "port": "22",
            "source_ips": ["10.0.0.0/8"]});
        rule[field] = value;
        let wish = json!({"name": "bad", "rules": [rule]});
        let refused = hetzner(&sim, "POST /firewalls", Some(wish)).await;
        assert_eq!(
            (refused.status, refused.code()),
            (422, "invalid_input"),
            "{field}"
        );
    }
    let mut server = order("agent-1");
    server["firewalls"] = json!([{"firewall": id}]);
    create(&sim, &server).await;
    assert_eq!(sim.world().servers[0].firewalls, [id]);
    let used = hetzner(&sim, &format!("DELETE /firewalls/{id}"), None).await;
    assert_eq!(used.code(), "resource_in_use");
}

#[tokio::test(start_paused = true)]
async fn an_assigned_primary_ip_cannot_be_deleted() {
    let sim = Sim::in_process(config());
    create(&sim, &order("agent-1")).await;
    let ip = sim.world().primary_ips[0];
    let refused = hetzner(&sim, &format!("DELETE /primary_ips/{ip}"), None).await;
    assert_eq!(
        (refused.status, refused.code()),
        (422, "must_be_unassigned")
    );
}
