//! How an operation is brought to its end: the closing list, undo, the final report, the summary.
//! It must not know what any step does.

use crate::{
    hetzner::Pace,
    lease::{CHANGE_MARGIN, Halt, Lease},
    made::{Ledger, Made},
    operate::{End, World},
    plan::{Step, unwind},
    report::{Draft, Heard, Inventory, Reporter},
    run::Run,
    stop_at_once,
};
use contract::{ErrorClass, Operation, Outcome, Said};
use std::{sync::OnceLock, time::Duration};
use tokio::time::{Instant, timeout_at};

/// A failed report is repeated so long.
const FAILED_MAX: Duration = Duration::from_mins(1);
/// The closing list of a run may take this long while the lease allows: a drained rate budget lets
/// it wait.
const CLOSING_LIST_MAX: Duration = Duration::from_secs(150);
/// And at least this long, whatever the lease: a list changes nothing.
const CLOSING_LIST_MIN: Duration = Duration::from_secs(10);
/// A success at the very end of a run is repeated so long all the same.
const TOLD_MIN: Duration = Duration::from_secs(30);
/// After a signal everything is over within this: the last report, deletes beside it.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(5500);
/// A success that was being told when the signal came may be told so long; then there is time
/// left to take it back.
const LAST_SUCCESS: Duration = Duration::from_millis(3500);

/// When the signal came, as far as anybody has noticed. Whatever follows it ends by one moment.
#[derive(Debug, Default)]
pub(crate) struct Signaled(OnceLock<Instant>);

impl Signaled {
    /// The signal is there; gives when it was noticed first.
    pub(crate) fn note(&self) -> Instant {
        *self.0.get_or_init(Instant::now)
    }
}

/// How a success is called, and how it is shown.
const fn success_of(operation: Operation) -> (Option<Outcome>, &'static str) {
    match operation {
        Operation::Provision => (Some(Outcome::Ready), "The agent's machine is up"),
        Operation::Configure => (Some(Outcome::Ready), "The agent is configured"),
        Operation::Start => (Some(Outcome::Ready), "The agent's machine is on again"),
        Operation::Stop => (None, "The agent's machine is off, its data is kept"),
        Operation::Destroy => (None, "Nothing of the agent is left"),
    }
}

/// How an operation is brought to its end.
pub(crate) struct LastWords<'a> {
    pub(crate) world: &'a World,
    pub(crate) signaled: &'a Signaled,
    pub(crate) lease: &'a Lease,
    pub(crate) reporter: &'a Reporter,
    pub(crate) made: &'a Ledger,
    /// The callback asked for the whole project's servers.
    pub(crate) whole_inventory: bool,
}

impl LastWords<'_> {
    /// The plan was carried out: tell, until it is known that it was heard.
    pub(crate) async fn succeeded(&self, run: &mut Run, plan: &[Step]) -> End {
        let actions = &self.world.actions;
        actions.begin("Report success");
        let mut draft = Draft::new(Said::Running);
        let (outcome, headline) = success_of(run.inputs.operation);
        draft.outcome = outcome;
        match self.closing_list(run, Pace::Closing).await {
            Ok(list) => {
                // A signal leaves no time to ask; what the list says is told all the same.
                let contradiction = tokio::select! {
                    found = run.contradicted_by(&list.rows) => found,
                    () = self.world.signaled() => None,
                };
                if let Some(why) = contradiction {
                    actions.end("the closing list says otherwise");
                    return self.unwound(run, plan, &why).await;
                }
                draft.inventory = Some(list);
            }
            Err(error) => actions.warn(&format!("no inventory: {error}")),
        }
        // The callback takes a success for some time after the runner's own deadline.
        let until = self.lease.deadline().max(Instant::now() + TOLD_MIN);
        let heard = self.send(draft, until, LAST_SUCCESS).await;
        match heard {
            Heard::Acknowledged(_) => {
                actions.end("done");
                actions.mark();
                self.show_success(headline);
                End::Done
            }
            Heard::Fenced => {
                actions.end("refused");
                self.unwound(run, plan, &Halt::Fenced).await
            }
            // It may have been stored all the same, in a copy that got no answer. A machine
            // that is not wanted is removed by the next attempt; one that is must stay.
            Heard::Refused(why) | Heard::Unknown(why) => {
                actions.end("not acknowledged");
                let text = format!("{headline}, but this is not acknowledged: {why}");
                actions.error(&text);
                self.show(&text);
                End::Failed
            }
        }
    }

    /// The plan ended early: undo, await it, tell.
    pub(crate) async fn unwound(&self, run: &mut Run, plan: &[Step], why: &Halt) -> End {
        let step = self.made.all().step;
        let actions = &self.world.actions;
        let before = self.made.all();
        run.hetzner.set_pace(Pace::Undo);
        let left = if before.is_empty() {
            Vec::new()
        } else {
            actions.begin("Undo");
            let left = tokio::select! {
                left = unwind(run, plan) => left,
                () = self.world.signaled() => return self.canceled(run).await,
            };
            if left.is_empty() {
                actions.remark("Undone", &before.names());
            }
            actions.end(if left.is_empty() {
                "done"
            } else {
                "something is left"
            });
            left
        };
        let mut text = why.to_string();
        if !left.is_empty() {
            text = format!(
                "{text}; left behind: {} ({})",
                self.made.all().names(),
                left.join("; ")
            );
        }
        self.made.change(|made| made.step = step);
        if *why == Halt::Fenced {
            actions.error(&text);
            actions.mark();
            self.show("Ended by the callback");
            return End::Fenced;
        }
        // The run closes with its list: what is left shows.
        let list = self.closing_list(run, Pace::Undo).await;
        self.tell_failure(why.class(), &text, list.ok()).await
    }

    /// The list a run closes with. The news must not wait long for it, and can do without.
    async fn closing_list(&self, run: &Run, pace: Pace) -> Result<Inventory, String> {
        run.hetzner.set_pace(pace);
        let now = Instant::now();
        // The report that follows needs time too. Waits for the budget end with the lease.
        let left = self.lease.deadline().saturating_duration_since(now);
        let span = left.saturating_sub(CHANGE_MARGIN).min(CLOSING_LIST_MAX);
        let until = now + span.max(CLOSING_LIST_MIN);
        let listed = tokio::select! {
            listed = timeout_at(until, run.inventory(self.whole_inventory)) => listed,
            () = self.world.signaled() => return Err("a signal came".to_owned()),
        };
        match listed {
            Ok(list) => list.map_err(|error| error.to_string()),
            Err(_) => Err("it took too long".to_owned()),
        }
    }

    /// A signal: deletes and the last report go out side by side, none is awaited for long.
    pub(crate) async fn canceled(&self, run: &Run) -> End {
        let until = self.signaled.note() + LAST_WORDS;
        let made = self.made.all();
        run.hetzner.set_pace(Pace::Undo);
        let mut text = Halt::Signal.to_string();
        if !made.is_empty() {
            text = format!("{text}; deletes are sent and not awaited: {}", made.names());
        }
        self.world.actions.end("cut off");
        self.world.actions.error(&text);
        let draft = self.failure(ErrorClass::Transient, &text);
        let (_, heard) = tokio::join!(
            timeout_at(until, stop_at_once::send_deletes(run, &made)),
            self.reporter.send_until(draft, until),
        );
        self.told(&heard);
        self.show("Canceled");
        End::Canceled
    }

    /// Tells that the operation failed before anything was touched.
    pub(crate) async fn failed(&self, class: ErrorClass, text: &str) -> End {
        self.tell_failure(class, text, None).await
    }

    async fn tell_failure(
        &self,
        class: ErrorClass,
        text: &str,
        inventory: Option<Inventory>,
    ) -> End {
        self.world.actions.error(text);
        let mut draft = self.failure(class, text);
        draft.inventory = inventory;
        let heard = self
            .send(draft, Instant::now() + FAILED_MAX, LAST_WORDS)
            .await;
        self.told(&heard);
        self.show(&format!("Failed: {text}"));
        if heard == Heard::Fenced {
            End::Fenced
        } else {
            End::Failed
        }
    }

    /// Sends the last report until `until`; when a signal comes, no longer than `after_signal`.
    async fn send(&self, draft: Draft, until: Instant, after_signal: Duration) -> Heard {
        tokio::select! {
            heard = self.reporter.send_until(draft.clone(), until) => heard,
            () = self.world.signaled() => {
                let until = self.signaled.note() + after_signal;
                self.reporter.send_until(draft, until).await
            }
        }
    }

    fn failure(&self, class: ErrorClass, text: &str) -> Draft {
        let Made { step, .. } = self.made.all();
        let mut draft = Draft::new(Said::Failed);
        draft.error = Some(self.world.secrets.redact(text));
        draft.error_class = Some(class);
        draft.failed_step = (!step.is_empty()).then(|| step.to_owned());
        draft
    }

    fn told(&self, heard: &Heard) {
        let actions = &self.world.actions;
        match heard {
            Heard::Acknowledged(_) | Heard::Fenced => actions.mark(),
            Heard::Refused(why) | Heard::Unknown(why) => {
                actions.error(&format!("the failure could not be reported: {why}"));
            }
        }
    }

    fn show_success(&self, headline: &str) {
        let facts = self.made.facts();
        let value = |text: &Option<String>| text.clone().unwrap_or_default();
        let pairs = [
            ("server_id", value(&facts.server_id)),
            ("server_ip", value(&facts.server_ip)),
            ("tailscale_ip", value(&facts.tailscale_ip)),
            ("server_name", value(&facts.server_name)),
        ];
        let outputs = pairs
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        if let Err(error) = self.world.actions.outputs(&outputs) {
            self.world
                .actions
                .warn(&format!("GITHUB_OUTPUT cannot be written: {error}"));
        }
        self.show(headline);
    }

    fn show(&self, headline: &str) {
        let facts = self.made.facts();
        let rows: Vec<(&'static str, String)> = [
            ("Server", facts.server_name),
            ("Server id", facts.server_id),
            ("Public address", facts.server_ip),
            ("Tailnet address", facts.tailscale_ip),
            ("Device", facts.device_id),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        if let Err(error) = self.world.actions.summary(headline, &rows) {
            self.world
                .actions
                .warn(&format!("the step summary cannot be written: {error}"));
        }
    }
}
