//! The attempt's auth key: made, masked, revoked when unused.
//! It must not know servers.

use crate::{
    lease::{Halt, Trouble},
    run::Run,
    schedule::short_pause,
    steps::remove::CALL_MAX,
    tailscale::{Kind, NewKey},
};
use std::time::Duration;

/// Longer than the slowest boot, worth little when stolen.
const LIFE: Duration = Duration::from_hours(1);
/// So often a key is asked for.
const ROUNDS_MAX: u32 = 4;

/// Makes the key.
pub(crate) async fn create(run: &mut Run) -> Result<(), Halt> {
    if run.work.adopted {
        return Ok(());
    }
    let mut last = String::new();
    for round in 0..ROUNDS_MAX {
        run.lease.before_change().await?;
        let description = run.key_description();
        let settings = &run.cloud.tailscale;
        let (tag, ephemeral) = (settings.tag.as_str(), settings.ephemeral);
        let new = NewKey {
            description: &description,
            tag,
            ephemeral,
            life: LIFE,
        };
        run.made.change(|made| made.key_in_doubt = true);
        match run.tailscale.create_key(&new).await {
            Ok(key) => {
                run.actions.mask(&key.secret);
                run.actions
                    .line(&format!("key {} for {tag}, valid for 1 h", key.id));
                run.made.change(|made| {
                    made.key_in_doubt = false;
                    made.key = Some(key.id.clone());
                    made.key_created = Some(key.created);
                });
                run.work.key = Some(key);
                return Ok(());
            }
            Err(error) => match error.kind {
                Kind::Doubt => {
                    last = error.to_string();
                    revoke_described(run).await?;
                }
                Kind::Later | Kind::NotFound => last = error.to_string(),
                Kind::Denied | Kind::Refused => {
                    run.made.change(|made| made.key_in_doubt = false);
                    return Err(error.into());
                }
            },
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Err(Trouble::transient(format!("no auth key after {ROUNDS_MAX} tries: {last}")).into())
}

/// Revokes every key that carries this attempt's description: one whose answer was lost.
pub(crate) async fn revoke_described(run: &Run) -> Result<(), Trouble> {
    let description = run.key_description();
    for key in run.tailscale.keys().await? {
        if key.description == description {
            run.tailscale.delete_key(&key.id, CALL_MAX).await?;
        }
    }
    run.made.change(|made| made.key_in_doubt = false);
    Ok(())
}

/// Undo: revokes the key. A used one is revoked too; that does not touch its device.
pub(crate) async fn revoke(run: &mut Run) -> Result<(), Trouble> {
    let made = run.made.all();
    if let Some(id) = made.key {
        run.tailscale.delete_key(&id, CALL_MAX).await?;
        run.actions.line(&format!("key {id} revoked"));
        run.made.change(|made| made.key = None);
    }
    if made.key_in_doubt {
        revoke_described(run).await?;
    }
    Ok(())
}
