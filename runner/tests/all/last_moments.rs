//! The end of a run when things are slow: signals, undo at a drained rate budget, servers that
//! exist and do not show, and deletes without a lease.

use crate::{
    harness::{AGENT, JOB, NAME, quick},
    lab::{Attempt, Ended, Gate, Lab, Moment},
};
use contract::{ErrorClass, Operation, Said, Spec, Step};
use http::Method;
use runner::End;
use sim::{DecoyServer, DelayRange, Effect, Fault, FaultBody, Knob, SimConfig, Vendor};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

const CREATE: &str = "POST http://hetzner.sim/v1/servers";
const LIST: &str = "/servers?label_selector";

fn provision() -> Attempt {
    Attempt::new(Operation::Provision, 1)
}

fn lost_create() -> Fault {
    Fault::once(Vendor::Hetzner, Method::POST, "/servers", Effect::CutAfter)
}

/// When something came first.
type When<T> = Arc<Mutex<Option<T>>>;

fn note<T>(when: &When<T>, value: T) {
    when.lock().unwrap().get_or_insert(value);
}

/// A gate at which calls that fit raise the attempt's signal and then hang.
fn signal_and_hang(
    attempt: &Attempt,
    fits: impl Fn(&Moment) -> bool + Send + Sync + 'static,
) -> (Gate, When<Instant>) {
    signal(attempt, true, move |moment| !moment.after && fits(moment))
}

/// A gate at which moments that fit raise the attempt's signal and go on.
fn signal_at(
    attempt: &Attempt,
    fits: impl Fn(&Moment) -> bool + Send + Sync + 'static,
) -> (Gate, When<Instant>) {
    signal(attempt, false, fits)
}

fn signal(
    attempt: &Attempt,
    hangs: bool,
    fits: impl Fn(&Moment) -> bool + Send + Sync + 'static,
) -> (Gate, When<Instant>) {
    let raised = When::default();
    let (raise, when) = (attempt.signal.clone(), Arc::clone(&raised));
    let gate: Gate = Arc::new(move |moment| {
        let hit = fits(&moment);
        if hit {
            note(&when, Instant::now());
            raise.send_replace(true);
        }
        Box::pin(async move {
            if hit && hangs {
                std::future::pending::<()>().await;
            }
        })
    });
    (gate, raised)
}

fn in_time(raised: &When<Instant>) {
    let raised = raised.lock().unwrap().expect("the signal came");
    let took = raised.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_closing_list_of_a_failure() {
    let lab = Lab::new();
    lab.sim.turn(Knob::FailAction {
        command: "create_server".to_owned(),
        times: 1,
    });
    let attempt = provision();
    let sim = lab.sim.clone();
    let (gate, raised) = signal_and_hang(&attempt, move |moment| {
        moment.call.contains(LIST) && !sim.world().deleted_servers.is_empty()
    });
    let ended = lab.run(&attempt.gate(gate)).await;
    in_time(&raised);
    assert_eq!(ended.last().said, Said::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_the_question_for_a_server_that_the_closing_list_lacks() {
    let lab = Lab::new();
    let attempt = provision();
    let sim = lab.sim.clone();
    let lists = AtomicUsize::new(0);
    let (gate, raised) = signal_and_hang(&attempt, move |moment| {
        if !moment.after && moment.call.contains(LIST) && lists.fetch_add(1, Ordering::Relaxed) == 1
        {
            sim.delete_server_by_hand(NAME);
        }
        moment
            .call
            .starts_with("GET http://hetzner.sim/v1/servers/")
    });
    lab.run(&attempt.gate(gate)).await;
    in_time(&raised);
}

/// How a run ends that is signaled right after the effect of its create, or of its undo's delete.
/// Gives the status of its server, and those of the answers to its deletes.
async fn signaled_at_its_server(lab: &Lab, undoing: bool) -> (String, Vec<Option<u16>>) {
    lab.stops(move |report| undoing && report.step == Some(Step::VmCreated));
    let attempt = provision();
    let method = if undoing { "DELETE" } else { "POST" };
    let begins = format!("{method} http://hetzner.sim/v1/servers");
    let (gate, raised) = signal_at(&attempt, move |moment| {
        moment.after && moment.call.starts_with(&begins)
    });
    let ended = lab.run(&attempt.gate(gate)).await;
    in_time(&raised);
    assert_eq!(ended.end, End::Canceled);
    let world = lab.sim.world();
    let deletes = world.calls_to(Vendor::Hetzner, &Method::DELETE, "/servers/");
    let statuses = deletes.iter().map(|call| call.status);
    (world.servers[0].status.clone(), statuses.collect())
}

/// A server is locked while it is made and while it is deleted: then deletes are refused.
#[tokio::test(start_paused = true)]
async fn a_signal_while_the_server_is_locked_ends_the_run_in_time() {
    for (create, delete, undoing, status) in [
        (60, 1, false, "initializing"),
        (3, 60, false, "deleting"),
        (1, 60, true, "deleting"),
    ] {
        let mut config = quick();
        config.hetzner.create_delay = DelayRange::millis(create * 1_000, create * 1_000);
        config.hetzner.delete_delay = DelayRange::millis(delete * 1_000, delete * 1_000);
        let lab = Lab::with(config);
        let (left, answers) = signaled_at_its_server(&lab, undoing).await;
        let refused = answers.iter().filter(|status| **status == Some(423));
        assert!(refused.count() > 4, "create {create} s: {answers:?}");
        assert_eq!(left, status, "create {create} s: {answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_is_lost_after_a_signal_is_sent_again() {
    for lost in [Effect::Delay(Duration::from_secs(20)), Effect::CutBefore] {
        let mut config = quick();
        config.hetzner.create_delay = DelayRange::NONE;
        config.hetzner.delete_delay = DelayRange::millis(60_000, 60_000);
        let lab = Lab::with(config);
        let method = Method::DELETE;
        let fault = Fault::once(Vendor::Hetzner, method, "/servers/", lost.clone());
        lab.sim.add_fault(fault);
        let (left, answers) = signaled_at_its_server(&lab, false).await;
        assert_eq!(left, "deleting", "{lost:?}: {answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_while_a_key_is_made_revokes_it() {
    let lab = Lab::new();
    let late = Effect::SlowReply(Duration::from_secs(20));
    lab.sim
        .add_fault(Fault::once(Vendor::Tailscale, Method::POST, "/keys", late));
    let attempt = provision();
    let (gate, raised) = signal_at(&attempt, |moment| {
        let begins = "POST http://tailscale.sim/api/v2/tailnet";
        !moment.after && moment.call.starts_with(begins)
    });
    let ended = lab.run(&attempt.gate(gate)).await;
    in_time(&raised);
    assert_eq!(ended.end, End::Canceled);
    assert_eq!(lab.sim.world().keys.len(), 1, "it was made");
    assert_eq!(lab.unclean(), None);
}

/// The list shows little more than ids, and credentials of other kinds beside them.
#[tokio::test(start_paused = true)]
async fn a_key_is_known_however_little_the_list_shows_of_it() {
    let lab = Lab::new();
    let description = format!("{JOB} f1");
    let own = lab.add_key(&description).await;
    let other = lab.add_key("another").await;
    let rows = serde_json::json!({"keys": [
        {"id": "kClientCNTRL", "keyType": "client", "description": description},
        {"id": "kGoneCNTRL"}, {"id": own}, {"id": other},
    ]});
    let replaced = Effect::ReplyReplaced {
        status: 200,
        body: FaultBody::Json(rows),
    };
    let list = Fault::once(Vendor::Tailscale, Method::GET, "/keys?all=true", replaced);
    lab.sim.add_fault(list);
    assert_eq!(lab.run(&provision()).await.end, End::Done);
    let world = lab.sim.world();
    let revoked = |id: &str| world.keys.iter().any(|key| key.id == id && key.revoked);
    assert!(revoked(&own) && !revoked(&other), "{:?}", world.keys);
    let deletes = world.calls_to(Vendor::Tailscale, &Method::DELETE, "/keys/");
    assert_eq!(deletes.len(), 1, "the client is no auth key");
}

/// Every read is refused from the first heartbeat on, which also brings a stop order.
#[tokio::test(start_paused = true)]
async fn undo_at_an_empty_budget_waits_between_refused_calls() {
    let lab = Lab::new();
    lab.sim.turn(Knob::BootHangs(true));
    let sim = lab.sim.clone();
    lab.stops(move |report| {
        let beat = report.said == Said::Heartbeat;
        if beat {
            let full = Effect::Status {
                status: 429,
                body: FaultBody::Error {
                    code: "rate_limit_exceeded".to_owned(),
                    message: "limit reached".to_owned(),
                },
            };
            let mut fault = Fault::every(Vendor::Hetzner, full);
            fault.method = Some(Method::GET);
            sim.add_fault(fault);
        }
        beat
    });
    let ended = lab.run(&provision()).await;
    assert_eq!(ended.end, End::Failed);
    assert_eq!(lab.sim.world().servers, [], "a delete needs no read");
    let calls = lab.sim.world().calls;
    let refused: Vec<Duration> = calls
        .iter()
        .filter(|call| call.status == Some(429))
        .map(|call| call.at)
        .collect();
    assert!(refused.len() > 2, "{refused:?}");
    let second = Duration::from_secs(1);
    for pair in refused.windows(2) {
        assert!(pair[1] >= pair[0] + second, "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn undo_after_a_failure_does_not_wait_as_polling_does() {
    let lab = Lab::new();
    lab.sim.turn(Knob::TailnetLock("not signed".to_owned()));
    let sim = lab.sim.clone();
    let began = When::default();
    let when = Arc::clone(&began);
    let gate: Gate = Arc::new(move |moment| {
        if moment.after && moment.call == CREATE {
            sim.turn(Knob::HetznerRemaining(0));
        }
        if !moment.after && moment.call.starts_with("DELETE http://hetzner") {
            note(&when, Instant::now());
        }
        Box::pin(std::future::ready(()))
    });
    let ended = lab.run(&provision().gate(gate)).await;
    assert_eq!(ended.end, End::Failed);
    let took = began.lock().unwrap().expect("undo began").elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(ended.last().inventory, Some(Vec::new()));
    assert_eq!(lab.unclean(), None);
}

/// Runs for so many agents at once.
async fn many(lab: &Lab, count: u64) -> Vec<Ended> {
    let mut runs = JoinSet::new();
    for number in 0..count {
        let lab = lab.clone();
        runs.spawn(async move {
            let mut attempt = provision();
            attempt.agent = format!("0191b2c4-0000-7000-8000-{number:012x}");
            attempt.job = attempt.agent.replace("-7000-", "-7001-");
            attempt.seed = number;
            lab.run(&attempt).await
        });
    }
    runs.join_all().await
}

#[tokio::test(start_paused = true)]
async fn twenty_undo_together_at_an_empty_budget() {
    let mut config = quick();
    config.hetzner.delete_delay = DelayRange::millis(5_000, 20_000);
    let lab = Lab::with(config);
    lab.believes_all();
    lab.sim.turn(Knob::BootHangs(true));
    let sim = lab.sim.clone();
    let drained = When::default();
    let when = Arc::clone(&drained);
    lab.stops(move |report| {
        let beat = report.said == Said::Heartbeat;
        if beat && when.lock().unwrap().replace(()).is_none() {
            sim.turn(Knob::HetznerRemaining(0));
        }
        beat
    });
    for ended in many(&lab, 20).await {
        let error = ended.last().error.clone().unwrap();
        assert!(!error.contains("left behind"), "{error}");
    }
    assert_eq!(lab.sim.world().servers, []);
    let (calls, refused) = lab.hetzner_calls();
    println!("{calls} calls, {refused} refused");
    // A call a second is little for twenty that do not wait for their turn. But whoever is refused
    // waits then, and the longer the oftener, so it comes to fewer than twenty times for each.
    assert!(refused < 20 * 20, "{refused} of {calls}");
}

#[tokio::test(start_paused = true)]
async fn sixty_runs_close_with_their_inventory_at_a_drained_budget() {
    let mut config: SimConfig = quick();
    config.hetzner.create_delay = DelayRange::millis(5_000, 60_000);
    config.hetzner.start_delay = DelayRange::NONE;
    config.hetzner.boot_delay = DelayRange::millis(5_000, 60_000);
    let lab = Lab::with(config);
    lab.tells(Spec::default(), true);
    lab.sim.turn(Knob::HetznerRemaining(60));
    let mut without = 0;
    let mut longest = Duration::ZERO;
    for ended in many(&lab, 60).await {
        assert_eq!(ended.end, End::Done);
        without += usize::from(ended.last().inventory.is_none());
        longest = longest.max(ended.took);
    }
    println!("{without} without an inventory, longest {longest:?}");
    assert_eq!(without, 0);
    assert!(longest < Duration::from_mins(13), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_answer_was_lost_is_adopted_when_it_shows() {
    for lag in [5, 12] {
        let lab = Lab::new();
        lab.sim.turn(Knob::ServerListLag(Duration::from_secs(lag)));
        lab.sim.add_fault(lost_create());
        let ended = lab.run(&provision()).await;
        assert_eq!(ended.end, End::Done, "lag {lag}: {:#?}", ended.last());
        assert_eq!(lab.incomplete(1), None, "lag {lag}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_shows_late_is_undone_and_one_that_does_not_is_named() {
    for (lag, left) in [(40, false), (600, true)] {
        let lab = Lab::new();
        lab.sim.turn(Knob::ServerListLag(Duration::from_secs(lag)));
        lab.sim.add_fault(lost_create());
        let ended = lab.run(&provision()).await;
        assert_eq!(ended.end, End::Failed, "lag {lag}");
        let error = ended.last().error.clone().unwrap();
        let named = error.contains("left behind: a server in doubt")
            && error.contains(&format!("{NAME} exists and does not show yet"));
        assert_eq!(named, left, "lag {lag}: {error}");
        assert_eq!(lab.unclean().is_some(), left, "lag {lag}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_shows_by_name_is_judged_by_its_own_labels() {
    let lab = Lab::new();
    lab.sim.add_fault(lost_create());
    let sim = lab.sim.clone();
    let gate: Gate = Arc::new(move |moment| {
        if moment.after && moment.call == CREATE {
            let pages = serde_json::json!({"page": 1, "per_page": 50, "previous_page": null,
                "next_page": null, "last_page": 1, "total_entries": 0});
            let body = serde_json::json!({"servers": [], "meta": {"pagination": pages}});
            let empty = Effect::ReplyReplaced {
                status: 200,
                body: FaultBody::Json(body),
            };
            let mut fault = Fault::every(Vendor::Hetzner, empty);
            fault.method = Some(Method::GET);
            fault.path_contains = "/servers?label".to_owned();
            fault.times = 5;
            sim.add_fault(fault);
        }
        Box::pin(std::future::ready(()))
    });
    let ended = lab.run(&provision().gate(gate)).await;
    assert_eq!(ended.end, End::Done, "{:#?}", ended.last());
    assert_eq!(lab.incomplete(1), None);
}

#[tokio::test(start_paused = true)]
async fn no_delete_of_an_older_server_is_sent_without_a_lease() {
    let lab = Lab::new();
    assert_eq!(lab.run(&provision()).await.end, End::Done);
    let locked = Effect::Status {
        status: 423,
        body: FaultBody::Error {
            code: "locked".to_owned(),
            message: "locked".to_owned(),
        },
    };
    let mut fault = Fault::every(Vendor::Hetzner, locked);
    fault.method = Some(Method::DELETE);
    lab.sim.add_fault(fault);
    let start = lab.sim.world().at;
    let count = Arc::new(AtomicUsize::new(0));
    let gate: Gate = Arc::new(move |moment| {
        let report = moment.call.contains("callback.sim");
        let lost = report && count.fetch_add(1, Ordering::Relaxed) >= 2;
        Box::pin(async move {
            if lost {
                std::future::pending::<()>().await;
            }
        })
    });
    let newer = Attempt::new(Operation::Provision, 5).gate(gate);
    assert_ne!(lab.run(&newer).await.end, End::Done);
    let world = lab.sim.world();
    let deletes = world.calls_to(Vendor::Hetzner, &Method::DELETE, "/servers");
    let last = deletes
        .iter()
        .map(|call| call.at.saturating_sub(start))
        .max();
    let last = last.expect("it was tried");
    assert!(
        last > Duration::from_mins(1),
        "it was tried again: {last:?}"
    );
    assert!(last < Duration::from_secs(180 - 45 + 1), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_be_judged_is_named() {
    let lab = Lab::new();
    let sim = lab.sim.clone();
    lab.stops(move |report| {
        let enrolled = report.step == Some(Step::Enrolled);
        if enrolled {
            let labels = [
                ("managed_by", "slipway"),
                ("installation", "default"),
                ("agent_id", AGENT),
            ];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            sim.add_server(&DecoyServer {
                name: "odd".to_owned(),
                labels: labels.into(),
                ..DecoyServer::default()
            });
        }
        enrolled
    });
    let ended = lab.run(&provision()).await;
    let device = lab.sim.world().devices[0].node_id.clone();
    let error = ended.last().error.clone().unwrap();
    assert!(
        error.contains(&format!("left behind: device {device}")),
        "{error}"
    );
    assert!(error.contains("no readable fence label"), "{error}");
    assert_eq!(ended.last().error_class, Some(ErrorClass::Transient));
}

/// An earlier process made the machine and its key is used up, so that no list shows it.
#[tokio::test(start_paused = true)]
async fn a_machine_whose_used_key_is_not_listed_is_adopted_and_can_be_undone() {
    let lab = Lab::new();
    assert_eq!(lab.run(&provision()).await.end, End::Done);
    let before = lab.sim.world().servers[0].id;
    assert_eq!(lab.run(&provision()).await.end, End::Done);
    assert_eq!(lab.sim.world().servers[0].id, before, "adopted");
    lab.stops(|report| report.step == Some(Step::VmCreated));
    assert_eq!(lab.run(&provision()).await.end, End::Failed);
    assert_eq!(lab.unclean(), None);
}
