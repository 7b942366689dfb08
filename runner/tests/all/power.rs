//! A machine that is started and does not come back: its power is cut and restored, once.

use crate::lab::{Attempt, Ended, Gate, Lab};
use contract::{ErrorClass, Operation};
use http::Method;
use runner::End;
use sim::{Knob, Vendor};
use std::{sync::Arc, time::Duration};

/// A stopped machine whose next boot hangs.
async fn stopped() -> Lab {
    let lab = Lab::new();
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

#[tokio::test(start_paused = true)]
async fn a_boot_that_hangs_once_is_helped_by_its_power() {
    let lab = stopped().await;
    let sim = lab.sim.clone();
    let gate: Gate = Arc::new(move |moment| {
        if moment.call.ends_with("/poweroff") {
            sim.turn(Knob::BootHangs(false));
        }
        Box::pin(std::future::ready(()))
    });
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
