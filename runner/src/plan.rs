//! A plan is a list of steps with undo. This file carries one out and unwinds it.
//! It must not know what any step does.

use crate::{
    lease::{Halt, Trouble},
    report::{Draft, Heard},
    run::Run,
};
use contract::Said;
use futures_util::future::BoxFuture;

/// What a step does; it must be safe to repeat.
pub(crate) type Act = fn(&mut Run) -> BoxFuture<'_, Result<(), Halt>>;
/// What takes a step back; it must be safe to repeat, and to call when the step did nothing.
pub(crate) type Undo = fn(&mut Run) -> BoxFuture<'_, Result<(), Trouble>>;

/// What is told right after a step's effect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tell {
    /// Nothing.
    Nothing,
    /// The ids made so far.
    Ids,
    /// The step, and the ids made so far.
    Step(contract::Step),
}

/// One step of a plan.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Stable word, shown as `failed_step`.
    pub(crate) name: &'static str,
    /// What people read.
    pub(crate) title: &'static str,
    pub(crate) act: Act,
    pub(crate) undo: Option<Undo>,
    pub(crate) tell: Tell,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Step({})", self.name)
    }
}

/// Does every step in order and tells each.
pub(crate) async fn carry_out(run: &mut Run, plan: &[Step]) -> Result<(), Halt> {
    for step in plan {
        run.actions.begin(step.title);
        run.made.change(|made| made.step = step.name);
        let outcome = one(run, step).await;
        match &outcome {
            Ok(()) => run.actions.end("done"),
            Err(why) => run.actions.end(&format!("ended: {why}")),
        }
        outcome?;
    }
    Ok(())
}

async fn one(run: &mut Run, step: &Step) -> Result<(), Halt> {
    run.lease.check()?;
    if let Err(why) = (step.act)(run).await {
        return Err(match run.lease.check() {
            // A call that fails after an order to stop says less than the order.
            Err(order @ (Halt::Stopped | Halt::Fenced | Halt::Refused(_) | Halt::Signal)) => {
                if order != why {
                    run.actions.line(&why.to_string());
                }
                order
            }
            Ok(()) | Err(Halt::Failed(_) | Halt::LeaseLost | Halt::Deadline) => why,
        });
    }
    let draft = match step.tell {
        Tell::Nothing => return Ok(()),
        Tell::Ids => Draft::new(Said::Provisioning),
        Tell::Step(step) => Draft::step(step),
    };
    match run.reporter.send(draft).await {
        Heard::Acknowledged(_) => run.lease.check(),
        Heard::Fenced => Err(Halt::Fenced),
        Heard::Refused(why) => Err(Halt::Refused(why)),
        Heard::Unknown(_) => Err(run.lease.check().err().unwrap_or(Halt::LeaseLost)),
    }
}

/// Takes every step back, the last first, whatever was reached: each undo goes by what was
/// made. Gives what could not be taken back.
pub(crate) async fn unwind(run: &mut Run, plan: &[Step]) -> Vec<String> {
    let mut left = Vec::new();
    for step in plan.iter().rev() {
        let Some(undo) = step.undo else { continue };
        if let Err(trouble) = undo(run).await {
            run.actions
                .warn(&format!("undo of {}: {}", step.name, trouble.text));
            left.push(trouble.text);
        }
    }
    left
}
