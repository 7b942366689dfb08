//! Looks for what earlier attempts left and clears it away: list by label first.
//! It must not make anything.

use crate::{
    hetzner::Server,
    lease::{Halt, Trouble},
    run::Run,
    schedule::short_pause,
    steps::{
        device::{self, Seen},
        key,
        remove::{self, Wait},
    },
    tailscale::Device,
};
use tokio::time::Instant;

/// So often the list is read until it holds nothing older.
const ROUNDS_MAX: u32 = 5;

/// What a list of the agent's servers means to an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is there.
    Clear,
    /// This attempt made one.
    Own(Server),
    /// Earlier attempts made these; they go.
    Older(Vec<u64>),
}

/// Judges the agent's servers by their fence.
///
/// # Errors
/// When a newer attempt is at work: this one is stale. When a fence cannot be read: nobody knows
/// whose the server is, so it is not touched.
pub(crate) fn judge(servers: Vec<Server>, own: i64) -> Result<Verdict, Trouble> {
    let mut older = Vec::new();
    let mut found = None;
    for server in servers {
        let fence: i64 = server
            .labels
            .get("fence")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| unreadable(&server))?;
        if fence > own {
            return Err(Trouble::transient(format!(
                "stale: server {} belongs to attempt f{fence}, which is newer than f{own}",
                server.id
            )));
        }
        if fence == own {
            found = Some(server);
        } else {
            older.push(server.id);
        }
    }
    Ok(match (older.is_empty(), found) {
        (false, _) => Verdict::Older(older),
        (true, Some(server)) => Verdict::Own(server),
        (true, None) => Verdict::Clear,
    })
}

fn unreadable(server: &Server) -> Trouble {
    Trouble::permanent(format!(
        "server {} carries no readable fence label; remove it or repair the label, then retry",
        server.id
    ))
}

/// Deletes the servers of earlier attempts, and then their devices; gives the server of this
/// attempt, if there is one. The devices are read before the servers: one that was there when
/// no server was can belong to nobody, whoever is at work meanwhile. Devices stay when no server
/// was deleted, unless `devices_too`: a list may lag behind our own create.
pub(crate) async fn clear_older(run: &Run, mut devices_too: bool) -> Result<Option<Server>, Halt> {
    let mut deleted = false;
    for round in 0..ROUNDS_MAX {
        let devices = device::list(run).await?;
        match judge(run.own_servers().await?, run.inputs.fence)? {
            Verdict::Clear if devices_too && !devices.is_empty() => {
                return clear_devices(run, devices, deleted).await;
            }
            Verdict::Clear => return Ok(None),
            Verdict::Own(server) => return Ok(Some(server)),
            Verdict::Older(ids) => {
                (devices_too, deleted) = (true, true);
                delete_older(run, ids).await?;
            }
        }
        run.lease.pause(short_pause(round)).await?;
    }
    Err(Trouble::transient("servers of earlier attempts do not go away").into())
}

/// Removes the devices of a machine that no list shows, unless something holds its name: then it
/// may be at work under other labels, and must not lose its way into the tailnet.
/// Nor is one that is at work removed, unless its server was `deleted` just now.
async fn clear_devices(
    run: &Run,
    mut devices: Vec<Device>,
    deleted: bool,
) -> Result<Option<Server>, Halt> {
    let began = Instant::now();
    loop {
        let cleared = match clear_name(run).await? {
            Holder::Own(server) => return Ok(Some(server)),
            Holder::Cleared => true,
            Holder::Nobody => deleted,
        };
        let Some(device) = device::at_work(&devices).filter(|_| !cleared) else {
            break;
        };
        device::wait_at_work(run, device, began).await?;
        devices = device::list(run).await?;
    }
    device::remove(run, &devices).await?;
    Ok(None)
}

async fn delete_older(run: &Run, ids: Vec<u64>) -> Result<(), Halt> {
    for id in ids {
        run.actions
            .line(&format!("deleting server {id} of an earlier attempt"));
        remove::server(&run.hetzner, id, Wait::Plan(&run.lease)).await?;
    }
    Ok(())
}

/// What holds the agent's server name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nothing that shows yet.
    Nobody,
    /// This attempt's server.
    Own(Server),
    /// An earlier attempt's, deleted now with its devices.
    Cleared,
}

/// Looks who holds the name, and judges it by its own labels: the list by label may lag behind.
/// As in [`clear_older`] the devices are read before the server.
pub(crate) async fn clear_name(run: &Run) -> Result<Holder, Halt> {
    let devices = device::list(run).await?;
    let Some(server) = run.hetzner.server_named(&run.server_name()).await? else {
        return Ok(Holder::Nobody);
    };
    if !run.is_own(&server) {
        let text = format!(
            "the name {} belongs to server {}, which is not this installation's; rename or \
             remove it, then retry",
            server.name, server.id
        );
        return Err(Trouble::permanent(text).into());
    }
    match judge(vec![server], run.inputs.fence)? {
        Verdict::Clear => Ok(Holder::Nobody),
        Verdict::Own(server) => Ok(Holder::Own(server)),
        Verdict::Older(ids) => {
            delete_older(run, ids).await?;
            device::remove(run, &devices).await?;
            Ok(Holder::Cleared)
        }
    }
}

/// The first step. A server of this very attempt was made by an earlier process of this run,
/// which nobody else is any more: it is kept when it has enrolled or still can, else made anew.
pub(crate) async fn look(run: &mut Run) -> Result<(), Halt> {
    if let Some(server) = clear_older(run, true).await?
        && !adopt(run, &server).await?
    {
        run.actions.line(&format!(
            "server {} of this attempt cannot enrol any more",
            server.id
        ));
        remove::server(&run.hetzner, server.id, Wait::Plan(&run.lease)).await?;
        if clear_older(run, true).await?.is_some() {
            return Err(Trouble::transient("this attempt's server does not go away").into());
        }
    }
    key::revoke_left(run).await
}

/// Takes over a server of this attempt when its device is there, or when its key still works.
/// Which of several keys the machine holds nobody knows, so there must be but one. A used key is
/// not listed any more; but this attempt removed every older device before it made its server,
/// so the newest device is the server's.
async fn adopt(run: &mut Run, server: &Server) -> Result<bool, Halt> {
    let keys = key::described(run).await?;
    let devices = device::list(run).await?;
    let made = keys.iter().filter_map(|key| key.created).min();
    let newest = devices.iter().filter_map(|device| device.created).max();
    let since = made.or(newest);
    match device::ours(devices, &run.cloud.tailscale.tag, since) {
        Seen::Ready(device, _) => device::note(run, device),
        // It has enrolled and is not ready yet.
        Seen::Waiting(_) => {}
        Seen::Nothing | Seen::Broken(_) => match keys.as_slice() {
            [key] if key.valid => run.made.change(|made| made.key = Some(key.id.clone())),
            _ => return Ok(false),
        },
    }
    run.actions
        .line(&format!("server {} is ours, adopted", server.id));
    run.made.change(|made| made.key_created = since);
    run.note_server(server);
    run.work.adopted = true;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn server(id: u64, fence: &str) -> Server {
        Server {
            id,
            name: "agent".to_owned(),
            status: "running".to_owned(),
            created: String::new(),
            labels: BTreeMap::from([("fence".to_owned(), fence.to_owned())]),
            ipv4: None,
            ipv6: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn fences_decide() {
        assert_eq!(judge(vec![], 3), Ok(Verdict::Clear));
        assert_eq!(
            judge(vec![server(1, "3")], 3),
            Ok(Verdict::Own(server(1, "3")))
        );
        assert_eq!(
            judge(vec![server(1, "2"), server(2, "3"), server(3, "1")], 3),
            Ok(Verdict::Older(vec![1, 3]))
        );
        assert!(judge(vec![server(1, "2"), server(2, "4")], 3).is_err());
        assert!(judge(vec![server(1, "")], 3).is_err());
    }

    proptest! {
        #[test]
        fn only_older_servers_are_ever_deleted(
            fences in proptest::collection::vec(1_i64..9, 0..6),
        ) {
            let servers = (1..).zip(&fences).map(|(id, f)| server(id, &f.to_string())).collect();
            if let Ok(Verdict::Older(ids)) = judge(servers, 5) {
                for id in ids {
                    let index = usize::try_from(id).unwrap() - 1;
                    prop_assert!(fences[index] < 5);
                }
            }
        }
    }
}
