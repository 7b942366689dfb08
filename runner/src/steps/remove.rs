//! Removing a server, a device or a key, by id, until it is gone. Used by steps and by undo.
//! It must not know whose they are.

use crate::{
    hetzner::{ActionState, Error, Hetzner, Kind},
    lease::{Halt, Lease, Permit, Trouble},
    schedule::short_pause,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// One call of a removal may take this long.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(20);
/// A server that is not gone after this long is left behind and named.
const UNDO_MAX: Duration = Duration::from_secs(90);
/// The same as part of a plan: looks may have to wait for the rate budget.
const PLAN_MAX: Duration = Duration::from_mins(6);

/// How a removal waits: as part of the plan it stops when the plan must, as undo it goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait<'a> {
    /// Ends when work must stop.
    Plan(&'a Lease),
    /// Goes on.
    Undo,
}

impl<'a> Wait<'a> {
    const fn longest(self) -> Duration {
        match self {
            Self::Plan(_) => PLAN_MAX,
            Self::Undo => UNDO_MAX,
        }
    }

    /// What allows the delete.
    const fn permit(self) -> Permit<'a> {
        match self {
            Self::Plan(lease) => Permit::Held(lease),
            Self::Undo => Permit::Undo,
        }
    }

    async fn pause(self, span: Duration) -> Result<(), Halt> {
        match self {
            Self::Plan(lease) => lease.pause(span).await,
            Self::Undo => {
                sleep(span).await;
                Ok(())
            }
        }
    }
}

/// Deletes a server by id and waits until it is gone. One that is gone already is as good.
pub(crate) async fn server(hetzner: &Hetzner, id: u64, wait: Wait<'_>) -> Result<(), Halt> {
    let started = Instant::now();
    let mut last = String::new();
    for round in 0.. {
        if started.elapsed() > wait.longest() {
            break;
        }
        wait.permit().before_change().await?;
        match hetzner.delete_server(id, CALL_MAX).await {
            Ok(None) => return Ok(()),
            Ok(Some(action)) => match ended(hetzner, id, action.id, wait).await? {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            },
            Err(error) if may_pass(error.kind) => last = error.to_string(),
            Err(error) => return Err(error.into()),
        }
        wait.pause(short_pause(round)).await?;
    }
    let text = format!(
        "server {id} is still there after {} s: {last}",
        wait.longest().as_secs()
    );
    Err(Trouble::transient(text).into())
}

/// Waits for the end of a delete: the action's, or the server's own absence.
async fn ended(
    hetzner: &Hetzner,
    id: u64,
    action: u64,
    wait: Wait<'_>,
) -> Result<Result<(), String>, Halt> {
    let started = Instant::now();
    for round in 0.. {
        wait.pause(short_pause(round)).await?;
        let state = match hetzner.actions(&[action]).await {
            Ok(found) => found
                .into_iter()
                .find(|one| one.id == action)
                .map(|one| one.state),
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) if may_pass(error.kind) => Some(ActionState::Running),
            Err(error) => return Err(error.into()),
        };
        match state {
            Some(ActionState::Success) => return Ok(Ok(())),
            Some(ActionState::Failed(why)) => return Ok(Err(why)),
            Some(ActionState::Running) => {}
            None if gone(hetzner.server(id).await)? => return Ok(Ok(())),
            None => return Ok(Err("the delete vanished".to_owned())),
        }
        if started.elapsed() > wait.longest() {
            break;
        }
    }
    Ok(Err("the delete does not end".to_owned()))
}

fn gone<T>(found: Result<Option<T>, Error>) -> Result<bool, Halt> {
    match found {
        Ok(found) => Ok(found.is_none()),
        Err(error) if may_pass(error.kind) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the same call may do later.
pub(crate) const fn may_pass(kind: Kind) -> bool {
    match kind {
        Kind::Busy | Kind::Later | Kind::Doubt => true,
        Kind::NotFound
        | Kind::NameTaken
        | Kind::Unavailable
        | Kind::Limit
        | Kind::Denied
        | Kind::Refused => false,
    }
}
