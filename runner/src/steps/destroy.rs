//! Removes everything that belongs to the agent, and ends only when the lists are empty.
//! It must not touch what carries other labels.

use crate::{
    hetzner::{Kind, Server},
    lease::{Halt, Trouble},
    report::Inventory,
    run::Run,
    schedule::short_pause,
    steps::{
        device, key, known,
        remove::{self, CALL_MAX, Wait},
    },
    tailscale::Device,
};
use std::time::Duration;
use tokio::time::Instant;

/// So often the lists are read until they are empty.
const ROUNDS_MAX: u32 = 6;
/// A list may lag behind a create whose answer was lost, by so much at most.
const LIST_LAG_MAX: Duration = Duration::from_millis(500);

/// Deletes every server of the agent that is not newer than this attempt.
pub(crate) async fn servers(run: &mut Run) -> Result<(), Halt> {
    known::learn(run);
    run.work.jobs.clone_from(&run.spec.jobs);
    learn_job(run, run.inputs.job_id.clone());
    for round in 0..ROUNDS_MAX {
        if delete_servers(run).await? == 0 {
            return known::none_elsewhere(run).await;
        }
        run.lease.pause(short_pause(round)).await?;
    }
    let servers = left_servers(run).await?;
    let names = servers.iter().map(|server| format!("server {}", server.id));
    Err(still_listed(&names.collect::<Vec<_>>().join(", ")))
}

/// Deletes the servers that are there; gives how many there were.
async fn delete_servers(run: &mut Run) -> Result<usize, Halt> {
    let servers = none_newer(run).await?;
    for server in &servers {
        learn_job(run, label(server, "provisioning_job_id"));
        bind_addresses(run, server).await?;
        run.actions.line(&format!("deleting server {}", server.id));
        remove::server(&run.hetzner, server.id, Wait::Plan(&run.lease)).await?;
        run.work.server_deleted = true;
    }
    Ok(servers.len())
}

/// Revokes the unused keys of the agent's jobs: those that the claim's reply named, and those
/// that the labels of its servers named.
pub(crate) async fn keys(run: &mut Run) -> Result<(), Halt> {
    key::revoke_of_jobs(run).await
}

/// Has a server's addresses go with it, whatever somebody decided: without their server nothing
/// shows whose they are, and this process may die in between. Asked for without a look, since
/// looks wait for the rate budget and a delete must not. What is refused holds up no delete: the
/// confirmation looks for the addresses again.
async fn bind_addresses(run: &mut Run, server: &Server) -> Result<(), Halt> {
    run.work.addresses.extend(&server.addresses);
    for id in &server.addresses {
        run.lease.before_change().await?;
        if let Err(error) = run.hetzner.bind_address(*id, CALL_MAX).await {
            run.actions.line(&error.to_string());
        }
    }
    Ok(())
}

/// The agent's servers: by label, and by the ids that the callback knows.
async fn left_servers(run: &mut Run) -> Result<Vec<Server>, Halt> {
    let mut servers = run.own_servers().await?;
    servers.extend(known::servers(run, &servers).await?);
    Ok(servers)
}

/// The agent's devices: by hostname and tag, and by the ids that the callback knows. None while
/// a machine is kept: it keeps its way into the tailnet.
async fn left_devices(run: &mut Run) -> Result<Vec<Device>, Halt> {
    if run.work.server_released || !run.work.estranged.is_empty() {
        return Ok(Vec::new());
    }
    let mut devices = device::list(run).await?;
    devices.extend(known::devices(run, &devices).await?);
    Ok(devices)
}

/// The agent's servers, none of which a newer attempt made: else this one is stale.
async fn none_newer(run: &mut Run) -> Result<Vec<Server>, Halt> {
    let servers = left_servers(run).await?;
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
    let left = none_at_work(run).await?;
    if !left.is_empty() {
        none_newer(run).await?;
    }
    device::remove(run, &left).await
}

/// The agent's devices, none of which is at work without a server that anybody found. Either its
/// server does not show yet, or it was just removed and the device is shown as connected for a
/// while, or it is where this runner cannot see it.
async fn none_at_work(run: &mut Run) -> Result<Vec<Device>, Halt> {
    let began = Instant::now();
    loop {
        let left = left_devices(run).await?;
        let Some(device) = device::at_work(&left).filter(|_| !run.work.server_deleted) else {
            return Ok(left);
        };
        device::wait_at_work(run, device, began).await?;
        delete_servers(run).await?;
    }
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
async fn left_addresses(run: &mut Run) -> Result<Vec<u64>, Halt> {
    let mut left = run.hetzner.addresses(&run.agent_selector()).await?;
    for id in run.work.addresses.clone() {
        // One that is gone never comes back, and is not asked for again.
        if !left.contains(&id) && !run.hetzner.has_address(id).await? {
            run.work.addresses.retain(|one| *one != id);
        }
    }
    left.extend(&run.work.addresses);
    left.sort_unstable();
    left.dedup();
    Ok(left)
}

/// What is still listed, by name.
#[derive(Debug, Default)]
struct Left {
    servers: Vec<u64>,
    devices: Vec<String>,
    keys: Vec<String>,
    addresses: Vec<u64>,
}

impl Left {
    async fn read(run: &mut Run) -> Result<Self, Halt> {
        let servers = left_servers(run).await?;
        let devices = left_devices(run).await?;
        let keys = key::unused_of_jobs(run).await?;
        Ok(Self {
            servers: servers.into_iter().map(|server| server.id).collect(),
            devices: devices.into_iter().map(|device| device.node_id).collect(),
            keys: keys.into_iter().map(|key| key.id).collect(),
            addresses: left_addresses(run).await?,
        })
    }

    fn is_nothing(&self) -> bool {
        self.servers.is_empty()
            && self.devices.is_empty()
            && self.keys.is_empty()
            && self.addresses.is_empty()
    }

    fn names(&self) -> String {
        let numbers = |ids: &[u64]| ids.iter().map(u64::to_string).collect();
        let kinds: [(&str, Vec<String>); 4] = [
            ("server", numbers(&self.servers)),
            ("device", self.devices.clone()),
            ("auth key", self.keys.clone()),
            ("primary IP", numbers(&self.addresses)),
        ];
        let names = kinds
            .iter()
            .flat_map(|(kind, ids)| ids.iter().map(move |id| format!("{kind} {id}")));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Whether nothing of the agent's holds its server's name either. No server was met: there may
/// have been none, or one whose create got no answer does not show in the list yet.
async fn is_nameless(run: &mut Run) -> Result<bool, Halt> {
    run.lease.pause(LIST_LAG_MAX).await?;
    let named = run.hetzner.server_named(&run.server_name()).await?;
    let Some(server) = named.filter(|server| run.is_own(server)) else {
        return Ok(true);
    };
    run.work.known_servers.push(server.id);
    Ok(false)
}

/// Reads the lists again: only when they are empty is the agent gone. What shows late, since a
/// list lagged behind or a machine enrolled in its last moment, goes too.
pub(crate) async fn confirm(run: &mut Run) -> Result<(), Halt> {
    let mut left = Left::default();
    for round in 0..ROUNDS_MAX {
        let at = Instant::now();
        left = Left::read(run).await?;
        if left.is_nothing() && (run.work.server_deleted || is_nameless(run).await?) {
            let rows = Vec::new();
            run.work.confirmed = Some(Inventory { at, rows });
            return Ok(known::none_estranged(run)?);
        }
        if !left.servers.is_empty() {
            delete_servers(run).await?;
        }
        if !left.devices.is_empty() {
            devices(run).await?;
        }
        if !left.keys.is_empty() {
            keys(run).await?;
        }
        if !left.addresses.is_empty() {
            addresses(run).await?;
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Err(still_listed(&left.names()))
}

fn still_listed(names: &str) -> Halt {
    Trouble::transient(format!("still listed after deletion: {names}")).into()
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
