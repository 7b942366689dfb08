//! Knobs: the world's own faults and odd habits, in virtual time.

use std::time::Duration;

use serde_json::{Value, json};
use sim::{Conclusion, DecoyServer, Knob, Progress, Sim};

use crate::help::{
    config, create, github, hetzner, key_wish, make_key, order, pass, tailscale, user_data,
};

#[tokio::test(start_paused = true)]
async fn capacity_can_be_missing_here_or_everywhere_for_a_while() {
    let sim = Sim::in_process(config());
    let at_ash = |on| Knob::Unavailable {
        location: Some("ash".to_owned()),
        server_type: None,
        on,
    };
    sim.turn(at_ash(true));
    let refused = hetzner(&sim, "POST /servers", Some(order("a"))).await;
    assert_eq!(
        (refused.status, refused.code()),
        (412, "resource_unavailable")
    );
    let mut elsewhere = order("a");
    elsewhere["location"] = json!("hil");
    create(&sim, &elsewhere).await;
    sim.turn(at_ash(false));
    create(&sim, &order("b")).await;
}

#[tokio::test(start_paused = true)]
async fn account_limits_refuse_servers_and_addresses() {
    let sim = Sim::in_process(config());
    sim.turn(Knob::ServerLimit(1));
    create(&sim, &order("a")).await;
    let full = hetzner(&sim, "POST /servers", Some(order("b"))).await;
    assert_eq!((full.status, full.code()), (403, "resource_limit_exceeded"));
    sim.turn(Knob::ServerLimit(10));
    sim.turn(Knob::PrimaryIpLimit(2));
    let full = hetzner(&sim, "POST /servers", Some(order("b"))).await;
    assert!(full.message().contains("Primary IP limit"));
}

#[tokio::test(start_paused = true)]
async fn actions_can_fail_lie_and_vanish() {
    let sim = Sim::in_process(config());
    let fail = |command: &str| Knob::FailAction {
        command: command.to_owned(),
        times: 1,
    };
    sim.turn(fail("create_server"));
    let a = create(&sim, &order("a")).await;
    pass(20).await;
    let actions = hetzner(&sim, &format!("GET /servers/{a}/actions"), None).await;
    let list = actions.body["actions"].as_array().unwrap().clone();
    assert!(
        list.iter().all(|action| action["status"] == "error"),
        "{list:?}"
    );
    assert_eq!(list[0]["error"]["code"], "action_failed");
    assert_eq!(sim.world().servers[0].status, "off");

    sim.turn(fail("start_server"));
    let b = create(&sim, &order("b")).await;
    pass(20).await;
    let actions = hetzner(&sim, &format!("GET /servers/{b}/actions"), None).await;
    assert_eq!(actions.body["actions"][0]["status"], "success");
    assert_eq!(actions.body["actions"][1]["status"], "error");

    sim.turn(Knob::StartLeavesOff(1));
    let c = create(&sim, &order("c")).await;
    pass(20).await;
    let actions = hetzner(&sim, &format!("GET /servers/{c}/actions"), None).await;
    assert_eq!(actions.body["actions"][1]["status"], "success");
    assert_eq!(sim.world().server("c").unwrap().status, "off");

    sim.turn(fail("delete_server"));
    let deleted = hetzner(&sim, &format!("DELETE /servers/{c}"), None).await;
    pass(5).await;
    let id = deleted.body["action"]["id"].as_u64().unwrap();
    let action = hetzner(&sim, &format!("GET /actions/{id}"), None).await;
    assert_eq!(action.body["action"]["status"], "error");
    assert!(sim.world().server("c").is_some());

    sim.turn(Knob::ActionsVanish(true));
    let gone = hetzner(&sim, &format!("GET /actions/{id}"), None).await;
    assert_eq!(gone.status, 404);
    let none = hetzner(&sim, &format!("GET /actions?id={id}"), None).await;
    assert_eq!(none.body["actions"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn addresses_and_lists_can_lag() {
    let sim = Sim::in_process(config());
    sim.turn(Knob::Ipv4Late(Duration::from_secs(20)));
    sim.turn(Knob::ServerListLag(Duration::from_secs(3)));
    let id = create(&sim, &order("a")).await;
    let ipv4 = async || {
        let got = hetzner(&sim, &format!("GET /servers/{id}"), None).await;
        got.body["server"]["public_net"]["ipv4"].clone()
    };
    assert_eq!(ipv4().await, Value::Null);
    let listed = hetzner(&sim, "GET /servers?name=a", None).await;
    assert_eq!(listed.body["servers"], json!([]));
    pass(4).await;
    let listed = hetzner(&sim, "GET /servers?name=a", None).await;
    assert_eq!(listed.body["servers"][0]["id"], id);
    pass(17).await;
    assert!(ipv4().await["ip"].is_string());
    sim.turn(Knob::Ipv4Never(true));
    create(&sim, &order("b")).await;
    assert_eq!(sim.world().server("b").unwrap().ipv4, None);
}

#[tokio::test(start_paused = true)]
async fn shapes_can_be_odd_old_and_without_totals() {
    let sim = Sim::in_process(config());
    sim.turn(Knob::HetznerOddShapes(true));
    sim.turn(Knob::HetznerOldShapes(true));
    sim.turn(Knob::HetznerNullTotals(true));
    create(&sim, &order("a")).await;
    let got = hetzner(&sim, "GET /servers", None).await;
    let server = &got.body["servers"][0];
    assert_eq!(server["status"], "warming_up");
    assert!(server["x_new_field"].is_object());
    assert_eq!(server["datacenter"]["location"]["name"], "ash");
    assert_eq!(got.body["meta"]["pagination"]["total_entries"], Value::Null);
    sim.turn(Knob::UniquenessWithoutDetails(true));
    let again = hetzner(&sim, "POST /servers", Some(order("a"))).await;
    assert_eq!(again.body["error"]["details"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn tokens_rotate_and_hands_interfere() {
    let sim = Sim::in_process(config());
    let id = create(&sim, &order("a")).await;
    assert!(sim.delete_server_by_hand("a"));
    assert!(!sim.delete_server_by_hand("a"));
    let gone = hetzner(&sim, &format!("GET /servers/{id}"), None).await;
    assert_eq!(gone.code(), "not_found");
    let decoy = sim.add_server(&DecoyServer {
        name: "by-hand".to_owned(),
        age: Duration::from_hours(1),
        ..DecoyServer::default()
    });
    let got = hetzner(&sim, &format!("GET /servers/{decoy}"), None).await;
    assert_eq!(got.body["server"]["status"], "running");
    assert_eq!(got.body["server"]["created"], "2026-11-21T09:00:00+00:00");
    sim.turn(Knob::HetznerToken("x".repeat(64)));
    assert_eq!(
        hetzner(&sim, "GET /servers", None).await.code(),
        "unauthorized"
    );
}

#[tokio::test(start_paused = true)]
async fn devices_can_be_unapproved_addressless_locked_or_fleeting() {
    let sim = Sim::in_process(config());
    sim.turn(Knob::DeviceApproval {
        on: true,
        always: true,
    });
    sim.turn(Knob::AddressesLate(Duration::from_secs(10)));
    sim.turn(Knob::DeviceIpv4Late(Duration::from_secs(15)));
    sim.turn(Knob::Ipv6First(true));
    sim.turn(Knob::TailnetLock("node is not signed".to_owned()));
    sim.turn(Knob::DevicesVanish(Some(Duration::from_secs(30))));
    let (_, key) = make_key(&sim, key_wish()).await;
    let mut wish = order("a");
    wish["user_data"] = json!(user_data("a", &key));
    create(&sim, &wish).await;
    pass(49).await;
    let list = async || tailscale(&sim, "GET /tailnet/-/devices", None).await.body;
    let early = list().await["devices"][0].clone();
    assert_eq!(early["authorized"], false);
    assert_eq!(early["addresses"], json!([]));
    assert_eq!(early["tailnetLockError"], "node is not signed");
    pass(11).await;
    let later = list().await["devices"][0].clone();
    assert!(later["addresses"][0].as_str().unwrap().contains(':'));
    assert_eq!(later["addresses"].as_array().unwrap().len(), 1);
    pass(5).await;
    let complete = list().await["devices"][0].clone();
    assert!(
        complete["addresses"][1]
            .as_str()
            .unwrap()
            .starts_with("100.")
    );
    pass(15).await;
    assert_eq!(list().await["devices"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_boot_never_enrols() {
    let sim = Sim::in_process(config());
    sim.turn(Knob::BootHangs(true));
    let (_, key) = make_key(&sim, key_wish()).await;
    let mut wish = order("a");
    wish["user_data"] = json!(user_data("a", &key));
    create(&sim, &wish).await;
    pass(3000).await;
    let world = sim.world();
    assert!(world.devices.is_empty() && world.keys[0].usable);
}

#[tokio::test(start_paused = true)]
async fn runs_can_hang_fail_to_start_and_lag_in_lists() {
    let sim = Sim::in_process(config());
    let mut events = sim.take_runs();
    let dispatch = async |agent: &str| {
        let inputs = json!({"job_id": "j", "agent_id": agent, "callback_url": "https://x"});
        let path = "/repos/acme/agents/actions/workflows/provision-agent.yml/dispatches";
        let body = json!({"ref": "main", "inputs": inputs});
        let got = github(&sim, &format!("POST {path}"), Some(body)).await;
        assert_eq!(got.status, 204);
    };
    sim.turn(Knob::RunsNeverStart(true));
    sim.turn(Knob::RunListLag(Duration::from_secs(5)));
    dispatch("a").await;
    let list = async || {
        let got = github(&sim, "GET /repos/acme/agents/actions/runs", None).await;
        got.body["total_count"].as_u64().unwrap()
    };
    assert_eq!(list().await, 0);
    pass(6).await;
    assert_eq!(list().await, 1);
    pass(4000).await;
    assert_eq!(sim.world().runs[0].status, "queued");
    sim.turn(Knob::RunsNeverStart(false));
    sim.turn(Knob::StartupFailure(1));
    dispatch("b").await;
    pass(10).await;
    assert_eq!(
        sim.world().runs[1].conclusion,
        Some(Conclusion::StartupFailure)
    );
    assert!(
        events.try_recv().is_err(),
        "nobody was told to run anything"
    );
    sim.turn(Knob::GithubToken("other".to_owned()));
    let refused = github(&sim, "GET /repos/acme/agents/actions/runs", None).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test(start_paused = true)]
async fn progress_is_steady_or_jumps_or_stands() {
    let sim = Sim::in_process(config());
    let got = hetzner(&sim, "POST /servers", Some(order("a"))).await;
    let path = format!("GET /actions/{}", got.body["action"]["id"]);
    pass(6).await;
    for (progress, shown) in [
        (Progress::Steady, 60),
        (Progress::Jumps, 50),
        (Progress::Stuck, 0),
    ] {
        sim.turn(Knob::ActionProgress(progress));
        let seen = hetzner(&sim, &path, None).await;
        assert_eq!(seen.body["action"]["progress"], shown);
    }
    pass(5).await;
    let ended = hetzner(&sim, &path, None).await;
    assert_eq!(ended.body["action"]["progress"], 100);
}
