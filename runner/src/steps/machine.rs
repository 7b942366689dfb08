//! Waits until the server is up and its device is in the tailnet. Both are watched at once: the
//! device shows the end, the actions show failure early.
//! It must not make anything but a power-on of our own server.

use crate::{
    hetzner::{Action, ActionState, Error, Kind},
    lease::{Halt, Trouble},
    run::Run,
    schedule::{next_action_look, short_pause},
    steps::{device, remove::may_pass},
};
use contract::ServerFacts;
use std::time::Duration;
use tokio::time::Instant;

/// A create with all that follows must end within this.
const SERVER_MAX: Duration = Duration::from_mins(5);
/// A device must be there so long after its server was asked for.
const DEVICE_MAX: Duration = Duration::from_mins(10);
/// While no device appears the server itself is looked at after so long at the earliest, and then
/// each time at three times the time: rarely, since a machine that is late is mostly just slow.
const SERVER_LOOK: Duration = Duration::from_secs(75);
/// A machine that was left off is powered on so often at most.
const POWER_ONS_MAX: u32 = 3;
/// It is looked at again so long after it was asked for, whether that was taken or not.
const POWER_AGAIN: Duration = Duration::from_secs(15);
/// A machine whose actions nobody knows any more was left off when it is off after so long.
const LEFT_OFF: Duration = Duration::from_secs(30);
/// So often an address is asked for that came late.
const ADDRESS_LOOKS_MAX: u32 = 5;

/// What the actions say together.
#[derive(Debug, PartialEq, Eq)]
enum Together {
    Running {
        progress: u64,
    },
    Success,
    Failed(String),
    /// None of them is known any more.
    Vanished,
}

fn together(ids: &[u64], actions: &[Action]) -> Together {
    let mut progress = 100;
    let mut running = false;
    for action in actions {
        match &action.state {
            ActionState::Failed(why) => {
                return Together::Failed(format!("{} failed: {why}", action.command));
            }
            ActionState::Running => {
                running = true;
                progress = progress.min(action.progress);
            }
            ActionState::Success => {}
        }
    }
    let known = |id: &&u64| actions.iter().any(|action| action.id == **id);
    match (running, ids.iter().filter(known).count()) {
        (true, _) => Together::Running { progress },
        (false, count) if count == ids.len() && count > 0 => Together::Success,
        (false, _) => Together::Vanished,
    }
}

/// Waits for the create action and all that follow it.
pub(crate) async fn await_server(run: &mut Run) -> Result<(), Halt> {
    if run.work.device.is_some() {
        return address(run).await;
    }
    let began = run.work.asked_at.unwrap_or_else(Instant::now);
    let mut looks = 0;
    let mut progress = 0;
    let mut next_look = next_action_look(Duration::ZERO, 0, 0);
    loop {
        let elapsed = began.elapsed();
        let too_late = elapsed > SERVER_MAX;
        if too_late || elapsed >= next_look && run.hetzner.until_poll().is_zero() {
            match look(run, elapsed).await? {
                Together::Success => break,
                Together::Failed(why) => return Err(Trouble::transient(why).into()),
                Together::Running { progress: shown } => progress = shown,
                Together::Vanished => {}
            }
            if too_late {
                let text = format!("the server is not up after {} s", SERVER_MAX.as_secs());
                return Err(Trouble::transient(text).into());
            }
            looks += 1;
            next_look = next_action_look(began.elapsed(), progress, looks);
        }
        watch_device(run).await?;
        if run.work.device.is_some() {
            // A machine that has enrolled is up: no look is needed to know it.
            break;
        }
        // A drained rate budget puts a look off; the device is watched meanwhile.
        let until_look = next_look.saturating_sub(began.elapsed());
        let until_look = until_look.max(run.hetzner.until_poll());
        let pause = device::pause(run, began.elapsed()).min(until_look);
        run.lease.pause(pause).await?;
    }
    address(run).await
}

/// One look at the actions; at the server itself where no action is known, as after an adoption.
async fn look(run: &Run, elapsed: Duration) -> Result<Together, Halt> {
    if !run.work.actions.is_empty() {
        match run.hetzner.look_at_actions(&run.work.actions).await {
            Ok(actions) => match together(&run.work.actions, &actions) {
                Together::Vanished => {}
                known @ (Together::Running { .. } | Together::Success | Together::Failed(_)) => {
                    return Ok(known);
                }
            },
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => return passing(error).map(|()| Together::Running { progress: 0 }),
        }
    }
    let status = status(run).await?;
    if status.as_deref() == Some("off") && elapsed >= LEFT_OFF {
        power_on(run).await?;
    }
    Ok(if status.as_deref() == Some("running") {
        Together::Success
    } else {
        Together::Running { progress: 0 }
    })
}

/// The server's status and, on the way, its address. `None`: not known just now.
async fn status(run: &Run) -> Result<Option<String>, Halt> {
    let Some(id) = run.made.all().server else {
        return Err(Trouble::transient("there is no server to wait for").into());
    };
    match run.hetzner.look_at(id).await {
        Ok(Some(server)) => {
            run.note_server(&server);
            if server.ipv4.is_none() && run.made.facts().server_ip.is_none() {
                run.actions
                    .line(&format!("server {id} has no IPv4 address yet"));
            }
            Ok(Some(server.status))
        }
        Ok(None) => Err(Trouble::transient(format!("server {id} vanished")).into()),
        Err(error) => passing(error).map(|()| None),
    }
}

/// An error that a later look may not meet.
fn passing(error: Error) -> Result<(), Halt> {
    if may_pass(error.kind) {
        Ok(())
    } else {
        Err(error.into())
    }
}

/// Sees to it that an address is known: it may come after the create's answer, or there is none
/// but IPv6.
async fn address(run: &Run) -> Result<(), Halt> {
    for round in 0..ADDRESS_LOOKS_MAX {
        let (None, Some(id)) = (run.made.facts().server_ip, run.made.all().server) else {
            return Ok(());
        };
        if let Some(server) = run.hetzner.server(id).await? {
            run.note_server(&server);
            if round + 1 == ADDRESS_LOOKS_MAX && server.ipv4.is_none() {
                let server_ip = server.ipv6;
                run.made.change(|made| {
                    made.tell(ServerFacts {
                        server_ip,
                        ..ServerFacts::default()
                    });
                });
            }
        }
        if run.made.facts().server_ip.is_none() {
            run.lease.pause(short_pause(round)).await?;
        }
    }
    if run.made.facts().server_ip.is_none() {
        return Err(Trouble::transient("the server has no public address").into());
    }
    Ok(())
}

/// One look for the device, unless it has to wait; trouble that may pass is passed over.
async fn watch_device(run: &mut Run) -> Result<(), Halt> {
    if !run.tailscale.until_look().is_zero() {
        return Ok(());
    }
    match device::poll(run).await {
        Ok(_) => Ok(()),
        Err(Halt::Failed(trouble)) if trouble.class == contract::ErrorClass::Transient => {
            run.actions.line(&trouble.text);
            Ok(())
        }
        Err(why) => Err(why),
    }
}

/// Waits for the device. A server that stands still is looked at: one that was left off is
/// powered on, one that vanished ends the attempt.
pub(crate) async fn await_device(run: &mut Run) -> Result<(), Halt> {
    let began = run.work.asked_at.unwrap_or_else(Instant::now);
    let mut next_server_look = (began.elapsed() + SERVER_LOOK).max(began.elapsed() * 3);
    let mut power_ons = 0;
    while run.work.device.is_none() {
        watch_device(run).await?;
        let elapsed = began.elapsed();
        if run.work.device.is_some() {
            break;
        }
        if elapsed > DEVICE_MAX {
            let waits = run.work.device_waits_for.unwrap_or("the machine to enrol");
            let text = format!(
                "no usable device after {} s, it waits for {waits}",
                DEVICE_MAX.as_secs()
            );
            return Err(Trouble::transient(text).into());
        }
        if elapsed >= next_server_look && run.hetzner.until_poll().is_zero() {
            next_server_look = elapsed * 3;
            if status(run).await?.as_deref() == Some("off") && power_ons < POWER_ONS_MAX {
                power_ons += u32::from(power_on(run).await?);
                next_server_look = elapsed + POWER_AGAIN;
            }
        }
        run.lease.pause(device::pause(run, elapsed)).await?;
    }
    let facts = run.made.facts();
    let shown = |text: Option<String>| text.unwrap_or_default();
    run.actions.line(&format!(
        "device {} at {}",
        shown(facts.device_id),
        shown(facts.tailscale_ip)
    ));
    Ok(())
}

/// Whether it was taken; a refusal that may pass is none.
async fn power_on(run: &Run) -> Result<bool, Halt> {
    let Some(id) = run.made.all().server else {
        return Ok(false);
    };
    run.actions
        .line(&format!("server {id} is off, it is powered on"));
    run.lease.before_change().await?;
    match run.hetzner.power(id, "poweron").await {
        Ok(_) => Ok(true),
        Err(error) => passing(error).map(|()| false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(id: u64, state: ActionState, progress: u64) -> Action {
        Action {
            id,
            command: "create_server".to_owned(),
            state,
            progress,
            started: None,
        }
    }

    #[test]
    fn all_actions_must_end_well() {
        let running = action(1, ActionState::Running, 40);
        let done = action(2, ActionState::Success, 100);
        let failed = action(3, ActionState::Failed("x (y)".to_owned()), 10);
        for (ids, actions, expected) in [
            (&[2][..], vec![done.clone()], Together::Success),
            (
                &[1, 2],
                vec![running.clone(), done.clone()],
                Together::Running { progress: 40 },
            ),
            (&[1, 2], vec![done], Together::Vanished),
            (&[], vec![], Together::Vanished),
            (
                &[1, 3],
                vec![running, failed],
                Together::Failed("create_server failed: x (y)".to_owned()),
            ),
        ] {
            assert_eq!(together(ids, &actions), expected);
        }
    }
}
