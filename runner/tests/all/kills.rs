//! Death and signals at every outside call, before and after its effect. The calls are listed
//! from a clean run, so that no moment is left out.

use crate::lab::{Attempt, Ended, Gate, Lab, Moment};
use contract::Operation;
use http::Method;
use runner::End;
use sim::{Effect, Fault, Knob, Sim, Vendor};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};

/// Most time from a signal to the end.
const SIGNAL_MAX: Duration = Duration::from_secs(7);

/// What was there before the operation.
async fn prepared(operation: Operation) -> Lab {
    let lab = Lab::new();
    let before: &[Operation] = match operation {
        Operation::Provision | Operation::Configure => &[],
        Operation::Stop | Operation::Destroy => &[Operation::Provision],
        Operation::Start => &[Operation::Provision, Operation::Stop],
    };
    for (operation, fence) in before.iter().zip(1..) {
        let ended = lab.run(&Attempt::new(*operation, fence)).await;
        assert_eq!(ended.end, End::Done, "{operation}: {ended:#?}");
    }
    lab
}

/// Fence of the attempt that dies; those before it prepared the world.
const FENCE: i64 = 5;

/// Asserts that the world is as the operation should leave it.
fn assert_ended(lab: &Lab, operation: Operation, fence: i64, what: &str) {
    let world = lab.sim.world();
    let status = world.servers.first().map(|server| server.status.as_str());
    let wrong = match operation {
        Operation::Provision | Operation::Configure => lab.incomplete(fence),
        Operation::Destroy => lab.unclean(),
        Operation::Stop => lab
            .incomplete(1)
            .or((status != Some("off")).then(|| "on".into())),
        Operation::Start => lab
            .incomplete(1)
            .or((status != Some("running")).then(|| "off".into())),
    };
    assert_eq!(wrong, None, "{what}");
}

/// Asserts that a power change has deleted nothing, whatever became of it.
fn assert_kept(lab: &Lab, operation: Operation, what: &str) {
    if !matches!(operation, Operation::Stop | Operation::Start) {
        return;
    }
    let world = lab.sim.world();
    let deletes = |vendor| world.calls_to(vendor, &Method::DELETE, "").len();
    assert_eq!(
        deletes(Vendor::Hetzner) + deletes(Vendor::Tailscale),
        0,
        "{what}"
    );
    assert_eq!((world.servers.len(), world.devices.len()), (1, 1), "{what}");
}

/// Every moment of a clean run.
async fn moments(operation: Operation) -> Vec<Moment> {
    let lab = prepared(operation).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    let gate: Gate = Arc::new(move |moment| {
        list.lock().unwrap().push(moment);
        Box::pin(std::future::ready(()))
    });
    let ended = lab.run(&Attempt::new(operation, FENCE).gate(gate)).await;
    assert_eq!(ended.end, End::Done, "{ended:#?}");
    assert_ended(&lab, operation, FENCE, "a clean run");
    seen.lock().unwrap().clone()
}

/// Runs until the moment, and then no further: the call's answer never comes, and everything
/// that the process was doing is dropped. Gives whether the moment came.
async fn killed_at(lab: &Lab, attempt: Attempt, at: &Moment) -> bool {
    let (number, after) = (at.number, at.after);
    let (dead, death) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (is_dead, dies) = (Arc::clone(&dead), Arc::clone(&death));
    let gate: Gate = Arc::new(move |moment: Moment| {
        if moment.number == number && moment.after == after {
            is_dead.store(true, Ordering::Relaxed);
            dies.notify_one();
        }
        let dead = is_dead.load(Ordering::Relaxed);
        Box::pin(async move {
            if dead {
                std::future::pending::<()>().await;
            }
        })
    });
    let attempt = attempt.gate(gate);
    tokio::select! {
        _ = lab.run(&attempt) => {}
        () = death.notified() => {}
    }
    dead.load(Ordering::Relaxed)
}

/// The next attempt: a newer one at once, the same one begun again, or a newer one later.
const NEXT: [(i64, u64); 3] = [(FENCE + 1, 0), (FENCE, 0), (FENCE + 1, 240)];

async fn killed_everywhere(operation: Operation) {
    let moments = moments(operation).await;
    println!("{operation}: {} moments", moments.len());
    for moment in &moments {
        for (next, pause) in NEXT {
            let what = format!("{operation} killed at {moment:?}, then f{next} after {pause} s");
            let lab = prepared(operation).await;
            let attempt = Attempt::new(operation, FENCE);
            assert!(killed_at(&lab, attempt, moment).await, "{what}");
            sleep(Duration::from_secs(pause)).await;
            let ended = lab.run(&Attempt::new(operation, next)).await;
            assert_eq!(ended.end, End::Done, "{what}: {:#?}", ended.reports.last());
            assert_ended(&lab, operation, next, &what);
            assert_kept(&lab, operation, &what);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_provision_killed_anywhere_is_completed_by_the_next_attempt() {
    killed_everywhere(Operation::Provision).await;
}

#[tokio::test(start_paused = true)]
async fn other_operations_killed_anywhere_are_completed_by_the_next_attempt() {
    for operation in [Operation::Stop, Operation::Start, Operation::Destroy] {
        killed_everywhere(operation).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_provisions_killed_anywhere_are_completed_by_the_third() {
    let moments = moments(Operation::Provision).await;
    let effects = || moments.iter().filter(|moment| moment.after);
    let attempt = |fence| Attempt::new(Operation::Provision, fence);
    for first in effects() {
        for second in effects() {
            let what = format!("killed at {first:?} and {second:?}");
            let lab = Lab::new();
            assert!(killed_at(&lab, attempt(FENCE), first).await, "{what}");
            // What the first left lengthens the second: every moment of a clean run comes.
            assert!(killed_at(&lab, attempt(FENCE + 1), second).await, "{what}");
            let ended = lab.run(&attempt(FENCE + 2)).await;
            assert_eq!(ended.end, End::Done, "{what}: {:#?}", ended.reports.last());
            assert_ended(&lab, Operation::Provision, FENCE + 2, &what);
        }
    }
}

/// Raises the signal at the moment and lets the call go on; from then on the world is as said.
async fn signaled_at(
    lab: &Lab,
    operation: Operation,
    at: &Moment,
    change: fn(&Sim),
) -> (Ended, Duration) {
    let (number, after) = (at.number, at.after);
    let mut attempt = Attempt::new(operation, FENCE);
    let raise = attempt.signal.clone();
    let raised = Arc::new(Mutex::new(None));
    let (note, sim) = (Arc::clone(&raised), lab.sim.clone());
    attempt.gate = Arc::new(move |moment| {
        if moment.number == number && moment.after == after {
            raise.send_replace(true);
            change(&sim);
            *note.lock().unwrap() = Some(tokio::time::Instant::now());
        }
        Box::pin(std::future::ready(()))
    });
    let ended = lab.run(&attempt).await;
    let raised = raised.lock().unwrap().expect("the moment came");
    (ended, raised.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_signal_anywhere_ends_in_time_and_leaves_nothing_for_good() {
    for operation in [
        Operation::Provision,
        Operation::Stop,
        Operation::Start,
        Operation::Destroy,
    ] {
        let moments = moments(operation).await;
        println!("{operation}: {} moments", moments.len());
        for moment in moments {
            let what = format!("{operation} signaled at {moment:?}");
            let lab = prepared(operation).await;
            let (ended, took) = signaled_at(&lab, operation, &moment, |_| {}).await;
            assert!(took < SIGNAL_MAX, "{what}: {took:?}");
            // A success that was being told stays one.
            assert!(
                matches!(ended.end, End::Canceled | End::Done),
                "{what}: {ended:#?}"
            );
            assert_kept(&lab, operation, &what);
            let ended = lab.run(&Attempt::new(operation, FENCE + 1)).await;
            assert_eq!(ended.end, End::Done, "{what}: {:#?}", ended.reports.last());
            assert_ended(&lab, operation, FENCE + 1, &what);
            assert_kept(&lab, operation, &what);
        }
    }
}

/// From now on Hetzner and Tailscale answer nothing else.
fn refuse_all(sim: &Sim, status: u16) {
    for vendor in [Vendor::Hetzner, Vendor::Tailscale] {
        let refused = Effect::refuse(status, "forbidden", "not now");
        sim.add_fault(Fault::every(vendor, refused));
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_in_time_whatever_is_refused_from_then_on() {
    let changes: [fn(&Sim); 2] = [|sim| refuse_all(sim, 403), |sim| refuse_all(sim, 503)];
    for operation in [Operation::Provision, Operation::Destroy] {
        for moment in moments(operation).await {
            for change in changes {
                let what = format!("{operation} signaled at {moment:?}");
                let lab = prepared(operation).await;
                let (_, took) = signaled_at(&lab, operation, &moment, change).await;
                assert!(took < SIGNAL_MAX, "{what}: {took:?}");
                lab.sim.clear_faults();
                let ended = lab.run(&Attempt::new(operation, FENCE + 1)).await;
                assert_eq!(ended.end, End::Done, "{what}: {:#?}", ended.reports.last());
                assert_ended(&lab, operation, FENCE + 1, &what);
            }
        }
    }
}

/// A process that dies right after the effect of the first such call; then the same attempt is
/// begun again. Gives the server before and after.
async fn begun_again(call: &str, meanwhile: impl Fn(&Lab)) -> (u64, u64) {
    let moments = moments(Operation::Provision).await;
    let fits = |one: &&Moment| one.after && one.call.starts_with(call);
    let moment = moments.iter().find(fits).expect("the call is made");
    let lab = Lab::new();
    let attempt = Attempt::new(Operation::Provision, FENCE);
    assert!(killed_at(&lab, attempt.clone(), moment).await);
    meanwhile(&lab);
    let before = lab.sim.world().servers[0].id;
    let ended = lab.run(&attempt).await;
    assert_eq!(ended.end, End::Done, "{:#?}", ended.reports.last());
    assert_ended(&lab, Operation::Provision, FENCE, call);
    (before, lab.sim.world().servers[0].id)
}

#[tokio::test(start_paused = true)]
async fn an_own_server_is_kept_while_its_key_is_valid_or_its_device_is_there() {
    let create = "POST http://hetzner.sim/v1/servers";
    let (before, after) = begun_again(create, |_| {}).await;
    assert_eq!(before, after, "its key is valid");
    // The closing list comes when the device is there; nothing but the list is left to do.
    let lab = Lab::new();
    let attempt = Attempt::new(Operation::Provision, FENCE);
    assert_eq!(lab.run(&attempt).await.end, End::Done);
    let enrolled = lab.sim.world().servers[0].id;
    assert_eq!(lab.run(&attempt).await.end, End::Done);
    assert_eq!(
        lab.sim.world().servers[0].id,
        enrolled,
        "its device is there"
    );

    let (before, after) = begun_again(create, |lab| lab.sim.turn(Knob::SpendKeys)).await;
    assert_ne!(before, after, "it can never enrol");
}
