//! Runners that die without a word: how soon that is noticed.

use crate::world::{World, after};
use domain::{AgentId, AttemptState, JobId, TIMER_SLACK, Timestamp};
use host::Nudge;
use std::time::Duration;

/// A lost runner is noticed at most this long after its last report.
const NOTICED: Duration = Duration::from_secs(210);

/// A claim, and the timer that the callback sends for it.
async fn claim(world: &World, job: JobId, run: u64) {
    let accepted = world.report(&world.record(job, run, 1)).await.unwrap();
    let due = accepted.due.unwrap();
    let delay = due.plus(TIMER_SLACK).since(world.now());
    let timer = Nudge::job(job, due);
    world.deps.nudges.send(&timer, delay).await.unwrap();
}

async fn expired(world: &World, agent: AgentId) -> Option<Timestamp> {
    let events = world.store.agent_events(agent, 0, 1000).await.unwrap();
    let expired = AttemptState::Expired.as_str();
    let mut events = events.unwrap().into_iter();
    events
        .find(|event| event.machine == "attempt" && event.new == expired)
        .map(|event| event.at)
}

fn run_of(world: &World, job: JobId) -> u64 {
    let runs = world.sim.world().runs;
    let run = runs
        .iter()
        .find(|run| run.inputs["job_id"] == job.to_string());
    run.expect("its run was started").id
}

#[tokio::test]
async fn delayed_nudges_alone_notice_a_lost_runner_in_time() {
    // A claim, reports a minute apart, and then the runner dies.
    for reports in [1, 2, 5] {
        let world = World::new().await;
        let (agent, job) = world.paid().await;
        let claimed = after(world.now(), 5);
        world.look().await;
        world.nudges_until(claimed).await;
        let run = run_of(&world, job);
        claim(&world, job, run).await;
        for seq in 2..=reports {
            let at = after(claimed, 60 * u64::try_from(seq - 1).unwrap());
            world.nudges_until(at).await;
            world.report(&world.record(job, run, seq)).await.unwrap();
        }
        let last_report = world.now();
        world.nudges_until(after(last_report, 240)).await;
        let noticed = expired(&world, agent).await.expect("it is noticed");
        assert!(noticed >= after(last_report, 180), "not too soon");
        assert!(noticed.since(last_report) <= NOTICED, "not too late");
        assert_eq!(world.attempt(agent).await.number, 2, "it is replaced");
        assert_eq!(world.runs(), 2);
    }
}

#[tokio::test]
async fn anybody_who_calls_notices_a_lost_runner_whose_nudges_were_lost() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    let (_, other_job) = world.paid().await;
    let (third, _) = world.paid().await;
    world.look().await;
    claim(&world, job, run_of(&world, job)).await;
    let last_report = world.now();
    world.pass(100);
    let other_run = run_of(&world, other_job);
    claim(&world, other_job, other_run).await;
    world.queue.take();
    world.pass(85);
    let payment = world.payment();
    let paid = world
        .store
        .record_event(&payment, world.now())
        .await
        .unwrap();
    let beat = world.record(other_job, other_run, 2);
    let beat = world.store.apply_report(&beat, world.now()).await.unwrap();
    let overview = world.store.overview(world.now()).await.unwrap();
    assert!(
        !paid.any_due && !beat.any_due && !overview.any_due,
        "not yet"
    );
    world.pass(1);
    let payment = world.payment();
    let paid = world
        .store
        .record_event(&payment, world.now())
        .await
        .unwrap();
    assert!(paid.any_due, "a webhook notices");
    let beat = world.record(other_job, other_run, 3);
    let beat = world.store.apply_report(&beat, world.now()).await.unwrap();
    assert!(beat.any_due, "a report notices");
    assert!(world.status(third).await.any_due, "a status read notices");
    let overview = world.store.overview(world.now()).await.unwrap();
    assert!(overview.any_due, "an operator's look notices");
    world.look().await;
    let noticed = expired(&world, agent).await.expect("it is noticed");
    assert!(noticed.since(last_report) <= NOTICED);
}
