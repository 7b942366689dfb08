//! Sends payments at once and watches their agents until each is ready or has failed.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use devstack::{AgentView, Customer, Payment};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::args::Payments;
use super::output::{Output, seconds};

/// Up to this many agents every step is shown.
const SHOWN_MAX: usize = 3;
/// Of so many agents the status page is told.
const PAGES_MAX: usize = 10;
const ASKED_AT_ONCE: usize = 4;
/// So many rounds without one answer mean that nobody is there.
const DEAF_ROUNDS_MAX: u32 = 20;
const PAUSE_FEW: Duration = Duration::from_millis(150);
const PAUSE_MANY: Duration = Duration::from_secs(1);

/// One agent from payment to its end.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) agent_id: Uuid,
    made_unix_ms: u64,
    shown: HashSet<(String, u64)>,
    /// From the payment to the agent being ready; none as long as it is not.
    pub(crate) ready_after: Option<Duration>,
    /// Why it will not be ready.
    pub(crate) failed: Option<String>,
    /// Its last known state.
    state: String,
    /// What it last waited for.
    awaits: Option<String>,
}

/// Pays and watches. An agent that is not ready in time has failed.
pub(crate) async fn follow(
    customer: &Customer,
    args: &Payments,
    output: &mut Output,
) -> Result<Vec<Followed>> {
    let payments: Vec<_> = (0..args.count)
        .map(|_| customer.payment(&args.region))
        .collect();
    let mut agents: Vec<_> = payments.iter().map(Followed::new).collect();
    output.line(&format!("sending    {} signed payment(s)", agents.len()));
    let started = Instant::now();
    let paid = futures_util::future::join_all(payments.iter().map(|p| customer.pay(p))).await;
    output.line(&format!(
        "taken      all answered after {}",
        seconds(started.elapsed())
    ));
    for (agent, paid) in agents.iter_mut().zip(paid) {
        agent.failed = paid.err().map(|error| format!("{error:#}"));
    }
    for agent in agents.iter().take(PAGES_MAX) {
        // Who cannot be shown a page still gets an agent.
        if let Ok(Some(page)) = customer.status_page(agent.agent_id).await {
            output.line(&format!("agent      {}", agent.agent_id));
            output.line(&format!("page       {page}"));
        }
    }
    let limit = Duration::from_secs(args.timeout);
    let pause = if agents.len() > SHOWN_MAX {
        PAUSE_MANY
    } else {
        PAUSE_FEW
    };
    let mut deaf_rounds = 0;
    while agents.iter().any(Followed::is_open) {
        if started.elapsed() > limit {
            give_up(&mut agents, limit);
            break;
        }
        match ask(customer, &mut agents, output).await {
            Ok(()) => deaf_rounds = 0,
            Err(error) if deaf_rounds == DEAF_ROUNDS_MAX => return Err(error),
            Err(_) => deaf_rounds += 1,
        }
        output.status(&progress(&agents, started.elapsed()));
        sleep(pause).await;
    }
    for agent in agents.iter().filter(|agent| agent.failed.is_some()) {
        let reason = agent.failed.as_deref().unwrap_or_default();
        output.line(&format!("failed     {}: {reason}", agent.agent_id));
    }
    Ok(agents)
}

impl Followed {
    fn new(payment: &Payment) -> Self {
        Self {
            agent_id: payment.agent_id,
            made_unix_ms: payment.made_unix_ms,
            shown: HashSet::new(),
            ready_after: None,
            failed: None,
            state: "unknown".to_owned(),
            awaits: None,
        }
    }

    fn is_open(&self) -> bool {
        self.ready_after.is_none() && self.failed.is_none()
    }

    fn since_payment(&self, unix_ms: u64) -> Duration {
        Duration::from_millis(unix_ms.saturating_sub(self.made_unix_ms))
    }

    /// Takes in what the API says; gives the lines to show.
    fn update(&mut self, view: &AgentView) -> Vec<String> {
        let mut lines = Vec::new();
        for passed in &view.passed {
            if self.shown.insert((passed.what.clone(), passed.unix_ms)) {
                let after = seconds(self.since_payment(passed.unix_ms));
                lines.push(format!("  {after:>9}  {}", passed.what));
            }
        }
        self.state.clone_from(&view.status);
        self.awaits.clone_from(&view.awaits);
        if let Some(at) = view.ready_unix_ms() {
            self.ready_after = Some(self.since_payment(at));
        } else if view.has_failed() {
            let reason = view.reason.as_deref().unwrap_or("no reason given");
            self.failed = Some(format!("{}: {reason}", view.status));
        }
        lines
    }
}

/// Asks for every open agent once. An error only when nobody answered: the API may be busy.
async fn ask(customer: &Customer, agents: &mut [Followed], output: &mut Output) -> Result<()> {
    let (mut answered, mut last_error) = (false, None);
    let all_shown = agents.len() <= SHOWN_MAX;
    let several = agents.len() > 1;
    if !all_shown {
        // One list tells all states; only whoever came to an end is asked for its steps.
        let open = agents.iter().filter(|agent| agent.is_open());
        let states = customer
            .states(&open.map(|agent| agent.agent_id).collect())
            .await?;
        for agent in agents.iter_mut() {
            if let Some(state) = states.get(&agent.agent_id) {
                agent.state.clone_from(state);
            }
        }
    }
    let moved =
        |agent: &&mut Followed| agent.is_open() && (all_shown || AgentView::is_end(&agent.state));
    let open = agents.iter_mut().filter(moved);
    let asked = stream::iter(open.map(|agent| async move {
        let view = customer.agent(agent.agent_id).await;
        (agent, view)
    }));
    let mut answers = asked.buffer_unordered(ASKED_AT_ONCE);
    while let Some((agent, view)) = answers.next().await {
        let view = match view {
            Ok(view) => view,
            Err(error) => {
                last_error = Some(error);
                continue;
            }
        };
        answered = true;
        // Not there yet: the next round asks again.
        let Some(view) = view else { continue };
        let lines = agent.update(&view);
        let name = if several {
            agent.agent_id.to_string()
        } else {
            String::new()
        };
        for line in lines.iter().filter(|_| all_shown) {
            output.line(format!("{line}  {name}").trim_end());
        }
    }
    match last_error {
        Some(error) if !answered && all_shown => Err(error),
        Some(_) | None => Ok(()),
    }
}

/// What is awaited when there is one agent; else how many are where.
fn progress(agents: &[Followed], elapsed: Duration) -> String {
    if let [agent] = agents {
        let awaits = agent.awaits.as_deref().unwrap_or("the payment to be taken");
        return format!("  {:>9}  awaits {awaits} …", seconds(elapsed));
    }
    let ready = agents
        .iter()
        .filter(|agent| agent.ready_after.is_some())
        .count();
    let failed = agents.iter().filter(|agent| agent.failed.is_some()).count();
    let open = agents.len() - ready - failed;
    format!(
        "{}  {ready} ready, {open} on the way, {failed} failed",
        seconds(elapsed)
    )
}

fn give_up(agents: &mut [Followed], limit: Duration) {
    for agent in agents.iter_mut().filter(|agent| agent.is_open()) {
        let (state, seconds) = (&agent.state, limit.as_secs());
        let awaits = agent.awaits.as_deref().unwrap_or("nothing it tells");
        agent.failed = Some(format!("still {state} after {seconds} s, awaits {awaits}"));
    }
}
