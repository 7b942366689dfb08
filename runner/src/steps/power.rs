//! Powers the agent's machine off and on, and waits until it is so. Data is kept.
//! It must not delete anything.

use crate::{
    lease::{Halt, Trouble},
    run::Run,
    schedule::{device_pause, short_pause},
    steps::{
        device::{self, Seen},
        remove::may_pass,
    },
};
use std::time::Duration;
use tokio::time::Instant;

/// A machine that was asked to shut down may take this long before its power is cut.
const SHUTDOWN_MAX: Duration = Duration::from_mins(1);
/// A power change must have its effect within this.
const POWER_MAX: Duration = Duration::from_mins(4);
/// After a start the device must be back within this.
const DEVICE_MAX: Duration = Duration::from_mins(5);

/// Shuts the machine down; cuts its power when it does not obey. One that is off is as good.
pub(crate) async fn stop(run: &mut Run) -> Result<(), Halt> {
    let began = Instant::now();
    let mut asked = None;
    for round in 0.. {
        if status(run).await?.as_deref() == Some("off") {
            return Ok(());
        }
        let wanted = if began.elapsed() < SHUTDOWN_MAX {
            "shutdown"
        } else {
            "poweroff"
        };
        if asked != Some(wanted) && change(run, wanted).await? {
            asked = Some(wanted);
        }
        in_time(began, "off")?;
        run.lease.pause(short_pause(round)).await?;
    }
    Ok(())
}

/// Powers the machine on. One that runs is as good.
pub(crate) async fn start(run: &mut Run) -> Result<(), Halt> {
    let began = Instant::now();
    let mut asked = false;
    for round in 0.. {
        if status(run).await?.as_deref() == Some("running") {
            return Ok(());
        }
        if !asked {
            asked = change(run, "poweron").await?;
        }
        in_time(began, "running")?;
        run.lease.pause(short_pause(round)).await?;
    }
    Ok(())
}

/// Waits until the device that was there before is connected again.
pub(crate) async fn await_return(run: &mut Run) -> Result<(), Halt> {
    let began = Instant::now();
    loop {
        let devices = run.tailscale.devices(&run.server_name()).await?;
        let waits = match device::ours(devices, &run.cloud.tailscale.tag, None) {
            Seen::Ready(device, address) => {
                run.actions
                    .line(&format!("device {} is back at {address}", device.node_id));
                run.made.change(|made| {
                    made.facts.device_id = Some(device.node_id);
                    made.facts.tailscale_ip = Some(address.to_string());
                });
                return Ok(());
            }
            Seen::Broken(why) => return Err(Trouble::permanent(why).into()),
            Seen::Waiting(what) => what,
            Seen::Nothing => "the device to appear",
        };
        if began.elapsed() > DEVICE_MAX {
            let text = format!(
                "after {} s the run still waits for {waits}",
                DEVICE_MAX.as_secs()
            );
            return Err(Trouble::transient(text).into());
        }
        run.lease.pause(device_pause(began.elapsed())).await?;
    }
}

fn in_time(began: Instant, wanted: &str) -> Result<(), Halt> {
    if began.elapsed() > POWER_MAX {
        let text = format!("the server is not {wanted} after {} s", POWER_MAX.as_secs());
        return Err(Trouble::transient(text).into());
    }
    Ok(())
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

/// Asks for a power change; false when it has to be asked for again.
async fn change(run: &Run, command: &str) -> Result<bool, Halt> {
    run.lease.before_change().await?;
    match run.hetzner.power(found(run)?, command).await {
        Ok(_) => {
            run.actions.line(&format!("{command} asked for"));
            Ok(true)
        }
        Err(error) if may_pass(error.kind) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn found(run: &Run) -> Result<u64, Halt> {
    let found = run.work.found.as_ref().map(|server| server.id);
    found.ok_or_else(|| Trouble::permanent("no server was looked for").into())
}
