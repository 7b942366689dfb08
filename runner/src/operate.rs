//! One operation from claim to final report: claim, carry out the plan, tell how it ended, undo
//! what must not stay. It must not know what any step does.

use crate::{
    actions::Actions,
    clock::Clock,
    hetzner::Hetzner,
    lease::{Halt, Lease},
    made::{Ledger, Made},
    plan::{Step, carry_out, unwind},
    report::{Draft, Heard, Post, Reporter},
    run::{Run, Work},
    settings::{CloudSettings, Mistakes, WireSettings},
    steps, stop_at_once,
    tailscale::Tailscale,
};
use contract::{ErrorClass, InventoryRow, Operation, Outcome, Reply, Said};
use outbound::{Client, Dice, Secrets, Transport};
use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};

/// The claim is repeated so long.
const CLAIM_MAX: Duration = Duration::from_mins(5);
/// A failed report is repeated so long.
const FAILED_MAX: Duration = Duration::from_mins(1);
/// The closing list of a run may take this long.
const CLOSING_LIST_MAX: Duration = Duration::from_secs(10);
/// After a signal work may come to a clean place within this.
const GRACE: Duration = Duration::from_millis(1500);
/// After a signal the last report may take this long, deletes beside it.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// Everything that comes from outside: transports, randomness, clock, where to show progress.
#[derive(Debug, Clone)]
pub struct World {
    /// Carries calls to providers.
    pub providers: Transport,
    /// Carries reports; its connections live on `heart`.
    pub callback: Transport,
    /// Runs the reporting task, apart from all other work.
    pub heart: Handle,
    /// Randomness.
    pub dice: Dice,
    /// Wall clock.
    pub clock: Clock,
    /// Secrets that must never show.
    pub secrets: Secrets,
    /// Where progress shows.
    pub actions: Arc<Actions>,
    /// Becomes true on SIGINT or SIGTERM.
    pub signal: watch::Receiver<bool>,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The operation succeeded and the callback knows.
    Done,
    /// It failed.
    Failed,
    /// The callback does not take this attempt's reports.
    Fenced,
    /// A signal ended it.
    Canceled,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(match end {
            End::Done => 0,
            End::Failed => 1,
            End::Fenced => 3,
            End::Canceled => 130,
        })
    }
}

impl World {
    fn client(&self, transport: &Transport) -> Client {
        Client::new(transport.clone(), self.secrets.clone(), self.dice.clone())
    }

    /// How this run's reports are made and sent.
    pub(crate) fn post(&self, wire: &WireSettings, made: Ledger) -> Post {
        self.secrets.add(&wire.callback_secret);
        Post {
            client: self.client(&self.callback),
            wire: wire.clone(),
            clock: self.clock.clone(),
            made,
        }
    }

    async fn signaled(&self) {
        // The sender lives as long as the process; if it is gone no signal can come.
        if self
            .signal
            .clone()
            .wait_for(|raised| *raised)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}

/// The plan of an operation.
fn plan_of(operation: Operation) -> Option<&'static [Step]> {
    match operation {
        Operation::Provision => Some(steps::PROVISION),
        Operation::Stop => Some(steps::STOP),
        Operation::Start => Some(steps::START),
        Operation::Destroy => Some(steps::DESTROY),
        Operation::Configure => None,
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

/// Does what the settings say, from claim to final report.
pub async fn operate(
    world: World,
    wire: WireSettings,
    cloud: Result<CloudSettings, Mistakes>,
) -> End {
    if let Ok(cloud) = &cloud {
        world.secrets.add(&cloud.hetzner.token);
        world.secrets.add(&cloud.tailscale.client_secret);
    }
    let lease = Lease::new(Instant::now(), CLAIM_MAX);
    let made = Ledger::default();
    let reporter = Reporter::start(world.post(&wire, made.clone()), lease.clone(), &world.heart);
    world.actions.begin("Claim the attempt");
    let reply = match claim(&world, &reporter).await {
        Ok(reply) => reply,
        Err(end) => return end,
    };
    world.actions.end("done");
    let last_words = LastWords {
        world: &world,
        lease: &lease,
        reporter: &reporter,
        made: &made,
    };
    let cloud = match cloud {
        Ok(cloud) => cloud,
        Err(mistakes) => {
            return last_words
                .failed(ErrorClass::Permanent, &mistakes.to_string())
                .await;
        }
    };
    let operation = wire.inputs.operation;
    let Some(plan) = plan_of(operation) else {
        let text = format!("this runner cannot {operation}");
        return last_words.failed(ErrorClass::Permanent, &text).await;
    };
    let inventory_asked = reply.inventory;
    let mut run = Run {
        hetzner: Hetzner::new(
            world.client(&world.providers),
            &cloud.hetzner.url,
            &cloud.hetzner.token,
        )
        .while_held(lease.clone()),
        tailscale: Tailscale::new(
            world.client(&world.providers),
            &cloud.tailscale.url,
            &cloud.tailscale.client_id,
            &cloud.tailscale.client_secret,
        ),
        inputs: wire.inputs,
        cloud,
        spec: reply.spec.unwrap_or_default(),
        lease: lease.clone(),
        reporter: reporter.clone(),
        actions: Arc::clone(&world.actions),
        made: made.clone(),
        work: Work::default(),
    };
    match until_signal(&world, &lease, carry_out(&mut run, plan)).await {
        Ok(()) => last_words.succeeded(&mut run, plan, inventory_asked).await,
        Err(Halt::Signal) => last_words.canceled(&run).await,
        Err(why) => last_words.unwound(&mut run, plan, &why).await,
    }
}

/// Claims the attempt. Before the claim is acknowledged nothing is touched.
async fn claim(world: &World, reporter: &Reporter) -> Result<Reply, End> {
    let heard = tokio::select! {
        heard = reporter.send(Draft::new(Said::Provisioning)) => heard,
        () = world.signaled() => {
            tell_unclaimed(world, reporter).await;
            return Err(End::Canceled);
        }
    };
    match heard {
        Heard::Acknowledged(reply) => Ok(reply),
        Heard::Fenced => {
            world
                .actions
                .error("the claim was refused: another run has this attempt, or it ended");
            world.actions.mark();
            Err(End::Fenced)
        }
        Heard::Refused(why) => {
            world
                .actions
                .error(&format!("the claim was refused: {why}"));
            world.actions.mark();
            Err(End::Failed)
        }
        Heard::Unknown(why) => {
            world
                .actions
                .error(&format!("the callback cannot be reached: {why}"));
            Err(End::Failed)
        }
    }
}

/// A signal before the claim's answer: the claim may have been stored, so its end is told.
async fn tell_unclaimed(world: &World, reporter: &Reporter) {
    let text = "the run was canceled before its claim was answered";
    world.actions.error(text);
    let mut draft = Draft::new(Said::Failed);
    draft.error = Some(text.to_owned());
    draft.error_class = Some(ErrorClass::Transient);
    let until = Instant::now() + LAST_WORDS;
    if let Heard::Acknowledged(_) | Heard::Fenced = reporter.send_until(draft, until).await {
        world.actions.mark();
    }
}

/// Works until done or a signal; then work may come to a clean place for a moment.
async fn until_signal(
    world: &World,
    lease: &Lease,
    work: impl Future<Output = Result<(), Halt>>,
) -> Result<(), Halt> {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = world.signaled() => {}
    }
    lease.halt(Halt::Signal);
    // Whether work came to a place or was cut off: the record says what was made.
    drop(timeout(GRACE, work).await);
    Err(Halt::Signal)
}

/// How an operation is brought to its end.
struct LastWords<'a> {
    world: &'a World,
    lease: &'a Lease,
    reporter: &'a Reporter,
    made: &'a Ledger,
}

impl LastWords<'_> {
    /// The plan was carried out: tell, until it is known that it was heard.
    async fn succeeded(&self, run: &mut Run, plan: &[Step], whole_inventory: bool) -> End {
        let actions = &self.world.actions;
        actions.begin("Report success");
        let mut draft = Draft::new(Said::Running);
        let (outcome, headline) = success_of(run.inputs.operation);
        draft.outcome = outcome;
        // The news must not wait long for a list that it can do without.
        let listed = tokio::select! {
            listed = timeout(CLOSING_LIST_MAX, run.inventory(whole_inventory)) => {
                listed.map_or_else(|_| Err("it took too long".to_owned()), |rows| {
                    rows.map_err(|error| error.to_string())
                })
            }
            () = self.world.signaled() => Err("a signal came".to_owned()),
        };
        match listed {
            Ok(rows) => {
                if let Some(why) = run.missing_from(&rows).await {
                    actions.end("the machine is gone");
                    return self.unwound(run, plan, &why).await;
                }
                draft.inventory = Some(rows);
            }
            Err(error) => actions.warn(&format!("no inventory: {error}")),
        }
        let heard = tokio::select! {
            heard = self.reporter.send_until(draft.clone(), self.lease.deadline()) => heard,
            () = self.world.signaled() => {
                self.reporter.send_until(draft, Instant::now() + LAST_WORDS).await
            }
        };
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
    async fn unwound(&self, run: &mut Run, plan: &[Step], why: &Halt) -> End {
        let step = self.made.all().step;
        let actions = &self.world.actions;
        let before = self.made.all();
        let left = if before.is_empty() {
            Vec::new()
        } else {
            actions.begin("Undo");
            let left = tokio::select! {
                left = unwind(run, plan) => left,
                () = self.world.signaled() => return self.canceled(run).await,
            };
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
        // The run closes by listing its own agent: what is left shows.
        let rows = timeout(CLOSING_LIST_MAX, run.inventory(false)).await;
        self.tell_failure(why.class(), &text, rows.ok().and_then(Result::ok))
            .await
    }

    /// A signal: deletes and the last report go out side by side, none is awaited for long.
    async fn canceled(&self, run: &Run) -> End {
        let made = self.made.all();
        let mut text = Halt::Signal.to_string();
        if !made.is_empty() {
            text = format!(
                "{text}; deletes were sent and not awaited: {}",
                made.names()
            );
        }
        self.world.actions.end("cut off");
        self.world.actions.error(&text);
        let draft = self.failure(ErrorClass::Transient, &text);
        let (_, heard) = tokio::join!(
            timeout(LAST_WORDS, stop_at_once::send_deletes(run, &made)),
            self.reporter.send_until(draft, Instant::now() + LAST_WORDS),
        );
        self.told(&heard);
        self.show("Canceled");
        End::Canceled
    }

    /// Tells that the operation failed before anything was touched.
    async fn failed(&self, class: ErrorClass, text: &str) -> End {
        self.tell_failure(class, text, None).await
    }

    async fn tell_failure(
        &self,
        class: ErrorClass,
        text: &str,
        inventory: Option<Vec<InventoryRow>>,
    ) -> End {
        self.world.actions.error(text);
        let mut draft = self.failure(class, text);
        draft.inventory = inventory;
        let heard = tokio::select! {
            heard = self.reporter.send_until(draft.clone(), Instant::now() + FAILED_MAX) => heard,
            () = self.world.signaled() => {
                self.reporter.send_until(draft, Instant::now() + LAST_WORDS).await
            }
        };
        self.told(&heard);
        self.show(&format!("Failed: {text}"));
        if heard == Heard::Fenced {
            End::Fenced
        } else {
            End::Failed
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
        let rows: Vec<(&str, String)> = [
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
