//! How an agent is, from its payment on.

use crate::{
    queue::Sent,
    world::{AGENT, World, at, done},
};
use domain::{AgentId, Fence, JobId, News};
use host::Nudge;
use serde_json::{Value, json};
use store::{Refusal, ReportSaid};
use uuid::Uuid;

#[tokio::test]
async fn an_agent_is_followed_from_payment_to_active() {
    let world = World::new().await;
    world.pay(at(9)).await;
    let paid = world.agent().await;
    assert_eq!(paid["status"], "provisioning");
    assert_eq!(paid["payment"], "active");
    assert_eq!(paid["name"], "Ada's agent");
    assert_eq!(paid["reference"], "order 7");
    assert_eq!(paid["awaits"], "dispatch");
    assert_eq!(paid["job"]["state"], "queued");
    assert_eq!(paid["created_at"], "2027-01-15T08:00:09Z");
    assert_eq!(paid["active_at"], Value::Null);

    world.open().await;
    assert_eq!(world.agent().await["awaits"], "GitHub's answer");
    world
        .store
        .accept_attempt(AGENT, Fence(1), Some(42), at(9))
        .await
        .unwrap();
    assert_eq!(world.agent().await["awaits"], "a runner to take the run");
    world.report(1, None, ReportSaid::Progress).await;
    assert_eq!(world.agent().await["awaits"], "the runner's first step");
    world
        .report(2, Some("vm_created"), ReportSaid::Progress)
        .await;
    let running = world.agent().await;
    assert_eq!(running["awaits"], "the step after vm_created");
    assert_eq!(running["job"]["attempt"]["number"], 1);

    world.report(3, None, done()).await;
    let active = world.agent().await;
    assert_eq!(active["status"], "active");
    assert_eq!(active["awaits"], Value::Null);
    assert_eq!(active["active_at"], "2027-01-15T08:00:05Z");
    assert_eq!(active["instance"]["tailscale_ip"], "100.64.0.7");
    let steps = active["steps"].as_array().unwrap();
    let made = json!({"step": "vm_created", "kind": "step", "fence": 1, "at": active["active_at"]});
    assert!(steps.contains(&made), "{steps:?}");
}

#[tokio::test]
async fn a_waiting_job_says_why_and_until_when() {
    let world = World::new().await;
    world.pay(at(9)).await;
    world.open().await;
    let refusal = Refusal {
        reason: "GITHUB_TOKEN was refused (401): Bad credentials",
        not_before: at(9),
        fresh_job_id: JobId(Uuid::from_u128(9)),
    };
    world
        .store
        .refuse_attempt(AGENT, Fence(1), refusal, at(9))
        .await
        .unwrap();
    let waiting = world.agent().await;
    assert_eq!(
        waiting["reason"],
        "GITHUB_TOKEN was refused (401): Bad credentials"
    );
    assert_eq!(waiting["awaits"], "the next try at 2027-01-15T08:00:39Z");
}

#[tokio::test]
async fn something_overdue_nudges_dispatch() {
    let world = World::new().await;
    world.pay(at(0)).await;
    world.agent().await;
    assert_eq!(
        world.queue.take(),
        [Sent {
            nudge: Nudge::EMPTY,
            delay_seconds: 0
        }]
    );
    world.agent().await;
    assert_eq!(world.queue.take(), []);
}

#[tokio::test]
async fn a_status_is_shown_while_the_queue_is_away() {
    let world = World::new().await;
    world.pay(at(0)).await;
    world.queue.be_away(true);
    assert_eq!(world.agent().await["awaits"], "dispatch");
}

#[tokio::test]
async fn a_suspended_agent_says_what_it_waits_for() {
    for (news, awaits) in [
        (News::PastDue, "payment"),
        (News::Refunded, "payment"),
        (News::Disputed, "the end of the dispute"),
    ] {
        let world = World::new().await;
        world.activate().await;
        world.stripe_says(news, 200).await;
        let stopping = world.agent().await;
        let job: JobId = stopping["job"]["job_id"].as_str().unwrap().parse().unwrap();
        world.open().await;
        world.report_of(job, Fence(2), 1, (None, done())).await;
        let suspended = world.agent().await;
        assert_eq!(suspended["status"], "suspended");
        assert_eq!(suspended["awaits"], awaits);
    }
}

#[tokio::test]
async fn what_is_allowed_follows_the_agent() {
    let world = World::new().await;
    world.pay(at(9)).await;
    assert_eq!(world.agent().await["allowed"], json!(["stop", "delete"]));
    world.open().await;
    world.report(1, None, done()).await;
    assert_eq!(world.agent().await["allowed"], json!(["stop", "delete"]));
    world
        .post(&format!("/agents/{AGENT}/stop"), None)
        .await
        .expect(202);
    assert_eq!(world.agent().await["allowed"], json!(["start", "delete"]));
    world
        .delete(&format!("/agents/{AGENT}"), None)
        .await
        .expect(202);
    assert_eq!(world.agent().await["allowed"], json!([]));
}

#[tokio::test]
async fn only_agents_are_shown() {
    let world = World::new().await;
    let nobody = AgentId(Uuid::from_u128(77));
    world
        .get(&format!("/agents/{nobody}"))
        .await
        .refused(404, "not_found");
    for id in ["7", "%ff", "00000000000000000000000000000001"] {
        let told = world.get(&format!("/agents/{id}")).await;
        told.refused(400, "malformed");
    }
    let told = world.get(&format!("/agents/{AGENT}?full=true")).await;
    assert_eq!(
        told.refused(400, "malformed"),
        "full: is no parameter of this path"
    );
}
