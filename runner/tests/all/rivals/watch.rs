//! What must hold at every moment.
//! It must not know how a moment came to be.

use crate::harness::AGENT;
use bytes::Bytes;
use http::{Method, Request};
use sim::World;
use std::collections::HashMap;

/// Fence of the attempt that each thing came from: servers by label, keys by description,
/// devices by their key.
fn fences(world: &World) -> HashMap<String, i64> {
    let of_key = |description: &str| description.rsplit_once(" f")?.1.parse().ok();
    let mut found = HashMap::new();
    for server in &world.servers {
        let fence = server.labels.get("fence");
        let fence = fence.and_then(|text| text.parse().ok());
        found.insert(format!("/servers/{}", server.id), fence.unwrap_or(0));
    }
    for key in &world.keys {
        let fence = of_key(&key.description).unwrap_or(0);
        found.insert(format!("/keys/{}", key.id), fence);
        let own = |device: &&sim::DeviceView| device.key_id.as_ref() == Some(&key.id);
        for device in world.devices.iter().filter(own) {
            found.insert(format!("/device/{}", device.node_id), fence);
        }
    }
    found
}

/// Why an attempt must not make this call: it deletes what a newer one made, or deletes at all
/// where nothing may go.
pub(super) fn wrong_call(
    world: &World,
    fence: i64,
    call: &Request<Bytes>,
    keeps_all: bool,
) -> Option<String> {
    if call.method() != Method::DELETE {
        return None;
    }
    let path = call.uri().path();
    if keeps_all {
        return Some(format!("f{fence} deletes {path}"));
    }
    let newers = fences(world).into_iter();
    let mut newers = newers.filter(|(thing, of)| path.ends_with(thing) && *of > fence);
    let (thing, of) = newers.next()?;
    Some(format!("f{fence} deletes {thing} of f{of}"))
}

/// What is wrong with a world: the agent has two servers that live.
pub(super) fn wrong_world(world: &World) -> Option<String> {
    let live = world.servers.iter().filter(|one| {
        one.status != "deleting" && one.labels.get("agent_id").is_some_and(|id| id == AGENT)
    });
    (live.count() > 1).then(|| format!("two live servers: {:?}", world.servers))
}
