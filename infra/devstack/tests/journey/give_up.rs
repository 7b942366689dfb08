//! What is given up: its reason can be read, what it left is removed, and its owner's command
//! tries again.

use devstack::Order;
use domain::AgentState;
use http::Method;
use sim::{Effect, Fault, Knob, Vendor};
use uuid::Uuid;

use crate::scene::Scene;

/// Hetzner refuses these calls for ever, because of the token.
fn forbid(scene: &Scene, method: Method) {
    let refusal = Effect::refuse(
        403,
        "forbidden",
        "insufficient permissions for this request",
    );
    let mut fault = Fault::once(Vendor::Hetzner, method, "/servers", refusal);
    fault.times = u32::MAX;
    scene.world.stack.sim().add_fault(fault);
}

async fn order(scene: &Scene, agent: Uuid, order: Order) {
    let taken = scene.order(agent, order).await;
    assert!(taken, "{order:?} is refused");
}

async fn fails(scene: &Scene, agent: Uuid, state: AgentState) -> String {
    scene.settle(&[agent]).await;
    let status = scene.status(agent).await;
    assert_eq!(status.state, state, "{status:?}\n{}", scene.world.logs());
    let page = scene.page(agent).await;
    page.reason.expect("its owner can read why")
}

async fn becomes_active_again(scene: &Scene, agent: Uuid) {
    order(scene, agent, Order::Retry).await;
    scene.comes_to(agent, AgentState::Active).await;
    scene.settle(&[agent]).await;
    scene.check_outside(&[agent]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_fails_at_once_and_succeeds_when_it_is_ordered_again() {
    let scene = Scene::new().await;
    forbid(&scene, Method::POST);
    let agent = scene.pay().await.agent_id;
    let reason = fails(&scene, agent, AgentState::Failed).await;
    assert!(
        reason.contains("HETZNER_API_TOKEN"),
        "what to change: {reason}"
    );
    scene.check_outside(&[agent]).await;
    let provisions = || {
        let runs = scene.world.stack.sim().world().runs;
        let of_kind = |run: &sim::RunView| run.inputs["operation"] == "provision";
        runs.into_iter().filter(of_kind).count()
    };
    assert_eq!(provisions(), 1, "a permanent error is not tried again");

    scene.world.stack.sim().clear_faults();
    becomes_active_again(&scene, agent).await;
    assert_eq!(provisions(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_four_times_is_given_up_cleaned_and_can_be_ordered_again() {
    let scene = Scene::new().await;
    let fail = |times| Knob::FailAction {
        command: "create_server".to_owned(),
        times,
    };
    scene.world.stack.sim().turn(fail(u32::MAX));
    let agent = scene.pay().await.agent_id;
    fails(&scene, agent, AgentState::Failed).await;
    scene.check_outside(&[agent]).await;
    let runs = scene.world.stack.sim().world().runs;
    let operations: Vec<_> = runs
        .iter()
        .map(|run| run.inputs["operation"].as_str())
        .collect();
    let provision = "provision";
    assert_eq!(
        operations,
        [provision, provision, provision, provision, "destroy"]
    );

    scene.world.stack.sim().turn(fail(0));
    becomes_active_again(&scene, agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_removed_is_named_and_removed_when_it_is_ordered_again() {
    let scene = Scene::new().await;
    let agent = scene.pay().await.agent_id;
    scene.comes_to(agent, AgentState::Active).await;
    scene.settle(&[agent]).await;
    forbid(&scene, Method::DELETE);
    order(&scene, agent, Order::Delete).await;
    let reason = fails(&scene, agent, AgentState::DeleteFailed).await;
    let servers = scene.world.stack.sim().world().servers;
    assert_eq!(servers.len(), 1);
    let id = servers[0].id.to_string();
    assert!(reason.contains(&id), "server {id} is not named: {reason}");

    scene.world.stack.sim().clear_faults();
    order(&scene, agent, Order::Delete).await;
    scene.comes_to(agent, AgentState::Deleted).await;
    scene.settle(&[agent]).await;
    scene.check_outside(&[agent]).await;
}
