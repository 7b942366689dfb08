//! Servers that should not be there: what is left of a deleted agent is removed because another
//! agent's run saw it; what nobody can prove to be ours to delete is shown, and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use devstack::News;
use domain::{AgentState, Timestamp};
use sim::DecoyServer;
use uuid::Uuid;

use crate::scene::Scene;

/// Longer than between two looks at the whole project.
const BETWEEN: Duration = Duration::from_mins(15);

fn server(scene: &Scene, name: &str, agent: Uuid, installation: &str) -> u64 {
    let labels = [
        ("managed_by", "slipway"),
        ("installation", installation),
        ("agent_id", &agent.to_string()),
        ("provisioning_job_id", &Uuid::nil().to_string()),
        ("fence", "1"),
    ];
    let labels: BTreeMap<_, _> = labels
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let name = name.to_owned();
    let decoy = DecoyServer {
        name,
        labels,
        ..DecoyServer::default()
    };
    scene.world.stack.sim().add_server(&decoy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leftover_is_removed_and_what_is_not_surely_ours_is_shown() {
    let scene = Scene::new().await;
    let customer = &scene.world.customer;
    let (gone, working) = (scene.pay().await.agent_id, scene.pay().await.agent_id);
    scene.comes_to(gone, AgentState::Active).await;
    scene.comes_to(working, AgentState::Active).await;
    customer.tell(gone, News::Canceled).await.unwrap();
    scene.comes_to(gone, AgentState::Deleted).await;
    scene.settle(&[gone, working]).await;

    let stranger = Uuid::from_u128(7);
    let leftover = server(&scene, &format!("agent-{gone}"), gone, "default");
    let unknown = server(&scene, &format!("agent-{stranger}"), stranger, "default");
    let second = server(&scene, &format!("agent-{working}-2"), working, "default");
    let foreign = server(&scene, &format!("agent-{gone}-x"), gone, "other");
    scene.pass(BETWEEN).await;

    let looking = scene.pay().await.agent_id;
    scene.comes_to(looking, AgentState::Active).await;
    scene.settle(&[gone, working, looking]).await;
    assert_eq!(scene.status(gone).await.state, AgentState::Deleted);
    let ids = |working: Uuid| {
        let world = scene.world.stack.sim().world();
        let name = format!("agent-{working}");
        world.server(&name).map(|server| server.id)
    };
    let servers = scene.world.stack.sim().world().servers;
    let left: BTreeSet<_> = servers.iter().map(|server| server.id).collect();
    assert!(!left.contains(&leftover), "{}", scene.world.logs());
    let ours = [working, looking].map(|agent| ids(agent).expect("it works"));
    let expected: BTreeSet<_> = ours.into_iter().chain([unknown, second, foreign]).collect();
    assert_eq!(left, expected);

    let overview = scene.store.overview(Timestamp::from_unix_seconds(0)).await;
    let strays = overview.unwrap().strays;
    let shown: BTreeSet<_> = strays.iter().map(|stray| stray.server_id.clone()).collect();
    assert_eq!(shown, [unknown, second].map(|id| id.to_string()).into());
    let page = customer.operator_page().await.unwrap();
    for id in shown {
        assert!(page.contains(&id), "server {id} is not on the page");
    }
}
