//! One operation from claim to its end: claim, carry out the plan, hand over to the last words.
//! It must not know what any step does.

use crate::{
    actions::Actions,
    clock::Clock,
    hetzner::Hetzner,
    last_words::{LAST_WORDS, LastWords, Signaled},
    lease::{Halt, Lease, RUN_MAX, Trouble},
    made::Ledger,
    plan::{Step, carry_out},
    report::{Draft, Heard, Post, Reporter},
    run::{Run, Work},
    settings::{CloudSettings, Mistakes, WireSettings},
    steps,
    tailscale::Tailscale,
};
use contract::{ErrorClass, Inputs, Operation, Reply, Said, Spec};
use outbound::{Client, Dice, Secrets, Transport};
use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

/// The claim is repeated so long.
const CLAIM_MAX: Duration = Duration::from_mins(5);
/// After a signal work may come to a clean place within this.
const GRACE: Duration = Duration::from_millis(1500);
/// A run that is a step of a job ends itself so long after the job began: GitHub ends the job a
/// minute later, and what is undone then must be told.
const JOB_MAX: Duration = Duration::from_mins(14);

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

    pub(crate) async fn signaled(&self) {
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
    let lease = Lease::new(Instant::now(), CLAIM_MAX, run_max(&world, &wire));
    let made = Ledger::default();
    let reporter = Reporter::start(world.post(&wire, made.clone()), lease.clone(), &world.heart);
    world.actions.begin("Claim the attempt");
    let reply = match claim(&world, &reporter).await {
        Ok(reply) => reply,
        Err(end) => return end,
    };
    world.actions.end("done");
    let signaled = Signaled::default();
    let last_words = LastWords {
        world: &world,
        signaled: &signaled,
        lease: &lease,
        reporter: &reporter,
        made: &made,
        whole_inventory: reply.inventory,
    };
    let spec = reply.spec.unwrap_or_default();
    let (cloud, plan) = match fit_to_work(&wire.inputs, cloud, &spec) {
        Ok(fit) => fit,
        Err(why) => return last_words.failed(why.class, &why.text).await,
    };
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
        )
        .while_held(lease.clone()),
        inputs: wire.inputs,
        cloud,
        spec,
        lease: lease.clone(),
        reporter: reporter.clone(),
        clock: world.clock.clone(),
        actions: Arc::clone(&world.actions),
        made: made.clone(),
        work: Work::default(),
    };
    match until_signal(&world, &signaled, &lease, carry_out(&mut run, plan)).await {
        Ok(()) => last_words.succeeded(&mut run, plan).await,
        Err(Halt::Signal) => last_words.canceled(&run).await,
        Err(why) => last_words.unwound(&mut run, plan, &why).await,
    }
}

/// How long this run may work.
fn run_max(world: &World, wire: &WireSettings) -> Duration {
    let Some(began) = wire.job_started_at else {
        return RUN_MAX;
    };
    let gone = world.clock.unix_seconds().saturating_sub(began);
    let gone = Duration::from_secs(u64::try_from(gone).unwrap_or(0));
    RUN_MAX.min(JOB_MAX.saturating_sub(gone))
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
        Heard::Acknowledged(reply) => Ok(*reply),
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

/// The settings and the plan, when nothing speaks against beginning.
fn fit_to_work(
    inputs: &Inputs,
    cloud: Result<CloudSettings, Mistakes>,
    spec: &Spec,
) -> Result<(CloudSettings, &'static [Step]), Trouble> {
    let cloud = cloud.map_err(|mistakes| Trouble::permanent(mistakes.to_string()))?;
    let operation = inputs.operation;
    let plan = plan_of(operation)
        .ok_or_else(|| Trouble::permanent(format!("this runner cannot {operation}")))?;
    works_for_its_job(inputs, &cloud, spec)?;
    Ok((cloud, plan))
}

/// Whether inputs and settings are those of the job, as far as the callback tells: a run that a
/// person started may carry others, and would change the wrong machine.
fn works_for_its_job(inputs: &Inputs, cloud: &CloudSettings, spec: &Spec) -> Result<(), Trouble> {
    let differs = |told: &Option<String>, own: &str| told.as_ref().is_some_and(|told| told != own);
    let operation = spec.operation.filter(|told| *told != inputs.operation);
    if operation.is_some() || differs(&spec.agent_id, &inputs.agent_id) {
        // The next attempt is started with the right ones.
        return Err(Trouble::transient(
            "the run was started for another operation or agent than its job is about; nothing \
             was touched",
        ));
    }
    if differs(&spec.installation, &cloud.hetzner.installation) {
        return Err(Trouble::permanent(
            "INSTALLATION differs between the callback function and the runner; set the same for \
             both, then retry",
        ));
    }
    Ok(())
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

/// Works until done, a signal or the deadline, which a chain of slow calls could pass; then work
/// may come to a clean place for a moment.
async fn until_signal(
    world: &World,
    signaled: &Signaled,
    lease: &Lease,
    work: impl Future<Output = Result<(), Halt>>,
) -> Result<(), Halt> {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = world.signaled() => {}
        () = sleep_until(lease.deadline() + GRACE) => return Err(Halt::Deadline),
    }
    signaled.note();
    lease.halt(Halt::Signal);
    // Whether work came to a place or was cut off: the record says what was made.
    drop(timeout(GRACE, work).await);
    Err(Halt::Signal)
}
