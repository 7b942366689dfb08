//! A machine that is started and does not come back: its power is cut and restored, once.

use crate::{
    harness::NAME,
    lab::{Attempt, Ended, Gate, Lab},
};
use contract::{ErrorClass, Operation, Spec};
use http::Method;
use runner::End;
use sim::{DecoyDevice, Effect, Fault, Knob, Vendor};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, advance};

/// A stopped machine whose next boot hangs.
async fn stopped() -> Lab {
    stopped_and_shown(0).await
}

/// The same; its device is shown as connected for so many seconds after it went off.
async fn stopped_and_shown(late: u64) -> Lab {
    let lab = Lab::new();
    lab.sim.turn(Knob::QuietLate(Duration::from_secs(late)));
    for (operation, fence) in [(Operation::Provision, 1), (Operation::Stop, 2)] {
        assert_eq!(
            lab.run(&Attempt::new(operation, fence)).await.end,
            End::Done
        );
    }
    lab.sim.turn(Knob::BootHangs(true));
    lab
}

/// How often this power command was given.
fn given(lab: &Lab, command: &str) -> usize {
    let world = lab.sim.world();
    world
        .calls_to(Vendor::Hetzner, &Method::POST, command)
        .len()
}

async fn started(lab: &Lab, fence: i64, gate: Option<Gate>) -> Ended {
    let mut attempt = Attempt::new(Operation::Start, fence);
    if let Some(gate) = gate {
        attempt = attempt.gate(gate);
    }
    lab.run(&attempt).await
}

/// Once its power was cut the machine boots.
fn helped_by_its_power(lab: &Lab) -> Gate {
    let sim = lab.sim.clone();
    Arc::new(move |moment| {
        if moment.call.ends_with("/poweroff") {
            sim.turn(Knob::BootHangs(false));
        }
        Box::pin(std::future::ready(()))
    })
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_hangs_once_is_helped_by_its_power() {
    let lab = stopped().await;
    let gate = helped_by_its_power(&lab);
    let ended = started(&lab, 3, Some(gate)).await;
    assert_eq!(ended.end, End::Done, "{:#?}", ended.reports.last());
    assert_eq!(lab.incomplete(1), None);
    assert_eq!((given(&lab, "/poweroff"), given(&lab, "/poweron")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_always_hangs_ends_with_what_is_awaited_and_nothing_is_deleted() {
    let lab = stopped().await;
    let ended = started(&lab, 3, None).await;
    assert_eq!(ended.end, End::Failed);
    assert!(ended.took < Duration::from_mins(13), "{:?}", ended.took);
    let last = ended.last();
    assert_eq!(last.error_class, Some(ErrorClass::Transient));
    let error = last.error.clone().unwrap();
    assert!(
        error.contains("waits for the device to be connected"),
        "{error}"
    );
    assert_eq!(given(&lab, "/poweroff"), 1);
    let world = lab.sim.world();
    assert_eq!((world.servers.len(), world.devices.len()), (1, 1));
    lab.sim.turn(Knob::BootHangs(false));
    assert_eq!(started(&lab, 4, None).await.end, End::Done);
}

/// Tailscale shows it for a while after the machine went off.
#[tokio::test(start_paused = true)]
async fn a_device_that_was_connected_while_its_machine_was_off_is_not_taken_for_a_machine() {
    for boot_hangs in [true, false] {
        let lab = stopped_and_shown(90).await;
        lab.sim.turn(Knob::BootHangs(boot_hangs));
        let gate = helped_by_its_power(&lab);
        let ended = started(&lab, 3, Some(gate)).await;
        assert_eq!(ended.end, End::Done, "{:#?}", ended.reports.last());
        assert_eq!(lab.incomplete(1), None);
        assert_eq!(given(&lab, "/poweroff"), usize::from(boot_hangs));
        let longest = Duration::from_mins(if boot_hangs { 6 } else { 5 });
        assert!(ended.took < longest, "{:?}", ended.took);
    }
}

/// Nor is it when an earlier attempt powered the machine on, or when Hetzner does not tell that it
/// was off.
#[tokio::test(start_paused = true)]
async fn a_device_of_a_machine_that_may_have_been_off_is_not_taken_for_a_machine() {
    for (deaths, fence) in [(&[3][..], 3), (&[3], 4), (&[3, 4], 5)] {
        let lab = stopped_and_shown(90).await;
        // A start that has no effect is followed by another.
        let without_effect = deaths.len().saturating_sub(1);
        lab.sim
            .turn(Knob::StartLeavesOff(u32::try_from(without_effect).unwrap()));
        for death in deaths {
            let start = Attempt::new(Operation::Start, *death);
            lab.dies_after(start, "/poweron").await;
            advance(Duration::from_secs(10)).await;
        }
        assert_eq!(given(&lab, "/poweron"), deaths.len());
        assert_eq!(lab.sim.world().servers[0].status, "running");
        let ended = started(&lab, fence, None).await;
        assert_eq!(ended.end, End::Failed, "{deaths:?}");
        assert_eq!(given(&lab, "/poweroff"), 1, "{deaths:?}");
    }
    let lab = stopped_and_shown(200).await;
    let mut away = Fault::every(Vendor::Hetzner, Effect::refuse(502, "bad_gateway", "oops"));
    (away.method, away.path_contains) = (Some(Method::GET), "/servers/".to_owned());
    lab.sim.add_fault(away);
    let (sim, began) = (lab.sim.clone(), Instant::now());
    let gate: Gate = Arc::new(move |_| {
        if began.elapsed() > Duration::from_secs(25) {
            sim.clear_faults();
        }
        Box::pin(std::future::ready(()))
    });
    let ended = started(&lab, 3, Some(gate)).await;
    assert_eq!(ended.end, End::Failed);
    assert_eq!(given(&lab, "/poweroff"), 1);
}

/// The stop dies right after it told the machine to shut down; the machine obeys later.
#[tokio::test(start_paused = true)]
async fn a_machine_that_is_on_its_way_off_is_not_taken_for_a_running_one() {
    for late in [5, 40] {
        let lab = Lab::new();
        let provision = Attempt::new(Operation::Provision, 1);
        assert_eq!(lab.run(&provision).await.end, End::Done);
        lab.sim
            .turn(Knob::ObeysLate(Some(Duration::from_secs(late))));
        let stop = Attempt::new(Operation::Stop, 2);
        lab.dies_after(stop, "/shutdown").await;
        assert_eq!(started(&lab, 3, None).await.end, End::Done);
        let waiting = lab.sim.waiting();
        assert!(waiting.is_empty(), "it stays on: {waiting:?}");
        assert_eq!(lab.incomplete(1), None);
        let server = &lab.sim.world().servers[0];
        assert_eq!(
            server.status, "running",
            "told to shut down {late} s before"
        );
    }
}

/// One that ignores what it was told runs, and is left running.
#[tokio::test(start_paused = true)]
async fn a_machine_that_was_told_to_shut_down_and_did_not_runs() {
    let lab = Lab::new();
    for (operation, fence) in [(Operation::Provision, 1), (Operation::Start, 3)] {
        if operation == Operation::Start {
            let never = Duration::from_hours(9);
            lab.sim.turn(Knob::ObeysLate(Some(never)));
            lab.shut_down_by_hand().await;
        }
        let ended = lab.run(&Attempt::new(operation, fence)).await;
        assert_eq!(ended.end, End::Done, "{:#?}", ended.last());
        assert!(ended.took < Duration::from_secs(90), "{:?}", ended.took);
    }
    assert_eq!(given(&lab, "/poweron"), 0);
}

/// Nobody knows how the machine is, so its power is not cut.
#[tokio::test(start_paused = true)]
async fn a_tailnet_that_does_not_answer_cuts_no_power() {
    let lab = stopped().await;
    lab.sim.turn(Knob::BootHangs(false));
    let mut away = Fault::every(Vendor::Tailscale, Effect::refuse(500, "", "oops"));
    away.path_contains = "/device".to_owned();
    lab.sim.add_fault(away);
    let ended = started(&lab, 3, None).await;
    assert_eq!(ended.end, End::Failed);
    let error = ended.last().error.clone().unwrap();
    assert!(error.contains("waits for Tailscale's answer"), "{error}");
    assert_eq!(given(&lab, "/poweroff"), 0);
    lab.sim.clear_faults();
    assert_eq!(started(&lab, 4, None).await.end, End::Done);
}

/// Its owner pays again: that the tailnet refuses is told, and keeps no machine off.
#[tokio::test(start_paused = true)]
async fn a_tailnet_that_refuses_keeps_no_machine_off() {
    let lab = stopped().await;
    lab.sim.turn(Knob::BootHangs(false));
    lab.sim.turn(Knob::TailscaleScopes(Vec::new()));
    let ended = started(&lab, 3, None).await;
    assert_eq!(ended.end, End::Failed);
    assert_eq!(ended.last().error_class, Some(ErrorClass::Permanent));
    assert_eq!(lab.sim.world().servers[0].status, "running");
}

/// Somebody enrolled the machine anew; the callback knows the device that is there no more.
#[tokio::test(start_paused = true)]
async fn a_machine_that_was_enrolled_anew_is_known_by_its_newest_device() {
    let lab = stopped().await;
    let known = lab.sim.world().devices[0].node_id.clone();
    let spec = Spec {
        devices: vec![known],
        ..Spec::default()
    };
    lab.tells(spec, false);
    lab.sim.add_device(&DecoyDevice {
        hostname: NAME.to_owned(),
        tags: vec!["tag:agent".to_owned()],
        online: true,
        ..DecoyDevice::default()
    });
    let ended = started(&lab, 3, None).await;
    assert_eq!(ended.end, End::Done, "{:#?}", ended.last());
    assert_eq!(given(&lab, "/poweroff"), 0);
}
