//! Tailscale's devices: enrolment, names with a suffix, going quiet and coming back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{YEAR_ONE, zulu};
use crate::draw;
use crate::state::{Due, State};
use crate::tailscale::oauth::Token;
use crate::tailscale::{Tailscale, keys, refuse};
use crate::wire::{Answer, Call, Reply};
use crate::world::{DecoyDevice, DeviceView};

/// One device.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the API shows each of them as a field of its own"
)]
pub(crate) struct Device {
    id: u64,
    node_id: String,
    /// First label of the DNS name, unique.
    label: String,
    hostname: String,
    tags: Vec<String>,
    ipv4: String,
    ipv6: String,
    addresses_from: Duration,
    ipv4_from: Duration,
    authorized_from: Duration,
    online: bool,
    /// Until then it is shown as connected, whatever became of its machine.
    quiet_from: Duration,
    last_seen: i64,
    authorized: bool,
    ephemeral: bool,
    external: bool,
    key_expiry_disabled: bool,
    created: i64,
    /// It shows year 1 as the time it was made.
    year_one: bool,
    lock_error: String,
    key_id: Option<String>,
}

/// What a machine says when it registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Enrolment<'a> {
    pub(crate) key: &'a str,
    pub(crate) hostname: &'a str,
}

impl Device {
    fn json(&self, state: &State, all: bool) -> Value {
        let mut addresses = vec![self.ipv4.clone(), self.ipv6.clone()];
        if state.knobs.ipv6_first {
            addresses.reverse();
        }
        if state.now < self.ipv4_from {
            addresses.retain(|address| *address != self.ipv4);
        }
        if state.now < self.addresses_from {
            addresses.clear();
        }
        let created = match (self.external, self.year_one) {
            (true, _) => String::new(),
            (false, true) => YEAR_ONE.to_owned(),
            (false, false) => zulu(self.created),
        };
        let authorized = self.authorized && state.now >= self.authorized_from;
        let connected = self.online || state.now < self.quiet_from;
        let mut object = json!({
            "addresses": addresses, "id": self.id.to_string(), "nodeId": self.node_id,
            "name": format!("{}.{}", self.label, state.config.tailscale.dns_name),
            "hostname": self.hostname, "user": "tagged-devices", "authorized": authorized,
            "connectedToControl": connected, "created": created,
            "expires": YEAR_ONE, "keyExpiryDisabled": self.key_expiry_disabled,
            "isEphemeral": self.ephemeral, "isExternal": self.external,
            "blocksIncomingConnections": false, "clientVersion": "1.94.2-tsim-g0", "os": "linux",
            "machineKey": format!("mkey:{}", self.node_id), "nodeKey":
            format!("nodekey:{}", self.node_id), "tailnetLockKey": "nlpub:00",
            "tailnetLockError": self.lock_error, "updateAvailable": false,
        });
        if let Some(fields) = object.as_object_mut() {
            if !connected {
                fields.insert("lastSeen".to_owned(), json!(zulu(self.last_seen)));
            }
            if !self.tags.is_empty() {
                fields.insert("tags".to_owned(), json!(self.tags));
            }
            if all {
                fields.insert("enabledRoutes".to_owned(), json!([]));
                fields.insert("advertisedRoutes".to_owned(), json!([]));
                fields.insert("sshEnabled".to_owned(), json!(false));
            }
        }
        object
    }

    fn is(&self, id: &str) -> bool {
        self.node_id == id || self.id.to_string() == id
    }
}

/// The text as a DNS label: lower case, other characters become hyphens.
fn dns_label(text: &str) -> String {
    let plain = |c: char| {
        let lower = c.to_ascii_lowercase();
        if lower.is_ascii_alphanumeric() {
            lower
        } else {
            '-'
        }
    };
    let label: String = text.chars().map(plain).take(63).collect();
    label.trim_matches('-').to_owned()
}

/// A label that no other device has: `-1`, `-2`, … when it is taken.
fn free_label(state: &State, hostname: &str) -> String {
    let label = dns_label(hostname);
    let taken = |label: &str| state.tailscale.devices.values().any(|d| d.label == label);
    if !taken(&label) {
        return label;
    }
    // One more candidate than there are devices: one of them is free.
    (1..=state.tailscale.devices.len())
        .map(|number| format!("{label}-{number}"))
        .find(|label| !taken(label))
        .unwrap_or(label)
}

/// A new device, not yet listed.
fn new_device(state: &mut State, hostname: &str, tags: Vec<String>) -> Device {
    let number = state.tailscale.new_number();
    let node = draw::text(state.config.seed, &["node", &number.to_string()], 11);
    Device {
        id: 92_960_230_000 + number,
        node_id: format!("n{node}CNTRL"),
        label: free_label(state, hostname),
        hostname: hostname.to_owned(),
        tags,
        ipv4: format!(
            "100.{}.{}.{}",
            64 + (number >> 16 & 63),
            number >> 8 & 255,
            number & 255
        ),
        ipv6: format!("fd7a:115c:a1e0::{number:x}"),
        addresses_from: state.now + state.knobs.addresses_late,
        ipv4_from: state.now + state.knobs.device_ipv4_late,
        authorized_from: state.now + state.knobs.approved_late,
        online: true,
        quiet_from: Duration::ZERO,
        last_seen: state.unix_now(),
        authorized: true,
        ephemeral: false,
        external: false,
        key_expiry_disabled: true,
        created: state.unix_now(),
        year_one: false,
        lock_error: state.knobs.tailnet_lock.clone(),
        key_id: None,
    }
}

/// A machine enrols with a key; the device's id, or why not.
pub(crate) fn enrol(state: &mut State, wish: &Enrolment<'_>) -> Result<u64, String> {
    let (key_id, key) = keys::redeem(state, wish.key)?;
    let mut device = new_device(state, wish.hostname, key.tags.clone());
    device.ephemeral = key.ephemeral;
    device.key_expiry_disabled = !key.tags.is_empty() && !state.knobs.node_keys_expire;
    device.authorized = match state.knobs.approval {
        None => true,
        Some(always) => key.preauthorized && !always,
    };
    device.key_id = Some(key_id);
    Ok(put(state, device))
}

/// Lists the device; gives its id.
fn put(state: &mut State, device: Device) -> u64 {
    let id = device.id;
    state.tailscale.devices.insert(id, device);
    if let Some(after) = state.knobs.devices_vanish {
        state.schedule(after, Due::DeviceVanishes(id));
    }
    id
}

/// The device is removed by the control plane itself.
pub(crate) fn vanish(state: &mut State, id: u64) {
    state.tailscale.devices.remove(&id);
}

/// Its machine is off: a lasting device stays listed, an ephemeral one is removed.
pub(crate) fn goes_quiet(state: &mut State, id: u64) {
    let now = state.unix_now();
    let quiet_from = state.now + state.knobs.quiet_late;
    let Some(device) = state.tailscale.devices.get_mut(&id) else {
        return;
    };
    if device.online {
        device.online = false;
        device.quiet_from = quiet_from;
        device.last_seen = now;
    }
    if device.ephemeral {
        state.tailscale.quiet_ephemeral.insert(id, device.clone());
        vanish(state, id);
    }
}

/// Its machine is on again: the same device, or a new one where an ephemeral one was removed.
/// `None` when it was deleted by hand: then its node key is void.
pub(crate) fn comes_back(state: &mut State, id: u64) -> Option<u64> {
    if let Some(device) = state.tailscale.devices.get_mut(&id) {
        device.online = true;
        return Some(id);
    }
    let old = state.tailscale.quiet_ephemeral.remove(&id)?;
    let mut device = new_device(state, &old.hostname, old.tags);
    device.ephemeral = true;
    device.authorized = old.authorized;
    device.key_id = old.key_id;
    Some(put(state, device))
}

/// A device that was there before, or joined by hand.
pub(crate) fn add_decoy(state: &mut State, decoy: &DecoyDevice) -> u64 {
    let mut device = new_device(state, &decoy.hostname, decoy.tags.clone());
    let age = i64::try_from(decoy.age.as_secs()).unwrap_or(i64::MAX);
    device.created = device.created.saturating_sub(age);
    device.online = decoy.online;
    device.external = decoy.external;
    device.year_one = state.knobs.year_one;
    device.addresses_from = Duration::ZERO;
    device.ipv4_from = Duration::ZERO;
    let id = device.id;
    state.tailscale.devices.insert(id, device);
    id
}

const READ: [&str; 4] = [
    "devices:core",
    "devices:core:read",
    "devices",
    "devices:read",
];
const WRITE: [&str; 2] = ["devices:core", "devices"];

/// `GET /tailnet/-/devices`
pub(super) fn list(state: &State, call: &Call, token: &Token) -> Answer {
    token.may(&READ)?;
    let all = call.param("fields") == Some("all");
    let mut shown = Vec::new();
    for device in state.tailscale.devices.values() {
        let object = device.json(state, all);
        if state.knobs.ignore_filters || passes(call, &object) {
            shown.push(object);
        }
    }
    Ok(Reply::json(200, json!({"devices": shown})))
}

/// Whether a device passes every filter among the query parameters.
fn passes(call: &Call, device: &Value) -> bool {
    call.query.iter().all(|(name, wanted)| {
        if name == "fields" {
            return true;
        }
        match device.get(name) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Bool(flag)) => flag.to_string() == *wanted,
            Some(Value::Array(items)) => items.iter().any(|item| item == wanted),
            Some(Value::Null | Value::Number(_) | Value::Object(_)) | None => false,
        }
    })
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Device, Reply> {
    let mut devices = state.tailscale.devices.values();
    let device = devices.find(|device| device.is(id));
    device.ok_or_else(|| refuse(404, "no such device"))
}

/// `GET /device/{id}`
pub(super) fn get(state: &State, call: &Call, token: &Token, id: &str) -> Answer {
    token.may(&READ)?;
    let all = call.param("fields") == Some("all");
    Ok(Reply::json(200, find(state, id)?.json(state, all)))
}

/// `DELETE /device/{id}`
pub(super) fn delete(state: &mut State, token: &Token, id: &str) -> Answer {
    token.may(&WRITE)?;
    let device = find(state, id)?;
    if device.external {
        let message = "cannot delete devices outside of your tailnet";
        return Err(refuse(501, message));
    }
    let number = device.id;
    vanish(state, number);
    Ok(Reply::empty(200))
}

/// `POST /device/{id}/{authorized|key|name|tags|expire}`
pub(super) fn change(
    state: &mut State,
    call: &Call,
    token: &Token,
    (id, what): (&str, &str),
) -> Answer {
    token.may(&WRITE)?;
    let number = find(state, id)?.id;
    let body = call.json().unwrap_or_default();
    let flag = |name: &str| {
        let value = body.get(name).and_then(Value::as_bool);
        value.ok_or_else(|| refuse(400, &format!("{name} must be a boolean")))
    };
    let name = body.get("name").and_then(Value::as_str).map(|name| {
        let label = name.split('.').next().unwrap_or_default();
        free_label(state, label)
    });
    let Some(device) = state.tailscale.devices.get_mut(&number) else {
        return Err(refuse(404, "no such device"));
    };
    match what {
        "authorized" => device.authorized = flag("authorized")?,
        "key" => device.key_expiry_disabled = flag("keyExpiryDisabled")?,
        "name" => device.label = name.ok_or_else(|| refuse(400, "name is missing"))?,
        "tags" => {
            let tags = body.get("tags").and_then(Value::as_array);
            let tags = tags.ok_or_else(|| refuse(400, "tags are missing"))?;
            let tags = tags.iter().filter_map(Value::as_str);
            device.tags = tags.map(str::to_owned).collect();
        }
        "expire" => device.authorized = false,
        _ => return Err(refuse(404, "not found")),
    }
    Ok(Reply::empty(200))
}

impl Tailscale {
    /// Devices for a snapshot.
    pub(crate) fn device_views(&self, state: &State) -> Vec<DeviceView> {
        let view = |device: &Device| DeviceView {
            id: device.id,
            node_id: device.node_id.clone(),
            name: format!("{}.{}", device.label, state.config.tailscale.dns_name),
            hostname: device.hostname.clone(),
            tags: device.tags.clone(),
            ipv4: device.ipv4.clone(),
            online: device.online,
            authorized: device.authorized,
            ephemeral: device.ephemeral,
            created: device.created,
            key_id: device.key_id.clone(),
        };
        self.devices.values().map(view).collect()
    }
}
