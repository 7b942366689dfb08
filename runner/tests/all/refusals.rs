//! Hetzner refuses everything for a while, and not for want of calls: maintenance, trouble of its
//! own; Tailscale refuses for want of them. The run waits that out with few calls, in undo too, and
//! an order to stop ends the wait.

use crate::{
    harness::quick,
    lab::{Attempt, Ended, Gate, Lab},
};
use contract::{ErrorClass, Operation, Said, Sender, Step};
use http::Method;
use runner::End;
use sim::{DelayRange, Effect, Fault, FaultBody, Knob, RateLimit, Vendor};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

const CREATE: &str = "POST http://hetzner.sim/v1/servers";
/// What one runner may take of a bucket that gets one call a second for all of them: so many
/// calls in any ten seconds, each of which may be tried again once.
const IN_TEN_SECONDS: usize = 5;

/// Every form in which Hetzner says: not now.
fn refusals() -> Vec<Effect> {
    let page = FaultBody::gateway_page("Service Unavailable");
    vec![
        Effect::refuse(403, "maintenance", "back soon"),
        Effect::refuse(422, "service_error", "something went wrong"),
        Effect::refuse(503, "unavailable", "not now"),
        Effect::Status {
            status: 503,
            body: page,
        },
    ]
}

fn provision() -> Attempt {
    Attempt::new(Operation::Provision, 1)
}

/// Refuses everything from the first call on, or from right after the create, for so long.
fn refused(lab: &Lab, effect: &Effect, from_create: bool, span: Duration) -> Gate {
    let (sim, effect) = (lab.sim.clone(), effect.clone());
    let since: Mutex<Option<Instant>> = Mutex::default();
    Arc::new(move |moment| {
        let mut since = since.lock().unwrap();
        let begins = !from_create || moment.after && moment.call == CREATE;
        match *since {
            None if begins => {
                *since = Some(Instant::now());
                sim.add_fault(Fault::every(Vendor::Hetzner, effect.clone()));
            }
            Some(at) if at.elapsed() >= span => sim.clear_faults(),
            _ => {}
        }
        Box::pin(std::future::ready(()))
    })
}

/// The most refused calls within any ten seconds.
fn densest(lab: &Lab) -> usize {
    let world = lab.sim.world();
    let refused = world.calls.iter().filter(|call| call.bent);
    let moments: Vec<Duration> = refused.map(|call| call.at).collect();
    let within = |from: &Duration| {
        let until = *from + Duration::from_secs(10);
        let fits = |at: &&Duration| (*from..until).contains(*at);
        moments.iter().filter(fits).count()
    };
    moments.iter().map(within).max().unwrap_or(0)
}

fn calls(lab: &Lab) -> usize {
    let world = lab.sim.world();
    let of_hetzner = |call: &&sim::CallRecord| call.vendor == Vendor::Hetzner;
    world.calls.iter().filter(of_hetzner).count()
}

#[tokio::test(start_paused = true)]
async fn half_a_minute_of_refusals_is_waited_out() {
    for effect in refusals() {
        let lab = Lab::new();
        let gate = refused(&lab, &effect, false, Duration::from_secs(30));
        let ended = lab.run(&provision().gate(gate)).await;
        assert_eq!(ended.end, End::Done, "{effect:?}: {:#?}", ended.last());
        assert_eq!(lab.incomplete(1), None, "{effect:?}");
        let calls = calls(&lab);
        println!("{effect:?}: {calls} calls in {:?}", ended.took);
        assert!(calls <= 8 + 4, "{effect:?}: {calls}");
        assert!(ended.took < Duration::from_mins(1), "{:?}", ended.took);
    }
}

/// Refuses what makes something, from the first call on, for so long.
fn refused_making(lab: &Lab, path: &'static str, effect: &Effect, span: Duration) -> Gate {
    let (sim, began) = (lab.sim.clone(), Instant::now());
    let mut fault = Fault::every(Vendor::Hetzner, effect.clone());
    (fault.method, fault.path_contains) = (Some(Method::POST), path.to_owned());
    sim.add_fault(fault);
    Arc::new(move |_| {
        if began.elapsed() >= span {
            sim.clear_faults();
        }
        Box::pin(std::future::ready(()))
    })
}

/// Reads work meanwhile, so that the rate budget has no reason to wait.
#[tokio::test(start_paused = true)]
async fn creates_that_are_refused_for_minutes_are_made_all_the_same() {
    for effect in refusals() {
        for path in ["/servers", "/firewalls"] {
            for span in [15, 60, 100] {
                let lab = Lab::new();
                let gate = refused_making(&lab, path, &effect, Duration::from_secs(span));
                let ended = lab.run(&provision().gate(gate)).await;
                let what = format!("{effect:?}, {path} for {span} s");
                assert_eq!(ended.end, End::Done, "{what}: {:#?}", ended.last());
                assert_eq!(lab.incomplete(1), None, "{what}");
                let asked = lab
                    .sim
                    .world()
                    .calls
                    .iter()
                    .filter(|call| call.bent)
                    .count();
                println!("{what}: refused {asked} times, {:?}", ended.took);
                assert!(asked <= 6, "{what}: {asked}");
                assert!(ended.took < Duration::from_secs(span + 80), "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_without_end_is_asked_for_rarely_and_named() {
    for (asked, longest) in [("0", 100), ("1", 100), ("60", 400)] {
        let lab = Lab::new();
        let refusal = Effect::Answer {
            status: 429,
            headers: vec![("Retry-After".to_owned(), asked.to_owned())],
            body: FaultBody::error("", "slow"),
        };
        let mut fault = Fault::every(Vendor::Tailscale, refusal);
        (fault.method, fault.path_contains) = (Some(Method::POST), "/keys".to_owned());
        lab.sim.add_fault(fault);
        let ended = lab.run(&provision()).await;
        assert_eq!(ended.end, End::Failed);
        let error = ended.last().error.clone().unwrap();
        assert!(
            error.contains("Tailscale") && error.contains("429"),
            "{error}"
        );
        let calls = lab
            .sim
            .world()
            .calls_to(Vendor::Tailscale, &Method::POST, "/keys")
            .len();
        assert!(calls <= 6, "{asked}: {calls}");
        assert!(
            ended.took < Duration::from_secs(longest),
            "{:?}",
            ended.took
        );
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_without_end_are_asked_about_rarely() {
    for effect in refusals() {
        let lab = Lab::new();
        let gate = refused(&lab, &effect, false, Duration::MAX);
        let ended = lab.run(&provision().gate(gate)).await;
        assert_eq!(ended.end, End::Failed, "{effect:?}");
        let last = ended.last();
        assert_eq!(last.error_class, Some(ErrorClass::Transient), "{effect:?}");
        let (calls, densest) = (calls(&lab), densest(&lab));
        println!(
            "{effect:?}: {calls} calls in {:?}, {densest} in 10 s",
            ended.took
        );
        assert!(densest <= IN_TEN_SECONDS, "{effect:?}: {densest}");
        assert!(calls <= 24, "{effect:?}: {calls}");
    }
}

/// A machine was made, and has to go: what refuses now is asked again, and not much.
#[tokio::test(start_paused = true)]
async fn undo_waits_refusals_out() {
    for effect in refusals() {
        let lab = Lab::new();
        lab.stops(|report| report.step == Some(Step::VmCreated));
        let gate = refused(&lab, &effect, true, Duration::from_secs(45));
        let ended = lab.run(&provision().gate(gate)).await;
        let made = |method: &Method| {
            let world = lab.sim.world();
            world.calls_to(Vendor::Hetzner, method, "/servers").len()
        };
        assert!(made(&Method::POST) > 0, "a machine was made");
        assert!(made(&Method::DELETE) > 0, "it was taken back");
        assert_ne!(ended.end, End::Done, "{effect:?}");
        assert_eq!(lab.unclean(), None, "{effect:?}: {:#?}", ended.last());
        let (calls, densest) = (calls(&lab), densest(&lab));
        println!(
            "{effect:?}: {calls} calls in {:?}, {densest} in 10 s",
            ended.took
        );
        assert!(ended.took < Duration::from_secs(75), "{:?}", ended.took);
        assert!(densest <= IN_TEN_SECONDS, "{effect:?}: {densest}");
    }
}

/// The tailnet shows that a machine is up, whatever Hetzner says meanwhile.
#[tokio::test(start_paused = true)]
async fn a_machine_that_enrols_during_refusals_is_seen_at_once() {
    for effect in refusals() {
        let mut config = quick();
        config.hetzner.create_delay = DelayRange::millis(14_000, 14_000);
        config.hetzner.boot_delay = DelayRange::millis(5_000, 5_000);
        let lab = Lab::with(config);
        let gate = refused(&lab, &effect, true, Duration::from_mins(1));
        let ended = lab.run(&provision().gate(gate)).await;
        assert_eq!(ended.end, End::Done, "{effect:?}: {:#?}", ended.last());
        assert!(densest(&lab) > 0, "{effect:?}: nothing was refused");
        let at = |step: Option<Step>| {
            let told = ended.reports.iter().find(|report| report.step == step);
            match told.expect("it is told").sender {
                Sender::Attempt { sent_at, .. } => sent_at,
                Sender::FirstVersion => panic!("it speaks as an attempt"),
            }
        };
        let took = at(Some(Step::VmCreated)) - at(None);
        println!("{effect:?}: seen after {took} s");
        assert!((19..=21).contains(&took), "{effect:?}: {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_to_stop_ends_the_wait_and_is_what_is_told() {
    for effect in refusals() {
        let lab = Lab::new();
        lab.stops(|report| report.said == Said::Heartbeat);
        let gate = refused(&lab, &effect, false, Duration::MAX);
        let mut attempt = provision().gate(gate);
        attempt.vars.push(("HEARTBEAT_SECONDS", "5"));
        let ended: Ended = lab.run(&attempt).await;
        assert_eq!(ended.end, End::Failed, "{effect:?}");
        let error = ended.last().error.clone().unwrap();
        assert!(error.contains("not wanted any more"), "{error}");
        println!("{effect:?}: {:?}", ended.took);
        // What is left is the closing list, which changes nothing and has its own bound.
        assert!(ended.took < Duration::from_secs(5 + 90), "{:?}", ended.took);
    }
}

/// Tailscale may ask for a minute before each call.
#[tokio::test(start_paused = true)]
async fn an_order_to_stop_ends_the_wait_for_tailscale_too() {
    for retry_after in [None, Some(60)] {
        let lab = Lab::new();
        lab.stops(|report| report.said == Said::Heartbeat);
        lab.sim.turn(Knob::TailscaleLimit(Some(RateLimit {
            burst: 1,
            per_second: 1,
            retry_after,
        })));
        let mut attempt = provision();
        attempt.vars.push(("HEARTBEAT_SECONDS", "5"));
        let ended = lab.run(&attempt).await;
        assert_eq!(ended.end, End::Failed, "{retry_after:?}");
        let error = ended.last().error.clone().unwrap();
        println!("{retry_after:?}: {:?}, {error}", ended.took);
        assert!(error.contains("not wanted any more"), "{error}");
        assert!(ended.took < Duration::from_secs(40), "{:?}", ended.took);
    }
}

/// What was made goes all the same, if the refusal ends before the run has to.
#[tokio::test(start_paused = true)]
async fn a_signal_has_a_refused_delete_sent_again() {
    for effect in refusals() {
        let lab = Lab::new();
        let attempt = provision();
        let refuse = refused(&lab, &effect, true, Duration::from_secs(3));
        let raise = attempt.signal.clone();
        let gate: Gate = Arc::new(move |moment| {
            if moment.after && moment.call == CREATE {
                raise.send_replace(true);
            }
            refuse(moment)
        });
        let ended = lab.run(&attempt.gate(gate)).await;
        assert_eq!(ended.end, End::Canceled, "{effect:?}");
        let world = lab.sim.world();
        let deletes = world.calls_to(Vendor::Hetzner, &Method::DELETE, "/servers/");
        let taken = deletes.iter().any(|call| call.status == Some(200));
        assert!(taken, "{effect:?}: {deletes:?}");
        assert!((2..=6).contains(&deletes.len()), "{deletes:?}");
    }
}
