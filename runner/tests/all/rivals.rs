//! Two attempts of different fences at one agent at once, in every order of their calls and of
//! what the world does by itself: never two live servers, and the older deletes nothing that the
//! newer made. Checked at every step; how the world ends is checked at every end.
//!
//! How. An attempt is a function of the answers it heard ([`process`]), so a state is a world and
//! what both heard. From each state every step is taken: the call of the older goes through, or
//! that of the newer, or one of the things happens that wait in the world (a server is up, a
//! machine enrols, a server is gone). Effect and answer of a call are one step: when the answer
//! arrives matters to nobody else. Each attempt has a clock of its own that stands while its call
//! waits, so a call may be held for ever and no lease or deadline runs out by that: more orders
//! than the lease allows. A state whose canonical form was seen before is not followed again.
//!
//! The form ([`form`]) holds the servers, devices, keys, addresses and firewalls, what waits to
//! happen, the newest claim, the next call of both, and of both a story ([`past`]): each call
//! with its answer. Ids are numbered as they appear, times are ranked. It leaves out, and so
//! states are taken for one that differ in it:
//! - fields that the runner does not read, and fixed answers (access tokens, prices, reports that
//!   nobody can refuse);
//! - what an attempt read before it made its key or server or asked for a power change: it only
//!   led there. That the same story is always followed by the same call is checked on every step
//!   ([`past::Recall`]), except where time decides, as below;
//! - how often a loop heard the same in a row. So every loop goes round once for each different
//!   answer, and runs out its time only when nothing waits in the world. Not covered: that a loop
//!   gives up, or looks elsewhere, while the world still owes it something, and each different
//!   moment at which it may. In a power change against another, where both loop for minutes,
//!   this bound cuts most; the drawn orders go beyond it, by samples;
//! - a collision of two forms' 64-bit hashes, with odds of about one in a billion.
//!
//! Steps that cannot touch each other are taken in one order only ([`touch`]), and a call whose
//! answer cannot change any more goes through at once; that sparing the orders hides no state is
//! checked on three pairs. A new server is up in one step, and a machine boots and enrols in one:
//! no attempt asks for what lies between. Lost answers, deaths and callers that give up are the
//! matter of other tests (`kills`, `faults`).

mod explore;
mod form;
mod past;
mod process;
mod state;
mod touch;
mod watch;

use crate::{
    harness::quick,
    lab::{Attempt, Lab},
};
use contract::Operation::{self, Destroy, Provision, Start, Stop};
use explore::{AtEnd, Breach, Explorer, Rules};
use http::Method;
use outbound::Dice;
use past::Recall;
use process::Processes;
use runner::End;
use sim::{DelayRange, Knob, Progress, Sim};
use state::{Bend, NEWER, OLDER, Setting};
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

const HONEST: Bend = Bend {
    call: |_, _| {},
    answer: |_, _| {},
};

/// Two operations at once, and what was there before them.
#[derive(Clone, Copy)]
struct Pair {
    before: &'static [Operation],
    older: Operation,
    newer: Operation,
    /// The callback believes everybody, whatever attempt is newer.
    believes_all: bool,
    bend: Bend,
}

const fn pair(before: &'static [Operation], older: Operation, newer: Operation) -> Pair {
    Pair {
        before,
        older,
        newer,
        believes_all: false,
        bend: HONEST,
    }
}

const fn believing_all(pair: Pair) -> Pair {
    Pair {
        believes_all: true,
        ..pair
    }
}

const TWO_PROVISIONS: Pair = pair(&[], Provision, Provision);
const STOP_AND_START: Pair = pair(&[Provision], Stop, Start);
const START_AND_STOP: Pair = pair(&[Provision, Stop], Start, Stop);
const TWO_DESTROYS: Pair = pair(&[Provision], Destroy, Destroy);

fn attempt(operation: Operation, fence: i64) -> Attempt {
    let mut attempt = Attempt::new(operation, fence);
    if operation == Destroy {
        attempt.job = "0191b2c4-0000-7000-8000-0000000000dd".to_owned();
    }
    attempt
}

/// A small world that stands still, with what was there before.
async fn prepared(before: &[Operation]) -> Sim {
    let second = DelayRange::millis(1000, 1000);
    let mut config = quick();
    config.tailscale.enrol_delay = second;
    let hetzner = &mut config.hetzner;
    hetzner.create_delay = second;
    hetzner.start_delay = second;
    hetzner.boot_delay = second;
    hetzner.delete_delay = second;
    // What is sold elsewhere only costs time to read.
    let types = &mut hetzner.catalog.server_types;
    types.retain(|kind| kind.name == "cpx11");
    let lab = Lab::with(config);
    for (operation, fence) in before.iter().zip(1..) {
        let ended = lab.run(&attempt(*operation, fence)).await;
        assert_eq!(ended.end, End::Done, "{operation}: {ended:#?}");
    }
    lab.sim.turn(Knob::ActionProgress(Progress::Stuck));
    lab.sim.hold();
    lab.sim
}

/// An exploration that has not begun, and where it begins.
fn explorer(pair: &Pair, spares: bool) -> (Explorer, Sim) {
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_time().start_paused(true);
    let runtime = builder.build().unwrap();
    let sim = runtime.block_on(prepared(pair.before));
    let processes = [
        Processes::of(attempt(pair.older, OLDER), sim.clone()),
        Processes::of(attempt(pair.newer, NEWER), sim.clone()),
    ];
    let setting = Setting {
        runtime,
        processes,
        recalls: [Recall::default(), Recall::default()],
        believes_all: pair.believes_all,
        bend: pair.bend,
    };
    let at_end: AtEnd = match pair.newer {
        Provision => newer_is_there,
        Destroy => nothing_is_left,
        Stop => next_stops,
        Start | Operation::Configure => next_starts,
    };
    let rules = Rules {
        keeps_all: is_power(pair),
        at_end,
        spares,
    };
    (Explorer::new(setting, rules), sim)
}

fn is_power(pair: &Pair) -> bool {
    [pair.older, pair.newer]
        .iter()
        .all(|one| matches!(one, Stop | Start))
}

fn newer_is_there(runtime: &Runtime, sim: &Sim, [_, newer]: [End; 2]) -> Option<String> {
    let _inside = runtime.enter();
    let wrong = Lab::around(sim.clone()).incomplete(NEWER);
    (newer != End::Done)
        .then(|| format!("the newer ended {newer:?}"))
        .or(wrong)
}

fn nothing_is_left(runtime: &Runtime, sim: &Sim, [_, newer]: [End; 2]) -> Option<String> {
    let _inside = runtime.enter();
    let wrong = Lab::around(sim.clone()).unclean();
    (newer != End::Done)
        .then(|| format!("the newer ended {newer:?}"))
        .or(wrong)
}

fn next_stops(runtime: &Runtime, sim: &Sim, _: [End; 2]) -> Option<String> {
    next_decides(runtime, sim, Stop, "off")
}

fn next_starts(runtime: &Runtime, sim: &Sim, _: [End; 2]) -> Option<String> {
    next_decides(runtime, sim, Start, "running")
}

/// Only the lease keeps an older attempt from a late command, and here it has one still. So the
/// next attempt decides.
fn next_decides(runtime: &Runtime, sim: &Sim, next: Operation, status: &str) -> Option<String> {
    runtime.block_on(async {
        let lab = Lab::around(sim.copy());
        lab.sim.go_on();
        let ended = lab.run(&attempt(next, NEWER + 1)).await;
        let world = lab.sim.world();
        let found: Vec<&str> = world.servers.iter().map(|one| &*one.status).collect();
        let is_right = ended.end == End::Done
            && found == [status]
            && world.devices.len() == 1
            && world.deleted_servers.is_empty()
            && world.calls.iter().all(|call| call.method != Method::DELETE);
        (!is_right).then(|| format!("the next ended {ended:#?}; servers: {found:?}"))
    })
}

/// Goes through every state of a pair and prints how many there are.
fn explore(pair: &Pair, spares: bool) -> (Result<(), Breach>, Explorer) {
    let began = Instant::now();
    let (mut explorer, sim) = explorer(pair, spares);
    let found = explorer.run(&sim);
    let started = explorer.setting.processes.each_ref().map(|one| one.started);
    println!(
        "{} and {}{}: {} states, {} steps, {} ends, deepest {}, {} runs of attempts, {:?}",
        pair.older,
        pair.newer,
        if pair.believes_all { ", believed" } else { "" },
        explorer.forms().len(),
        explorer.steps,
        explorer.ends,
        explorer.deepest,
        started.iter().sum::<usize>(),
        began.elapsed(),
    );
    (found, explorer)
}

fn show(breach: &Breach) -> String {
    format!("{}\n{}", breach.what, breach.schedule.join("\n"))
}

/// Asserts that no state of a pair breaks anything.
fn prove(pair: &Pair) {
    let (found, explorer) = explore(pair, true);
    if let Err(breach) = found {
        panic!("{}", show(&breach));
    }
    let recalls = &explorer.setting.recalls;
    let contradictions: usize = recalls.iter().map(|one| one.contradictions).sum();
    // Two power changes loop against each other until their time is up, which no story tells.
    assert!(
        is_power(pair) || contradictions == 0,
        "the form forgets what matters"
    );
}

#[test]
fn two_provisions_leave_the_newer_ones_machine() {
    prove(&TWO_PROVISIONS);
}

#[test]
fn two_provisions_that_are_both_believed_leave_the_newer_ones_machine() {
    prove(&believing_all(TWO_PROVISIONS));
}

#[test]
fn a_newer_destroy_leaves_nothing_of_an_older_provision() {
    prove(&pair(&[], Provision, Destroy));
}

#[test]
fn an_older_destroy_takes_nothing_of_a_newer_provision() {
    let pair = pair(&[Provision], Destroy, Provision);
    prove(&pair);
    prove(&believing_all(pair));
}

#[test]
fn a_newer_destroy_leaves_nothing_whatever_else_the_older_does() {
    prove(&TWO_DESTROYS);
    prove(&pair(&[Provision], Stop, Destroy));
    prove(&pair(&[Provision, Stop], Start, Destroy));
}

#[test]
fn a_stop_and_a_newer_start_delete_nothing_and_the_next_attempt_decides() {
    prove(&STOP_AND_START);
}

#[test]
fn a_start_and_a_newer_stop_delete_nothing_and_the_next_attempt_decides() {
    prove(&START_AND_STOP);
}

#[test]
fn sparing_orders_hides_no_state() {
    for pair in [
        TWO_DESTROYS,
        STOP_AND_START,
        pair(&[Provision], Stop, Destroy),
    ] {
        let [spared, all] = [true, false].map(|spares| explore(&pair, spares).1);
        assert!(spared.steps < all.steps);
        assert_eq!(
            spared.forms(),
            all.forms(),
            "{} and {}",
            pair.older,
            pair.newer
        );
    }
}

/// So many orders are drawn for each pair.
const DRAWN: u64 = 40;

#[test]
fn no_drawn_order_breaks_anything_in_a_slow_world() {
    for pair in [
        TWO_PROVISIONS,
        believing_all(TWO_PROVISIONS),
        START_AND_STOP,
    ] {
        let (mut explorer, sim) = explorer(&pair, true);
        for seed in 0..DRAWN {
            if let Err(breach) = explorer.walk(&sim, &Dice::seeded(seed), 6) {
                panic!("seed {seed}: {}", show(&breach));
            }
        }
    }
}

#[test]
fn an_older_attempt_that_cannot_read_fences_is_found_out() {
    let bend = Bend {
        answer: |fence, answer| {
            if fence == OLDER {
                let body = String::from_utf8(answer.body().to_vec()).unwrap();
                *answer.body_mut() = body.replace(r#""fence":"6""#, r#""fence":"1""#).into();
            }
        },
        ..HONEST
    };
    let pair = believing_all(Pair {
        bend,
        ..TWO_PROVISIONS
    });
    let breach = explore(&pair, true).0.unwrap_err();
    let what = &breach.what;
    assert!(
        what.starts_with("f5 deletes /servers/") && what.ends_with(" of f6"),
        "{what}"
    );
}

#[test]
fn a_project_that_takes_two_servers_is_found_out() {
    let bend = Bend {
        call: |fence, call| {
            if fence == OLDER && call.method() == Method::POST && call.uri().path() == "/v1/servers"
            {
                let body = String::from_utf8(call.body().to_vec()).unwrap();
                *call.body_mut() = body
                    .replace(r#""name":"agent-"#, r#""name":"other-"#)
                    .into();
            }
        },
        ..HONEST
    };
    let pair = Pair {
        bend,
        ..believing_all(TWO_PROVISIONS)
    };
    let breach = explore(&pair, true).0.unwrap_err();
    assert!(
        breach.what.starts_with("two live servers"),
        "{}",
        breach.what
    );
}
