//! Powers the agent's machine off and on, and waits until it is so. Data is kept.
//! It must not delete anything.

use crate::{
    hetzner::{ActionState, Kind},
    lease::{Halt, Trouble},
    run::Run,
    schedule::short_pause,
    steps::{
        device::{self, Seen},
        known,
        remove::may_pass,
    },
};
use contract::{ErrorClass, ServerFacts};
use std::time::Duration;
use tokio::time::Instant;

/// What is waited for while no device is there.
const TO_APPEAR: &str = "the device to appear";
/// The action of a start, also of one with `poweron` (Hetzner's word).
const START: &str = "start_server";
/// Actions that tell how a server was last powered (Hetzner's words).
const POWER: [&str; 6] = [
    "create_server",
    START,
    "reboot_server",
    "reset_server",
    "stop_server",
    "shutdown_server",
];
/// Those of them after which it is off.
const OFF: [&str; 2] = ["stop_server", "shutdown_server"];
/// The polite way off: the machine is asked.
const SHUTDOWN: &str = "shutdown";
/// A machine that was asked to shut down may take this long before its power is cut.
const SHUTDOWN_MAX: Duration = Duration::from_mins(1);
/// A power change must have its effect within this.
const POWER_MAX: Duration = Duration::from_mins(4);
/// After a start the device must be back within this; no device is shown as connected for so long
/// after its machine went off.
const DEVICE_MAX: Duration = Duration::from_mins(4);

/// Shuts the machine down; cuts its power when it does not obey. One that is off is as good.
pub(crate) async fn stop(run: &mut Run) -> Result<(), Halt> {
    let began = Instant::now();
    reach(run, "off", || {
        if began.elapsed() < SHUTDOWN_MAX {
            SHUTDOWN
        } else {
            "poweroff"
        }
    })
    .await
}

/// Powers the machine on. One that runs is as good, unless an earlier attempt told it to shut
/// down: then it may be on its way, and is given the time to go off first.
pub(crate) async fn start(run: &mut Run) -> Result<(), Halt> {
    let began = Instant::now();
    let mut before = power(run).await?;
    for round in 0.. {
        if began.elapsed() > SHUTDOWN_MAX || before != Power::GoingOff {
            break;
        }
        run.lease.pause(short_pause(round)).await?;
        before = power(run).await?;
    }
    let longest = match before {
        Power::Off => DEVICE_MAX,
        Power::OffUntilStarted { since } => {
            let gone = since.map_or(0, |since| run.clock.unix_seconds().saturating_sub(since));
            DEVICE_MAX.saturating_sub(Duration::from_secs(u64::try_from(gone).unwrap_or(0)))
        }
        Power::GoingOff | Power::On => Duration::ZERO,
    };
    let lags = !longest.is_zero() && may_lag(run).await?;
    run.work.device_lags_until = lags.then(|| Instant::now() + longest);
    reach(run, "running", || "poweron").await
}

/// How the machine is powered before it is told anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    /// It is off, or nobody knows.
    Off,
    /// It was started after it had been off, since this unix second.
    OffUntilStarted {
        since: Option<i64>,
    },
    /// It is not off, although the last that was asked of it is to go off.
    GoingOff,
    On,
}

async fn power(run: &Run) -> Result<Power, Halt> {
    if status(run).await?.is_none_or(|status| status == "off") {
        return Ok(Power::Off);
    }
    let actions = match run.hetzner.newest_actions(found(run)?).await {
        Err(error) if may_pass(error.kind) || error.kind == Kind::NotFound => {
            return Ok(Power::Off);
        }
        read => read?,
    };
    let asked = actions.iter().filter(|one| POWER.contains(&&*one.command));
    let mut asked = asked.peekable();
    let is_started = asked.peek().is_some_and(|one| one.command == START);
    // Several starts in a row may have been needed.
    let before = asked.find(|one| one.command != START);
    Ok(match before.filter(|one| OFF.contains(&&*one.command)) {
        None => Power::On,
        Some(_) if !is_started => Power::GoingOff,
        Some(off) => Power::OffUntilStarted { since: off.started },
    })
}

/// Whether the device of a machine that is off is shown as connected, or may be: then that it is
/// connected says nothing for a while. Trouble in the tailnet keeps no machine off.
async fn may_lag(run: &mut Run) -> Result<bool, Halt> {
    match look(run).await {
        Ok(seen) => Ok(matches!(seen, Seen::Ready(..))),
        Err(Halt::Failed(_)) => Ok(true),
        Err(why) => Err(why),
    }
}

/// A power change that was asked for.
#[derive(Debug)]
struct Asked {
    command: &'static str,
    /// The action to watch; none when the answer named none.
    action: Option<u64>,
    /// It ended; if that did not help, it is asked for again.
    over: bool,
}

/// Asks for a power change until the server's status is as wanted. The status alone is the
/// proof; the action shows early that the change has to be asked for again.
async fn reach(
    run: &Run,
    wanted: &'static str,
    command: impl Fn() -> &'static str,
) -> Result<(), Halt> {
    let began = Instant::now();
    let mut asked: Option<Asked> = None;
    for round in 0.. {
        if status(run).await?.as_deref() == Some(wanted) {
            return Ok(());
        }
        let command = command();
        match &mut asked {
            Some(before) if before.command == command && !before.over => {
                before.over = ended(run, before).await?;
            }
            Some(_) | None => asked = change(run, command).await?,
        }
        if began.elapsed() > POWER_MAX {
            let text = format!("the server is not {wanted} after {} s", POWER_MAX.as_secs());
            return Err(Trouble::transient(text).into());
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Ok(())
}

/// Whether the action ended, so that waiting longer is no use. A shutdown that ended well only
/// told the machine; it may still be on its way. What cannot be seen has not ended.
async fn ended(run: &Run, asked: &Asked) -> Result<bool, Halt> {
    let Some(id) = asked.action else {
        return Ok(false);
    };
    let found = match run.hetzner.actions(&[id]).await {
        Ok(found) => found.into_iter().find(|one| one.id == id),
        Err(error) if may_pass(error.kind) || error.kind == Kind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    Ok(match found.map(|one| one.state) {
        Some(ActionState::Failed(why)) => {
            run.actions
                .line(&format!("{} failed: {why}", asked.command));
            true
        }
        Some(ActionState::Success) => asked.command != SHUTDOWN,
        Some(ActionState::Running) | None => false,
    })
}

/// Waits until the device that was there before is connected again. A machine that hangs in its
/// boot helps itself no more, and nobody can reach it: its power is cut and restored, once. Only
/// what Tailscale says of the device shows that; a machine that waits for an approval, or of
/// which nobody tells, may be at work.
pub(crate) async fn await_return(run: &mut Run) -> Result<(), Halt> {
    let Err(waits) = returned(run).await? else {
        return Ok(());
    };
    if ![device::TO_BE_CONNECTED, TO_APPEAR].contains(&waits) {
        let text = format!(
            "after {} s the run still waits for {waits}",
            DEVICE_MAX.as_secs()
        );
        return Err(Trouble::transient(text).into());
    }
    run.actions.line(&format!(
        "after {} s the run still waits for {waits}; the power is cut and restored",
        DEVICE_MAX.as_secs()
    ));
    reach(run, "off", || "poweroff").await?;
    start(run).await?;
    returned(run).await?.map_err(|waits| {
        let text = format!(
            "{} s after its power was cut and restored the run still waits for {waits}",
            DEVICE_MAX.as_secs()
        );
        Trouble::transient(text).into()
    })
}

/// Waits for the device; what it still waited for when it has waited long enough.
async fn returned(run: &mut Run) -> Result<Result<(), &'static str>, Halt> {
    let began = Instant::now();
    loop {
        let seen = match look(run).await {
            Err(Halt::Failed(trouble)) if trouble.class == ErrorClass::Transient => {
                run.actions.line(&trouble.text);
                Seen::Waiting("Tailscale's answer")
            }
            seen => seen?,
        };
        if matches!(seen, Seen::Nothing | Seen::Waiting(device::TO_BE_CONNECTED)) {
            run.work.device_lags_until = None;
        }
        let lags_until = run.work.device_lags_until;
        let lags = lags_until.is_some_and(|until| Instant::now() <= until);
        let waits = match seen {
            // So it was before the machine had its power back.
            Seen::Ready(..) if lags => device::TO_BE_CONNECTED,
            Seen::Ready(device, address) => {
                run.actions
                    .line(&format!("device {} is back at {address}", device.node_id));
                run.made.change(|made| {
                    made.tell(ServerFacts {
                        device_id: Some(device.node_id),
                        tailscale_ip: Some(address.to_string()),
                        ..ServerFacts::default()
                    });
                });
                return Ok(Ok(()));
            }
            Seen::Broken(why) => return Err(Trouble::permanent(why).into()),
            Seen::Waiting(what) => what,
            Seen::Nothing => TO_APPEAR,
        };
        if began.elapsed() > DEVICE_MAX {
            return Ok(Err(waits));
        }
        let pause = device::pause(run, began.elapsed());
        run.lease.pause(pause).await?;
    }
}

/// One look for the machine's device: the newest of those that bear our hostname and tag, and of
/// those that the callback knows, whatever these have become.
async fn look(run: &mut Run) -> Result<Seen, Halt> {
    let mut devices = device::look(run).await?;
    devices.extend(known::devices(run, &devices).await?);
    let newest = devices.into_iter().max_by_key(|device| device.created);
    Ok(newest.map_or(Seen::Nothing, device::state))
}

/// The server's status; `None` when it is not known just now.
async fn status(run: &Run) -> Result<Option<String>, Halt> {
    let id = found(run)?;
    match run.hetzner.server(id).await {
        Ok(Some(server)) => Ok(Some(server.status)),
        Ok(None) => Err(Trouble::permanent(format!("server {id} vanished")).into()),
        Err(error) if may_pass(error.kind) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Asks for a power change; `None` when it has to be asked for again.
async fn change(run: &Run, command: &'static str) -> Result<Option<Asked>, Halt> {
    run.lease.before_change().await?;
    match run.hetzner.power(found(run)?, command).await {
        Ok(action) => {
            run.actions.line(&format!("{command} asked for"));
            let action = action.map(|one| one.id);
            Ok(Some(Asked {
                command,
                action,
                over: false,
            }))
        }
        Err(error) if may_pass(error.kind) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn found(run: &Run) -> Result<u64, Halt> {
    let found = run.work.found.as_ref().map(|server| server.id);
    found.ok_or_else(|| Trouble::permanent("no server was looked for").into())
}
