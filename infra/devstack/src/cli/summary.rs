//! What a run of payments came to. Pure: agents and the world in, lines and verdict out.

use std::collections::BTreeMap;
use std::time::Duration;

use devstack::Stack;
use sim::{Conclusion, World};

use super::follow::Followed;
use super::output::seconds;

/// The world after a demo, held against what it should be.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) lines: Vec<String>,
    pub(crate) well: bool,
}

/// What can be said without looking into the fakes.
pub(crate) fn lines(agents: &[Followed]) -> Vec<String> {
    let ready: Vec<_> = agents
        .iter()
        .filter_map(|agent| agent.ready_after)
        .collect();
    let mut lines = vec![format!(
        "ready      {} of {} agents",
        ready.len(),
        agents.len()
    )];
    lines.extend(spread("payment to ready", ready));
    lines
}

/// Agents, servers, devices, keys, messages, and the time that is Slipway's own.
pub(crate) fn verdict(agents: &[Followed], stack: &Stack) -> Verdict {
    let world = stack.sim().world();
    let dead = stack.queue().dead_letters().len();
    let mut lines = lines(agents);
    let own = agents
        .iter()
        .filter_map(|agent| own_time(agent, stack, &world))
        .collect();
    lines.extend(spread("added by Slipway itself", own));

    let mut servers: BTreeMap<&str, usize> = BTreeMap::new();
    for server in &world.servers {
        *servers.entry(&server.name).or_default() += 1;
    }
    let missing = agents
        .iter()
        .filter(|agent| !servers.contains_key(&*server_name(agent)));
    let missing = missing.count();
    let duplicates = world
        .servers
        .len()
        .saturating_sub(agents.len().saturating_sub(missing));
    let keys = world.keys.iter().filter(|key| key.usable).count();
    let devices = world.devices.len();
    lines.push(format!(
        "servers    {} ({missing} missing, {duplicates} duplicate or stray)",
        world.servers.len()
    ));
    lines.push(format!("devices    {devices}"));
    lines.push(format!(
        "leftover   {keys} usable auth key(s), {dead} dead message(s)"
    ));
    let all_ready = agents.iter().all(|agent| agent.ready_after.is_some());
    let clean = (missing, duplicates, keys, dead) == (0, 0, 0, 0) && devices == agents.len();
    Verdict {
        lines,
        well: all_ready && clean,
    }
}

fn server_name(agent: &Followed) -> String {
    format!("agent-{}", agent.agent_id)
}

/// From the payment to ready, without what the fakes were told to take.
fn own_time(agent: &Followed, stack: &Stack, world: &World) -> Option<Duration> {
    let agent_id = agent.agent_id.to_string();
    let run = world.runs.iter().rfind(|run| {
        run.inputs.get("agent_id") == Some(&agent_id) && run.conclusion != Some(Conclusion::Failure)
    })?;
    let queued = stack.sim().configured_run_delay(run.id)?;
    let machine = stack.sim().configured_delay(&server_name(agent))?;
    Some(agent.ready_after?.saturating_sub(queued + machine))
}

/// Median, 95th percentile and maximum.
fn spread(what: &str, mut times: Vec<Duration>) -> Option<String> {
    times.sort_unstable();
    let at = |percent: usize| {
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).copied().map(seconds)
    };
    let (median, p95, max) = (at(50)?, at(95)?, at(100)?);
    Some(format!(
        "time       {what}: median {median}, p95 {p95}, max {max}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_tells_median_p95_and_maximum() {
        let times = (1..=20).rev().map(Duration::from_secs).collect();
        let expected = "time       x: median 10.00 s, p95 19.00 s, max 20.00 s";
        assert_eq!(spread("x", times), Some(expected.to_owned()));
        let one = vec![Duration::from_millis(1_234)];
        let expected = "time       x: median 1.23 s, p95 1.23 s, max 1.23 s";
        assert_eq!(spread("x", one), Some(expected.to_owned()));
        assert_eq!(spread("x", Vec::new()), None);
    }
}
