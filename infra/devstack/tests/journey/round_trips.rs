//! Round trips to the database, counted on the wire.

use crate::world::World;

/// Questions that the one webhook process has asked so far, by upstream.
fn asked(world: &World, label: &str) -> usize {
    let record = world.taps.record();
    let webhooks: Vec<_> = record
        .iter()
        .filter(|p| p.program == "stripe-webhook")
        .collect();
    assert_eq!(
        webhooks.len(),
        1,
        "one process is enough for one payment at a time"
    );
    webhooks[0]
        .turns
        .iter()
        .filter(|turn| turn.label == label)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_invocation_does_one_database_round_trip() {
    let world = World::start_with(|config| config.concurrency_max = 1).await;
    world.pay().await;
    for _ in 0..3 {
        let before = asked(&world, "postgres");
        world.pay().await;
        assert_eq!(asked(&world, "postgres") - before, 1);
    }
    let duplicate = world.pay().await;
    let before = asked(&world, "postgres");
    world.customer.pay(&duplicate).await.unwrap();
    assert_eq!(
        asked(&world, "postgres") - before,
        1,
        "a duplicate does no more"
    );
}
