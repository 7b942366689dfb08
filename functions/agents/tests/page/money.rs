//! What the customer's page says where the money decides how the agent is.

use crate::{life::Life, world::World};
use axum::http::StatusCode;
use domain::{Command, News};

async fn stopped(life: &Life) {
    life.work(&["stopped"]).await;
    life.succeed(false).await;
}

#[tokio::test]
async fn money_that_takes_days_is_awaited_and_not_asked_for_again() {
    for once in [false, true] {
        let world = World::new().await;
        let life = &world.life;
        if once {
            life.pays_once();
        }
        life.pay_later("Ada's agent").await;
        let awaited = world.look().await;
        awaited.says(&[
            "Your payment is on its way",
            "You have nothing to do, and need not pay again.",
            "a few days",
            "Waiting",
        ]);
        awaited.never_says(&["checkout again", "did not go through"]);
        world.pass(3 * 24 * 3600);
        life.stripe_says(News::Active).await;
        world.look().await.says(&["Setting up your agent"]);
    }
}

#[tokio::test]
async fn a_payment_that_fails_leaves_a_draft_of_a_subscription() {
    let world = World::new().await;
    world.life.pay_later("Ada's agent").await;
    world.pass(10);
    world.life.stripe_says(News::Failed).await;
    let failed = world.look().await;
    failed.says(&[
        "Your payment did not go through",
        "Please go through the checkout again",
        "Needs attention",
    ]);
    failed.never_says(&["on its way"]);
}

#[tokio::test]
async fn a_one_off_payment_that_fails_removed_nothing() {
    let world = World::new().await;
    world.life.pays_once();
    world.life.pay_later("Ada's agent").await;
    world.pass(10);
    world.life.stripe_says(News::Failed).await;
    let failed = world.look().await;
    failed.says(&[
        "Your payment did not go through",
        "Nothing was paid, so no agent was set up.",
        "order again",
        "Ended",
    ]);
    failed.never_says(&["removed", "Nothing of it is left"]);
    assert_eq!(failed.buttons(), Vec::<&str>::new());
}

#[tokio::test]
async fn an_expired_checkout_says_how_to_start_again() {
    let world = World::new().await;
    let life = &world.life;
    life.draft("Ada's agent").await;
    life.checkout_expired().await;
    let expired = world.look().await;
    expired.says(&[
        "Your checkout has expired",
        "Nothing was paid",
        "To start again, open the order page",
        "ask whoever sold you the agent for a new checkout",
    ]);
    expired.never_says(&["did not go through", "on its way"]);
    life.pay("Ada's agent").await;
    world.look().await.says(&["Setting up your agent"]);
}

#[tokio::test]
async fn a_draft_that_is_deleted_was_never_set_up() {
    let world = World::new().await;
    world.life.draft("Ada's agent").await;
    world.life.command(Command::Delete).await;
    let ended = world.look().await;
    ended.says(&["Your order has ended", "No agent was set up."]);
    ended.never_says(&["removed"]);
}

#[tokio::test]
async fn a_refund_of_a_one_off_payment_is_told_as_the_cause() {
    let world = World::new().await;
    let life = &world.life;
    life.pays_once();
    life.activate("Ada's agent").await;
    world.pass(10);
    life.stripe_says(News::Refunded).await;
    world.look().await.says(&["Removing your agent"]);
    life.work(&["deleted"]).await;
    life.succeed(false).await;
    world.look().await.says(&[
        "Your payment was refunded, and your agent was removed",
        "Nothing of it is left.",
    ]);

    let world = World::new().await;
    let life = &world.life;
    life.pays_once();
    life.pay_later("Ada's agent").await;
    world.pass(10);
    life.stripe_says(News::Refunded).await;
    let early = world.look().await;
    early.says(&["Your payment was refunded", "No agent was set up."]);
    early.never_says(&["removed"]);
}

#[tokio::test]
async fn a_pause_says_its_cause_and_how_it_ends() {
    for (news, what, sentence, until, over) in [
        (
            News::PastDue,
            "a payment is missing",
            "A payment is missing",
            "once the payment arrives",
            News::Active,
        ),
        (
            News::Disputed,
            "the payment is disputed",
            "The payment is disputed",
            "once the dispute is settled in the seller&#39;s favour",
            News::DisputeWon,
        ),
        (
            News::Refunded,
            "the payment was refunded",
            "The payment was refunded",
            "with the next payment",
            News::Active,
        ),
        (
            News::DisputeLost,
            "the payment was refunded by the bank after a dispute",
            "The payment was refunded by the bank after a dispute",
            "with the next payment",
            News::Active,
        ),
    ] {
        let world = World::new().await;
        let life = &world.life;
        life.activate("Ada's agent").await;
        world.pass(10);
        life.stripe_says(news).await;
        let pausing = world.look().await;
        let cause = format!("{sentence}. Your agent&#39;s data is kept.");
        pausing.says(&["Pausing your agent", &cause]);
        stopped(life).await;

        let paused = world.look().await;
        paused.says(&[
            &format!("Paused: {what}</h1>"),
            "Your agent rests and its data is kept.",
            &format!("It starts again by itself {until}."),
        ]);
        assert_eq!(paused.text.contains("missing"), news == News::PastDue);
        let refused = world.press("start").await;
        assert_eq!(refused.status, StatusCode::SEE_OTHER);
        let told = world.get(refused.header("location")).await;
        let alert = format!("{sentence}. It goes on by itself {until}.</p>");
        assert!(told.text.contains(&alert), "{}", told.text);

        world.press("stop").await;
        let kept = world.look().await;
        kept.says(&[
            &format!("Paused: {what}</h1>"),
            "It stays stopped when that is settled, until you start it.",
        ]);
        kept.never_says(&["by itself"]);
        world.pass(10);
        life.stripe_says(over).await;
        world.look().await.says(&[
            "Your agent is stopped",
            "Its data is kept. Start it whenever you like.",
        ]);
    }
}

#[tokio::test]
async fn a_pause_before_the_set_up_promises_no_data() {
    let world = World::new().await;
    world.life.pay_later("Ada's agent").await;
    world.pass(10);
    world.life.stripe_says(News::PastDue).await;
    let early = world.look().await;
    early.says(&[
        "Paused: a payment is missing",
        "Your agent is not set up yet.",
        "That begins by itself once the payment arrives.",
    ]);
    early.never_says(&["data is kept"]);
}
