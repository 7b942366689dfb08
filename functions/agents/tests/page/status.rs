//! What the customer's page says in every state, and which buttons it has.

use crate::{life::PROVISION, world::World};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use domain::{Command, ErrorClass, News};

/// Nothing of this is of use to a customer.
const INNER: &[&str] = &[
    "203.0.113.7",
    "100.64.0.7",
    "sub_",
    "evt_",
    "fence",
    "resource_unavailable",
    "hcloud",
    "GITHUB_TOKEN",
];

#[tokio::test]
async fn a_draft_waits_for_its_payment() {
    let world = World::new().await;
    world.life.draft("Ada's agent").await;
    let page = world.look().await;
    page.says(&["Waiting for your payment", "In this state since"]);
    assert!(
        page.text
            .contains("<title>Waiting for your payment · Ada&#39;s agent</title>")
    );
    assert_eq!(page.buttons(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_provision_is_followed_step_by_step() {
    let world = World::new().await;
    let life = &world.life;
    life.pay("Ada's agent").await;
    world.look().await.says(&[
        "Setting up your agent",
        "Step 2 of 8: Finding a free worker",
        "It begins within a few seconds.",
        "Payment received",
        "data-moves",
        "Region: Germany",
    ]);
    life.open().await;
    world.look().await.says(&["wait for the answer"]);
    life.accept().await;
    world.look().await.says(&["in the queue of GitHub"]);
    world.pass(3);
    life.claim().await;
    let claimed = world.look().await;
    claimed.says(&[
        "Step 3 of 8: Preparing the private network",
        "08:00:03 UTC</time>",
        "data-since=\"2027-01-15T08:00:03.000Z\"",
    ]);
    for (step, says) in [
        ("key_created", "Step 4 of 8: Creating the server"),
        ("vm_created", "Step 5 of 8: Connecting the server"),
        ("enrolled", "Step 6 of 8: Installing the agent"),
        ("ansible_started", "Step 6 of 8: Installing the agent"),
        (
            "ansible_complete",
            "Step 7 of 8: Checking that the agent answers",
        ),
        ("healthy", "Step 8 of 8: Finishing"),
    ] {
        world.pass(2);
        life.step(step).await;
        world.look().await.says(&[says, "aria-current=\"step\""]);
    }
    life.succeed(false).await;
    let active = world.look().await;
    active.says(&["Your agent is running", "All is well", "The agent answers"]);
    assert_eq!(active.buttons(), ["stop"]);
    assert!(!active.main().contains("aria-current"));
    assert!(!active.main().contains("data-moves"));
    active.never_says(INNER);
}

#[tokio::test]
async fn steps_that_this_installation_does_not_take_are_not_promised() {
    let world = World::new().await;
    let other = world.another(2);
    other.pay("other").await;
    other.work(&["key_created", "vm_created", "enrolled"]).await;
    other.succeed(false).await;
    world.life.pay("Ada's agent").await;
    let page = world.look().await;
    page.says(&["Step 2 of 6: "]);
    page.never_says(&["Install the agent", "Check that the agent answers"]);
}

#[tokio::test]
async fn the_time_left_is_learned_and_lateness_is_admitted() {
    let world = World::new().await;
    world.life.pay("Ada's agent").await;
    assert!(!world.look().await.main().contains("Usually"));
    world.life.work(&PROVISION[..1]).await;
    world.pass(100);
    for step in &PROVISION[1..] {
        world.life.step(step).await;
    }
    world.pass(80);
    world.life.succeed(false).await;

    let next = world.another(3);
    next.pay("Bo's agent").await;
    next.work(&PROVISION[..1]).await;
    let link = agents::link::make(
        &world.key,
        next.agent_id,
        world.now().plus(agents::link::LINK_LIFE),
    );
    let look = async || world.get(&format!("/s/{link}")).await;
    look().await.says(&[
        "Usually done in about 3 minutes.",
        "usually about 2 minutes",
    ]);
    world.pass(60);
    look().await.says(&["Usually done in about 2 minutes."]);
    world.pass(119);
    // 80 s are left at the least: they always come after the server.
    look().await.says(&["Usually done in about a minute."]);
    world.pass(100);
    look().await.says(&["This takes longer than usual."]);
}

#[tokio::test]
async fn credentials_are_waited_for() {
    let world = World::new().await;
    world.life.pay("Ada's agent").await;
    world.life.work(PROVISION).await;
    world.life.succeed(true).await;
    let page = world.look().await;
    page.says(&["Your agent waits for its credentials", "Waiting"]);
    assert_eq!(page.buttons(), ["stop"]);
}

#[tokio::test]
async fn an_agent_is_stopped_and_started_by_its_buttons() {
    let world = World::new().await;
    let life = &world.life;
    life.activate("Ada's agent").await;
    world.pass(10);
    let pressed = world.press("stop").await;
    assert_eq!(pressed.status, StatusCode::SEE_OTHER);
    assert_eq!(pressed.header("location"), world.page());
    let stopping = world.look().await;
    stopping.says(&[
        "Stopping your agent",
        "Its data is kept",
        "Shut the agent down",
    ]);
    assert_eq!(stopping.buttons(), ["start"]);
    life.work(&["stopped"]).await;
    life.succeed(false).await;
    let paused = world.look().await;
    paused.says(&["Your agent is stopped", "Agent shut down"]);
    assert_eq!(paused.buttons(), ["start"]);

    world.pass(10);
    world.press("start").await;
    let starting = world.look().await;
    starting.says(&["Starting your agent", "Switch the server on"]);
    assert_eq!(starting.buttons(), ["stop"]);
    life.work(&["started"]).await;
    life.succeed(false).await;
    world.look().await.says(&["Your agent is running"]);
    let timeline = life.store.agent_events(life.agent_id, 0, 500).await;
    let rows = timeline.unwrap().unwrap();
    let wishes = rows
        .iter()
        .filter(|row| row.machine == "wish" && !row.old.is_empty());
    let wishes: Vec<_> = wishes
        .map(|row| (row.new.as_str(), row.cause.as_deref()))
        .collect();
    let customer = Some("customer");
    assert_eq!(wishes, [("stop", customer), ("run", customer)]);
}

#[tokio::test]
async fn a_missing_payment_suspends_and_says_so() {
    let world = World::new().await;
    let life = &world.life;
    life.activate("Ada's agent").await;
    world.pass(10);
    life.stripe_says(News::PastDue).await;
    world
        .look()
        .await
        .says(&["Pausing your agent", "A payment is missing"]);
    life.work(&["stopped"]).await;
    life.succeed(false).await;
    let suspended = world.look().await;
    suspended.says(&["Paused: a payment is missing", "check your payment method"]);
    assert_eq!(suspended.buttons(), ["stop"]);
    suspended.says(&["Keep it stopped"]);
    let refused = world.press("start").await;
    assert_eq!(refused.status, StatusCode::SEE_OTHER);
    let to = refused.header("location").to_owned();
    let told = world.get(&to).await;
    assert!(
        told.text.contains("role=\"alert\">A payment is missing."),
        "{to}"
    );
    world.pass(10);
    life.stripe_says(News::Active).await;
    world.look().await.says(&["Starting your agent"]);
}

#[tokio::test]
async fn removing_is_told_to_its_end() {
    let world = World::new().await;
    let life = &world.life;
    life.activate("Ada's agent").await;
    world.pass(10);
    life.stripe_says(News::Canceled).await;
    let deleting = world.look().await;
    deleting.says(&["Removing your agent", "its data too", "Remove everything"]);
    assert_eq!(deleting.buttons(), Vec::<&str>::new());
    life.work(&[]).await;
    life.fail(ErrorClass::Transient, "hcloud: 503", 0).await;
    let stuck = world.look().await;
    stuck.says(&["not wholly removed", "You need not do anything"]);
    assert_eq!(stuck.buttons(), ["retry"]);
    stuck.never_says(INNER);
    world.press("retry").await;
    life.work(&["deleted"]).await;
    life.succeed(false).await;
    let deleted = world.look().await;
    deleted.says(&["Your agent was removed", "Ended"]);
    assert_eq!(deleted.buttons(), Vec::<&str>::new());
    let refused = world.press("start").await;
    let told = world.get(refused.header("location")).await;
    assert!(told.text.contains("is gone already"));
}

#[tokio::test]
async fn a_failed_set_up_says_what_happened_and_what_to_do_and_a_retry_runs() {
    for (class, happened, advice) in [
        (
            ErrorClass::Transient,
            "Something went wrong on the way",
            "Press Try again",
        ),
        (
            ErrorClass::Capacity,
            "No server was free",
            "free again within hours",
        ),
        (
            ErrorClass::Permanent,
            "Something on our side",
            "they see the exact reason",
        ),
    ] {
        let world = World::new().await;
        let life = &world.life;
        life.pay("Ada's agent").await;
        life.work(&["key_created"]).await;
        world.pass(10);
        let error = "hcloud: resource_unavailable (412)";
        life.fail(class, error, 0).await;
        for more in ["We are tidying up", "It is not running."] {
            let failed = world.look().await;
            failed.says(&[
                "Your agent could not be set up",
                more,
                happened,
                "It ended at this step: Create the server.",
                advice,
                "How far it came",
                "<li id=\"s-vm_created\" class=\"failed\">",
            ]);
            assert_eq!(failed.buttons(), ["retry"]);
            failed.never_says(INNER);
            if more == "We are tidying up" {
                world.pass(10);
                life.work(&["deleted"]).await;
                life.succeed(false).await;
            }
        }
        world.pass(10);
        let pressed = world.press("retry").await;
        assert_eq!(pressed.header("location"), world.page());
        let again = world.look().await;
        again.says(&["Setting up your agent", "Step 2 of 8"]);
        assert!(!again.buttons().contains(&"retry"));
    }
}

#[tokio::test]
async fn why_the_next_try_is_later_is_told_in_plain_words() {
    for (class, says) in [
        (
            ErrorClass::Capacity,
            "No server is free in Germany just now.",
        ),
        (ErrorClass::Transient, "The last try did not work."),
    ] {
        let world = World::new().await;
        world.life.pay("Ada's agent").await;
        world.life.work(&["key_created"]).await;
        let error = "hcloud: resource_unavailable (412)";
        world.life.fail(class, error, 3).await;
        let waiting = world.look().await;
        waiting.says(&[
            "Setting up your agent",
            "Step 2 of 8",
            says,
            "Next try at <time",
            "08:00:30 UTC",
        ]);
        waiting.never_says(INNER);
        world.pass(31);
        world.life.open().await;
        world.look().await.says(&["Try 2 of 4"]);
    }
}

#[tokio::test]
async fn refusals_and_lost_runners_are_told_without_their_inner_names() {
    let world = World::new().await;
    world.life.pay("Ada's agent").await;
    for (reason, says) in [
        ("GITHUB_TOKEN was refused (401)", "did not take the order"),
        (
            "GitHub's rate limit for GITHUB_TOKEN is used up",
            "allows only so many orders",
        ),
    ] {
        world.life.open().await;
        world.life.refuse(reason).await;
        let refused = world.look().await;
        refused.says(&[says, "Next try at"]);
        refused.never_says(INNER);
        world.pass(120);
    }
    world.life.work(&["key_created"]).await;
    world.pass(200);
    world.life.expire().await;
    world.look().await.says(&["was not heard of any more"]);
}

#[tokio::test]
async fn a_failed_stop_and_a_failed_start_leave_the_agent_as_it_was() {
    let world = World::new().await;
    let life = &world.life;
    life.activate("Ada's agent").await;
    world.pass(10);
    world.press("stop").await;
    life.work(&[]).await;
    life.fail(ErrorClass::Transient, "hcloud: 503", 0).await;
    let still = world.look().await;
    still.says(&[
        "could not be stopped",
        "It may still be running.",
        "What you can do",
    ]);
    assert_eq!(still.buttons(), ["retry", "start"]);
    world.press("retry").await;
    life.work(&["stopped"]).await;
    life.succeed(false).await;
    world.pass(10);
    world.press("start").await;
    life.work(&[]).await;
    life.fail(ErrorClass::Capacity, "hcloud: 503", 0).await;
    let still = world.look().await;
    still.says(&["could not be started", "Its data is kept."]);
    assert_eq!(still.buttons(), ["retry", "stop"]);
    still.never_says(INNER);
}

#[tokio::test]
async fn an_agent_that_was_stopped_before_it_was_made_says_so() {
    let world = World::new().await;
    world.life.draft("Ada's agent").await;
    world.life.pay("Ada's agent").await;
    world.life.command(Command::Stop).await;
    let page = world.look().await;
    page.says(&["Your agent is stopped", "It is not set up yet."]);
    assert_eq!(page.buttons(), ["start"]);
}

#[tokio::test]
async fn the_live_part_is_sent_only_when_it_changed() {
    let world = World::new().await;
    world.life.pay("Ada's agent").await;
    let path = format!("{}/now", world.page());
    let first = world.get(&path).await;
    let tag = first.header("etag").to_owned();
    assert!(first.text.starts_with("<main") && first.text.trim_end().ends_with("</main>"));
    assert!(world.look().await.text.contains(first.text.trim()));
    let again = |tag: &str| {
        let request = Request::get(&path).header("if-none-match", tag);
        world.send(request.body(Body::empty()).unwrap())
    };
    let same = again(&tag).await;
    assert_eq!(
        (same.status, same.text.as_str()),
        (StatusCode::NOT_MODIFIED, "")
    );
    assert_eq!(same.header("etag"), tag);
    world.life.open().await;
    let other = again(&tag).await;
    assert_eq!(other.status, StatusCode::OK);
    assert_ne!(other.header("etag"), tag);
}
