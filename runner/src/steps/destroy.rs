//! Removes everything that belongs to the agent, and ends only when the lists are empty.
//! It must not touch what carries other labels.

use crate::{
    hetzner::Server,
    lease::{Halt, Trouble},
    run::Run,
    schedule::short_pause,
    steps::{
        device,
        remove::{self, CALL_MAX, Wait},
    },
};

/// So often the lists are read until they are empty.
const ROUNDS_MAX: u32 = 6;

/// Deletes every server of the agent that is not newer than this attempt.
pub(crate) async fn servers(run: &mut Run) -> Result<(), Halt> {
    for round in 0..ROUNDS_MAX {
        let servers = run.own_servers().await?;
        if servers.is_empty() {
            return Ok(());
        }
        for server in servers {
            let fence = label(&server, "fence").parse().unwrap_or(0_i64);
            if fence > run.inputs.fence {
                let text = format!("stale: server {} belongs to attempt f{fence}", server.id);
                return Err(Trouble::transient(text).into());
            }
            run.lease.before_change().await?;
            run.actions.line(&format!("deleting server {}", server.id));
            remove::server(&run.hetzner, server.id, Wait::Plan(&run.lease)).await?;
            run.work.jobs.push(label(&server, "provisioning_job_id"));
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Err(left(run).await)
}

/// Deletes the agent's devices and every key that an attempt made for it and nobody used.
pub(crate) async fn devices_and_keys(run: &mut Run) -> Result<(), Halt> {
    device::delete_all(run).await?;
    let mut jobs = std::mem::take(&mut run.work.jobs);
    jobs.push(run.inputs.job_id.clone());
    for key in run.tailscale.keys().await? {
        let job = key.description.split(" f").next().unwrap_or_default();
        if jobs.iter().any(|own| !own.is_empty() && own == job) {
            run.lease.before_change().await?;
            run.actions.line(&format!("revoking key {}", key.id));
            run.tailscale.delete_key(&key.id, CALL_MAX).await?;
        }
    }
    Ok(())
}

/// Reads the lists again: only when they are empty is the agent gone.
pub(crate) async fn confirm(run: &mut Run) -> Result<(), Halt> {
    for round in 0..ROUNDS_MAX {
        let tag = &run.cloud.tailscale.tag;
        let devices = run.tailscale.devices(&run.server_name()).await?;
        if run.own_servers().await?.is_empty() && !devices.iter().any(|one| one.tags.contains(tag))
        {
            return Ok(());
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Err(left(run).await)
}

/// Names what is still there.
async fn left(run: &Run) -> Halt {
    let servers = run.own_servers().await.unwrap_or_default();
    let ids: Vec<String> = servers.iter().map(|server| server.id.to_string()).collect();
    Trouble::transient(format!(
        "still listed after deletion: servers [{}]",
        ids.join(", ")
    ))
    .into()
}

fn label(server: &Server, name: &str) -> String {
    server.labels.get(name).cloned().unwrap_or_default()
}
