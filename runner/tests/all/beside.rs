//! The server part of a provision beside Hetzner's own Python client, in real time over real
//! connections: how long after its end each notices that a server is up, and with how many calls.
//! Both meet a fake of the same delays, at the same time.

use crate::harness::{HETZNER_TOKEN, NAME, Stage, finish, quick};
use contract::Step;
use http::Method;
use sim::{DelayRange, Sim, SimConfig, Vendor, World, peers};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

/// From the create to the end of the last action, in milliseconds. Real ones take 10 to 30 s
/// (Hetzner: users' reports). The Python client looks once a second, so what it loses depends on
/// where in a second the end falls: these ends are spread evenly over one. The fake shows steady
/// progress here; what jumps and a standing progress cost a whole provision is measured in
/// virtual time.
const WHOLE: [u64; 5] = [14_100, 14_300, 14_500, 14_700, 14_900];
/// Of it, the time of the action that follows the create.
const START: u64 = 2_600;
/// Longest wait for either client.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// What noticing the end cost.
#[derive(Debug)]
struct Noticed {
    lost: Duration,
    /// Calls to Hetzner from the create to the noticing.
    calls: usize,
}

fn config(whole: u64) -> SimConfig {
    let mut config = quick();
    config.hetzner.create_delay = DelayRange::millis(whole - START, whole - START);
    config.hetzner.start_delay = DelayRange::millis(START, START);
    config
}

/// Judges the moment that the world shows: the client has just noticed.
fn noticed(world: &World, whole: u64) -> Noticed {
    let of_hetzner = world
        .calls
        .iter()
        .filter(|call| call.vendor == Vendor::Hetzner);
    let from_create: Vec<_> = of_hetzner
        .skip_while(|call| call.method != Method::POST || !call.path.ends_with("/servers"))
        .collect();
    let create = from_create.first().expect("a server was asked for");
    let ended = create.at + Duration::from_millis(whole);
    assert!(world.at >= ended, "nobody can know before it is so");
    Noticed {
        lost: world.at.saturating_sub(ended),
        calls: from_create.len(),
    }
}

async fn runner(whole: u64) -> Noticed {
    let stage = Stage::with(config(whole)).await;
    let child = stage.start(&["provision"]);
    let made = |report: &contract::Report| report.step == Some(Step::VmCreated);
    stage
        .callback
        .until(|reports| reports.iter().any(made))
        .await;
    let noticed = noticed(&stage.world(), whole);
    let ran = finish(child).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    stage.assert_complete();
    assert!(stage.calls(Vendor::Hetzner) <= 8);
    noticed
}

async fn python(program: &Path, whole: u64) -> Noticed {
    let sim = Sim::start(config(whole)).await.unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers/server.py");
    let mut child = Command::new(program)
        .arg(script)
        .envs([
            ("URL", sim.hetzner_url().as_str()),
            ("TOKEN", HETZNER_TOKEN),
            ("NAME", NAME),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(WAIT_MAX, lines.next_line()).await;
    let line = line.expect("the client ends").unwrap();
    let noticed = noticed(&sim.world(), whole);
    assert_eq!(line.as_deref(), Some("noticed"), "its error is above");
    noticed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runner_loses_less_than_hetzners_client_with_fewer_calls() {
    let program = tokio::task::spawn_blocking(peers::python)
        .await
        .unwrap()
        .unwrap();
    let pairs = WHOLE.map(|whole| {
        let program = program.clone();
        tokio::spawn(async move { tokio::join!(runner(whole), python(&program, whole)) })
    });
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for (whole, pair) in WHOLE.into_iter().zip(pairs) {
        let (runner, python) = pair.await.unwrap();
        println!("{whole} ms: runner {runner:?}, hcloud {python:?}");
        assert!(runner.calls < python.calls, "{runner:?} {python:?}");
        ours += runner.lost;
        theirs += python.lost;
    }
    println!("lost together: runner {ours:?}, hcloud {theirs:?}");
    assert!(ours < theirs, "{ours:?}, {theirs:?}");
}
