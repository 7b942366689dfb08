//! The same event many times at once is one payment.

use futures_util::future::join_all;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn one_event_sent_100_times_at_once_is_one_agent_and_one_server() {
    let world = World::start().await;
    let payment = world.customer.payment("eu-central");
    // Each of them again on an answer of 5xx, which a busy machine may give.
    let deliveries = (0..100).map(|_| world.customer.pay(&payment));
    for taken in join_all(deliveries).await {
        taken.unwrap();
    }
    world.ready(payment.agent_id).await;
    world.runs_finished().await;
    let outside = world.stack.sim().world();
    assert_eq!(
        (outside.servers.len(), outside.deleted_servers.len()),
        (1, 0)
    );
    assert_eq!(
        (
            outside.runs.len(),
            outside.keys.len(),
            outside.devices.len()
        ),
        (1, 1, 1)
    );
}
