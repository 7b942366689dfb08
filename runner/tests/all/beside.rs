//! The server part of a provision beside Hetzner's own Python client, in real time over real
//! connections: how long after its end each notices that a server is up, and with how many calls
//! to Hetzner. Both meet a fake of the same delays, at the same time. The runner watches the
//! tailnet meanwhile, which the other client has no need to; those calls are shown, not counted.

use crate::harness::{HETZNER_TOKEN, NAME, Stage, finish, quick};
use contract::Step;
use http::Method;
use sim::{DelayRange, Knob, Progress, Sim, SimConfig, Vendor, World, peers};
use std::{
    collections::BTreeMap,
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
/// where in a second the end falls: these ends are spread evenly over one.
const WHOLE: [u64; 5] = [14_100, 14_300, 14_500, 14_700, 14_900];
/// Of it, the time of the action that follows the create.
const START: u64 = 2_600;
/// What is shown meanwhile cannot be relied upon. Where it tells nothing, the watch on the tailnet
/// alone shows the end, about as soon as a look each second would.
const PROGRESS: [Progress; 3] = [Progress::Steady, Progress::Jumps, Progress::Stuck];
/// The runner notices within this, on a busy machine too.
const LOST_MAX: Duration = Duration::from_secs(3);
/// Lost by the runner and by the other client.
type Pair = (Duration, Duration);
const ZERO: Pair = (Duration::ZERO, Duration::ZERO);
/// Longest wait for either client.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// What noticing the end cost.
#[derive(Debug)]
struct Noticed {
    lost: Duration,
    /// Calls to Hetzner from the create to the noticing.
    calls: usize,
    /// Calls to Tailscale meanwhile.
    tailnet_calls: usize,
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
    let of_tailscale = |call: &&sim::CallRecord| call.vendor == Vendor::Tailscale;
    let since = world.calls.iter().filter(|call| call.at > create.at);
    Noticed {
        lost: world.at.saturating_sub(ended),
        calls: from_create.len(),
        tailnet_calls: since.filter(of_tailscale).count(),
    }
}

async fn runner(whole: u64, progress: Progress) -> Noticed {
    let stage = Stage::with(config(whole)).await;
    stage.sim.turn(Knob::ActionProgress(progress));
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

async fn python(program: &Path, whole: u64, progress: Progress) -> Noticed {
    let sim = Sim::start(config(whole)).await.unwrap();
    sim.turn(Knob::ActionProgress(progress));
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
    let mut pairs = Vec::new();
    for progress in PROGRESS {
        for whole in WHOLE {
            let program = program.clone();
            let pair = async move {
                tokio::join!(runner(whole, progress), python(&program, whole, progress))
            };
            pairs.push((whole, progress, tokio::spawn(pair)));
        }
    }
    let mut lost = BTreeMap::new();
    for (whole, progress, pair) in pairs {
        let (runner, python) = pair.await.unwrap();
        println!("{whole} ms, {progress:?}: runner {runner:?}, hcloud {python:?}");
        assert!(runner.calls < python.calls, "{runner:?} {python:?}");
        // About once a second, as the other client asks Hetzner.
        assert!(runner.tailnet_calls <= 40, "{runner:?}");
        assert!(runner.lost < LOST_MAX, "{runner:?}");
        let (ours, theirs) = lost.entry(format!("{progress:?}")).or_insert(ZERO);
        *ours += runner.lost;
        *theirs += python.lost;
    }
    for (progress, (ours, theirs)) in &lost {
        println!("{progress}: lost together: runner {ours:?}, hcloud {theirs:?}");
    }
    let (ours, theirs) = lost["Steady"];
    assert!(ours < theirs, "{ours:?}, {theirs:?}");
    let sum = |(ours, theirs): Pair, more: &Pair| (ours + more.0, theirs + more.1);
    let (ours, theirs) = lost.values().fold(ZERO, sum);
    println!("all: lost together: runner {ours:?}, hcloud {theirs:?}");
    assert!(ours < theirs, "{ours:?}, {theirs:?}");
}
