//! Speaks for a runner that died: the workflow's failure step.
//! It must not touch anything but the callback: what the dead runner left, the next attempt or
//! the destroy job finds.

use crate::{
    made::Ledger,
    operate::{End, World},
    report::{Draft, Heard},
    settings::WireSettings,
};
use contract::{ErrorClass, Said};
use std::time::Duration;
use tokio::time::Instant;

/// The report is repeated so long.
const REPORT_MAX: Duration = Duration::from_mins(1);

/// Seq of a report that speaks for a dead runner: behind whatever that one sent.
const SEQ_AFTER_DEATH: i64 = 1_000_000;

/// Reports the death of a runner that could not report itself. Does nothing when it could.
pub async fn report_failure(world: World, wire: WireSettings) -> End {
    let actions = &world.actions;
    if actions.is_marked() {
        actions.line("the runner has reported; nothing to do");
        return End::Done;
    }
    let mut draft = Draft::new(Said::Failed);
    draft.error = Some("the runner died".to_owned());
    draft.error_class = Some(ErrorClass::Transient);
    let until = Instant::now() + REPORT_MAX;
    let post = world.post(&wire, Ledger::default());
    match post
        .deliver(&draft, SEQ_AFTER_DEATH, || until, |_, _| {})
        .await
    {
        Heard::Acknowledged(_) => {
            actions.line("reported that the runner died");
            actions.mark();
            End::Done
        }
        Heard::Fenced => {
            actions.line("the attempt is over already; nothing to do");
            actions.mark();
            End::Done
        }
        Heard::Refused(why) | Heard::Unknown(why) => {
            actions.error(&format!("the runner's death could not be reported: {why}"));
            End::Failed
        }
    }
}
