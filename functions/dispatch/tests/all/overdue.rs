//! Attempts whose time is past.

use crate::world::{World, after, timer};
use domain::JobState;
use host::Nudge;
use http::Method;
use sim::{Conclusion, Effect, FaultBody};

#[tokio::test]
async fn a_run_whose_acceptance_was_lost_is_found_and_waited_for() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    world.strike(Method::POST, "/dispatches", Effect::CutAfter);
    world.look().await;
    assert_eq!(world.job(agent).await.state, JobState::Queued);
    world.queue.take();
    world.pass(302);
    world.look().await;
    assert_eq!(world.runs(), 1, "nothing was dispatched again");
    assert_eq!(
        world.queue.take(),
        [timer(job, after(world.now(), 300), 302)]
    );
}

#[tokio::test]
async fn a_dispatch_that_surely_made_no_run_is_repeated_once() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    let start = world.now();
    let gone = || Effect::Status {
        status: 500,
        body: FaultBody::Empty,
    };
    world.strike(Method::POST, "/dispatches", gone());
    world.look().await;
    assert_eq!(world.runs(), 0);
    world.pass(302);
    world.strike(Method::POST, "/dispatches", gone());
    world.look().await;
    assert_eq!(world.runs(), 0);
    world.pass(302);
    world.look().await;
    assert_eq!(world.runs(), 0, "it is repeated only once");
    world.queue.take();
    world.pass(302);
    world.look().await;
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("no runner took the run"));
    let sent = world.queue.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].nudge.job, Some(job));
    assert!(sent[0].delay_seconds <= 32 && world.now() > after(start, 900));
}

#[tokio::test]
async fn the_same_attempt_is_dispatched_again_when_github_shows_no_run() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.strike(Method::POST, "/dispatches", Effect::CutBefore);
    world.look().await;
    world.pass(302);
    world.look().await;
    let runs = world.sim.world().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].inputs["fence"], "1");
    assert_eq!(world.job(agent).await.state, JobState::Dispatched);
}

#[tokio::test]
async fn a_run_that_ended_unclaimed_expires_its_attempt() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.look().await;
    let run = world.sim.world().runs[0].id;
    world.sim.run_finished(run, Conclusion::StartupFailure);
    world.pass(302);
    world.look().await;
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("the run ended at GitHub"));
    world.pass(40);
    world.look().await;
    assert_eq!(world.sim.world().runs[1].inputs["fence"], "2");
}

#[tokio::test]
async fn a_run_that_never_starts_is_stopped_after_15_minutes() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.look().await;
    for _ in 0..3 {
        world.pass(302);
        world.look().await;
    }
    assert!(world.sim.world().runs[0].cancel_requested);
    assert_eq!(world.job(agent).await.state, JobState::Queued);
}

#[tokio::test]
async fn a_claimed_attempt_is_watched_until_its_lease_is_over() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    world.look().await;
    world.queue.take();
    let run = world.sim.world().runs[0].id;
    world.pass(10);
    let claimed = world.now();
    world.report(&world.record(job, run, 1)).await.unwrap();
    world.pass(100);
    world.report(&world.record(job, run, 2)).await.unwrap();
    let due = after(world.now(), 180);
    world.pass(82);
    let early = Nudge::job(job, after(claimed, 180)).body();
    world.nudge(&[early.clone(), early.clone()]).await;
    assert_eq!(world.queue.take(), [timer(job, due, 100)]);
    world.nudge(&[early]).await;
    assert_eq!(world.queue.take(), [], "one timer is enough");
    world.pass(100);
    world.look().await;
    assert!(world.sim.world().runs[0].cancel_requested);
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("not heard of in time"));
}
