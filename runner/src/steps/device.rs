//! Which device is ours: same hostname, our tag, made no earlier than our key, by Tailscale's
//! clock alone. Of servers it must know no more than whose they are.

use crate::{
    hetzner::Server,
    lease::{Halt, Permit, Trouble},
    run::Run,
    schedule::device_pause,
    steps::{look::judge, tailnet},
    tailscale::{Device, Kind},
};
use contract::ServerFacts;
use std::{net::Ipv4Addr, time::Duration};
use time::OffsetDateTime;
use tokio::time::Instant;

/// So long a device may be shown as connected after its machine was removed.
const AT_WORK_MAX: Duration = Duration::from_mins(4);
/// Pause between two looks at it.
const AT_WORK_PAUSE: Duration = Duration::from_secs(10);
/// What a device of a machine that is off, or hangs, is waited for.
pub(crate) const TO_BE_CONNECTED: &str = "the device to be connected";

/// How far our device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is not there.
    Nothing,
    /// It is there and cannot be used yet; says what it waits for.
    Waiting(&'static str),
    /// It can be used, at this address.
    Ready(Device, Ipv4Addr),
    /// It will never work as things are; says why.
    Broken(String),
}

/// Finds our device among those of our hostname: the newest made no earlier than `since`.
pub(crate) fn ours(devices: Vec<Device>, tag: &str, since: Option<OffsetDateTime>) -> Seen {
    let newest = devices
        .into_iter()
        .filter(|device| device.tags.iter().any(|own| own == tag))
        .filter(|device| {
            device
                .created
                .is_some_and(|at| since.is_none_or(|since| at >= since))
        })
        .max_by_key(|device| device.created);
    newest.map_or(Seen::Nothing, state)
}

/// How far a device is.
pub(crate) fn state(device: Device) -> Seen {
    if !device.lock_error.is_empty() {
        let text = format!(
            "tailnet lock keeps device {} out: {}; sign it or turn tailnet lock off",
            device.node_id, device.lock_error
        );
        return Seen::Broken(text);
    }
    if !device.authorized {
        return Seen::Waiting("approval in the tailnet");
    }
    if device.connected == Some(false) {
        return Seen::Waiting(TO_BE_CONNECTED);
    }
    match address(&device.addresses) {
        Some(address) => Seen::Ready(device, address),
        None => Seen::Waiting("an address in 100.64.0.0/10"),
    }
}

/// The IPv4 address in the tailnet; the order of addresses is not promised.
fn address(addresses: &[String]) -> Option<Ipv4Addr> {
    addresses
        .iter()
        .filter_map(|text| text.parse::<Ipv4Addr>().ok())
        .find(|address| {
            let [first, second, _, _] = address.octets();
            first == 100 && (64..128).contains(&second)
        })
}

/// Looks for our device and writes it down when it is ready.
pub(crate) async fn poll(run: &mut Run) -> Result<Seen, Halt> {
    let since = run.made.all().key_created;
    let devices = run.tailscale.look_for(&run.server_name()).await?;
    let tag = run.cloud.tailscale.tag.clone();
    let older = |own: &Device| {
        let left = |one: &&Device| {
            one.tags.contains(&tag) && one.created.is_some_and(|at| own.created > Some(at))
        };
        devices.iter().filter(left).cloned().collect::<Vec<_>>()
    };
    let seen = ours(devices.clone(), &tag, since);
    match &seen {
        Seen::Ready(device, _) => {
            // An agent has one machine: a device older than its own has none.
            remove(run, &older(device)).await?;
            note(run, device.clone());
        }
        Seen::Waiting(what) => run.work.device_waits_for = Some(what),
        Seen::Broken(why) => return Err(Trouble::permanent(why.clone()).into()),
        Seen::Nothing => {}
    }
    Ok(seen)
}

/// Writes the device down as ours, as reports show it. Keys of tagged devices do not expire unless
/// somebody turned that on (Tailscale: key expiry).
pub(crate) fn note(run: &mut Run, device: Device) {
    if device.expires {
        run.actions.warn(&format!(
            "the key of device {} expires, and with it the agent's way into the tailnet; turn \
             its key expiry off",
            device.node_id
        ));
    }
    run.made.change(|made| {
        made.device = Some(device.node_id.clone());
        made.tell(ServerFacts {
            device_id: Some(device.node_id.clone()),
            tailscale_ip: address(&device.addresses).map(|address| address.to_string()),
            ..ServerFacts::default()
        });
    });
    run.work.device = Some(device);
}

/// The agent's devices: our hostname and tag. Another tailnet's has no time of creation, and
/// cannot be removed (Tailscale: 501).
pub(crate) async fn list(run: &Run) -> Result<Vec<Device>, Trouble> {
    Ok(of_agent(
        run,
        run.tailscale.devices(&run.server_name()).await?,
    ))
}

/// The same, as a look that comes again.
pub(crate) async fn look(run: &Run) -> Result<Vec<Device>, Trouble> {
    Ok(of_agent(
        run,
        run.tailscale.look_for(&run.server_name()).await?,
    ))
}

/// How long to pause before the next look of a wait that began so long ago.
pub(crate) fn pause(run: &Run, elapsed: Duration) -> Duration {
    device_pause(elapsed).max(run.tailscale.until_look())
}

fn of_agent(run: &Run, mut devices: Vec<Device>) -> Vec<Device> {
    let tag = &run.cloud.tailscale.tag;
    let foreign = run.made.all().foreign;
    devices.retain(|device| {
        device.created.is_some() && device.tags.contains(tag) && !foreign.contains(&device.node_id)
    });
    devices
}

/// Deletes devices that are known to be leftovers.
pub(crate) async fn remove(run: &Run, left: &[Device]) -> Result<(), Halt> {
    for Device { node_id, .. } in left {
        run.actions
            .line(&format!("deleting device {node_id} of an earlier machine"));
        let permit = Permit::Held(&run.lease);
        match tailnet::delete_device(&run.tailscale, permit, node_id).await? {
            // It was shared into the tailnet: it is not ours, and in nobody's way.
            Err(error) if error.kind == Kind::Foreign => {
                run.actions.line(&error.to_string());
                run.made.change(|made| made.foreign.push(node_id.clone()));
            }
            deleted => deleted?,
        }
    }
    Ok(())
}

/// One of these devices that is connected, so that a machine stands behind it.
pub(crate) fn at_work(devices: &[Device]) -> Option<&Device> {
    let connected = |device: &&Device| device.connected == Some(true);
    devices.iter().find(connected)
}

/// Pauses before the next look at a device that is at work without a server that anybody found;
/// `began`: the first look.
///
/// # Errors
/// When it is at work for too long to be a machine that was just removed.
pub(crate) async fn wait_at_work(run: &Run, device: &Device, began: Instant) -> Result<(), Halt> {
    if began.elapsed() <= AT_WORK_MAX {
        return run.lease.pause(AT_WORK_PAUSE).await;
    }
    let text = format!(
        "device {} is connected, so its machine seems to run, and no server of it is in this \
         Hetzner project; set HETZNER_API_TOKEN to the project that holds it, or remove the \
         machine by hand, or the device to keep the machine, then retry",
        device.node_id
    );
    Err(Trouble::transient(text).into())
}

/// Ids of the devices that our machine left: the one we know, and one that joined unseen, found
/// by its time. The devices are read before the servers: while no newer attempt has a server,
/// none of them can be a newer one's. Else all devices are the newer attempt's matter.
///
/// # Errors
/// When it cannot be known whose they are: then they stay, and are named.
pub(crate) async fn left_by_us(run: &Run) -> Result<Vec<String>, Trouble> {
    let made = run.made.all();
    if made.device.is_none() && made.key_created.is_none() {
        return Ok(Vec::new());
    }
    let mut devices = list(run).await?;
    devices.retain(|device| {
        let from_our_key = made
            .key_created
            .is_some_and(|since| device.created.is_some_and(|at| at >= since));
        from_our_key || made.device.as_ref() == Some(&device.node_id)
    });
    let ids: Vec<String> = devices.into_iter().map(|device| device.node_id).collect();
    if ids.is_empty() {
        return Ok(ids);
    }
    let servers = run.own_servers().await?;
    if servers.iter().any(|one| is_newer(one, run.inputs.fence)) {
        return Ok(Vec::new());
    }
    match judge(servers, run.inputs.fence) {
        Ok(_) => Ok(ids),
        Err(trouble) => Err(Trouble {
            class: trouble.class,
            text: format!("device {} stays: {}", ids.join(", "), trouble.text),
        }),
    }
}

fn is_newer(server: &Server, own: i64) -> bool {
    let fence = server
        .labels
        .get("fence")
        .and_then(|text| text.parse().ok());
    fence.is_some_and(|fence: i64| fence > own)
}

/// Undo, after our server is gone: deletes what it left in the tailnet.
pub(crate) async fn delete(run: &mut Run) -> Result<(), Trouble> {
    for id in left_by_us(run).await? {
        let deleted = tailnet::delete_device(&run.tailscale, Permit::Undo, &id).await;
        deleted.map_err(Halt::into_trouble)??;
        run.actions.line(&format!("device {id} deleted"));
    }
    run.made.change(|made| made.device = None);
    run.work.device = None;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    fn device(id: &str, created: Option<i64>) -> Device {
        Device {
            node_id: id.to_owned(),
            hostname: "agent".to_owned(),
            tags: vec!["tag:agent".to_owned()],
            created: created.map(at),
            authorized: true,
            connected: Some(true),
            addresses: vec!["fd7a:115c:a1e0::1".to_owned(), "100.101.102.103".to_owned()],
            lock_error: String::new(),
            expires: false,
        }
    }

    fn seen(devices: Vec<Device>) -> Seen {
        ours(devices, "tag:agent", Some(at(100)))
    }

    #[test]
    fn the_device_made_with_our_key_is_ours() {
        let address = Ipv4Addr::new(100, 101, 102, 103);
        let found = seen(vec![device("old", Some(99)), device("ours", Some(100))]);
        assert_eq!(found, Seen::Ready(device("ours", Some(100)), address));
        assert_eq!(
            seen(vec![device("old", Some(99)), device("external", None)]),
            Seen::Nothing
        );
        let mut foreign = device("foreign", Some(200));
        foreign.tags = vec!["tag:other".to_owned()];
        assert_eq!(seen(vec![foreign]), Seen::Nothing);
    }

    #[test]
    fn a_device_that_cannot_be_used_says_why() {
        let waiting = |change: fn(&mut Device)| {
            let mut one = device("x", Some(150));
            change(&mut one);
            seen(vec![one])
        };
        assert!(matches!(
            waiting(|one| one.authorized = false),
            Seen::Waiting(_)
        ));
        assert!(matches!(
            waiting(|one| one.connected = Some(false)),
            Seen::Waiting(_)
        ));
        assert!(matches!(
            waiting(|one| one.addresses.truncate(1)),
            Seen::Waiting(_)
        ));
        assert!(matches!(
            waiting(|one| one.connected = None),
            Seen::Ready(..)
        ));
        let locked = waiting(|one| one.lock_error = "node key is not signed".to_owned());
        assert!(matches!(locked, Seen::Broken(why) if why.contains("tailnet lock")));
    }

    #[test]
    fn only_tailnet_addresses_count() {
        let list = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        for (texts, expected) in [
            (&["10.0.0.1", "100.64.0.1"][..], Some("100.64.0.1")),
            (&["100.63.255.255", "100.128.0.0"][..], None),
            (&["100.127.255.254"][..], Some("100.127.255.254")),
            (&["fd7a::1", "nonsense"][..], None),
        ] {
            let found = address(&list(texts)).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_older_than_the_key_is_ours(
            times in proptest::collection::vec(0_i64..200, 0..5),
        ) {
            let devices = times.iter().map(|second| device("x", Some(*second))).collect();
            if let Seen::Ready(found, _) = seen(devices) {
                prop_assert!(found.created.unwrap() >= at(100));
                prop_assert_eq!(found.created, times.iter().max().map(|second| at(*second)));
            }
        }
    }
}
