//! What the callback knows to be the agent's, by id: labels, tags and hostnames may have changed
//! since, by another setting or by hand. It must not delete anything.

use crate::{
    hetzner::Server,
    lease::{Halt, Trouble},
    run::Run,
    tailscale::Device,
};

/// Takes over what the claim's reply told.
pub(crate) fn learn(run: &mut Run) {
    let servers = run.spec.servers.iter().filter_map(|id| id.parse().ok());
    run.work.known_servers = servers.collect();
    run.work.known_devices.clone_from(&run.spec.devices);
}

/// The known servers that still exist and are not among `listed`. Ids are never given again, so
/// one that is gone is not asked for a second time. One whose label says that somebody else
/// manages it stays; one that has neither the agent's name nor its label any more stays too, and
/// [`none_estranged`] names it.
pub(crate) async fn servers(run: &mut Run, listed: &[Server]) -> Result<Vec<Server>, Halt> {
    let mut found = Vec::new();
    for id in run.work.known_servers.clone() {
        if listed.iter().any(|server| server.id == id) {
            continue;
        }
        match run.hetzner.server(id).await? {
            None => {
                run.work.known_servers.retain(|known| *known != id);
                run.work.missed_servers.push(id);
                let text = format!("server {id} is not in this Hetzner project any more");
                run.actions.line(&text);
            }
            Some(server) if released_to(&server).is_none() && is_recognised(run, &server) => {
                if !run.is_own(&server) {
                    let text = format!("server {id} is the agent's, whatever its labels say");
                    run.actions.line(&text);
                }
                found.push(server);
            }
            Some(server) => {
                run.work.known_servers.retain(|known| *known != id);
                if let Some(by) = released_to(&server) {
                    let text = format!("server {id} is managed by {by:?} now, so it stays");
                    run.actions.remark("Released", &text);
                    run.work.server_released = true;
                } else {
                    run.work.estranged.push(server);
                }
            }
        }
    }
    Ok(found)
}

/// Whether every known server could be recognised or is gone.
///
/// # Errors
/// Names the others: somebody may have made something else of them, so they are not touched.
pub(crate) fn none_estranged(run: &Run) -> Result<(), Trouble> {
    let names = run.work.estranged.iter();
    let names: Vec<String> = names
        .map(|server| format!("server {} ({})", server.id, server.name))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Trouble::permanent(format!(
        "made for this agent, and under another name and other labels now: {}; remove it, or call \
         it {} again, or give it a label managed_by of your own to keep it, then retry",
        names.join(", "),
        run.server_name()
    )))
}

/// Whether the servers that nobody found are gone, or the token is of another project: there too
/// none of them is found, and nothing else shows that a stopped machine is still paid for. The SSH
/// key tells, unless it was changed together with the token; so a person is told in any case.
///
/// # Errors
/// When the project has no such key.
pub(crate) async fn none_elsewhere(run: &Run) -> Result<(), Halt> {
    let key = run.cloud.hetzner.ssh_key_id;
    let missed: Vec<String> = run.work.missed_servers.iter().map(u64::to_string).collect();
    if missed.is_empty() || run.work.server_deleted {
        return Ok(());
    }
    let missed = missed.join(", ");
    if run.hetzner.ssh_key_name(key).await?.is_none() {
        return Err(Trouble::permanent(format!(
            "this Hetzner project has neither the agent's server {missed} nor SSH key {key}, so \
             it seems to be another one; set HETZNER_API_TOKEN to the project that holds the \
             server or, when the server is gone, HETZNER_SSH_KEY_ID to a key of this one, then \
             retry"
        ))
        .into());
    }
    run.actions.warn(&format!(
        "server {missed} was gone before; if neither a person nor an earlier attempt deleted it, \
         it is in another Hetzner project and still paid for"
    ));
    Ok(())
}

/// Who manages a server now, when a label says that somebody else does.
fn released_to(server: &Server) -> Option<&str> {
    let by = server.labels.get("managed_by")?;
    (by != "slipway").then_some(by)
}

/// Whether a server still shows by its name or its label whose it is.
fn is_recognised(run: &Run, server: &Server) -> bool {
    server.name == run.server_name() || server.labels.get("agent_id") == Some(&run.inputs.agent_id)
}

/// The known devices that are still in the tailnet and not among `listed`.
pub(crate) async fn devices(run: &mut Run, listed: &[Device]) -> Result<Vec<Device>, Halt> {
    let mut found = Vec::new();
    let foreign = run.made.all().foreign;
    for id in run.work.known_devices.clone() {
        if listed.iter().any(|device| device.node_id == id) || foreign.contains(&id) {
            continue;
        }
        match run.tailscale.device(&id).await? {
            None => run.work.known_devices.retain(|known| *known != id),
            Some(device) => found.push(device),
        }
    }
    Ok(found)
}
