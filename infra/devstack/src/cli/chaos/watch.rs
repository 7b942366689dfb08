//! Looks at the fleet through the database, past the functions, so that looking heals nothing;
//! keeps what it saw, and shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use domain::{AgentId, AgentState, JobId};
use store::{AgentFilter, AgentRow, ConnectConfig, PageMark, Store, TimelineEntry};
use tokio::time::Instant;

use super::{Heard, Set};
use crate::cli::output::{Output, seconds};

const PAGE: i64 = 200;
const EVENTS: i64 = 500;
const DETAIL_CHARS_MAX: usize = 110;

/// What is known of the fleet.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    pub(super) store: Store,
    set: &'a Set<'a>,
    heard: Heard,
    agents: BTreeMap<AgentId, Seen>,
    jobs: BTreeMap<JobId, AgentId>,
    healing: Healing,
}

#[derive(Debug)]
struct Seen {
    row: AgentRow,
    /// The last entry of its timeline that was read.
    read: i64,
    troubled_since: Option<Instant>,
}

/// How attempts ended that did not succeed, and how long it took until their agents were at
/// rest again.
#[derive(Debug, Default)]
struct Healing {
    lost: u32,
    failed: u32,
    refused: u32,
    called_off: u32,
    healed: Vec<Duration>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(set: &'a Set<'a>, heard: Heard) -> Result<Self> {
        let config = ConnectConfig {
            url: set.stack.database_url().clone(),
            ca_pem: None,
        };
        Ok(Self {
            store: Store::new(&config)?,
            set,
            heard,
            agents: BTreeMap::new(),
            jobs: BTreeMap::new(),
            healing: Healing::default(),
        })
    }

    /// Every agent as it was at the last look.
    pub(super) fn rows(&self) -> impl Iterator<Item = &AgentRow> {
        self.agents.values().map(|seen| &seen.row)
    }

    /// Whose job this is, for people.
    pub(super) fn owner(&self, job: &str) -> String {
        let agent = job.parse().ok().and_then(|job: JobId| self.jobs.get(&job));
        let row = agent.and_then(|agent| self.agents.get(agent));
        row.map_or_else(
            || "nobody known".to_owned(),
            |seen| format!("{}, which is {}", seen.row.name, seen.row.state),
        )
    }

    /// Whether nothing is left to do for any agent.
    pub(super) fn is_at_rest(&self) -> bool {
        self.rows().all(is_at_rest)
    }

    /// Looks at all agents, and reads what happened to those that moved.
    pub(super) async fn look(&mut self) -> Result<()> {
        let mut filter = AgentFilter {
            state: None,
            text: None,
            after: None,
            limit: PAGE,
        };
        loop {
            let rows = self.store.agents_page(&filter).await?;
            let is_last = i64::try_from(rows.len()).is_ok_and(|rows| rows < PAGE);
            filter.after = rows.last().map(|row| PageMark {
                created_at: row.created_at,
                agent_id: row.agent_id,
            });
            for row in rows {
                self.take(row).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, row: AgentRow) -> Result<()> {
        let id = row.agent_id;
        let known = self.agents.get(&id);
        let rested = known.is_some_and(|seen| is_at_rest(&seen.row)) && is_at_rest(&row);
        let same = known.is_some_and(|seen| seen.row.state == row.state);
        let read = known.map_or(0, |seen| seen.read);
        let troubled_since = known.and_then(|seen| seen.troubled_since);
        let mut seen = Seen {
            row,
            read,
            troubled_since,
        };
        if !(rested && same) {
            let entries = self.store.agent_events(id, read, EVENTS).await?;
            for entry in entries.unwrap_or_default() {
                seen.read = entry.id;
                self.jobs.extend(entry.job_id.map(|job| (job, id)));
                self.note(&mut seen, &entry);
            }
        }
        if is_at_rest(&seen.row)
            && let Some(since) = seen.troubled_since.take()
        {
            self.healing.healed.push(since.elapsed());
        }
        self.agents.insert(id, seen);
        Ok(())
    }

    fn note(&mut self, seen: &mut Seen, entry: &TimelineEntry) {
        let healing = &mut self.healing;
        let count = match (entry.machine.as_str(), entry.new.as_str()) {
            ("attempt", "expired") => &mut healing.lost,
            ("attempt", "failed") => &mut healing.failed,
            ("attempt", "refused") => &mut healing.refused,
            ("attempt", "aborted") => &mut healing.called_off,
            ("agent", "failed" | "delete_failed") => {
                self.tell(seen, entry);
                return;
            }
            _ => return,
        };
        *count += 1;
        seen.troubled_since.get_or_insert_with(Instant::now);
        self.tell(seen, entry);
    }

    fn tell(&self, seen: &Seen, entry: &TimelineEntry) {
        let (name, what, new) = (&seen.row.name, &entry.machine, &entry.new);
        let detail = entry.detail.as_deref().unwrap_or("no reason told");
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        self.set
            .tally
            .say(format!("{name}: {what} {new}: {detail}"));
    }

    /// Prints what was heard, and the board.
    pub(super) fn show(&mut self, phase: &str, output: &mut Output) {
        let at = clock(self.set.began.elapsed());
        while let Ok(line) = self.heard.try_recv() {
            output.line(&format!("  {at}  {line}"));
        }
        let mut board = vec![format!("{at} {phase}")];
        board.extend(self.lines());
        output.board(&board);
    }

    /// Agents by state, mishaps, and what was healed.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for row in self.rows() {
            *states.entry(row.state.as_str()).or_default() += 1;
        }
        let mut counts = self.set.tally.counts();
        let nudges = self.set.stack.queue().mishaps();
        counts.insert("nudges lost", nudges.lost);
        counts.insert("nudges doubled", nudges.doubled);
        counts.insert("nudges delayed", nudges.delayed);
        let mut lines = vec![format!(
            "agents     {}: {}",
            self.agents.len(),
            listed(states)
        )];
        for (group, members) in GROUPS {
            let of_group = members.iter().map(|what| (*what, counts.remove(what)));
            let of_group = of_group.filter_map(|(what, count)| Some((what, count?)));
            lines.push(format!(
                "{group:<11}{}",
                listed(of_group.filter(|(_, n)| *n > 0))
            ));
        }
        let at_work = self.rows().filter(|row| !is_at_rest(row)).count();
        lines.push(self.healing.line(at_work));
        lines
    }
}

/// What is counted, as it is shown.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "customers",
        &[
            "payments",
            "payments failed",
            "paid again",
            "stops",
            "starts",
            "retries",
            "cancels",
            "deletes",
            "refunds and disputes",
        ],
    ),
    (
        "killed",
        &[
            "functions killed",
            "idle functions ended",
            "runners killed",
            "machines lost",
            "connections cut",
        ],
    ),
    ("failed", &["GitHub", "Hetzner", "Tailscale"]),
    (
        "messages",
        &[
            "nudges lost",
            "nudges doubled",
            "nudges delayed",
            "events doubled",
            "events late",
            "events repeated",
        ],
    ),
];

impl Healing {
    fn line(&self, at_work: usize) -> String {
        let mut times = self.healed.clone();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied();
        let longest = times.last().copied();
        let spread = median
            .zip(longest)
            .map_or_else(String::new, |(median, longest)| {
                let (median, longest) = (seconds(median), seconds(longest));
                format!(" (median {median}, longest {longest})")
            });
        format!(
            "healing    attempts lost {}, failed {}, refused {}, called off {}; healed {}{spread}; \
             {at_work} at work",
            self.lost,
            self.failed,
            self.refused,
            self.called_off,
            times.len()
        )
    }
}

/// Whether nothing is left to do for an agent.
pub(super) fn is_at_rest(row: &AgentRow) -> bool {
    let moves = match row.state {
        AgentState::Provisioning
        | AgentState::Stopping
        | AgentState::Starting
        | AgentState::Deleting => true,
        AgentState::Draft
        | AgentState::Active
        | AgentState::AwaitingCredentials
        | AgentState::Paused
        | AgentState::Suspended
        | AgentState::Deleted
        | AgentState::Failed
        | AgentState::DeleteFailed => false,
    };
    let works = row.job.is_some_and(|(_, state)| state.is_open());
    !moves && !works
}

fn listed(counts: impl IntoIterator<Item = (&'static str, impl std::fmt::Display)>) -> String {
    let parts: Vec<_> = counts
        .into_iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    if parts.is_empty() {
        return "none yet".to_owned();
    }
    parts.join(", ")
}

/// `03:07`
fn clock(time: Duration) -> String {
    format!("{:02}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
