//! Takes what a runner saw of the installation's servers.

use crate::{
    Store, StoreError,
    row::{get, time, timestamp},
    statement,
};
use domain::{AgentId, Fence, JobId, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

/// A labelled server that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenServer {
    /// Hetzner's id.
    pub server_id: String,
    /// The agent its label names; anything, since anybody may label.
    pub agent_id: String,
    /// The fence its label names.
    pub fence: String,
}

/// What a runner saw.
#[derive(Debug, Clone)]
pub struct InventoryRecord<'a> {
    /// Its job.
    pub job_id: JobId,
    /// Fence of its attempt.
    pub fence: Fence,
    /// The installation it looked at.
    pub installation: &'a str,
    /// What it saw.
    pub seen: &'a [SeenServer],
    /// A fresh job id for each of them.
    pub fresh_job_ids: &'a [JobId],
}

/// A server that belongs to nobody, or is an agent's second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Hetzner's id.
    pub server_id: String,
    /// The agent its label names.
    pub agent_id: String,
    /// What is wrong with it.
    pub why: String,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
}

/// A machine that an agent should have and that was not seen, twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Whose it is.
    pub agent_id: AgentId,
    /// Hetzner's id.
    pub server_id: String,
    /// Since when it is missing.
    pub since: Timestamp,
}

/// What an inventory led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Seen for the first time: tell people.
    pub strays: Vec<Stray>,
    /// Destroy jobs for what is left of agents that are over: nudge for them.
    pub queued: Vec<JobId>,
    /// Missing since now: tell people.
    pub missing: Vec<Missing>,
}

impl Store {
    /// Takes an inventory. What belongs to an agent of ours that is over, and on which nothing is
    /// at work, gets a destroy job; everything else that is odd is kept for people: servers that
    /// belong to nobody, and machines that are missing. Nothing is deleted or changed by it.
    ///
    /// # Errors
    /// When the database does not take it; nothing changed then.
    pub async fn take_inventory(
        &self,
        inventory: &InventoryRecord<'_>,
        now: Timestamp,
    ) -> Result<Swept, StoreError> {
        let from = &statement::TAKE_INVENTORY;
        let column =
            |of: fn(&SeenServer) -> &str| -> Vec<&str> { inventory.seen.iter().map(of).collect() };
        let fresh: Vec<Uuid> = inventory.fresh_job_ids.iter().map(|job| job.0).collect();
        let rows = self
            .query(
                from,
                &[
                    &inventory.job_id.0,
                    &inventory.fence.0,
                    &inventory.installation,
                    &column(|server| &server.server_id),
                    &column(|server| &server.agent_id),
                    &column(|server| &server.fence),
                    &fresh,
                    &time(now),
                ],
            )
            .await?;
        let mut swept = Swept::default();
        for row in &rows {
            if let Some(job) = get::<Option<_>>(from, row, "queued_job")? {
                swept.queued.push(JobId(job));
            } else if let Some(agent_id) = get::<Option<_>>(from, row, "misses")? {
                swept.missing.push(Missing {
                    agent_id: AgentId(agent_id),
                    server_id: get(from, row, "server_id")?,
                    since: now,
                });
            } else {
                swept.strays.push(stray(row)?);
            }
        }
        Ok(swept)
    }
}

fn stray(row: &Row) -> Result<Stray, StoreError> {
    let from = &statement::TAKE_INVENTORY;
    Ok(Stray {
        server_id: get(from, row, "server_id")?,
        agent_id: get(from, row, "agent_id")?,
        why: get(from, row, "why")?,
        first_seen: timestamp(get(from, row, "first_seen")?),
        last_seen: timestamp(get(from, row, "last_seen")?),
    })
}
