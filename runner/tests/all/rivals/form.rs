//! The canonical form of a state: what of it can matter later, with ids replaced by the order of
//! their first appearance and times by their rank.
//! It must not know how states are reached.

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use sim::{Waiting, World};
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    hash::{DefaultHasher, Hash, Hasher},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Fields of the providers' answers that the runner reads and that differ from state to state.
/// What it only passes on, as addresses, cannot matter to the other attempt.
const READ: [&str; 26] = [
    "servers",
    "server",
    "id",
    "name",
    "status",
    "labels",
    "fence",
    "public_net",
    "ipv4",
    "ipv6",
    "action",
    "actions",
    "next_actions",
    "error",
    "code",
    "primary_ips",
    "primary_ip",
    "firewalls",
    "firewall",
    "keys",
    "description",
    "invalid",
    "devices",
    "nodeId",
    "created",
    "connectedToControl",
];

/// What is asked for. Bodies follow from what was heard before.
pub(super) fn call(request: &Request<Bytes>) -> String {
    format!("{} {}", request.method(), request.uri())
}

/// A call and its answer.
pub(super) fn heard(request: &Request<Bytes>, answer: &Response<Bytes>) -> Line {
    let mut body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    // What a listed server is doing is not read, only whose it is.
    if request.uri().path() == "/v1/servers" {
        let rows = body["servers"].as_array_mut();
        rows.into_iter()
            .flatten()
            .for_each(|row| row["status"] = Value::Null);
    }
    // Of a server the time is only passed on.
    prune(&mut body, request.uri().host() == Some("tailscale.sim"));
    let status = answer.status().as_u16();
    Line::of(&format!("{} {status} {body}", call(request)))
}

fn prune(body: &mut Value, times: bool) {
    match body {
        Value::Object(fields) => {
            fields.retain(|name, _| READ.contains(&name.as_str()) && (times || name != "created"));
            for (name, value) in fields {
                match value.as_str().filter(|_| name == "created") {
                    Some(text) => *value = Value::from(moment(text)),
                    None => prune(value, times),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, times)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A time as it is marked for its rank.
fn moment(text: &str) -> String {
    let at = OffsetDateTime::parse(text, &Rfc3339).unwrap();
    format!("@{}", at.unix_timestamp())
}

/// The world as far as calls can see or change it. Its keys are in no order, as their ids are
/// drawn; they get one here.
pub(super) fn world(world: &World, waiting: &[Waiting]) -> String {
    let mut text = format!("now @{}\n", world.unix_seconds);
    for server in &world.servers {
        let fence = server.labels.get("fence");
        let (note, device, boots) = (&server.boot_note, server.device_id, server.boots);
        let (id, name, status) = (server.id, &server.name, &server.status);
        let line = writeln!(
            text,
            "{id} {name} {status} {boots} {fence:?} {device:?} {note:?}"
        );
        line.unwrap();
    }
    let mut keys: Vec<_> = world.keys.iter().collect();
    keys.sort_by(|a, b| (&a.description, a.created).cmp(&(&b.description, b.created)));
    for key in keys {
        let (id, created, what) = (&key.id, key.created, &key.description);
        let line = writeln!(
            text,
            "{id} @{created} {what} {} {}",
            key.usable, key.revoked
        );
        line.unwrap();
    }
    for device in &world.devices {
        let (id, node, key) = (device.id, &device.node_id, &device.key_id);
        let (created, online) = (device.created, device.online);
        writeln!(text, "{id} {node} {key:?} @{created} {online}").unwrap();
    }
    let firewalls: Vec<u64> = world.firewalls.iter().map(|one| one.id).collect();
    writeln!(text, "{:?} {firewalls:?} {waiting:?}", world.primary_ips).unwrap();
    text
}

/// A text with its ids and times taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Hash of the text with holes.
    text: u64,
    /// What stood in the holes, in order.
    ids: Vec<u64>,
    times: Vec<i64>,
}

impl Line {
    pub(super) fn of(text: &str) -> Self {
        let mut line = Self::default();
        let mut hasher = DefaultHasher::new();
        let in_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'@';
        let is_number = |piece: &[u8]| piece.iter().all(u8::is_ascii_digit);
        for piece in text.as_bytes().chunk_by(|a, b| in_word(*a) == in_word(*b)) {
            match piece {
                [b'@', time @ ..] if is_number(time) => {
                    let time = str::from_utf8(time).unwrap().parse();
                    line.times.push(time.unwrap());
                    b"@".hash(&mut hasher);
                }
                id if id.ends_with(b"CNTRL") || id.len() >= 9 && is_number(id) => {
                    line.ids.push(hash(id));
                    b"#".hash(&mut hasher);
                }
                text => text.hash(&mut hasher),
            }
        }
        line.text = hasher.finish();
        line
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The same for lines that differ only in ids and absolute times.
pub(super) fn canonical(lines: &[&Line]) -> u64 {
    let times = lines.iter().flat_map(|line| &line.times);
    let times: BTreeSet<&i64> = times.collect();
    let ranks: HashMap<&i64, usize> = times.into_iter().zip(0..).collect();
    let mut names: HashMap<u64, usize> = HashMap::new();
    let mut hasher = DefaultHasher::new();
    for line in lines {
        line.text.hash(&mut hasher);
        for id in &line.ids {
            let next = names.len();
            names.entry(*id).or_insert(next).hash(&mut hasher);
        }
        for time in &line.times {
            ranks[time].hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(lines: &[&str]) -> u64 {
        let lines: Vec<Line> = lines.iter().map(|text| Line::of(text)).collect();
        canonical(&lines.iter().collect::<Vec<_>>())
    }

    #[test]
    fn only_names_and_absolute_times_are_left_out() {
        let one = form(&["5000000001 @100", "k1CNTRL 5000000001 @200"]);
        assert_eq!(one, form(&["5000000009 @7", "k2CNTRL 5000000009 @8"]));
        for other in [
            ["5000000001 @100", "k1CNTRL 5000000002 @200"],
            ["5000000001 @100", "k1CNTRL 5000000001 @100"],
            ["5000000001 @200", "k1CNTRL 5000000001 @100"],
            ["5000000001 @100", "k1CNTRL 5000000001 @200."],
        ] {
            assert_ne!(one, form(&other), "{other:?}");
        }
    }
}
