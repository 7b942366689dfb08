//! What Hetzner accepts in `POST /servers`, as strictly as its documents say.

use serde_json::{Map, Value};

use crate::hetzner::labels::{self, Labels};
use crate::hetzner::{invalid, refuse};
use crate::state::State;
use crate::wire::Reply;

/// A wish for a public address: a new one, or an existing primary IP.
pub(crate) type IpWish = Option<u64>;

/// A valid order.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) server_type: String,
    pub(crate) location: String,
    pub(crate) image: u64,
    pub(crate) ssh_keys: Vec<String>,
    pub(crate) user_data: String,
    pub(crate) labels: Labels,
    pub(crate) starts: bool,
    pub(crate) ipv4: Option<IpWish>,
    pub(crate) ipv6: Option<IpWish>,
    pub(crate) firewalls: Vec<u64>,
}

/// Properties that the create call knows. `datacenter` was removed on 2026-07-01.
const KNOWN: [&str; 14] = [
    "name",
    "server_type",
    "image",
    "location",
    "ssh_keys",
    "user_data",
    "labels",
    "start_after_create",
    "public_net",
    "networks",
    "firewalls",
    "placement_group",
    "volumes",
    "automount",
];

/// Most bytes of user data.
const USER_DATA_LIMIT: usize = 32_768;

/// Reads and checks a create call's body.
pub(crate) fn order(state: &State, body: &Value) -> Result<Order, Reply> {
    let Some(fields) = body.as_object() else {
        return Err(refuse(400, "json_error", "the body is not a JSON object"));
    };
    if let Some(unknown) = fields.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(invalid(unknown, "unknown field"));
    }
    let missing = |field| invalid(field, "Missing data for required field.");
    let name = name(fields.get("name").ok_or_else(|| missing("name"))?)?;
    let wanted_type = key(fields, "server_type")?.ok_or_else(|| missing("server_type"))?;
    let wanted_image = key(fields, "image")?.ok_or_else(|| missing("image"))?;
    let catalog = &state.config.hetzner.catalog;
    let kind = catalog
        .server_type(&wanted_type)
        .ok_or_else(|| invalid("server_type", "server type not found"))?;
    let image = catalog
        .image(&wanted_image, &kind.architecture)
        .ok_or_else(|| invalid("image", "image not found"))?;
    if image.architecture != kind.architecture {
        return Err(invalid("image", "image architecture does not fit the type"));
    }
    if image.disk > kind.disk {
        return Err(invalid(
            "image",
            "image disk is bigger than server type disk",
        ));
    }
    let location = location(state, key(fields, "location")?, &kind.name)?;
    let (ipv4, ipv6) = public_net(state, fields)?;
    let starts = flag(fields, "start_after_create", true)?;
    if starts && ipv4.is_none() && ipv6.is_none() {
        let message = "a server without public addresses cannot be started without a network";
        return Err(invalid("public_net", message));
    }
    Ok(Order {
        name,
        server_type: kind.name.clone(),
        location,
        image: image.id,
        ssh_keys: ssh_keys(state, fields)?,
        user_data: user_data(fields)?,
        labels: labels(body)?,
        starts,
        ipv4,
        ipv6,
        firewalls: firewalls(state, fields)?,
    })
}

/// A name or an id, as text.
fn key(fields: &Map<String, Value>, field: &str) -> Result<Option<String>, Reply> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(id)) => Ok(Some(id.to_string())),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(invalid(field, "must be a name or an ID"))
        }
    }
}

fn flag(fields: &Map<String, Value>, field: &str, default: bool) -> Result<bool, Reply> {
    match fields.get(field) {
        None => Ok(default),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| invalid(field, "must be a boolean")),
    }
}

/// A server name: an RFC 1123 host name.
pub(crate) fn name(value: &Value) -> Result<String, Reply> {
    let text = value.as_str().unwrap_or_default();
    let label_fits = |label: &str| {
        let inside = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let edges = !label.starts_with('-') && !label.ends_with('-');
        inside && edges && !label.is_empty() && label.len() <= 63
    };
    if text.len() <= 253 && text.split('.').all(label_fits) {
        return Ok(text.to_owned());
    }
    Err(invalid("name", "must be a valid hostname as per RFC 1123"))
}

/// The labels of a body, checked; none is none.
pub(crate) fn labels(body: &Value) -> Result<Labels, Reply> {
    let mut found = Labels::new();
    let Some(value) = body.get("labels").filter(|value| !value.is_null()) else {
        return Ok(found);
    };
    let object = value
        .as_object()
        .ok_or_else(|| invalid("labels", "must be an object"))?;
    for (key, value) in object {
        let text = value
            .as_str()
            .ok_or_else(|| invalid("labels", "values are strings"))?;
        found.insert(key.clone(), text.to_owned());
    }
    match labels::fault_of(&found) {
        None => Ok(found),
        Some(message) => Err(invalid("labels", &message)),
    }
}

/// Where it goes: the place asked for, or the first that has it in stock.
fn location(state: &State, wanted: Option<String>, kind: &str) -> Result<String, Reply> {
    let catalog = &state.config.hetzner.catalog;
    let sold = catalog
        .server_type(kind)
        .map(|kind| kind.sold_at.as_slice());
    let sold = sold.unwrap_or_default();
    let unsupported = || invalid("location", "unsupported location for server type");
    let Some(wanted) = wanted else {
        let somewhere = sold.iter().find(|sold| sold.available && sold.orderable());
        return somewhere
            .map(|sold| sold.location.clone())
            .ok_or_else(unsupported);
    };
    let place = catalog
        .location(&wanted)
        .ok_or_else(|| invalid("location", "location not found"))?;
    let here = sold.iter().find(|sold| sold.location == place.name);
    let here = here
        .filter(|sold| sold.orderable())
        .ok_or_else(unsupported)?;
    if here.available {
        return Ok(place.name.clone());
    }
    let message = "the requested resource is currently unavailable";
    Err(refuse(412, "resource_unavailable", message))
}

type IpWishes = (Option<IpWish>, Option<IpWish>);

fn public_net(state: &State, fields: &Map<String, Value>) -> Result<IpWishes, Reply> {
    let empty = Map::new();
    let net = match fields.get("public_net") {
        None | Some(Value::Null) => &empty,
        Some(value) => value
            .as_object()
            .ok_or_else(|| invalid("public_net", "must be an object"))?,
    };
    let wish = |enable: &str, kind: &str| -> Result<Option<IpWish>, Reply> {
        if !flag(net, enable, true)? {
            return Ok(None);
        }
        let Some(id) = net.get(kind).filter(|value| !value.is_null()) else {
            return Ok(Some(None));
        };
        let known = id
            .as_u64()
            .and_then(|id| state.hetzner.primary_ips.get(&id));
        let free = known.filter(|ip| ip.kind == kind && ip.server.is_none());
        let free = free.ok_or_else(|| invalid("public_net", "primary IP is not free"))?;
        Ok(Some(Some(free.id)))
    };
    Ok((wish("enable_ipv4", "ipv4")?, wish("enable_ipv6", "ipv6")?))
}

fn list<'a>(fields: &'a Map<String, Value>, field: &str) -> Result<&'a [Value], Reply> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(value) => value
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| invalid(field, "must be a list")),
    }
}

fn ssh_keys(state: &State, fields: &Map<String, Value>) -> Result<Vec<String>, Reply> {
    let known = |value: &Value| {
        let name = value.as_str().map(str::to_owned);
        let id = || value.as_u64().map(|id| id.to_string());
        let key = name.or_else(id).unwrap_or_default();
        let found = state.config.hetzner.catalog.ssh_key(&key);
        let found = found.ok_or_else(|| invalid("ssh_keys", "SSH key not found"))?;
        Ok(found.name.clone())
    };
    list(fields, "ssh_keys")?.iter().map(known).collect()
}

fn user_data(fields: &Map<String, Value>) -> Result<String, Reply> {
    match fields.get("user_data") {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) if text.len() <= USER_DATA_LIMIT => Ok(text.clone()),
        Some(_) => Err(invalid("user_data", "Length must be between 0 and 32768.")),
    }
}

fn firewalls(state: &State, fields: &Map<String, Value>) -> Result<Vec<u64>, Reply> {
    let known = |value: &Value| {
        let id = value.get("firewall").and_then(Value::as_u64);
        let id = id.filter(|id| state.hetzner.firewalls.contains_key(id));
        id.ok_or_else(|| invalid("firewalls", "firewall not found"))
    };
    list(fields, "firewalls")?.iter().map(known).collect()
}
