//! Two attempts of different fences at one agent at once. Every outside call of both waits for
//! its turn, and turns are given in every order with few changes, and in drawn orders with many.

use crate::{
    harness::AGENT,
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

const OLDER: i64 = 1;
const NEWER: i64 = 2;
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

async fn run(lab: &Lab, fence: i64, turns: &watch::Sender<Turns>, watcher: &Arc<Watcher>) -> Ended {
    let attempt = Attempt::new(Operation::Provision, fence);
    let attempt = attempt.gate(gate(lab, fence, turns, watcher));
    let ended = lab.run(&attempt).await;
    turns.send_modify(|turns| turns.ended = Some(fence));
    ended
}

/// Runs both and asserts what must hold, then and at the end.
async fn race(first: i64, lengths: &[usize], believes_all: bool) {
    let what = format!("f{first} first, turns {lengths:?}, believed: {believes_all}");
    let lab = Lab::new();
    if believes_all {
        lab.believes_all();
    }
    let turns = watch::Sender::new(Turns::of(first, lengths));
    let watcher = Arc::new(Watcher::default());
    let (older, newer) = tokio::join!(
        run(&lab, OLDER, &turns, &watcher),
        run(&lab, NEWER, &turns, &watcher)
    );
    let breaches = watcher.breaches.lock().unwrap().clone();
    assert_eq!(breaches, Vec::<String>::new(), "{what}");
    assert_eq!(newer.end, End::Done, "{what}: {newer:#?}");
    assert_eq!(lab.incomplete(NEWER), None, "{what}: {older:#?}");
    let allowed = [End::Done, End::Failed, End::Fenced];
    assert!(allowed.contains(&older.end), "{what}: {older:#?}");
}

/// Calls of an undisturbed provision: no turn needs to be longer.
async fn calls() -> usize {
    let lab = Lab::new();
    let most = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&most);
    let gate: Gate = Arc::new(move |moment: Moment| {
        *seen.lock().unwrap() = moment.number;
        Box::pin(std::future::ready(()))
    });
    let attempt = Attempt::new(Operation::Provision, OLDER).gate(gate);
    assert_eq!(lab.run(&attempt).await.end, End::Done);
    *most.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_order_with_two_changes_breaks_anything() {
    let calls = calls().await;
    for believes_all in [false, true] {
        for one in 1..=calls {
            race(NEWER, &[one], believes_all).await;
            for two in 1..=calls {
                race(OLDER, &[one, two], believes_all).await;
            }
        }
    }
}

/// Lengths of turns where all of them would be too many.
const LENGTHS: [usize; 7] = [1, 2, 3, 5, 7, 10, 13];

#[tokio::test(start_paused = true)]
async fn no_order_with_three_changes_breaks_anything() {
    for one in LENGTHS {
        for two in LENGTHS {
            for three in LENGTHS {
                let believes_all = (one + two + three) % 2 == 0;
                race(OLDER, &[one, two, three], believes_all).await;
            }
        }
    }
}

/// Drawn turns have up to so many calls more than one; the dice draw time.
const SPAN: Duration = Duration::from_nanos(5);

#[tokio::test(start_paused = true)]
async fn no_drawn_order_breaks_anything() {
    for seed in 0..300 {
        let dice = Dice::seeded(seed);
        let draw = || 1 + usize::try_from(dice.up_to(SPAN).as_nanos()).unwrap();
        let lengths: Vec<usize> = (0..60).map(|_| draw()).collect();
        let first = if seed % 2 == 0 { OLDER } else { NEWER };
        race(first, &lengths, seed % 4 < 2).await;
    }
}
