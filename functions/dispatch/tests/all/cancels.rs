//! Runs that have to end, until they are over or given up.

use crate::world::{World, after};
use aws_lambda_events::event::sqs::SqsEvent;
use domain::AgentId;
use http::Method;
use serde_json::json;
use sim::{Conclusion, Effect, Fault, FaultBody, Vendor};

/// An agent that is to go, with a started run that nobody asked to end yet.
async fn to_end() -> (World, AgentId, u64) {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.look().await;
    let run = world.sim.world().runs[0].id;
    world.sim.run_started(run);
    world.queue.take();
    world.delete(agent).await;
    (world, agent, run)
}

fn always(world: &World, method: Method, path: &str, effect: Effect) {
    world.sim.add_fault(Fault {
        method: Some(method),
        path_contains: path.to_owned(),
        ..Fault::every(Vendor::Github, effect)
    });
}

fn status(status: u16) -> Effect {
    let message = "Cannot force cancel this run.".to_owned();
    Effect::Status {
        status,
        body: FaultBody::Json(json!({"message": message})),
    }
}

#[tokio::test]
async fn a_run_that_does_not_end_is_forced_every_minute_and_given_up_in_the_end() {
    let (world, _, _) = to_end().await;
    always(&world, Method::POST, "/force-cancel", status(409));
    let start = world.now();
    world.look().await;
    assert_eq!(world.stops(), (1, 0));
    for minute in 1..=10 {
        world.nudges_until(after(start, 62 * minute - 1)).await;
        assert_eq!(world.stops(), (1, usize::try_from(minute).unwrap() - 1));
        assert_eq!(world.to_end().await.len(), 1);
        world.nudges_until(after(start, 62 * minute)).await;
        assert_eq!(world.stops(), (1, usize::try_from(minute).unwrap()));
    }
    assert_eq!(world.to_end().await, []);
    world.nudges_until(after(start, 800)).await;
    assert_eq!(world.stops(), (1, 10));
}

#[tokio::test]
async fn a_run_that_github_does_not_know_is_forgotten() {
    for (method, path) in [
        (Method::POST, "/cancel"),
        (Method::GET, "/actions/runs/"),
        (Method::POST, "/force-cancel"),
    ] {
        let (world, _, _) = to_end().await;
        always(&world, method, path, status(404));
        let start = world.now();
        world.look().await;
        world.nudges_until(after(start, 65)).await;
        assert_eq!(world.to_end().await, [], "{path}");
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_stopped_because_it_is_over_is_looked_at_once_more() {
    let (world, _, run) = to_end().await;
    world.sim.run_finished(run, Conclusion::Failure);
    let start = world.now();
    world.look().await;
    assert_eq!(world.to_end().await.len(), 1);
    world.nudges_until(after(start, 65)).await;
    assert_eq!(world.stops(), (1, 0));
    assert_eq!(world.to_end().await, []);
}

#[tokio::test]
async fn while_github_is_away_a_run_is_kept_however_long_that_takes() {
    let (world, _, run) = to_end().await;
    let away = || Effect::github_secondary_limit(403, None);
    always(&world, Method::POST, "cancel", away());
    always(&world, Method::GET, "/actions/runs/", away());
    let start = world.now();
    world.look().await;
    world.look().await;
    assert_eq!(world.stops(), (1, 0), "it is not asked again at once");
    world.nudges_until(after(start, 800)).await;
    assert_eq!(world.to_end().await.len(), 1);
    world.sim.clear_faults();
    let asked = world.stops().1;
    world.nudges_until(after(start, 862)).await;
    assert_eq!(world.stops().1, asked + 1);
    assert!(
        world
            .sim
            .world()
            .runs
            .iter()
            .any(|one| one.id == run && one.cancel_requested)
    );
}

#[tokio::test]
async fn a_run_whose_nudge_was_lost_is_noticed_by_whoever_reads() {
    let (world, agent, _) = to_end().await;
    world.look().await;
    world.queue.take();
    world.pass(64);
    assert!(!world.status(agent).await.any_due);
    world.pass(2);
    assert!(world.status(agent).await.any_due);
    world.look().await;
    assert_eq!(world.stops(), (1, 1));
    assert!(!world.status(agent).await.any_due);
}

#[tokio::test]
async fn two_dispatchers_at_once_lose_no_run_and_leave_it_its_minute() {
    let (world, _, run) = to_end().await;
    let another = world.another();
    let both = async || {
        let event = json!({"Records": [{"messageId": "m", "body": "{}"}]});
        let event: SqsEvent = serde_json::from_value(event).unwrap();
        let (response, ()) = tokio::join!(Box::pin(another.handle(event)), world.look());
        assert!(response.batch_item_failures.is_empty());
    };
    both().await;
    let (asked, forced) = world.stops();
    assert!((1..=2).contains(&asked), "{asked}: each asked at most once");
    assert_eq!(forced, 0);
    // Each leaves an agent alone that the other is working on: then its timer does the rest.
    world.look().await;
    assert_eq!(world.runs(), 2, "one destroy was dispatched");
    both().await;
    assert_eq!(world.stops(), (asked, 0), "not before a minute is over");
    world.pass(62);
    both().await;
    let (still, forced) = world.stops();
    assert_eq!(still, asked);
    assert!(
        (1..=2).contains(&forced),
        "{forced}: each forced at most once"
    );
    both().await;
    assert_eq!(
        world.stops(),
        (asked, forced),
        "not before a minute is over"
    );
    assert_eq!(world.to_end().await.len(), 1);
    world.sim.run_finished(run, Conclusion::Cancelled);
    world.pass(62);
    both().await;
    assert_eq!(world.stops(), (asked, forced));
    assert_eq!(world.to_end().await, []);
}
