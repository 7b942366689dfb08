//! What a run does while something outside is away: the tailnet, the callback, the rate budget,
//! the end of its own job.

use crate::{
    callback::Bend,
    harness::{NAME, Stage, quick},
    lab::{Attempt, Ended, Gate, Lab, Moment},
};
use contract::{ErrorClass, Operation, Report, Said, Sender, Step};
use http::Method;
use runner::End;
use sim::{DecoyDevice, DelayRange, Effect, Fault, FaultBody, Knob, SimConfig, Vendor};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

const CREATE: &str = "POST http://hetzner.sim/v1/servers";
/// The list that a run closes with; the next word to the callback is its last.
const CLOSING: &str = "sort=created";

fn provision(fence: i64) -> Attempt {
    Attempt::new(Operation::Provision, fence)
}

#[tokio::test(start_paused = true)]
async fn a_destroy_without_the_tailnet_removes_what_costs_and_names_the_tailnet() {
    let gateway = FaultBody::gateway_page("Forbidden");
    let effects = [
        (
            Effect::refuse(401, "", "the client was revoked"),
            "to write",
        ),
        (
            Effect::refuse(403, "", "no access to this operation"),
            "to write",
        ),
        (Effect::refuse(500, "", "oops"), "500"),
        (Effect::CutBefore, "no answer"),
        (
            Effect::Status {
                status: 403,
                body: gateway,
            },
            "403",
        ),
    ];
    for (effect, words) in effects {
        let lab = Lab::new();
        assert_eq!(lab.run(&provision(1)).await.end, End::Done);
        let mut away = Fault::every(Vendor::Tailscale, effect);
        away.path_contains = "/tailnet".to_owned();
        lab.sim.add_fault(away);
        let ended = lab.run(&Attempt::new(Operation::Destroy, 2)).await;
        assert_eq!(ended.end, End::Failed, "{words}");
        let error = ended.last().error.clone().unwrap();
        assert!(
            error.contains("Tailscale") && error.contains(words),
            "{error}"
        );
        let world = lab.sim.world();
        assert_eq!(
            (world.servers.len(), world.primary_ips.len()),
            (0, 0),
            "{words}"
        );
        assert_eq!(world.devices.len(), 1, "{words}");
        lab.sim.clear_faults();
        let ended = lab.run(&Attempt::new(Operation::Destroy, 3)).await;
        assert_eq!(ended.end, End::Done, "{words}: {:#?}", ended.last());
        assert_eq!(lab.unclean(), None, "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_its_list_is_not_taken_for_an_empty_one() {
    for list in ["/devices", "/keys"] {
        let lab = Lab::new();
        assert_eq!(lab.run(&provision(1)).await.end, End::Done);
        let odd = Effect::ReplyReplaced {
            status: 200,
            body: FaultBody::Json(serde_json::json!({})),
        };
        let mut odd = Fault::every(Vendor::Tailscale, odd);
        (odd.method, odd.path_contains) = (Some(Method::GET), list.to_owned());
        lab.sim.add_fault(odd);
        let ended = lab.run(&Attempt::new(Operation::Destroy, 2)).await;
        assert_eq!(ended.end, End::Failed, "{list}");
        assert_eq!(ended.last().error_class, Some(ErrorClass::Transient));
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_the_client_may_not_read_stop_nothing() {
    let lab = Lab::new();
    let rows = serde_json::json!({"keys": [{"id": "kForeignCNTRL"}]});
    let replaced = |status, body| Effect::ReplyReplaced { status, body };
    let list = replaced(200, FaultBody::Json(rows));
    let mut list = Fault::every(Vendor::Tailscale, list);
    (list.method, list.path_contains) = (Some(Method::GET), "/keys?all".to_owned());
    lab.sim.add_fault(list);
    let denied = replaced(403, FaultBody::error("", "not yours"));
    let mut denied = Fault::every(Vendor::Tailscale, denied);
    (denied.method, denied.path_contains) = (Some(Method::GET), "/keys/kForeign".to_owned());
    lab.sim.add_fault(denied);
    assert_eq!(lab.run(&provision(1)).await.end, End::Done);
    let ended = lab.run(&Attempt::new(Operation::Destroy, 2)).await;
    assert_eq!(ended.end, End::Done, "{:#?}", ended.last());
}

/// A device that is at work belongs to a machine, where that is nobody found: it is what shows the
/// machine, so it stays, and no second machine is made beside it.
#[tokio::test(start_paused = true)]
async fn a_device_at_work_without_a_server_is_named_and_stays() {
    for operation in [Operation::Destroy, Operation::Provision] {
        let lab = Lab::new();
        lab.sim.add_device(&DecoyDevice {
            hostname: NAME.to_owned(),
            tags: vec!["tag:agent".to_owned()],
            online: true,
            ..DecoyDevice::default()
        });
        let ended = lab.run(&Attempt::new(operation, 2)).await;
        assert_eq!(ended.end, End::Failed, "{operation}");
        let last = ended.last();
        assert_eq!(last.error_class, Some(ErrorClass::Transient));
        let error = last.error.clone().unwrap();
        assert!(
            error.contains("set HETZNER_API_TOKEN to the project"),
            "{error}"
        );
        let world = lab.sim.world();
        assert_eq!((world.servers.len(), world.devices.len()), (0, 1));
    }
}

/// Its machine was removed by somebody; the tailnet notices later.
#[tokio::test(start_paused = true)]
async fn a_device_that_is_shown_as_connected_for_a_while_is_waited_for() {
    for operation in [Operation::Destroy, Operation::Provision] {
        let lab = Lab::new();
        lab.sim.turn(Knob::QuietLate(Duration::from_secs(90)));
        assert_eq!(lab.run(&provision(1)).await.end, End::Done);
        assert!(lab.sim.delete_server_by_hand(NAME));
        let ended = lab.run(&Attempt::new(operation, 2)).await;
        assert_eq!(ended.end, End::Done, "{:#?}", ended.last());
        assert!(ended.took > Duration::from_secs(80), "{:?}", ended.took);
        let wrong = if operation == Operation::Destroy {
            lab.unclean()
        } else {
            lab.incomplete(2)
        };
        assert_eq!(wrong, None, "{operation}");
    }
}

/// A retry after a failure deletes the server itself, so that it need not wait.
#[tokio::test(start_paused = true)]
async fn a_device_whose_server_was_just_deleted_is_not_waited_for() {
    let lab = Lab::new();
    lab.sim.turn(Knob::QuietLate(Duration::from_hours(1)));
    for fence in [1, 2] {
        let ended = lab.run(&provision(fence)).await;
        assert_eq!(ended.end, End::Done, "{:#?}", ended.last());
        assert!(ended.took < Duration::from_secs(30), "{:?}", ended.took);
    }
    assert_eq!(lab.incomplete(2), None);
}

fn slow() -> SimConfig {
    let mut config = quick();
    config.hetzner.create_delay = DelayRange::millis(30_000, 30_000);
    config.hetzner.boot_delay = DelayRange::millis(15_000, 15_000);
    config
}

#[tokio::test(start_paused = true)]
async fn at_a_drained_budget_the_device_is_seen_all_the_same() {
    let lab = Lab::with(slow());
    let sim = lab.sim.clone();
    let gate: Gate = Arc::new(move |moment| {
        if moment.after && moment.call == CREATE {
            sim.turn(Knob::HetznerRemaining(0));
        }
        Box::pin(std::future::ready(()))
    });
    let ended = lab.run(&provision(1).gate(gate)).await;
    assert_eq!(ended.end, End::Done);
    let at = |fits: fn(&Report) -> bool| {
        let report = ended.reports.iter().find(|report| fits(report)).unwrap();
        match report.sender {
            Sender::Attempt { sent_at, .. } => sent_at,
            Sender::FirstVersion => panic!("it speaks as an attempt"),
        }
    };
    let claimed = at(|_| true);
    let enrolled = at(|report| report.step == Some(Step::Enrolled));
    assert!(enrolled - claimed < 55, "{} s", enrolled - claimed);
}

/// Whether a call to the callback comes after the closing list, which makes it the last word.
fn last_word() -> impl Fn(&Moment) -> bool {
    let closing = AtomicBool::new(false);
    move |moment| {
        if moment.after && moment.call.contains(CLOSING) {
            closing.store(true, Ordering::Relaxed);
        }
        closing.load(Ordering::Relaxed) && moment.call.contains("callback.sim")
    }
}

/// From the closing list on, the callback's answers wait until `until`, and then come.
fn silent(until: Duration) -> Gate {
    let began = Instant::now();
    let is_last = last_word();
    Arc::new(move |moment| {
        let held = is_last(&moment) && began.elapsed() < until;
        Box::pin(async move {
            if held {
                std::future::pending::<()>().await;
            }
        })
    })
}

#[tokio::test(start_paused = true)]
async fn a_list_that_could_not_be_told_in_time_is_not_told() {
    for (silence, told) in [(30, true), (150, false)] {
        let lab = Lab::new();
        let gate = silent(Duration::from_secs(silence));
        let ended = lab.run(&provision(1).gate(gate)).await;
        assert_eq!(ended.end, End::Done);
        assert_eq!(ended.last().inventory.is_some(), told, "after {silence} s");
    }
}

/// The run ended for want of time, and took back what it made.
fn assert_ran_out(lab: &Lab, ended: &Ended) {
    assert_eq!(ended.end, End::Failed);
    let error = ended.last().error.clone().unwrap();
    assert!(error.contains("no time left"), "{error}");
    assert_eq!(lab.unclean(), None);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_before_the_job_whose_step_it_is() {
    let lab = Lab::new();
    lab.sim.turn(Knob::BootHangs(true));
    let began = lab.sim.unix_seconds() - 660;
    let mut attempt = provision(1);
    attempt.vars = vec![(
        "JOB_STARTED_AT",
        Box::leak(began.to_string().into_boxed_str()),
    )];
    let ended = lab.run(&attempt).await;
    // GitHub ends the job 900 s after it began.
    assert!(ended.took < Duration::from_secs(230), "{:?}", ended.took);
    assert_ran_out(&lab, &ended);
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_slow_answers_does_not_outlast_the_run() {
    let lab = Lab::new();
    let rows: Vec<_> = (0..200)
        .map(|n| serde_json::json!({"id": format!("k{n}")}))
        .collect();
    let list = Effect::ReplyReplaced {
        status: 200,
        body: FaultBody::Json(serde_json::json!({ "keys": rows })),
    };
    let list = Fault::once(Vendor::Tailscale, Method::GET, "/keys?all", list);
    lab.sim.add_fault(list);
    let slow = Effect::SlowReply(Duration::from_secs(9));
    let mut slow = Fault::every(Vendor::Tailscale, slow);
    slow.path_contains = "/keys/k".to_owned();
    lab.sim.add_fault(slow);
    let ended = lab.run(&provision(1)).await;
    assert!(ended.took < Duration::from_secs(800), "{:?}", ended.took);
    assert_ran_out(&lab, &ended);
}

/// The success is held back until 3.4 s after the signal, and refused then.
#[tokio::test(start_paused = true)]
async fn a_success_refused_after_a_signal_is_taken_back_in_time() {
    let lab = Lab::new();
    let attempt = provision(1);
    let (raise, desk) = (attempt.signal.clone(), lab.clone());
    let raised: Arc<Mutex<Option<Instant>>> = Arc::default();
    let (when, is_last) = (Arc::clone(&raised), last_word());
    let gate: Gate = Arc::new(move |moment| {
        let last = is_last(&moment);
        if last
            && when
                .lock()
                .unwrap()
                .get_or_insert_with(Instant::now)
                .elapsed()
                .is_zero()
        {
            raise.send_replace(true);
        }
        let (when, desk) = (Arc::clone(&when), desk.clone());
        Box::pin(async move {
            if last && !moment.after {
                let signal = when.lock().unwrap().expect("it was raised");
                sleep(Duration::from_millis(3_400).saturating_sub(signal.elapsed())).await;
                desk.claimed_by(2);
            }
        })
    });
    let ended: Ended = lab.run(&attempt.gate(gate)).await;
    assert_eq!(ended.end, End::Canceled, "{:#?}", ended.reports.last());
    let took = raised.lock().unwrap().expect("it was raised").elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
    let world = lab.sim.world();
    let deletes = world.calls_to(Vendor::Hetzner, &Method::DELETE, "/servers/");
    let sent = deletes.iter().any(|call| call.status == Some(200));
    assert!(sent, "the machine is taken back: {deletes:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_touched_for_an_address_that_answers_with_a_page() {
    let lab = Lab::new();
    lab.has_a_page_for_a_callback();
    let ended = lab.run(&provision(1)).await;
    assert_eq!(ended.end, End::Failed);
    assert!(ended.took < Duration::from_mins(6), "{:?}", ended.took);
    assert!(lab.sim.world().calls.is_empty());
}

#[tokio::test]
async fn a_page_of_a_gateway_is_no_word_of_the_callback() {
    for status in [200, 302, 403, 404] {
        let stage = Stage::new().await;
        let fits = |report: &Report| report.step == Some(Step::VmCreated);
        stage.callback.bend(2, Bend::Page(status), fits);
        let ran = stage.run(&["provision"]).await;
        assert_eq!(ran.code, Some(0), "{status}: {ran:#?}");
        let told = stage.callback.reports();
        let told = told.iter().filter(|report| fits(report)).count();
        assert_eq!(told, 3, "{status}: told until the callback itself answers");
        assert_eq!(stage.callback.last().said, Said::Running);
        stage.assert_complete();
    }
}
