//! The server part of a provision beside Hetzner's own Python client, in real time over real
//! connections: how long after its end each notices that a server is up, and with how many calls
//! to Hetzner. Both meet a fake of the same delays, at the same time, and both are measured by
//! their fake's clock: by the call that showed them the end. The runner watches the tailnet
//! meanwhile, which the other client has no need to; those calls are shown, not counted.

use crate::harness::{HETZNER_TOKEN, NAME, Stage, quick};
use futures_util::{StreamExt, stream};
use http::Method;
use sim::{CallRecord, DelayRange, Knob, Progress, Sim, SimConfig, Vendor, World, peers};
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

/// From the create to the end of the last action, in milliseconds: over the whole of what such
/// actions take, and over all parts of a second, since the other client looks once in each.
/// The longest first, so that those that run at the same time end at about the same time.
const WHOLE: [u64; 12] = [
    58_800, 44_250, 33_100, 30_950, 25_600, 21_150, 17_700, 14_500, 12_050, 9_700, 7_400, 6_300,
];
/// Of it, the time of the action that follows the create.
const START: u64 = 2_600;
/// What is shown meanwhile cannot be relied upon. Where it tells nothing, the watch on the tailnet
/// alone shows the end.
/// With each goes a part of a second, in milliseconds, by which the ends differ.
const PROGRESS: [(Progress, u64); 3] = [
    (Progress::Steady, 0),
    (Progress::Jumps, 333),
    (Progress::Stuck, 667),
];
/// Pairs at once: most of their time they wait, but for a client's start.
const AT_ONCE: usize = 12;
/// An end is looked for from here on.
const FROM: Duration = Duration::from_secs(5);
/// The runner notices within this, on a busy machine too. Where progress tells nothing, a wait of
/// more than [`FIRST_LOOK`] has no look at actions so soon after its end: the tailnet showed it.
const LOST_MAX: Duration = Duration::from_secs(8);
/// Both notice within a second and a half, and look at least every two seconds: what took longer
/// was the machine standing still, and one such moment must not decide.
const IN_FACT_MAX: Duration = Duration::from_millis(1_500);
const SPAN_MAX: f64 = 2.0;
/// The first look at actions.
const FIRST_LOOK: u64 = 12_000;
/// Longest wait for either client, on a busy machine too.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// What noticing the end cost.
#[derive(Debug)]
struct Noticed {
    lost: Duration,
    /// The moments at which the client could have noticed, from the create on.
    looks: Vec<Duration>,
    /// Calls to Hetzner from the create to the noticing.
    calls: usize,
    /// Calls to Tailscale meanwhile.
    tailnet_calls: usize,
}

fn config(whole: u64) -> SimConfig {
    let mut config = quick();
    config.hetzner.create_delay = DelayRange::millis(whole - START, whole - START);
    config.hetzner.start_delay = DelayRange::millis(START, START);
    // The machine is in the tailnet in the moment in which it is up.
    config.hetzner.boot_delay = DelayRange::NONE;
    config.tailscale.enrol_delay = DelayRange::NONE;
    config
}

/// Judges by the calls of a client that noticed and has ended.
fn noticed(world: &World, whole: u64) -> Noticed {
    let is_create = |call: &&CallRecord| {
        call.vendor == Vendor::Hetzner
            && call.method == Method::POST
            && call.path.ends_with("/servers")
    };
    let created = world.calls.iter().find(is_create);
    let created = created.expect("a server was asked for").at;
    let since: Vec<_> = world
        .calls
        .iter()
        .filter(|call| call.at >= created)
        .collect();
    let is_look = |call: &&&CallRecord| {
        let parts = match call.vendor {
            Vendor::Hetzner => ["/actions?", "/actions/", "/servers/"].as_slice(),
            Vendor::Tailscale => &["/devices?"],
            Vendor::Github => &[],
        };
        call.method == Method::GET && parts.iter().any(|part| call.path.contains(part))
    };
    let looks = since.iter().filter(is_look);
    let looks: Vec<Duration> = looks.map(|call| call.at.saturating_sub(created)).collect();
    let shown = *looks.last().expect("it looked");
    let whole = Duration::from_millis(whole);
    assert!(shown >= whole, "nobody can know before it is so: {looks:?}");
    let calls_to = |vendor| {
        let until = since.iter().filter(|call| call.at <= created + shown);
        until.filter(|call| call.vendor == vendor).count()
    };
    Noticed {
        lost: shown.saturating_sub(whole),
        calls: calls_to(Vendor::Hetzner),
        tailnet_calls: calls_to(Vendor::Tailscale),
        looks,
    }
}

async fn runner(whole: u64, progress: Progress) -> Noticed {
    let stage = Stage::with(config(whole)).await;
    stage.sim.turn(Knob::ActionProgress(progress));
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    stage.assert_complete();
    assert!(stage.calls(Vendor::Hetzner) <= 8);
    noticed(&stage.world(), whole)
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
    assert_eq!(line.as_deref(), Some("noticed"), "its error is above");
    noticed(&sim.world(), whole)
}

/// What several waits of one client lost.
#[derive(Debug, Default)]
struct Lost {
    /// From each end to the look that showed it.
    in_fact: Duration,
    /// Over every moment at which an end could have come, in seconds.
    in_theory: f64,
    /// So many seconds there were.
    moments: f64,
}

impl Lost {
    /// The end of one wait tells little: it is luck where between two looks it falls. So every
    /// moment between the looks of the wait is taken for its end, and the next look notices.
    fn add(&mut self, one: &Noticed) {
        self.in_fact += one.lost.min(IN_FACT_MAX);
        for pair in one.looks.windows(2) {
            let span = pair[1].saturating_sub(pair[0].max(FROM)).as_secs_f64();
            let span = span.min(SPAN_MAX);
            self.moments += span;
            self.in_theory += span * span / 2.0;
        }
    }

    /// What an end loses on average, in seconds.
    fn usual(&self) -> f64 {
        self.in_theory / self.moments
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runner_loses_less_than_hetzners_client_with_fewer_calls() {
    let program = tokio::task::spawn_blocking(peers::python)
        .await
        .unwrap()
        .unwrap();
    let pairs = WHOLE.map(|whole| PROGRESS.map(|(progress, more)| (whole + more, progress)));
    let pairs = stream::iter(pairs.into_iter().flatten()).map(|(whole, progress)| {
        let program = program.clone();
        let pair = tokio::spawn(async move {
            tokio::join!(runner(whole, progress), python(&program, whole, progress))
        });
        async move { (whole, progress, pair.await.unwrap()) }
    });
    let mut pairs = pairs.buffer_unordered(AT_ONCE);
    let mut lost = BTreeMap::<String, [Lost; 2]>::new();
    while let Some((whole, progress, (runner, python))) = pairs.next().await {
        println!(
            "{whole} ms, {progress:?}: runner {:?}, {} + {} calls; hcloud {:?}, {} calls",
            runner.lost, runner.calls, runner.tailnet_calls, python.lost, python.calls
        );
        assert!(runner.calls < python.calls, "{runner:?} {python:?}");
        // One and a half a second at most.
        let most = usize::try_from(whole * 3 / 2000).unwrap() + 5;
        assert!(runner.tailnet_calls <= most, "{runner:?}");
        let by_the_tailnet = matches!(progress, Progress::Stuck) && whole > FIRST_LOOK;
        assert!(!by_the_tailnet || runner.lost < LOST_MAX, "{runner:?}");
        let [ours, theirs] = lost.entry(format!("{progress:?}")).or_default();
        ours.add(&runner);
        theirs.add(&python);
    }
    let mut in_fact = [Duration::ZERO; 2];
    for (progress, [ours, theirs]) in &lost {
        println!("{progress}: lost: runner {ours:?}, {:.3} s", ours.usual());
        println!(
            "{progress}: lost: hcloud {theirs:?}, {:.3} s",
            theirs.usual()
        );
        assert!(ours.usual() < theirs.usual() * 0.85, "{progress}");
        in_fact[0] += ours.in_fact;
        in_fact[1] += theirs.in_fact;
    }
    let [ours, theirs] = in_fact;
    println!("all, in fact: runner {ours:?}, hcloud {theirs:?}");
    assert!(ours < theirs, "{ours:?}, {theirs:?}");
}
