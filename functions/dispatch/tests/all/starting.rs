//! Starting runs for what is due, and the nudges that remain.

use crate::{
    queue::Sent,
    world::{World, after, timer},
};
use domain::{JobId, JobState};
use host::Nudge;
use http::Method;
use sim::Effect;
use store::ConnectConfig;

#[tokio::test]
async fn a_nudge_starts_a_run_and_leaves_a_timer() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    let nudge = Nudge::job(job, world.now()).body();
    assert_eq!(
        world
            .nudge(&[nudge.clone(), nudge, "garbage".to_owned()])
            .await,
        [""; 0]
    );
    let runs = world.sim.world().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].inputs["agent_id"], agent.to_string());
    assert_eq!(runs[0].inputs["fence"], "1");
    assert_eq!(
        world.queue.take(),
        [timer(job, after(world.now(), 300), 302)]
    );
    assert_eq!(world.job(agent).await.state, JobState::Dispatched);
    world.look().await;
    assert_eq!(world.runs(), 1);
    assert_eq!(world.queue.take(), []);
}

#[tokio::test]
async fn a_refusal_leaves_the_job_queued_with_its_reason_and_is_repeated() {
    let world = World::with_token("ghp_wrong").await;
    let (agent, job) = world.paid().await;
    let start = world.now();
    world.look().await;
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(
        status
            .reason
            .unwrap()
            .starts_with("GITHUB_TOKEN was refused (401)")
    );
    let retry = timer(job, after(start, 30), 32);
    assert_eq!(
        world.queue.take(),
        [timer(job, after(start, 300), 302), retry]
    );
    world.pass(32);
    world.look().await;
    assert_eq!(
        world.queue.take().pop(),
        Some(timer(job, after(start, 92), 62))
    );
}

#[tokio::test]
async fn a_wait_longer_than_the_queue_can_hold_is_handed_from_nudge_to_nudge() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    let start = world.now();
    let limit = Effect::github_secondary_limit(403, Some(3600));
    world.strike(Method::POST, "/dispatches", limit);
    world.look().await;
    let due = after(start, 3600);
    assert_eq!(world.job(agent).await.due, Some(due));
    for _ in 0..4 {
        assert_eq!(world.runs(), 0);
        // Nobody but the newest nudge says anything.
        let newest = world.queue.take().pop().expect("a nudge is under way");
        assert!(newest.delay_seconds <= 900, "the queue holds no longer");
        world.pass(i64::try_from(newest.delay_seconds).unwrap());
        world.nudge(&[Nudge::job(job, due).body()]).await;
    }
    assert_eq!(world.runs(), 1);
    assert!(world.now() < after(due, 10), "it is not late");
}

#[tokio::test]
async fn settings_that_are_missing_are_the_reason_and_lose_nothing() {
    let world = World::with_token("").await;
    let (agent, _) = world.paid().await;
    world.look().await;
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("GITHUB_TOKEN: is missing"));
    assert_eq!(world.sim.world().calls, []);
}

#[tokio::test]
async fn more_than_a_batch_is_worked_off_by_further_nudges() {
    let world = World::new().await;
    for _ in 0..9 {
        world.paid().await;
    }
    world.look().await;
    assert_eq!(world.runs(), 8);
    let more = Sent {
        nudge: Nudge::EMPTY,
        delay_seconds: 0,
    };
    assert_eq!(world.queue.take().pop(), Some(more));
    world.look().await;
    assert_eq!(world.runs(), 9);
}

#[tokio::test]
async fn while_the_database_is_away_nudges_are_sent_anew() {
    let url = "postgres://127.0.0.1:9/nowhere".to_owned();
    let world = World::on(
        ConnectConfig {
            url: url.into(),
            ca_pem: None,
        },
        "t",
    )
    .await;
    let job = Nudge::job(JobId(world.id()), world.now());
    let bodies = [job.body(), "garbage".to_owned()];
    assert_eq!(world.nudge(&bodies).await, [""; 0]);
    let anew = |nudge| Sent {
        nudge,
        delay_seconds: 60,
    };
    assert_eq!(world.queue.take(), [anew(job), anew(Nudge::EMPTY)]);
    world.queue.be_away(true);
    assert_eq!(world.nudge(&bodies).await, ["m0", "m1"]);
}

#[tokio::test]
async fn without_its_timer_no_run_is_started() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.queue.be_away(true);
    assert_eq!(world.nudge(&["{}".to_owned()]).await, ["m0"]);
    assert_eq!(world.runs(), 0);
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("JOB_QUEUE_URL"));
    world.queue.be_away(false);
    world.pass(30);
    world.look().await;
    assert_eq!(world.runs(), 1);
}
