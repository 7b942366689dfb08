//! The whole life of one agent: paid, suspended, paid again, stopped and started by its owner,
//! canceled; and its timeline, which must tell just that.

use devstack::{News, Order};
use domain::{AgentId, AgentState};
use sim::ServerView;
use uuid::Uuid;

use crate::scene::{Scene, patiently};

/// The only server there is.
fn server(scene: &Scene) -> ServerView {
    let mut servers = scene.world.stack.sim().world().servers;
    assert_eq!(servers.len(), 1, "{servers:?}");
    servers.remove(0)
}

async fn order(scene: &Scene, agent: Uuid, order: Order) {
    let taken = scene.order(agent, order).await;
    assert!(taken, "{order:?} is refused");
}

async fn tell(scene: &Scene, agent: Uuid, news: News) {
    scene.world.customer.tell(agent, news).await.unwrap();
}

/// The states it came through, oldest first; checks that each begins where the one before ended.
async fn states(scene: &Scene, agent: Uuid) -> Vec<String> {
    let events = patiently(|| scene.store.agent_events(AgentId(agent), 0, 1000)).await;
    let events = events.expect("the agent is known");
    let mut states = vec![String::new()];
    for event in events.iter().filter(|event| event.machine == "agent") {
        assert_eq!(states.last(), Some(&event.old), "{events:?}");
        assert!(event.cause.is_some(), "{event:?} has no cause");
        states.push(event.new.clone());
    }
    states.remove(0);
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_lives_from_payment_to_cancellation() {
    let scene = Scene::new().await;
    let agent = scene.pay().await.agent_id;
    let first = scene.comes_to(agent, AgentState::Active).await;
    let (id, address) = (server(&scene).id, first.instance.unwrap().tailscale_ip);

    tell(&scene, agent, News::PaymentFailed).await;
    scene.comes_to(agent, AgentState::Suspended).await;
    let page = scene.page(agent).await;
    assert_eq!(page.awaits.as_deref(), Some("payment"), "{page:?}");
    assert_eq!((server(&scene).id, &*server(&scene).status), (id, "off"));

    tell(&scene, agent, News::PaidAgain).await;
    let resumed = scene.comes_to(agent, AgentState::Active).await;
    assert_eq!(resumed.instance.unwrap().tailscale_ip, address);
    assert_eq!(
        (server(&scene).id, &*server(&scene).status),
        (id, "running")
    );

    order(&scene, agent, Order::Stop).await;
    scene.comes_to(agent, AgentState::Paused).await;
    assert_eq!((server(&scene).id, &*server(&scene).status), (id, "off"));

    order(&scene, agent, Order::Start).await;
    let started = scene.comes_to(agent, AgentState::Active).await;
    assert_eq!(started.instance.unwrap().tailscale_ip, address);
    scene.settle(&[agent]).await;
    scene.check_outside(&[agent]).await;

    tell(&scene, agent, News::Canceled).await;
    scene.comes_to(agent, AgentState::Deleted).await;
    scene.settle(&[agent]).await;
    scene.check_outside(&[agent]).await;
    let outside = scene.world.stack.sim().world();
    assert_eq!(outside.primary_ips, Vec::<u64>::new());
    assert_eq!(
        scene.world.stack.queue().dead_letters(),
        Vec::<String>::new()
    );
    let seen = states(&scene, agent).await;
    let expected = [
        "draft",
        "provisioning",
        "active",
        "stopping",
        "suspended",
        "starting",
        "active",
        "stopping",
        "paused",
        "starting",
        "active",
        "deleting",
        "deleted",
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_suspends_a_won_one_resumes_and_a_refund_suspends() {
    let scene = Scene::new().await;
    let agent = scene.pay().await.agent_id;
    scene.comes_to(agent, AgentState::Active).await;
    for (news, state) in [
        (News::Disputed, AgentState::Suspended),
        (News::DisputeWon, AgentState::Active),
        (News::Refunded, AgentState::Suspended),
        (News::Canceled, AgentState::Deleted),
    ] {
        tell(&scene, agent, news).await;
        scene.comes_to(agent, state).await;
    }
    scene.settle(&[agent]).await;
    scene.check_outside(&[agent]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_is_led_to_a_page_of_the_agent_and_the_operator_sees_it() {
    let scene = Scene::new().await;
    let customer = &scene.world.customer;
    let payment = customer.payment_for("Ada's helper", "us-east");
    let early = patiently(|| customer.status_page(payment.agent_id)).await;
    assert_eq!(early, None, "nothing was heard of it yet");
    customer.pay(&payment).await.unwrap();
    let page = patiently(|| customer.status_page(payment.agent_id)).await;
    let page = page.expect("the payment was heard");
    let link = page.strip_prefix(scene.world.stack.url());
    assert!(link.is_some_and(|link| link.starts_with("/s/")), "{page}");
    let operator = patiently(|| customer.operator_page()).await;
    let id = payment.agent_id.to_string();
    assert!(operator.contains(&id), "{id} is not in {operator}");
}
