//! The attempt's auth key: made, masked, revoked when unused; and the keys that earlier processes
//! left. It must not know servers.

use crate::{
    lease::{Halt, Permit, Trouble},
    run::Run,
    schedule::short_pause,
    steps::tailnet,
    tailscale::{Kind, ListedKey, NewKey},
};
use std::time::Duration;

/// Longer than the slowest boot, worth little when stolen.
const LIFE: Duration = Duration::from_hours(1);
/// So often a key is asked for when there is no answer that says whether it exists.
const ROUNDS_MAX: u32 = 4;

/// Makes the key.
pub(crate) async fn create(run: &mut Run) -> Result<(), Halt> {
    if run.work.adopted || run.work.key.is_some() {
        return Ok(());
    }
    let mut last = String::new();
    for round in 0..ROUNDS_MAX {
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
        let permit = Permit::Held(&run.lease);
        match tailnet::create_key(&run.tailscale, permit, &new).await? {
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
                    revoke_described(run, permit).await?;
                }
                // It was asked for again already, and the next time would be too soon.
                Kind::Later if run.tailscale.refused(&error) => {
                    run.made.change(|made| made.key_in_doubt = false);
                    return Err(error.into());
                }
                Kind::Later | Kind::NotFound | Kind::TokenEnded => last = error.to_string(),
                Kind::Denied | Kind::Refused | Kind::Foreign => {
                    run.made.change(|made| made.key_in_doubt = false);
                    return Err(error.into());
                }
            },
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Err(Trouble::transient(format!("no auth key after {ROUNDS_MAX} tries: {last}")).into())
}

/// Every listed key that carries this attempt's description; used ones may be missing.
pub(crate) async fn described(run: &Run) -> Result<Vec<ListedKey>, Trouble> {
    let mut keys = run.tailscale.keys().await?;
    let description = run.key_description();
    keys.retain(|key| key.description == description);
    Ok(keys)
}

/// Revokes every key that carries this attempt's description: one whose answer was lost.
async fn revoke_described(run: &Run, permit: Permit<'_>) -> Result<(), Halt> {
    for key in described(run).await?.iter().filter(|key| key.valid) {
        tailnet::delete_key(&run.tailscale, permit, &key.id).await?;
    }
    run.made.change(|made| made.key_in_doubt = false);
    Ok(())
}

/// Revokes the unused keys of this job that an earlier process made, but for the one that was
/// adopted. A newer attempt's are not touched.
pub(crate) async fn revoke_left(run: &Run) -> Result<(), Halt> {
    let kept = run.made.all().key;
    for key in run.tailscale.keys().await? {
        let left = fence_of(&key.description, &run.inputs.job_id)
            .is_some_and(|fence| fence <= run.inputs.fence);
        if left && key.valid && kept.as_ref() != Some(&key.id) {
            revoke_one(run, &key).await?;
        }
    }
    Ok(())
}

/// The unused keys that attempts of the agent's known jobs made, but for those of attempts that
/// are newer than this one.
pub(crate) async fn unused_of_jobs(run: &Run) -> Result<Vec<ListedKey>, Trouble> {
    let mut keys = run.tailscale.keys().await?;
    keys.retain(|key| {
        let own = |job: &String| {
            !job.is_empty()
                && fence_of(&key.description, job).is_some_and(|fence| fence <= run.inputs.fence)
        };
        key.valid && run.work.jobs.iter().any(own)
    });
    Ok(keys)
}

/// Revokes every unused key that an attempt of the agent's known jobs made.
pub(crate) async fn revoke_of_jobs(run: &Run) -> Result<(), Halt> {
    for key in unused_of_jobs(run).await? {
        revoke_one(run, &key).await?;
    }
    Ok(())
}

async fn revoke_one(run: &Run, key: &ListedKey) -> Result<(), Halt> {
    run.actions.line(&format!("revoking key {}", key.id));
    tailnet::delete_key(&run.tailscale, Permit::Held(&run.lease), &key.id).await
}

/// The fence in a key's description, when the key is this job's.
fn fence_of(description: &str, job: &str) -> Option<i64> {
    description
        .strip_prefix(job)?
        .strip_prefix(" f")?
        .parse()
        .ok()
}

/// Undo: revokes the key. A used one is revoked too; that does not touch its device.
pub(crate) async fn revoke(run: &mut Run) -> Result<(), Trouble> {
    let made = run.made.all();
    if let Some(id) = made.key {
        let revoked = tailnet::delete_key(&run.tailscale, Permit::Undo, &id).await;
        revoked.map_err(Halt::into_trouble)?;
        run.actions.line(&format!("key {id} revoked"));
        run.made.change(|made| made.key = None);
        run.work.key = None;
    }
    if made.key_in_doubt {
        let revoked = revoke_described(run, Permit::Undo).await;
        revoked.map_err(Halt::into_trouble)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_whose_it_is() {
        for (description, fence) in [
            ("job f1", Some(1)),
            ("job f12", Some(12)),
            ("job", None),
            ("job fx", None),
            ("job2 f1", None),
            ("another", None),
        ] {
            assert_eq!(fence_of(description, "job"), fence, "{description}");
        }
    }
}
