//! A held world: nothing happens by itself, and a copy goes its own way.

use serde_json::json;
use sim::{Sim, Waiting};

use crate::help::{config, create, hetzner, key_wish, make_key, order, pass, user_data};

/// A held world in which a server was just ordered that will enrol; the server's id.
async fn held() -> (Sim, u64) {
    let sim = Sim::in_process(config());
    let (_, key) = make_key(&sim, key_wish()).await;
    let mut wish = order("agent-1");
    wish["user_data"] = json!(user_data("agent-1", &key));
    create(&sim, &wish).await;
    sim.hold();
    let id = sim.world().servers[0].id;
    (sim, id)
}

fn happens(sim: &Sim, what: &'static str, subject: u64) {
    assert!(sim.let_happen(&Waiting { what, subject }), "{what}");
}

fn waiting(sim: &Sim) -> Vec<&'static str> {
    sim.waiting().iter().map(|one| one.what).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_due_waits_until_it_is_told_to_happen() {
    let (sim, id) = held().await;
    let at = sim.world().at;
    pass(600).await;
    assert_eq!(sim.world().at, at, "the clock stands");
    assert_eq!(sim.world().servers[0].status, "initializing");
    assert_eq!(waiting(&sim), ["create_server", "start_server"]);
    happens(&sim, "create_server", id);
    happens(&sim, "start_server", id);
    assert_eq!(sim.world().at.as_secs() - at.as_secs(), 15);
    assert_eq!(waiting(&sim), ["boot"]);
    let once = Waiting {
        what: "start_server",
        subject: id,
    };
    assert!(!sim.let_happen(&once), "it does not wait any more");
}

#[tokio::test(start_paused = true)]
async fn a_delete_may_come_before_an_enrolment_or_after() {
    let (sim, id) = held().await;
    for what in ["create_server", "start_server", "boot"] {
        happens(&sim, what, id);
    }
    hetzner(&sim, &format!("DELETE /servers/{id}"), None).await;
    assert_eq!(waiting(&sim), ["enrolment", "delete_server"]);
    let other = sim.copy();
    happens(&sim, "delete_server", id);
    assert_eq!(
        waiting(&sim),
        [""; 0],
        "a machine that is gone enrols no more"
    );
    assert!(sim.world().devices.is_empty());
    happens(&other, "enrolment", id);
    happens(&other, "delete_server", id);
    assert_eq!(other.world().devices.len(), 1);
    assert!(sim.world().devices.is_empty(), "the copy is another world");
}

#[tokio::test(start_paused = true)]
async fn a_world_goes_on_where_it_was_held() {
    let (sim, _) = held().await;
    pass(600).await;
    let at = sim.world().at;
    sim.go_on();
    pass(47).await;
    assert_eq!(sim.world().at.as_secs() - at.as_secs(), 47);
    assert!(sim.world().devices.is_empty());
    pass(2).await;
    assert_eq!(sim.world().devices.len(), 1);
}
