//! Two attempts of different fences at one agent at once. Every outside call of both waits for
//! its turn, and turns are given in every order with few changes, and in drawn orders with many.
//!
//! Bound: for two provisions every order with at most two changes of turn, three changes at a
//! choice of lengths, and drawn orders with many; for the other pairs every order in which the
//! older begins and the turn changes at most twice.

use crate::{
    harness::{AGENT, quick},
    lab::{Attempt, Ended, Gate, Lab, Moment},
};
use contract::Operation;
use outbound::Dice;
use runner::End;
use sim::World;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

const OLDER: i64 = 5;
const NEWER: i64 = 6;
/// A call waits so long for its turn at most.
const HELD_MAX: Duration = Duration::from_secs(5);

/// Whose turn it is: an attempt keeps it for so many calls, then the other has it.
#[derive(Debug)]
struct Turns {
    holder: i64,
    /// Calls until each change; without an entry the turn stays.
    lengths: VecDeque<usize>,
    left: Option<usize>,
    /// Who came to its end takes no turns any more.
    ended: Option<i64>,
}

impl Turns {
    fn of(first: i64, lengths: &[usize]) -> Self {
        let mut lengths: VecDeque<usize> = lengths.iter().copied().collect();
        let left = lengths.pop_front();
        Self {
            holder: first,
            lengths,
            left,
            ended: None,
        }
    }

    fn has(&self, fence: i64) -> bool {
        self.ended.is_some() || self.holder == fence
    }

    /// Counts a call of the holder; hands the turn over after its last.
    fn count(&mut self) {
        let Some(left) = &mut self.left else { return };
        *left -= 1;
        if *left == 0 {
            self.holder = OLDER + NEWER - self.holder;
            self.left = self.lengths.pop_front();
        }
    }
}

/// What must hold at every moment; breaches are collected.
#[derive(Default)]
struct Watcher {
    breaches: Mutex<Vec<String>>,
}

/// Fence of the attempt that each thing came from: servers by label, devices by their key.
fn fences(world: &World) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for server in &world.servers {
        let fence = server
            .labels
            .get("fence")
            .and_then(|text| text.parse().ok());
        found.insert(format!("/servers/{}", server.id), fence.unwrap_or(0));
    }
    for device in &world.devices {
        let key = world
            .keys
            .iter()
            .find(|key| Some(&key.id) == device.key_id.as_ref());
        let fence = key.and_then(|key| key.description.rsplit_once(" f")?.1.parse().ok());
        found.insert(format!("/device/{}", device.node_id), fence.unwrap_or(0));
    }
    found
}

impl Watcher {
    fn look(&self, lab: &Lab, fence: i64, moment: &Moment) {
        let changes = ["DELETE ", "POST http://hetzner.sim"];
        if !changes.iter().any(|change| moment.call.starts_with(change)) {
            return;
        }
        let world = lab.sim.world();
        let mut breaches = self.breaches.lock().unwrap();
        let live = world.servers.iter().filter(|one| one.status != "deleting");
        let own = live.filter(|one| one.labels.get("agent_id").is_some_and(|id| id == AGENT));
        if own.count() > 1 {
            breaches.push(format!("two live servers: {:?}", world.servers));
        }
        if moment.after || !moment.call.starts_with("DELETE ") {
            return;
        }
        for (thing, of) in fences(&world) {
            if moment.call.ends_with(&thing) && of > fence {
                breaches.push(format!("f{fence} deletes {thing} of f{of}"));
            }
        }
    }
}

fn gate(lab: &Lab, fence: i64, turns: &watch::Sender<Turns>, watcher: &Arc<Watcher>) -> Gate {
    let (lab, turns, watcher) = (lab.clone(), turns.clone(), Arc::clone(watcher));
    Arc::new(move |moment| {
        let (lab, turns, watcher) = (lab.clone(), turns.clone(), Arc::clone(&watcher));
        Box::pin(async move {
            if !moment.after {
                let mut seen = turns.subscribe();
                let turn = timeout(HELD_MAX, seen.wait_for(|turns| turns.has(fence)));
                // Who holds the turn and makes no call does not hold the other up for ever.
                drop(turn.await);
            }
            watcher.look(&lab, fence, &moment);
            if moment.after {
                turns.send_modify(|turns| {
                    if turns.holder == fence {
                        turns.count();
                    }
                });
            }
        })
    })
}

/// Two operations at once, and what was there before them.
#[derive(Clone, Copy)]
struct Pair {
    before: &'static [Operation],
    older: Operation,
    newer: Operation,
}

const TWO_PROVISIONS: Pair = Pair {
    before: &[],
    older: Operation::Provision,
    newer: Operation::Provision,
};

async fn prepared(pair: Pair) -> Lab {
    // What is sold elsewhere only costs time to read.
    let mut config = quick();
    let types = &mut config.hetzner.catalog.server_types;
    types.retain(|kind| kind.name.starts_with("cpx"));
    let lab = Lab::with(config);
    for (operation, fence) in pair.before.iter().zip(1..) {
        let ended = lab.run(&attempt(*operation, fence)).await;
        assert_eq!(ended.end, End::Done, "{operation}: {ended:#?}");
    }
    lab
}

fn attempt(operation: Operation, fence: i64) -> Attempt {
    let mut attempt = Attempt::new(operation, fence);
    if operation == Operation::Destroy {
        attempt.job = "0191b2c4-0000-7000-8000-0000000000dd".to_owned();
    }
    attempt
}

/// In what order both get their turns, and whether the callback believes the older one still.
struct Order<'a> {
    first: i64,
    lengths: &'a [usize],
    believes_all: bool,
}

/// Runs both and asserts what must hold at every moment; gives how they ended.
async fn race(lab: &Lab, pair: Pair, by: &Order<'_>, what: &str) -> (Ended, Ended) {
    if by.believes_all {
        lab.believes_all();
    }
    let turns = watch::Sender::new(Turns::of(by.first, by.lengths));
    let watcher = Arc::new(Watcher::default());
    let run = async |operation, fence| {
        let attempt = attempt(operation, fence).gate(gate(lab, fence, &turns, &watcher));
        let ended = lab.run(&attempt).await;
        turns.send_modify(|turns| turns.ended = Some(fence));
        ended
    };
    let (older, newer) = tokio::join!(run(pair.older, OLDER), run(pair.newer, NEWER));
    let breaches = watcher.breaches.lock().unwrap().clone();
    assert_eq!(breaches, Vec::<String>::new(), "{what}");
    let allowed = [End::Done, End::Failed, End::Fenced];
    assert!(allowed.contains(&older.end), "{what}: {older:#?}");
    (older, newer)
}

/// Two provisions: the newer one's machine is there at the end, and no other.
async fn provisions(first: i64, lengths: &[usize], believes_all: bool) {
    let what = format!("f{first} first, turns {lengths:?}, believed: {believes_all}");
    let lab = prepared(TWO_PROVISIONS).await;
    let by = Order {
        first,
        lengths,
        believes_all,
    };
    let (older, newer) = race(&lab, TWO_PROVISIONS, &by, &what).await;
    assert_eq!(newer.end, End::Done, "{what}: {newer:#?}");
    assert_eq!(lab.incomplete(NEWER), None, "{what}: {older:#?}");
}

/// Calls of an undisturbed attempt: no turn needs to be longer.
async fn calls(pair: Pair, operation: Operation) -> usize {
    let lab = prepared(pair).await;
    let most = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&most);
    let gate: Gate = Arc::new(move |moment: Moment| {
        *seen.lock().unwrap() = moment.number;
        Box::pin(std::future::ready(()))
    });
    let attempt = attempt(operation, OLDER).gate(gate);
    assert_eq!(lab.run(&attempt).await.end, End::Done);
    *most.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_order_with_two_changes_breaks_anything() {
    let calls = calls(TWO_PROVISIONS, Operation::Provision).await;
    for believes_all in [false, true] {
        for one in 1..=calls {
            provisions(NEWER, &[one], believes_all).await;
            for two in 1..=calls {
                provisions(OLDER, &[one, two], believes_all).await;
            }
        }
    }
}

/// Lengths of turns where all of them would be too many.
const LENGTHS: [usize; 6] = [1, 2, 3, 5, 8, 13];

#[tokio::test(start_paused = true)]
async fn no_order_with_three_changes_breaks_anything() {
    for one in LENGTHS {
        for two in LENGTHS {
            for three in LENGTHS {
                let believes_all = (one + two + three) % 2 == 0;
                provisions(OLDER, &[one, two, three], believes_all).await;
            }
        }
    }
}

/// Drawn turns have up to so many calls more than one; the dice draw time.
const SPAN: Duration = Duration::from_nanos(5);

#[tokio::test(start_paused = true)]
async fn no_drawn_order_breaks_anything() {
    for seed in 0..200 {
        let dice = Dice::seeded(seed);
        let draw = || 1 + usize::try_from(dice.up_to(SPAN).as_nanos()).unwrap();
        let lengths: Vec<usize> = (0..60).map(|_| draw()).collect();
        let first = if seed % 2 == 0 { OLDER } else { NEWER };
        provisions(first, &lengths, seed % 4 < 2).await;
    }
}

/// Every order of a pair in which the older one begins.
async fn every_order(pair: Pair, check: impl AsyncFn(&Lab, &Ended, &str)) {
    let older_calls = calls(pair, pair.older).await;
    let newer_calls = calls(pair, pair.newer).await;
    for one in 1..=older_calls {
        for two in 1..=newer_calls {
            let lengths = [one, two];
            let what = format!("{} and then {}, turns {lengths:?}", pair.older, pair.newer);
            let lab = prepared(pair).await;
            let by = Order {
                first: OLDER,
                lengths: &lengths,
                believes_all: false,
            };
            let (_, newer) = race(&lab, pair, &by, &what).await;
            check(&lab, &newer, &what).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_destroy_leaves_nothing_whatever_the_older_does() {
    for (before, older) in [
        (&[][..], Operation::Provision),
        (&[Operation::Provision], Operation::Stop),
        (&[Operation::Provision, Operation::Stop], Operation::Start),
        (&[Operation::Provision], Operation::Destroy),
    ] {
        let newer = Operation::Destroy;
        let pair = Pair {
            before,
            older,
            newer,
        };
        every_order(pair, async |lab, ended, what| {
            assert_eq!(ended.end, End::Done, "{what}: {ended:#?}");
            assert_eq!(lab.unclean(), None, "{what}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_destroy_takes_nothing_of_a_newer_provision() {
    let pair = Pair {
        before: &[Operation::Provision],
        older: Operation::Destroy,
        newer: Operation::Provision,
    };
    every_order(pair, async |lab, ended, what| {
        assert_eq!(ended.end, End::Done, "{what}: {ended:#?}");
        assert_eq!(lab.incomplete(NEWER), None, "{what}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn power_changes_against_each_other_delete_nothing_and_the_next_attempt_decides() {
    for (older, newer, status) in [
        (Operation::Stop, Operation::Start, "running"),
        (Operation::Start, Operation::Stop, "off"),
    ] {
        let pair = Pair {
            before: &[Operation::Provision],
            older,
            newer,
        };
        every_order(pair, async |lab, _, what| {
            // Only the lease keeps an older attempt from a late command; here it has one still.
            let ended = lab.run(&attempt(newer, NEWER + 1)).await;
            assert_eq!(ended.end, End::Done, "{what}: {ended:#?}");
            let world = lab.sim.world();
            assert_eq!(world.servers[0].status, status, "{what}");
            assert_eq!((world.servers.len(), world.devices.len()), (1, 1), "{what}");
            assert_eq!(world.deleted_servers, [], "{what}");
        })
        .await;
    }
}
