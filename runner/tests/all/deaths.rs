//! Death and signals of the real process at every outside call, before its effect and between
//! the effect and its answer. The calls are listed from a clean run over the same sockets, so
//! that no moment is left out, and every listed moment must be met.

use crate::{
    endings::{SIGNAL_MAX, signal},
    harness::{Ran, finish},
    lab::{Moment, open},
    scene::{FENCE, Scene, moments},
};
use contract::{Operation, Report, Said};
use futures_util::{StreamExt, stream};
use http::Method;
use sim::Vendor;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Scenes of one operation at once: most of their time they wait.
pub(crate) const AT_ONCE: usize = 6;
/// After a signal its last report is told so long, a success less long; then it stays as it is.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(5_500);
const LAST_SUCCESS: Duration = Duration::from_millis(3_500);

/// What befalls the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// `kill -9`: it does nothing any more, and its connections break.
    Kill,
    /// SIGINT; then the call goes on.
    Interrupt,
}

/// Asserts that a power change has deleted nothing, whatever became of it.
fn assert_kept(scene: &Scene, what: &str) {
    if !matches!(scene.operation, Operation::Stop | Operation::Start) {
        return;
    }
    let world = scene.stage.world();
    for vendor in [Vendor::Hetzner, Vendor::Tailscale] {
        let deletes = world.calls_to(vendor, &Method::DELETE, "");
        assert!(deletes.is_empty(), "{what}: {deletes:?}");
    }
    assert_eq!((world.servers.len(), world.devices.len()), (1, 1), "{what}");
}

/// Starts the attempt, holds it at the moment and strikes it there. Gives how it ended and how
/// long after the blow; nothing when the moment never came.
pub(crate) async fn struck(scene: &Scene, at: &Moment, blow: Blow) -> Option<(Ran, Duration)> {
    let (number, after) = (at.number, at.after);
    let (come, mut comes) = watch::channel(false);
    let (let_go, going) = watch::channel(false);
    scene.doors.keep(Arc::new(move |moment| {
        let here = (moment.number, moment.after) == (number, after);
        if here {
            come.send_replace(true);
        }
        let mut going = going.clone();
        Box::pin(async move {
            // A sender that is gone lets nothing pass: whoever waits here is dead.
            if here && going.wait_for(|going| *going).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }));
    let mut child = scene.stage.start(&[scene.operation.as_str()]);
    tokio::select! {
        _ = comes.wait_for(|come| *come) => {}
        _ = child.wait() => return None,
    }
    let began = Instant::now();
    match blow {
        Blow::Kill => signal(&child, "KILL").await,
        Blow::Interrupt => {
            signal(&child, "INT").await;
            let_go.send_replace(true);
        }
    }
    let ran = finish(child).await;
    Some((ran, began.elapsed()))
}

/// What became of a blow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Struck {
    /// The moment never came.
    Missed,
    /// It hit, and the process told its end if it could.
    Hit,
    /// It hit on a machine too busy for the last report to arrive in time.
    Unheard,
}

/// Asserts that a signaled process ended as it should.
fn assert_last_words(scene: &Scene, ran: &Ran, took: Duration, what: &str) -> Struck {
    assert!(took < SIGNAL_MAX, "{what}: {took:?}");
    // A success that was being told stays one, and however it ended, it was told. On a busy machine
    // report or answer may not come in time.
    let told = scene.told(FENCE);
    let done = told.iter().any(|report| report.said == Said::Running);
    let unheard = took >= LAST_SUCCESS && ran.stdout.contains("not acknowledged");
    let code = match (done, unheard) {
        (true, false) => 0,
        (_, true) => 1,
        (false, false) => 130,
    };
    assert_eq!(ran.code, Some(code), "{what}: {ran:#?}");
    if told.iter().any(Report::is_final) {
        return Struck::Hit;
    }
    assert!(unheard || took >= LAST_WORDS, "{what}: {took:?} {told:#?}");
    Struck::Unheard
}

/// Strikes at one moment, then lets the next attempt do its work.
async fn strike(operation: Operation, at: Moment, blow: Blow) -> Struck {
    let what = format!("{operation}, {blow:?} at {at:?}");
    let mut scene = Scene::prepared(operation).await;
    let before = scene.effects();
    scene.stage.set("FENCE", &FENCE.to_string());
    let Some((ran, took)) = struck(&scene, &at, blow).await else {
        return Struck::Missed;
    };
    let struck = match blow {
        Blow::Kill => {
            assert_eq!(ran.code, None, "{what}: {ran:#?}");
            // No call but those up to the moment had an effect.
            let effects = at.number - usize::from(!at.after);
            assert_eq!(scene.effects() - before, effects, "{what}");
            Struck::Hit
        }
        Blow::Interrupt => assert_last_words(&scene, &ran, took, &what),
    };
    assert_kept(&scene, &what);
    scene.doors.keep(open());
    scene.attempt(FENCE + 1, &what).await;
    scene.assert_ended(FENCE + 1, &what);
    assert_kept(&scene, &what);
    struck
}

async fn struck_everywhere(operation: Operation) {
    let began = Instant::now();
    let moments = moments(operation).await;
    assert!(
        moments
            .iter()
            .any(|moment| moment.call.contains("CALLBACK"))
    );
    let blows = moments.iter().flat_map(|moment| {
        let both = [Blow::Kill, Blow::Interrupt];
        both.map(|blow| (moment.clone(), blow))
    });
    let blows: Vec<(Moment, Blow)> = blows.collect();
    let listed = blows.len();
    let struck: Vec<(Moment, Blow, Struck)> = stream::iter(blows)
        .map(|(at, blow)| async move {
            let struck = strike(operation, at.clone(), blow).await;
            (at, blow, struck)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let of = |kind| struck.iter().filter(move |one| one.2 == kind);
    let missed: Vec<_> = of(Struck::Missed).collect();
    let unheard: Vec<_> = of(Struck::Unheard).collect();
    let took = began.elapsed();
    println!(
        "{operation}: {} calls, {} of {listed} points met in {took:?}",
        moments.len() / 2,
        listed - missed.len()
    );
    assert!(missed.is_empty(), "{operation} never came to: {missed:#?}");
    // One moment in which the machine stands still meets as many as there are at once.
    assert!(unheard.len() <= AT_ONCE, "{operation}: {unheard:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provision_struck_anywhere_is_completed_by_the_next_process() {
    struck_everywhere(Operation::Provision).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_struck_anywhere_is_completed_by_the_next_process() {
    struck_everywhere(Operation::Stop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_struck_anywhere_is_completed_by_the_next_process() {
    struck_everywhere(Operation::Start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroy_struck_anywhere_is_completed_by_the_next_process() {
    struck_everywhere(Operation::Destroy).await;
}
