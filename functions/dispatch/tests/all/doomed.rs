//! Attempts whose agent is to be removed: aborted at once, or given time to undo.

use crate::{
    queue::Sent,
    world::{World, after, timer},
};
use domain::{AgentId, AttemptState, ErrorClass, JobId, JobKind, JobState, Timestamp};
use host::{Clock, Nudge};
use http::Method;
use serde_json::json;
use sim::{Conclusion, Effect, FaultBody};
use std::sync::atomic::{AtomicU64, Ordering};
use store::{ReportRecord, ReportSaid};

/// A claimed provision at its run.
async fn claimed(world: &World) -> (AgentId, JobId, u64) {
    let (agent, job) = world.paid().await;
    world.look().await;
    let run = world.sim.world().runs[0].id;
    world.sim.run_started(run);
    world.pass(10);
    world.report(&world.record(job, run, 1)).await.unwrap();
    world.queue.take();
    (agent, job, run)
}

/// The operations of the runs, in order.
fn operations(world: &World) -> Vec<String> {
    let runs = world.sim.world().runs.into_iter();
    runs.map(|run| run.inputs["operation"].clone()).collect()
}

async fn provision_ended(world: &World, agent: AgentId, end: AttemptState) -> Timestamp {
    let events = world.store.agent_events(agent, 0, 1000).await.unwrap();
    let events = events.unwrap();
    let event = events
        .iter()
        .find(|event| event.machine == "attempt" && event.new == end.as_str());
    event.expect("the attempt ended so").at
}

#[tokio::test]
async fn an_attempt_whose_acceptance_was_lost_is_aborted_and_its_run_found_and_stopped() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    world.strike(Method::POST, "/dispatches", Effect::CutAfter);
    world.look().await;
    assert_eq!(world.attempt(agent).await.state, AttemptState::Intended);
    world.pass(20);
    world.delete(agent).await;
    world.look().await;
    assert_eq!(operations(&world), ["provision", "destroy"], "in one look");
    assert_eq!(world.stops(), (1, 0));
    let runs = world.sim.world().runs;
    assert!(runs[0].cancel_requested && !runs[1].cancel_requested);
    assert_eq!(world.job(agent).await.kind, JobKind::Destroy);
    provision_ended(&world, agent, AttemptState::Aborted).await;
    let late = world.record(job, runs[0].id, 1);
    assert_eq!(world.report(&late).await, None, "its runner is turned away");
}

#[tokio::test]
async fn an_attempt_that_never_reached_github_is_aborted_and_there_is_nothing_to_stop() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.strike(Method::POST, "/dispatches", Effect::CutBefore);
    world.look().await;
    world.delete(agent).await;
    world.look().await;
    assert_eq!(operations(&world), ["destroy"]);
    assert_eq!(world.stops(), (0, 0));
    assert_eq!(world.to_end().await, []);
}

#[tokio::test]
async fn aborting_and_destroying_wait_for_no_look_at_github() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.strike(Method::POST, "/dispatches", Effect::CutAfter);
    world.look().await;
    world.delete(agent).await;
    let limit = Effect::github_secondary_limit(403, None);
    world.strike(Method::GET, "/runs", limit);
    let before = world.sim.world().calls.len();
    world.look().await;
    let calls = world.sim.world().calls;
    assert_eq!(calls[before].method, Method::POST, "the destroy goes first");
    assert_eq!(operations(&world), ["provision", "destroy"]);
    assert_eq!(world.stops(), (0, 0), "the run was not found");
}

#[tokio::test]
async fn an_accepted_attempt_is_aborted_at_once_and_its_run_stopped_once() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    world.look().await;
    let run = world.sim.world().runs[0].id;
    world.pass(20);
    world.delete(agent).await;
    world.look().await;
    assert_eq!(operations(&world), ["provision", "destroy"]);
    assert_eq!(world.stops(), (1, 0));
    assert_eq!(world.report(&world.record(job, run, 1)).await, None);
    world.sim.run_finished(run, Conclusion::Cancelled);
    world.nudges_until(after(world.now(), 130)).await;
    assert_eq!(world.stops(), (1, 0), "a run that is over is left alone");
    assert_eq!(world.to_end().await, []);
}

#[tokio::test]
async fn what_a_look_that_broke_off_left_is_done_by_the_next() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.look().await;
    world.delete(agent).await;
    world.queue.be_away(true);
    assert_eq!(world.nudge(&["{}".to_owned()]).await, ["m0"]);
    assert_eq!(
        world.stops(),
        (0, 0),
        "it ended between aborting and stopping"
    );
    world.queue.be_away(false);
    world.look().await;
    assert_eq!(world.stops(), (1, 0));
    assert_eq!(operations(&world), ["provision", "destroy"]);
}

#[tokio::test]
async fn a_look_that_takes_long_leaves_the_rest_to_another() {
    let mut world = World::new().await;
    let (agent, _) = world.paid().await;
    world.look().await;
    world.delete(agent).await;
    world.queue.take();
    let clock = world.deps.clock.clone();
    let looks = AtomicU64::new(0);
    let slow = clock.clone();
    world.deps.clock = Clock::from_fn(move || {
        let looks = looks.fetch_add(1, Ordering::SeqCst);
        after(slow.now(), 9 * looks)
    });
    world.look().await;
    let rest = Sent {
        nudge: Nudge::EMPTY,
        delay_seconds: 0,
    };
    assert_eq!(world.queue.take(), [rest]);
    assert_eq!(world.attempt(agent).await.state, AttemptState::Accepted);
    world.deps.clock = clock;
    world.look().await;
    assert_eq!(operations(&world), ["provision", "destroy"]);
}

#[tokio::test]
async fn a_doubled_dispatch_has_both_of_its_runs_stopped() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.strike(Method::POST, "/dispatches", Effect::CutAfter);
    world.look().await;
    world.pass(302);
    // GitHub does not list the first run yet.
    let nothing = json!({"total_count": 0, "workflow_runs": []});
    let (status, body) = (200, FaultBody::Json(nothing));
    world.strike(Method::GET, "/runs", Effect::Status { status, body });
    world.look().await;
    assert_eq!(operations(&world), ["provision", "provision"]);
    world.delete(agent).await;
    world.look().await;
    assert_eq!(operations(&world), ["provision", "provision", "destroy"]);
    assert_eq!(world.stops(), (2, 0));
}

#[tokio::test]
async fn a_runner_that_undoes_in_time_is_never_stopped() {
    let world = World::new().await;
    let (agent, job, run) = claimed(&world).await;
    world.delete(agent).await;
    let doomed = world.now();
    world.look().await;
    assert_eq!(world.queue.take(), [timer(job, after(doomed, 120), 122)]);
    world.pass(30);
    let told = world.report(&world.record(job, run, 2)).await.unwrap();
    assert!(!told.go_on, "the runner is told to stop");
    world.pass(80);
    let said = ReportSaid::Failed {
        error: "stopped and undone".to_owned(),
        class: ErrorClass::Transient,
        step: None,
        retry_delays: Vec::new(),
    };
    let undone = ReportRecord {
        said,
        ..world.record(job, run, 3)
    };
    let next = world.report(&undone).await.unwrap().next.unwrap();
    assert_eq!(next.due, world.now());
    world.sim.run_finished(run, Conclusion::Failure);
    world.look().await;
    assert_eq!(operations(&world), ["provision", "destroy"]);
    provision_ended(&world, agent, AttemptState::Aborted).await;
    world.nudges_until(after(world.now(), 200)).await;
    assert_eq!(world.stops(), (0, 0));
    assert_eq!(world.to_end().await, []);
}

#[tokio::test]
async fn a_runner_that_goes_on_is_stopped_after_two_minutes_and_forced_a_minute_later() {
    let world = World::new().await;
    let (agent, job, run) = claimed(&world).await;
    world.delete(agent).await;
    let doomed = world.now();
    world.look().await;
    for beat in 1..=2 {
        world.nudges_until(after(doomed, 60 * beat - 5)).await;
        let seq = i64::try_from(beat).unwrap() + 1;
        let told = world.report(&world.record(job, run, seq)).await.unwrap();
        assert!(!told.go_on);
    }
    let last_report = world.now();
    world.nudges_until(after(doomed, 119)).await;
    assert_eq!(world.stops(), (0, 0));
    world.nudges_until(after(doomed, 122)).await;
    assert_eq!(world.stops(), (1, 0));
    world.nudges_until(after(doomed, 181)).await;
    assert_eq!(world.stops(), (1, 0));
    world.nudges_until(after(doomed, 185)).await;
    assert_eq!(world.stops(), (1, 1));
    world.sim.run_finished(run, Conclusion::Cancelled);
    world.nudges_until(after(last_report, 239)).await;
    assert_eq!(
        operations(&world),
        ["provision"],
        "its last calls may be under way"
    );
    world.nudges_until(after(last_report, 245)).await;
    assert_eq!(operations(&world), ["provision", "destroy"]);
    let ended = provision_ended(&world, agent, AttemptState::Expired).await;
    assert!(ended >= after(last_report, 180) && ended <= after(last_report, 185));
    world.nudges_until(after(last_report, 400)).await;
    assert_eq!(world.stops().1, 1, "a run that is over is not forced again");
    assert_eq!(world.to_end().await, []);
}

#[tokio::test]
async fn a_runner_that_reports_the_end_after_its_run_was_stopped_is_followed_at_once() {
    let world = World::new().await;
    let (agent, job, run) = claimed(&world).await;
    world.delete(agent).await;
    let doomed = world.now();
    world.look().await;
    world.nudges_until(after(doomed, 50)).await;
    world.report(&world.record(job, run, 2)).await.unwrap();
    world.nudges_until(after(doomed, 125)).await;
    assert_eq!(world.stops(), (1, 0));
    let said = ReportSaid::Failed {
        error: "cancelled".to_owned(),
        class: ErrorClass::Transient,
        step: None,
        retry_delays: Vec::new(),
    };
    let end = ReportRecord {
        said,
        ..world.record(job, run, 3)
    };
    world.report(&end).await.unwrap();
    world.sim.run_finished(run, Conclusion::Cancelled);
    world.look().await;
    assert_eq!(operations(&world), ["provision", "destroy"]);
    world.nudges_until(after(doomed, 300)).await;
    assert_eq!(world.stops(), (1, 0));
}

#[tokio::test]
async fn a_doomed_runner_that_is_dead_is_lost_when_its_lease_is_over() {
    let world = World::new().await;
    let (agent, _, _) = claimed(&world).await;
    let last_report = world.now();
    world.pass(100);
    world.delete(agent).await;
    world.look().await;
    world.nudges_until(after(last_report, 185)).await;
    provision_ended(&world, agent, AttemptState::Expired).await;
    assert_eq!(world.stops(), (1, 0));
    assert_eq!(world.job(agent).await.kind, JobKind::Destroy);
    assert_eq!(world.job(agent).await.state, JobState::Queued);
    world.nudges_until(after(last_report, 245)).await;
    assert_eq!(operations(&world), ["provision", "destroy"]);
}

#[tokio::test]
async fn a_crowd_that_is_to_go_is_aborted_and_followed_to_the_last() {
    let world = World::new().await;
    let mut agents = Vec::new();
    for _ in 0..10 {
        agents.push(world.paid().await.0);
    }
    world.look().await;
    world.nudges_until(after(world.now(), 1)).await;
    assert_eq!(world.runs(), 10);
    for agent in &agents {
        world.delete(*agent).await;
    }
    world.look().await;
    world.nudges_until(after(world.now(), 3)).await;
    let operations = operations(&world);
    assert_eq!(
        operations.iter().filter(|one| *one == "destroy").count(),
        10
    );
    assert_eq!(world.stops(), (10, 0));
}
