//! Changes in the tailnet. Getting a token may take as long as a call, so there is one before
//! the lease is asked; a token that ended meanwhile costs another turn of both.
//! It must not know why something is changed.

use crate::{
    lease::{Halt, Permit},
    steps::remove::CALL_MAX,
    tailscale::{Error, Key, Kind, NewKey, Tailscale},
};

/// Makes one change when it may be made.
async fn change<T, Call: Future<Output = Result<T, Error>>>(
    tailscale: &Tailscale,
    permit: Permit<'_>,
    call: impl Fn() -> Call,
) -> Result<Result<T, Error>, Halt> {
    let mut turns_left = 2;
    loop {
        turns_left -= 1;
        if let Err(error) = tailscale.ready().await {
            return Ok(Err(error));
        }
        permit.before_change().await?;
        match call().await {
            Err(error) if error.kind == Kind::TokenEnded && turns_left > 0 => {}
            done => return Ok(done.map_err(Error::lasting)),
        }
    }
}

/// Makes a key. The inner error tells whether it may exist.
pub(crate) async fn create_key(
    tailscale: &Tailscale,
    permit: Permit<'_>,
    new: &NewKey<'_>,
) -> Result<Result<Key, Error>, Halt> {
    change(tailscale, permit, || tailscale.create_key(new)).await
}

/// Revokes a key; one that does not exist is as good.
pub(crate) async fn delete_key(
    tailscale: &Tailscale,
    permit: Permit<'_>,
    id: &str,
) -> Result<(), Halt> {
    let deleted = change(tailscale, permit, || tailscale.delete_key(id, CALL_MAX));
    Ok(deleted.await??)
}

/// Removes a device; one that does not exist is as good. The inner error tells whose it is.
pub(crate) async fn delete_device(
    tailscale: &Tailscale,
    permit: Permit<'_>,
    id: &str,
) -> Result<Result<(), Error>, Halt> {
    change(tailscale, permit, || tailscale.delete_device(id, CALL_MAX)).await
}
