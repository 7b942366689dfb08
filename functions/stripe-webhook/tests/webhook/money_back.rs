//! Refunds and disputes. They name a charge; whose it is, other events tell, before or after.

use crate::{
    story::{SHAPES, Shape, Story},
    world::{Stand, World, orders},
};
use domain::{
    AgentState::{Active, Deleted, Deleting, Starting, Stopping, Suspended},
    JobKind, Payment,
};
use serde_json::Value;

const RUNS: Stand = (Active, Payment::Active, None);
const STOPS: Stand = (Stopping, Payment::PastDue, Some(JobKind::Stop));
const STARTS: Stand = (Starting, Payment::Active, Some(JobKind::Start));
const RESTS: Stand = (Suspended, Payment::PastDue, None);
const ENDS: Stand = (Deleting, Payment::Canceled, Some(JobKind::Destroy));
const GONE: Stand = (Deleted, Payment::Canceled, None);

/// A world in which the agent of a story runs.
async fn running(story: Story) -> World {
    let world = World::new().await;
    world.hear(&[story.checkout(1)]).await;
    assert_eq!(world.work().await, [JobKind::Provision]);
    assert_eq!(world.stand(&story.agent()).await, RUNS);
    world.queue.take();
    world
}

/// Tells events one by one; after each the agent stands as said, and then the runners work.
async fn tell(world: &World, story: Story, turns: &[(Value, Stand)]) {
    for (event, stand) in turns {
        world.hear([event, event]).await;
        assert_eq!(world.stand(&story.agent()).await, *stand, "{event:#}");
        let nudges = if stand.2.is_some() { 2 } else { 0 };
        assert_eq!(world.queue.take().len(), nudges, "{event:#}");
        world.work().await;
    }
}

#[tokio::test]
async fn a_refund_in_full_ends_what_was_paid_once() {
    for story in SHAPES.map(|shape| Story::one_off(1, shape)) {
        let world = running(story).await;
        let turns = [
            (story.charge(5, "refunded", 500), RUNS),
            (story.refund(9, "created"), RUNS),
            (story.charge(10, "refunded", 2000), ENDS),
            (story.refund(11, "updated"), GONE),
        ];
        tell(&world, story, &turns).await;
        assert_eq!(world.unjoined().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_refund_in_full_suspends_what_is_subscribed_until_it_is_paid_again() {
    for story in SHAPES.map(|shape| Story::subscribed(1, shape)) {
        let world = running(story).await;
        let joining = [
            story.invoice(1, "paid", "subscription_create"),
            story.joining(1),
        ];
        world.hear(&joining).await;
        let turns = [
            (story.charge(5, "refunded", 500), RUNS),
            (story.charge(10, "refunded", 2000), STOPS),
            (story.invoice(99, "paid", "subscription_cycle"), STARTS),
        ];
        tell(&world, story, &turns).await;
        assert_eq!(world.stand(&story.agent()).await, RUNS);
    }
}

#[tokio::test]
async fn a_refund_of_what_is_over_changes_nothing_more() {
    for story in SHAPES.map(|shape| Story::subscribed(1, shape)) {
        let world = running(story).await;
        let turns = [
            (story.invoice(1, "paid", "subscription_create"), RUNS),
            (story.joining(1), RUNS),
            (story.subscription(9, "deleted", "canceled"), ENDS),
            (story.charge(10, "refunded", 2000), GONE),
        ];
        tell(&world, story, &turns).await;
    }
}

/// A refund, and what joins it with its subscription.
fn joined(story: Story) -> Vec<Value> {
    let refund = story.charge(10, "refunded", 2000);
    if story.one_off {
        return vec![refund, story.checkout(1)];
    }
    let joining = [
        story.invoice(1, "paid", "subscription_create"),
        story.joining(1),
        story.checkout(1),
    ];
    [vec![refund], joining.to_vec()].concat()
}

#[tokio::test]
async fn a_refund_is_joined_in_whatever_order_the_joining_events_come() {
    let world = World::new().await;
    let mut number = 0;
    for shape in SHAPES {
        for (story, stand) in [
            (Story::one_off(0, shape), GONE),
            (Story::subscribed(0, shape), RESTS),
        ] {
            for which in 0..orders(&joined(story)).len() {
                number += 1;
                let story = Story { number, ..story };
                let order = orders(&joined(story)).swap_remove(which);
                world.hear(&order).await;
                assert_eq!(world.stand(&story.agent()).await, stand, "{order:#?}");
            }
        }
    }
    assert_eq!(world.unjoined().await, [""; 0]);
}

#[tokio::test]
async fn a_refund_waits_for_the_event_that_joins_it_and_is_shown_meanwhile() {
    let story = Story::subscribed(1, Shape::New);
    let world = running(story).await;
    let turns = [(story.charge(10, "refunded", 2000), RUNS)];
    tell(&world, story, &turns).await;
    assert_eq!(world.unjoined().await, ["ch_pi_1 refunded"]);
    // It joins intent and invoice; the checkout told the invoice's subscription.
    tell(&world, story, &[(story.joining(1), STOPS)]).await;
    assert_eq!(world.unjoined().await, [""; 0]);
    assert_eq!(world.stand(&story.agent()).await, RESTS);
}

#[tokio::test]
async fn a_refund_of_somebody_elses_charge_is_stored_and_shown() {
    for shape in SHAPES {
        let story = Story::subscribed(1, shape);
        let world = running(story).await;
        let other = Story::one_off(2, shape);
        tell(&world, story, &[(other.charge(10, "refunded", 2000), RUNS)]).await;
        tell(
            &world,
            story,
            &[(other.dispute(11, "created", "needs_response"), RUNS)],
        )
        .await;
        let shown = ["ch_pi_2 disputed", "ch_pi_2 refunded"];
        assert_eq!(world.unjoined().await, shown);
    }
}

#[tokio::test]
async fn a_dispute_suspends_until_it_is_won() {
    for shape in SHAPES {
        for story in [Story::one_off(1, shape), Story::subscribed(1, shape)] {
            let world = running(story).await;
            if !story.one_off {
                world.hear(&[story.joining(1)]).await;
            }
            let turns = [
                (story.warning(5), RUNS),
                (story.dispute(6, "created", "warning_needs_response"), RUNS),
                (story.dispute(7, "updated", "prevented"), RUNS),
                (story.dispute(10, "created", "needs_response"), STOPS),
                (story.dispute(11, "updated", "under_review"), RESTS),
                (story.dispute(12, "funds_withdrawn", "under_review"), RESTS),
                (story.dispute(20, "funds_reinstated", "won"), STARTS),
                (story.dispute(21, "closed", "won"), RUNS),
            ];
            tell(&world, story, &turns).await;
        }
    }
}

#[tokio::test]
async fn a_lost_dispute_stays_suspended_until_the_next_payment() {
    for story in SHAPES.map(|shape| Story::subscribed(1, shape)) {
        let world = running(story).await;
        world.hear(&[story.joining(1)]).await;
        let turns = [
            (story.dispute(10, "created", "needs_response"), STOPS),
            (story.dispute(11, "updated", "appeal_under_review"), RESTS),
            (story.dispute(20, "closed", "lost"), RESTS),
            (story.invoice(99, "paid", "subscription_cycle"), STARTS),
        ];
        tell(&world, story, &turns).await;
        assert_eq!(world.stand(&story.agent()).await, RUNS);
    }
}

#[tokio::test]
async fn news_of_unknown_words_is_stored_and_changes_nothing() {
    for story in SHAPES.map(|shape| Story::subscribed(1, shape)) {
        let world = running(story).await;
        world.hear(&[story.joining(1)]).await;
        let turns = [
            (story.subscription(5, "updated", "frozen"), RUNS),
            (story.dispute(6, "updated", "appeal_lost"), RUNS),
            (story.charge(7, "captured_again", 2000), RUNS),
            (story.invoice(8, "pondered", "subscription_cycle"), RUNS),
        ];
        tell(&world, story, &turns).await;
    }
}
