//! Removes everything that belongs to the agent, and ends only when the lists are empty.
//! It must not touch what carries other labels.

use crate::{
    hetzner::{Kind, Server},
    lease::{Halt, Trouble},
    run::Run,
    schedule::short_pause,
    steps::{
        device, key,
        remove::{self, CALL_MAX, Wait},
    },
};

/// So often the lists are read until they are empty.
const ROUNDS_MAX: u32 = 6;

/// Deletes every server of the agent that is not newer than this attempt; before it the keys of
/// the agent's jobs. The claim's reply names those jobs, and so do the labels of the servers.
pub(crate) async fn servers(run: &mut Run) -> Result<(), Halt> {
    run.work.jobs.clone_from(&run.spec.jobs);
    learn_job(run, run.inputs.job_id.clone());
    for round in 0..ROUNDS_MAX {
        let servers = none_newer(run).await?;
        for server in &servers {
            learn_job(run, label(server, "provisioning_job_id"));
        }
        key::revoke_of_jobs(run).await?;
        if servers.is_empty() {
            return Ok(());
        }
        for server in servers {
            run.work.addresses.extend(&server.addresses);
            run.actions.line(&format!("deleting server {}", server.id));
            remove::server(&run.hetzner, server.id, Wait::Plan(&run.lease)).await?;
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Err(still_listed([run.own_servers().await?.len(), 0, 0, 0]))
}

/// The agent's servers, none of which a newer attempt made: else this one is stale.
async fn none_newer(run: &Run) -> Result<Vec<Server>, Halt> {
    let servers = run.own_servers().await?;
    let newer = servers
        .iter()
        .find(|server| fence(server) > run.inputs.fence);
    if let Some(server) = newer {
        let text = format!(
            "stale: server {} belongs to attempt f{}",
            server.id,
            fence(server)
        );
        return Err(Trouble::transient(text).into());
    }
    Ok(servers)
}

/// Deletes the agent's devices. They are read before the servers: while no newer attempt has a
/// server, none of them can be a newer one's.
pub(crate) async fn devices(run: &mut Run) -> Result<(), Halt> {
    let left = device::list(run).await?;
    if !left.is_empty() {
        none_newer(run).await?;
    }
    device::remove(run, &left).await
}

/// Deletes the addresses that did not go with their servers.
pub(crate) async fn addresses(run: &mut Run) -> Result<(), Halt> {
    for id in left_addresses(run).await? {
        run.lease.before_change().await?;
        run.actions.line(&format!("deleting primary IP {id}"));
        match run.hetzner.delete_address(id, CALL_MAX).await {
            Ok(()) => {}
            // The confirmation tells whether it is still there.
            Err(error) if remove::may_pass(error.kind) || error.kind == Kind::Refused => {
                run.actions.line(&error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The agent's addresses: those that carry its labels, and those of the servers just deleted.
async fn left_addresses(run: &Run) -> Result<Vec<u64>, Halt> {
    let mut left = run.hetzner.addresses(&run.agent_selector()).await?;
    for id in &run.work.addresses {
        if !left.contains(id) && run.hetzner.has_address(*id).await? {
            left.push(*id);
        }
    }
    Ok(left)
}

/// Reads the lists again: only when they are empty is the agent gone.
pub(crate) async fn confirm(run: &mut Run) -> Result<(), Halt> {
    let mut left = [0; 4];
    for round in 0..ROUNDS_MAX {
        left = [
            run.own_servers().await?.len(),
            device::list(run).await?.len(),
            key::unused_of_jobs(run).await?.len(),
            left_addresses(run).await?.len(),
        ];
        let [_, devices_left, keys_left, addresses_left] = left;
        if left == [0; 4] {
            return Ok(());
        }
        // A machine that was going enrolled in its last moment, or a list lagged behind.
        if devices_left > 0 {
            devices(run).await?;
        }
        if keys_left > 0 {
            key::revoke_of_jobs(run).await?;
        }
        if addresses_left > 0 {
            addresses(run).await?;
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Err(still_listed(left))
}

fn still_listed([servers, devices, keys, addresses]: [usize; 4]) -> Halt {
    let text = format!(
        "still listed after deletion: {servers} servers, {devices} devices, {keys} auth keys, \
         {addresses} primary IPs"
    );
    Trouble::transient(text).into()
}

/// Remembers a job whose attempts may have left keys.
fn learn_job(run: &mut Run, job: String) {
    if !job.is_empty() && !run.work.jobs.contains(&job) {
        run.work.jobs.push(job);
    }
}

fn label(server: &Server, name: &str) -> String {
    server.labels.get(name).cloned().unwrap_or_default()
}

/// A server without a readable fence is as old as can be.
fn fence(server: &Server) -> i64 {
    label(server, "fence").parse().unwrap_or(0)
}
