//! Attempts that nobody hears of any more: found in time by delayed nudges alone, or by whoever
//! looks, and replaced by the next.

use std::time::Duration;

use domain::{AgentState, AttemptState};
use http::Method;
use sim::{Conclusion, Knob, Vendor};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::scene::{SOON, Scene};

/// A lost runner is found so long after its last report, at most.
const FOUND_MAX: Duration = Duration::from_secs(210);
const LEASE: Duration = Duration::from_mins(3);
const STEP: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// State of the agent's attempt with this fence, read past the functions.
async fn attempt(scene: &Scene, agent: Uuid, fence: i64) -> Option<AttemptState> {
    let row = scene
        .world
        .database()
        .await
        .query_opt(
            "SELECT state FROM attempts WHERE agent_id = $1 AND fence = $2",
            &[&agent, &fence],
        )
        .await;
    let state: Option<String> = row.unwrap().map(|row| row.get(0));
    state.map(|state| state.parse().unwrap())
}

/// An agent whose first runner vanished with its machine after it had made a server, and the
/// time since its last report at that moment.
async fn loses_its_runner(scene: &Scene) -> (Uuid, Duration, Instant) {
    let sim = scene.world.stack.sim();
    sim.turn(Knob::BootHangs(true));
    let agent = scene.pay().await.agent_id;
    let step = "vm_created";
    let made = |step_seen: Option<&str>| step_seen == Some(step);
    scene
        .until(agent, step, |status| {
            let job = status.job.as_ref();
            let attempt = job.and_then(|job| job.attempt.as_ref());
            made(attempt.and_then(|attempt| attempt.step.as_deref()))
        })
        .await;
    scene.world.stack.lose_machine(sim.world().runs[0].id);
    sim.turn(Knob::BootHangs(false));
    scene.silence().await;
    assert!(scene.runs_are_over(), "a run goes on without its machine");
    let database = scene.world.database().await;
    let asked = Instant::now();
    let row = database
        .query_one(
            "SELECT extract(epoch FROM now() - lease_until)::float8 FROM attempts",
            &[],
        )
        .await;
    let over: f64 = row.unwrap().get(0);
    let silent = LEASE.as_secs_f64() + over;
    (agent, Duration::from_secs_f64(silent.max(0.0)), asked)
}

async fn is_replaced(scene: &Scene, agent: Uuid) {
    scene.settle(&[agent]).await;
    scene.check_outside(&[agent]).await;
    let status = scene.status(agent).await;
    assert_eq!(status.state, AgentState::Active);
    assert_eq!(attempt(scene, agent, 1).await, Some(AttemptState::Expired));
    assert_eq!(
        attempt(scene, agent, 2).await,
        Some(AttemptState::Succeeded)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_runner_is_replaced_with_nobody_looking() {
    let scene = Scene::new().await;
    let (agent, mut silent, mut since) = loses_its_runner(&scene).await;
    while attempt(&scene, agent, 1).await == Some(AttemptState::Claimed) {
        assert!(silent <= FOUND_MAX, "not found\n{}", scene.world.logs());
        scene.pass(STEP).await;
        // Before any more time passes, whoever was nudged has done what he could.
        scene.silence().await;
        silent += STEP + since.elapsed();
        since = Instant::now();
    }
    println!("found {silent:?} after the last report");
    assert!(silent <= FOUND_MAX, "found only after {silent:?}");
    // It may have been found while the last look waited for its answer.
    silent += since.elapsed();
    assert!(silent >= LEASE, "found after {silent:?}, within its lease");
    is_replaced(&scene, agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_nudge_lost_one_look_at_the_status_is_enough() {
    let scene = Scene::new().await;
    let (agent, ..) = loses_its_runner(&scene).await;
    scene.world.stack.queue().lose_all();
    for _ in 0..7 {
        scene.pass(Duration::from_secs(30)).await;
        scene.silence().await;
    }
    let before = attempt(&scene, agent, 1).await;
    assert_eq!(before, Some(AttemptState::Claimed), "who looked?");
    scene.page(agent).await;
    is_replaced(&scene, agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_never_starts_is_looked_up_and_canceled_before_the_next() {
    let scene = Scene::new().await;
    let sim = scene.world.stack.sim();
    sim.turn(Knob::RunsNeverStart(true));
    let agent = scene.pay().await.agent_id;
    let accepted = async {
        while attempt(&scene, agent, 1).await != Some(AttemptState::Accepted) {
            sleep(POLL).await;
        }
    };
    let accepted = timeout(SOON, accepted).await;
    assert!(
        accepted.is_ok(),
        "no run is asked for\n{}",
        scene.world.logs()
    );
    // Only what was queued by then never starts.
    sim.turn(Knob::RunsNeverStart(false));
    scene.settle(&[agent]).await;
    scene.check_outside(&[agent]).await;
    assert_eq!(scene.status(agent).await.state, AgentState::Active);

    let world = sim.world();
    let [first, second] = &world.runs[..] else {
        panic!("two runs are enough: {:?}", world.runs);
    };
    assert_eq!(first.conclusion, Some(Conclusion::Cancelled));
    assert_eq!(second.conclusion, Some(Conclusion::Success));
    let asked = |method: Method, part: &str| {
        let fits = |call: &&sim::CallRecord| {
            let github = call.vendor == Vendor::Github && call.method == method;
            github && call.path.ends_with(part)
        };
        let calls = world.calls.iter().filter(fits);
        calls.map(|call| call.at).collect::<Vec<_>>()
    };
    let looked = asked(Method::GET, &format!("/runs/{}", first.id));
    let canceled = asked(Method::POST, &format!("/runs/{}/cancel", first.id));
    let dispatched = asked(Method::POST, "/dispatches");
    assert_eq!(
        (canceled.len(), dispatched.len()),
        (1, 2),
        "{canceled:?} {dispatched:?}"
    );
    assert!(looked[0] < canceled[0], "{looked:?} {canceled:?}");
    assert!(canceled[0] < dispatched[1], "{canceled:?} {dispatched:?}");
}
