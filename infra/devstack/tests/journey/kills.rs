//! Kills every process before and after everything it says to anybody, and at its start, or
//! cuts only its connection then, and lets time pass: no paid agent is left without a job, none
//! is active without its instance, nothing waits for a word that nobody will say, and in the end
//! there is one server and one device, and no key that could still be used.

use std::collections::BTreeSet;

use devstack::{KillPoint, ProcessRecord, Side};
use domain::AgentState;
use futures_util::{StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::scene::{SCENES_AT_ONCE, Scene};

const SEEDS: [u64; 4] = [1, 2, 3, 4];
const KILLS_PER_SEED: usize = 50;
const PAYMENTS_AT_ONCE: usize = 8;
const STARTS_MAX: u32 = 400;

/// A process to be killed: the how-manieth start of which program, and where.
type Kill = (String, u32, KillPoint);

/// Everything that is said on the way of one payment, from a run in which nothing goes wrong.
/// No time passes in it: else it would depend on the moment what is said.
async fn said() -> Vec<ProcessRecord> {
    let scene = Scene::new().await;
    let agents = [scene.pay().await.agent_id];
    scene.comes_to_rest(&agents).await;
    scene.check_outside(&agents).await;
    scene.world.taps.record()
}

/// Every place on that way at which a process can die.
fn points(said: Vec<ProcessRecord>) -> Vec<Kill> {
    let mut points = Vec::new();
    for process in said {
        let start = KillPoint {
            turn: 0,
            side: Side::Before,
        };
        points.push((process.program.clone(), process.start, start));
        for turn in &process.turns {
            for side in [Side::Before, Side::After, Side::Cut] {
                let point = KillPoint {
                    turn: turn.ordinal,
                    side,
                };
                points.push((process.program.clone(), process.start, point));
            }
        }
    }
    points
}

/// Answers whether the point was met. Up to it all goes as in the run that listed it, so time
/// passes only afterwards.
async fn kill_at((program, start, point): Kill) -> bool {
    let scene = Scene::new().await;
    scene.world.taps.kill(&program, start, point);
    let agents = [scene.pay().await.agent_id];
    let met = scene.is_struck().await;
    scene.settle(&agents).await;
    scene.check_outside(&agents).await;
    assert_eq!(scene.status(agents[0]).await.state, AgentState::Active);
    met
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_anywhere_leaves_nothing_undone() {
    let said = said().await;
    let programs: BTreeSet<_> = said.iter().map(|process| process.program.clone()).collect();
    assert_eq!(
        programs.iter().map(String::as_str).collect::<Vec<_>>(),
        ["callback", "dispatch", "runner", "stripe-webhook"]
    );
    let points = points(said);
    let count = points.len();
    let missed: Vec<String> = stream::iter(points)
        .map(|kill| async move {
            let name = format!("{} {} {:?}", kill.0, kill.1, kill.2);
            let scene = tokio::spawn(kill_at(kill));
            let met = scene
                .await
                .unwrap_or_else(|error| panic!("killed {name}: {error}"));
            (!met).then_some(name)
        })
        .buffer_unordered(SCENES_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    println!(
        "killed or cut off at {} of {count} points",
        count - missed.len()
    );
    assert!(missed.is_empty(), "listed and never met: {missed:#?}");
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
