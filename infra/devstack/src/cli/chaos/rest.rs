//! Waits until everything is at rest, while customers look at their agents' pages, and the
//! operator orders once more what could not be removed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use devstack::Order;
use domain::{AgentId, AgentState};
use tokio::time::{Instant, sleep};

use super::watch::{Watch, is_at_rest};
use super::{LOOK, Set};
use crate::cli::output::Output;

/// Between two looks of a customer at the page.
const GLANCE: Duration = Duration::from_secs(2);
const ORDERS_MAX: u32 = 3;

/// Whether everything came to rest in time.
pub(super) async fn wait(
    set: &Set<'_>,
    watch: &mut Watch<'_>,
    patience: Duration,
    output: &mut Output,
) -> Result<bool> {
    let began = Instant::now();
    let mut glanced = None;
    let mut ordered = BTreeMap::new();
    while began.elapsed() < patience {
        watch.look().await?;
        watch.show("healing", output);
        let runs = set.stack.sim().world().runs;
        let runs_are_over = runs.iter().all(|run| run.conclusion.is_some());
        let order_more = order_removals(set, watch, &mut ordered).await;
        if watch.is_at_rest() && runs_are_over && set.post.open() == 0 && !order_more {
            return Ok(true);
        }
        if glanced.is_none_or(|at: Instant| at.elapsed() >= GLANCE) {
            for row in watch.rows().filter(|row| !is_at_rest(row)) {
                // Who gets no answer looks again.
                drop(set.customer.agent(row.agent_id.0).await);
            }
            glanced = Some(Instant::now());
        }
        sleep(LOOK).await;
    }
    Ok(false)
}

/// Orders again what could not be removed; answers whether anything was.
async fn order_removals(
    set: &Set<'_>,
    watch: &Watch<'_>,
    ordered: &mut BTreeMap<AgentId, u32>,
) -> bool {
    let mut any = false;
    for row in watch.rows() {
        let times = ordered.entry(row.agent_id).or_default();
        if row.state == AgentState::DeleteFailed && *times < ORDERS_MAX {
            *times += 1;
            any = true;
            let taken = set.customer.order(row.agent_id.0, Order::Delete).await;
            if matches!(taken, Ok(true)) {
                let name = &row.name;
                set.tally
                    .say(format!("{name}: the operator orders its removal again"));
            }
        }
    }
    any
}
