//! Servers that should not be there: what is left of a deleted agent is removed because another
//! agent's run saw it; what nobody can prove to be ours to delete is shown, and stays. And servers
//! that should be there and are not: shown, and made anew when the operator says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use devstack::{News, Order};
use domain::{AgentState, Timestamp};
use sim::DecoyServer;
use uuid::Uuid;

use crate::scene::{Scene, patiently};

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

    let epoch = Timestamp::from_unix_seconds(0);
    let strays = patiently(|| scene.store.overview(epoch)).await.strays;
    let shown: BTreeSet<_> = strays.iter().map(|stray| stray.server_id.clone()).collect();
    assert_eq!(shown, [unknown, second].map(|id| id.to_string()).into());
    let page = patiently(|| customer.operator_page()).await;
    for id in shown {
        assert!(page.contains(&id), "server {id} is not on the page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_somebody_removed_is_noticed_and_made_anew_by_the_operator() {
    let scene = Scene::new().await;
    let customer = &scene.world.customer;
    let agent = scene.pay().await.agent_id;
    let first = scene.comes_to(agent, AgentState::Active).await;
    let first = first.instance.unwrap().server_id;
    let retry = || scene.order(agent, Order::Retry);
    assert!(!retry().await, "nothing has failed");
    let sim = scene.world.stack.sim();
    assert!(sim.delete_server_by_hand(&format!("agent-{agent}")));
    let mut all = vec![agent];
    // One list alone is no proof.
    for is_missing in [false, true] {
        scene.pass(BETWEEN).await;
        let looking = scene.pay().await.agent_id;
        scene.comes_to(looking, AgentState::Active).await;
        all.push(looking);
        scene.settle(&all).await;
        let status = scene.status(agent).await;
        assert_eq!(status.state, AgentState::Active);
        let since = status.instance.unwrap().missing_since;
        assert_eq!(since.is_some(), is_missing);
        assert!(is_missing || !retry().await, "one list is no proof");
    }
    let page = patiently(|| customer.operator_page()).await;
    assert!(page.contains("not found at Hetzner") && page.contains(&first));

    assert!(retry().await);
    scene.comes_to(agent, AgentState::Active).await;
    scene.settle(&all).await;
    let instance = scene.status(agent).await.instance.unwrap();
    assert_ne!(instance.server_id, first);
    assert_eq!(instance.missing_since, None);
    let world = sim.world();
    let server = world.server(&format!("agent-{agent}")).unwrap();
    assert_eq!(server.id.to_string(), instance.server_id);
    assert_eq!((world.servers.len(), world.devices.len()), (3, 3));
}
