//! Holds the world and the data against what must be once everything is at rest.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use domain::{AgentState, Payment, Timestamp, Wish};
use sim::World;
use store::AgentRow;

use super::Set;
use super::watch::{Watch, is_at_rest};

/// What was found, and whether it is well.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) lines: Vec<String>,
    pub(super) well: bool,
}

/// A machine that has to be there: its agent's name at Hetzner, and Hetzner's id.
type Machine = (String, String);

pub(super) async fn check(set: &Set<'_>, watch: &Watch<'_>, is_at_rest: bool) -> Result<Verdict> {
    let world = set.stack.sim().world();
    let mut wrong = set.tally.complaints();
    if !is_at_rest {
        wrong.push("not everything came to rest in time".to_owned());
    }
    if watch.rows().next().is_none() {
        wrong.push("no payment was ever taken".to_owned());
    }
    let mut machines = BTreeSet::new();
    for row in watch.rows() {
        wrong.extend(of_agent(row));
        let status = watch
            .store
            .agent_status(row.agent_id, Timestamp::from_unix_seconds(0))
            .await?;
        let instance = status.and_then(|status| status.instance);
        match (instance, row.state) {
            (Some(_), AgentState::Deleted | AgentState::Draft) => {
                wrong.push(format!("{} is {} and has an instance", row.name, row.state));
            }
            (Some(instance), _) => {
                machines.insert((format!("agent-{}", row.agent_id), instance.server_id));
            }
            (None, _) => {}
        }
    }
    wrong.extend(outside(&world, &machines));
    wrong.extend(keys(&world, watch));
    wrong.extend(watch.store.contradictions().await?);
    let dead = set.stack.queue().dead_letters();
    wrong.extend(dead.iter().map(|body| format!("a dead message: {body}")));
    let mut lines = watch.lines();
    lines.push(format!(
        "outside    {} servers and {} devices for {} agents with a machine",
        world.servers.len(),
        world.devices.len(),
        machines.len()
    ));
    lines.extend(wrong.iter().map(|what| format!("WRONG      {what}")));
    let well = wrong.is_empty();
    let seed = set.seed;
    lines.push(if well {
        format!("all is well (seed {seed})")
    } else {
        format!(
            "NOT all is well: {} things are wrong (seed {seed})",
            wrong.len()
        )
    });
    Ok(Verdict { lines, well })
}

/// What is wrong with an agent, whatever is outside.
fn of_agent(row: &AgentRow) -> Option<String> {
    let (name, state) = (&row.name, row.state);
    if !is_at_rest(row) {
        let job = row.job.map_or_else(
            || "none".to_owned(),
            |(kind, state)| format!("{kind} {state}"),
        );
        return Some(format!("{name} is {state}, its job: {job}"));
    }
    let fits = match (row.payment, row.wish) {
        (Payment::Canceled | Payment::None, _) | (_, Wish::Delete) => {
            matches!(state, AgentState::Deleted | AgentState::Draft)
        }
        // What could not be started again rests with its data.
        (Payment::Active, Wish::Run) => matches!(
            state,
            AgentState::Active
                | AgentState::AwaitingCredentials
                | AgentState::Failed
                | AgentState::Paused
                | AgentState::Suspended
        ),
        // What was not made yet is not made to be stopped.
        (Payment::PastDue, _) | (Payment::Active, Wish::Stop) => true,
    };
    if !fits {
        return Some(format!(
            "{name} is {} and {}, and {state}",
            row.payment, row.wish
        ));
    }
    let works = matches!(state, AgentState::Active | AgentState::AwaitingCredentials);
    let wanted = (row.payment, row.wish) == (Payment::Active, Wish::Run);
    let silent = row.reason.is_none() && (state == AgentState::Failed || wanted && !works);
    silent.then(|| format!("{name} is {state} and does not say why"))
}

/// A server and a device for each machine, and nothing else.
fn outside(world: &World, machines: &BTreeSet<Machine>) -> Vec<String> {
    let servers = world.servers.iter();
    let servers: BTreeSet<Machine> = servers
        .map(|server| (server.name.clone(), server.id.to_string()))
        .collect();
    let mut wrong: Vec<_> = servers
        .difference(machines)
        .map(|(name, id)| format!("server {id} ({name}) is nobody's"))
        .collect();
    let missing = machines.difference(&servers);
    wrong.extend(missing.map(|(name, id)| format!("server {id} ({name}) is missing")));
    let mut devices: BTreeMap<&str, usize> = BTreeMap::new();
    for device in &world.devices {
        *devices.entry(&device.hostname).or_default() += 1;
    }
    for (name, _) in machines {
        let count = devices.remove(&**name).unwrap_or_default();
        if count != 1 {
            wrong.push(format!("{name} has {count} devices"));
        }
    }
    let nobodys = devices
        .keys()
        .map(|name| format!("device {name} is nobody's"));
    wrong.extend(nobodys);
    wrong
}

/// Keys that could still be used. Each is described by the job that it was made for.
fn keys(world: &World, watch: &Watch<'_>) -> Vec<String> {
    let usable = world.keys.iter().filter(|key| key.usable);
    let told = usable.map(|key| {
        let job = key.description.split(' ').next().unwrap_or_default();
        let (id, owner) = (&key.id, watch.owner(job));
        format!("auth key {id} ({}) is left, of {owner}", key.description)
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::{DecoyDevice, DecoyServer, Sim, SimConfig};

    #[tokio::test]
    async fn what_is_missing_doubled_or_nobodys_is_told() {
        let sim = Sim::in_process(SimConfig::default());
        let server = |name: &str| {
            let name = name.to_owned();
            let decoy = DecoyServer {
                name,
                ..DecoyServer::default()
            };
            sim.add_server(&decoy).to_string()
        };
        let device = |hostname: &str| {
            sim.add_device(&DecoyDevice {
                hostname: hostname.to_owned(),
                ..DecoyDevice::default()
            });
        };
        let mut machines = BTreeSet::from([("agent-1".to_owned(), server("agent-1"))]);
        device("agent-1");
        assert_eq!(outside(&sim.world(), &machines), Vec::<String>::new());

        let stray = server("agent-2");
        device("agent-1");
        device("agent-3");
        machines.insert(("agent-4".to_owned(), "17".to_owned()));
        let wrong = outside(&sim.world(), &machines);
        let expected = [
            format!("server {stray} (agent-2) is nobody's"),
            "server 17 (agent-4) is missing".to_owned(),
            "agent-1 has 2 devices".to_owned(),
            "agent-4 has 0 devices".to_owned(),
            "device agent-3 is nobody's".to_owned(),
        ];
        assert_eq!(wrong, expected);
    }
}
