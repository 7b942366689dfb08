//! Changes in the tailnet. Getting a token may take as long as a call, so there is one before
//! the lease is asked; a token that ended meanwhile costs another turn of both.
//! It must not know why something is changed.

use crate::{
    lease::{Halt, Permit},
    steps::remove::CALL_MAX,
    tailscale::{Error, Key, Kind, NewKey, Tailscale},
};

/// So often a change that Tailscale refuses for now is asked for again.
const REFUSALS_MAX: u32 = 5;

/// As part of a plan a change comes again at the pace that refusals make; undo has no time for it.
fn paced(tailscale: &Tailscale, permit: Permit<'_>) -> Tailscale {
    match permit {
        Permit::Held(_) => tailscale.giving_refusals_back(),
        Permit::Undo => tailscale.clone(),
    }
}

/// Makes one change when it may be made.
async fn change<T, Call: Future<Output = Result<T, Error>>>(
    tailscale: &Tailscale,
    permit: Permit<'_>,
    call: impl Fn() -> Call,
) -> Result<Result<T, Error>, Halt> {
    let mut turns_left = 2;
    let mut refusals_left = REFUSALS_MAX;
    loop {
        let done = match tailscale.ready().await {
            Ok(()) => {
                permit.before_change().await?;
                call().await
            }
            Err(error) => Err(error),
        };
        match (done, permit) {
            (Err(error), _) if error.kind == Kind::TokenEnded && turns_left > 1 => turns_left -= 1,
            (Err(error), Permit::Held(lease)) if refusals_left > 0 && tailscale.refused(&error) => {
                refusals_left -= 1;
                match lease.pause(tailscale.until_look()).await {
                    // What was waited for says more.
                    Err(Halt::Deadline) => return Ok(Err(error)),
                    paused => paused?,
                }
            }
            (done, _) => return Ok(done.map_err(Error::lasting)),
        }
    }
}

/// Makes a key. The inner error tells whether it may exist.
pub(crate) async fn create_key(
    tailscale: &Tailscale,
    permit: Permit<'_>,
    new: &NewKey<'_>,
) -> Result<Result<Key, Error>, Halt> {
    let tailscale = paced(tailscale, permit);
    change(&tailscale, permit, || tailscale.create_key(new)).await
}

/// Revokes a key; one that does not exist is as good.
pub(crate) async fn delete_key(
    tailscale: &Tailscale,
    permit: Permit<'_>,
    id: &str,
) -> Result<(), Halt> {
    let tailscale = paced(tailscale, permit);
    let deleted = change(&tailscale, permit, || tailscale.delete_key(id, CALL_MAX));
    Ok(deleted.await??)
}

/// Removes a device; one that does not exist is as good. The inner error tells whose it is.
pub(crate) async fn delete_device(
    tailscale: &Tailscale,
    permit: Permit<'_>,
    id: &str,
) -> Result<Result<(), Error>, Halt> {
    let tailscale = paced(tailscale, permit);
    change(&tailscale, permit, || tailscale.delete_device(id, CALL_MAX)).await
}
