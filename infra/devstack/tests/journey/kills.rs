//! Kills every process before and after everything it says to anybody, and at its start, or
//! cuts only its connection then, and lets time pass: no paid agent is left without a job, none
//! is active without its instance, nothing waits for a word that nobody will say, and in the end
//! there is one server and one device, and no key that could still be used.

use std::time::Duration;

use devstack::{KillPoint, ProcessRecord, Side};
use domain::AgentState;
use futures_util::{StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{sleep, timeout};

use crate::points::{Point, visit_all};
use crate::scene::{SOON, Scene};

const SEEDS: [u64; 4] = [1, 2, 3, 4];
const KILLS_PER_SEED: usize = 50;
const PAYMENTS_AT_ONCE: usize = 8;
const STARTS_MAX: u32 = 400;
const POLL: Duration = Duration::from_millis(20);

/// Answers whether the point was met. Up to it all goes as in the run that listed it, so time
/// passes only afterwards.
async fn kill_at(point: Point) -> bool {
    let scene = Scene::new().await;
    let taps = &scene.world.taps;
    taps.kill(&point.program, point.start, point.place);
    let agents = [scene.pay().await.agent_id];
    let is_struck = |process: &ProcessRecord| process.killed || process.cut;
    let struck = async {
        while !taps.record().iter().any(is_struck) {
            sleep(POLL).await;
        }
    };
    // Who is not struck by then, is not any more.
    let met = timeout(SOON, struck).await.is_ok();
    scene.settle(&agents).await;
    scene.check_outside(&agents).await;
    assert_eq!(scene.status(agents[0]).await.state, AgentState::Active);
    let process = point.process(taps.record());
    met && process.is_some_and(|process| is_struck(&process))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_anywhere_leaves_nothing_undone() {
    let sides = [Side::Before, Side::After, Side::Cut];
    visit_all(&sides, |_| true, kill_at).await;
}

/// Plans kills for most processes that will ever start, wherever they are then.
fn plan(scene: &Scene, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let shares = [
        ("stripe-webhook", 0.5),
        ("dispatch", 0.5),
        ("callback", 0.5),
        ("runner", 0.4),
    ];
    for (program, share) in shares {
        for start in 1..=STARTS_MAX {
            let turn = random.random_range(0..12);
            let side = if random.random_bool(0.5) {
                Side::Before
            } else {
                Side::After
            };
            if random.random_bool(share) {
                scene
                    .world
                    .taps
                    .kill(program, start, KillPoint { turn, side });
            }
        }
    }
}

/// Pays and kills until enough were killed; answers how many.
async fn kill_at_random(seed: u64) -> usize {
    let scene = Scene::new().await;
    plan(&scene, seed);
    let mut agents = Vec::new();
    loop {
        for _ in 0..PAYMENTS_AT_ONCE {
            agents.push(scene.pay().await.agent_id);
        }
        scene.settle(&agents).await;
        scene.check_outside(&agents).await;
        let killed = scene
            .world
            .taps
            .record()
            .iter()
            .filter(|process| process.killed)
            .count();
        if killed >= KILLS_PER_SEED {
            return killed;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_leave_nothing_undone() {
    let seeds = stream::iter(SEEDS).map(|seed| async move {
        let killed = tokio::spawn(kill_at_random(seed)).await;
        (
            seed,
            killed.unwrap_or_else(|error| panic!("seed {seed}: {error}")),
        )
    });
    let mut killed = seeds.buffer_unordered(2);
    while let Some((seed, killed)) = killed.next().await {
        println!("seed {seed}: killed {killed} processes");
    }
}
