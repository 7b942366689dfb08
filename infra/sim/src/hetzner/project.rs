//! The rest of the project: catalog reads, SSH keys, firewalls, primary IPs.

use serde_json::{Value, json};

use crate::clock::offset_form;
use crate::hetzner::catalog::{Location, SshKey};
use crate::hetzner::labels::{self, Labels};
use crate::hetzner::servers::Server;
use crate::hetzner::{invalid, no_such_endpoint, not_found, pages, refuse, refuse_with, validate};
use crate::state::State;
use crate::wire::{Answer, Call, Reply, id_of, text_of};

/// A firewall.
#[derive(Debug, Clone)]
pub(crate) struct Firewall {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) rules: Vec<Value>,
    labels: Labels,
    created: i64,
}

/// A public address.
#[derive(Debug, Clone)]
pub(crate) struct PrimaryIp {
    pub(crate) id: u64,
    pub(crate) ip: String,
    /// `ipv4` or `ipv6`.
    pub(crate) kind: String,
    pub(crate) server: Option<u64>,
    auto_delete: bool,
    location: String,
    created: i64,
}

/// Finds the rule for a call about none of the servers.
pub(crate) fn route(state: &mut State, call: &Call) -> Answer {
    let path = call.path();
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["locations"]) => {
            let places = state.config.hetzner.catalog.locations.iter();
            named(
                state,
                call,
                "locations",
                places.map(Location::json).collect(),
            )
        }
        ("GET", ["server_types"]) => {
            let catalog = &state.config.hetzner.catalog;
            let kinds = catalog.server_types.iter().map(|kind| kind.json(catalog));
            named(state, call, "server_types", kinds.collect())
        }
        ("GET", ["images"]) => images(state, call),
        ("GET", [list @ ("locations" | "server_types" | "images"), id]) => {
            one_of_catalog(state, list, id)
        }
        ("GET", ["ssh_keys"]) => {
            let keys = state.config.hetzner.catalog.ssh_keys.iter();
            named(state, call, "ssh_keys", keys.map(SshKey::json).collect())
        }
        ("POST", ["ssh_keys"]) => create_ssh_key(state, call),
        ("GET", ["ssh_keys", id]) => {
            let key = state.config.hetzner.catalog.ssh_key(id);
            let key = key.ok_or_else(|| not_found("ssh_key", id))?;
            Ok(Reply::json(200, json!({"ssh_key": key.json()})))
        }
        ("GET", ["firewalls"]) => {
            let all = state.hetzner.firewalls.values();
            let all = all.map(|firewall| firewall.json(state)).collect();
            named(state, call, "firewalls", all)
        }
        ("POST", ["firewalls"]) => create_firewall(state, call),
        (method @ ("GET" | "DELETE"), ["firewalls", id]) => one_firewall(state, method, id),
        ("GET", ["primary_ips"]) => {
            let all = state.hetzner.primary_ips.values();
            named(
                state,
                call,
                "primary_ips",
                all.map(|ip| ip.json(state)).collect(),
            )
        }
        (method @ ("GET" | "DELETE"), ["primary_ips", id]) => one_ip(state, method, id),
        ("PUT", ["primary_ips", id]) => update_ip(state, call, id),
        _ => Err(no_such_endpoint(call)),
    }
}

/// A list filtered by `name`, `ip` and `label_selector`.
fn named(state: &State, call: &Call, list: &str, items: Vec<Value>) -> Answer {
    let mut shown = Vec::new();
    for item in items {
        let same = |field: &str| {
            let wanted = call.param(field);
            wanted.is_none_or(|wanted| text_of(&item, field) == Some(wanted))
        };
        let selected = match call.param("label_selector") {
            None => true,
            Some(selector) => {
                let own = validate::labels(&item).unwrap_or_default();
                labels::matches(&own, selector)
                    .ok_or_else(|| invalid("label_selector", "label selector is malformed"))?
            }
        };
        if same("name") && same("ip") && same("fingerprint") && selected {
            shown.push(item);
        }
    }
    pages::sort(call, &mut shown);
    pages::page(state, call, list, shown)
}

fn images(state: &State, call: &Call) -> Answer {
    let all = state.config.hetzner.catalog.images.iter();
    let fits = |image: &Value| {
        ["architecture", "type", "status"].iter().all(|field| {
            let mut wanted = call.params(field).peekable();
            wanted.peek().is_none() || wanted.any(|w| text_of(image, field) == Some(w))
        })
    };
    let shown = all.map(super::catalog::Image::json).filter(fits).collect();
    named(state, call, "images", shown)
}

fn one_of_catalog(state: &State, list: &str, id: &str) -> Answer {
    let catalog = &state.config.hetzner.catalog;
    let number = id_of(id);
    let (name, found) = match list {
        "locations" => {
            let mut all = catalog.locations.iter();
            let found = all.find(|place| Some(place.id) == number);
            ("location", found.map(Location::json))
        }
        "server_types" => {
            let mut all = catalog.server_types.iter();
            let found = all.find(|kind| Some(kind.id) == number);
            ("server_type", found.map(|kind| kind.json(catalog)))
        }
        _ => {
            let mut all = catalog.images.iter();
            let found = all.find(|image| Some(image.id) == number);
            ("image", found.map(super::catalog::Image::json))
        }
    };
    let found = found.ok_or_else(|| not_found(name, id))?;
    Ok(Reply::json(200, json!({name: found})))
}

fn body_of(call: &Call) -> Result<Value, Reply> {
    let body = call.json().filter(Value::is_object);
    body.ok_or_else(|| refuse(400, "json_error", "the body is not a JSON object"))
}

fn required<'a>(body: &'a Value, field: &str) -> Result<&'a str, Reply> {
    text_of(body, field)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| invalid(field, "Missing data for required field."))
}

fn name_is_used(field: &str) -> Reply {
    let details = json!({"fields": [{"name": field}]});
    let message = format!("{field} is already used");
    refuse_with(409, "uniqueness_error", &message, &details)
}

fn create_ssh_key(state: &mut State, call: &Call) -> Answer {
    let body = body_of(call)?;
    let name = required(&body, "name")?;
    let material = required(&body, "public_key")?;
    let keys = &state.config.hetzner.catalog.ssh_keys;
    let same = |key: &SshKey| key.public_key.split(' ').nth(1) == material.split(' ').nth(1);
    if keys.iter().any(same) {
        return Err(name_is_used("public_key"));
    }
    if keys.iter().any(|key| key.name == name) {
        return Err(name_is_used("name"));
    }
    let key = SshKey {
        id: state.hetzner.new_id(),
        name: name.to_owned(),
        public_key: material.to_owned(),
    };
    let reply = Reply::json(201, json!({"ssh_key": key.json()}));
    state.config.hetzner.catalog.ssh_keys.push(key);
    Ok(reply)
}

impl Firewall {
    fn json(&self, state: &State) -> Value {
        let servers = state.hetzner.servers.values();
        let applied = servers
            .filter(|server| server.firewalls.contains(&self.id))
            .map(|server| json!({"type": "server", "server": {"id": server.id}}));
        json!({
            "id": self.id, "name": self.name, "labels": self.labels, "rules": self.rules,
            "applied_to": applied.collect::<Vec<_>>(), "created": offset_form(self.created),
        })
    }
}

fn create_firewall(state: &mut State, call: &Call) -> Answer {
    let body = body_of(call)?;
    let name = required(&body, "name")?.to_owned();
    let labels = validate::labels(&body)?;
    let rules = match body.get("rules") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(rules)) => rules.as_slice(),
        Some(_) => return Err(invalid("rules", "must be a list")),
    };
    let rules: Vec<Value> = rules.iter().map(rule).collect::<Result<_, _>>()?;
    let mut known = state.hetzner.firewalls.values();
    if known.any(|firewall| firewall.name == name) {
        return Err(name_is_used("name"));
    }
    let firewall = Firewall {
        id: state.hetzner.new_id(),
        name,
        rules,
        labels,
        created: state.unix_now(),
    };
    let body = json!({"firewall": firewall.json(state), "actions": []});
    state.hetzner.firewalls.insert(firewall.id, firewall);
    Ok(Reply::json(201, body))
}

/// One rule, checked, with every key the API shows.
fn rule(rule: &Value) -> Result<Value, Reply> {
    let direction = text_of(rule, "direction").unwrap_or_default();
    let protocol = text_of(rule, "protocol").unwrap_or_default();
    let peers = match direction {
        "in" => "source_ips",
        "out" => "destination_ips",
        _ => return Err(invalid("rules.direction", "must be one of in, out")),
    };
    if !["tcp", "udp", "icmp", "esp", "gre"].contains(&protocol) {
        return Err(invalid(
            "rules.protocol",
            "must be tcp, udp, icmp, esp or gre",
        ));
    }
    let port = text_of(rule, "port");
    let has_ports = ["tcp", "udp"].contains(&protocol);
    let port_fits = port.is_some_and(|port| {
        let mut ends = port.split('-');
        port == "any" || ends.all(|end| end.parse::<u16>().is_ok_and(|end| end > 0))
    });
    if has_ports != port_fits {
        return Err(invalid(
            "rules.port",
            "is needed for tcp and udp, and only there",
        ));
    }
    let nets = rule.get(peers).and_then(Value::as_array);
    let cidr = |net: &Value| net.as_str().is_some_and(is_cidr);
    if !nets.is_some_and(|nets| !nets.is_empty() && nets.iter().all(cidr)) {
        return Err(invalid(
            &format!("rules.{peers}"),
            "must be a list of CIDR blocks",
        ));
    }
    let list = |field: &str| rule.get(field).cloned().unwrap_or_else(|| json!([]));
    Ok(json!({
        "direction": direction, "protocol": protocol, "port": port,
        "source_ips": list("source_ips"), "destination_ips": list("destination_ips"),
        "description": rule.get("description"),
    }))
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn one_firewall(state: &mut State, method: &str, id: &str) -> Answer {
    let known = id_of(id).and_then(|id| state.hetzner.firewalls.get(&id));
    let firewall = known.ok_or_else(|| not_found("firewall", id))?;
    if method == "GET" {
        return Ok(Reply::json(200, json!({"firewall": firewall.json(state)})));
    }
    let number = firewall.id;
    let mut servers = state.hetzner.servers.values();
    if servers.any(|server| server.firewalls.contains(&number)) {
        return Err(refuse(422, "resource_in_use", "firewall is still in use"));
    }
    state.hetzner.firewalls.remove(&number);
    Ok(Reply::empty(204))
}

impl PrimaryIp {
    fn json(&self, state: &State) -> Value {
        let kind = if self.server.is_some() {
            "server"
        } else {
            "unassigned"
        };
        let place = state.config.hetzner.catalog.location(&self.location);
        json!({
            "id": self.id, "name": format!("primary_ip-{}", self.id), "ip": self.ip,
            "type": self.kind, "assignee_id": self.server, "assignee_type": kind,
            "auto_delete": self.auto_delete, "blocked": false, "dns_ptr": [], "labels": {},
            "location": place.map(Location::json), "protection": {"delete": false},
            "created": offset_form(self.created),
        })
    }
}

fn one_ip(state: &mut State, method: &str, id: &str) -> Answer {
    let known = id_of(id).and_then(|id| state.hetzner.primary_ips.get(&id));
    let ip = known.ok_or_else(|| not_found("primary_ip", id))?;
    if method == "GET" {
        return Ok(Reply::json(200, json!({"primary_ip": ip.json(state)})));
    }
    if ip.server.is_some() {
        let message = "primary IP must be unassigned";
        return Err(refuse(422, "must_be_unassigned", message));
    }
    let number = ip.id;
    state.hetzner.primary_ips.remove(&number);
    Ok(Reply::empty(204))
}

/// `PUT /primary_ips/{id}`: whether the address goes with its server. Names and labels are fixed
/// here.
fn update_ip(state: &mut State, call: &Call, id: &str) -> Answer {
    let body = call
        .json()
        .ok_or_else(|| refuse(400, "json_error", "the body is not valid JSON"))?;
    let auto_delete = body
        .get("auto_delete")
        .map(|wish| {
            let wish = wish.as_bool();
            wish.ok_or_else(|| invalid("auto_delete", "must be a boolean"))
        })
        .transpose()?;
    let known = id_of(id).and_then(|id| state.hetzner.primary_ips.get_mut(&id));
    let ip = known.ok_or_else(|| not_found("primary_ip", id))?;
    ip.auto_delete = auto_delete.unwrap_or(ip.auto_delete);
    one_ip(state, "GET", id)
}

/// Gives a server an address: the wished one, or a new one that goes with the server.
pub(crate) fn take_ip(
    state: &mut State,
    wish: Option<u64>,
    (server, kind, location): (u64, &str, &str),
) -> u64 {
    if let Some(ip) = wish.and_then(|id| state.hetzner.primary_ips.get_mut(&id)) {
        ip.server = Some(server);
        return ip.id;
    }
    let id = state.hetzner.new_id();
    let ip = if kind == "ipv4" {
        // 198.18.0.0/15 is reserved for tests and big enough for every world.
        format!(
            "198.{}.{}.{}",
            18 + (id >> 16 & 1),
            id >> 8 & 0xff,
            id & 0xff
        )
    } else {
        format!("2001:db8:{:x}:{:x}::/64", id >> 16 & 0xffff, id & 0xffff)
    };
    let created = state.unix_now();
    let address = PrimaryIp {
        id,
        ip,
        kind: kind.to_owned(),
        server: Some(server),
        auto_delete: !state.knobs.addresses_stay,
        location: location.to_owned(),
        created,
    };
    state.hetzner.primary_ips.insert(id, address);
    id
}

/// The server is gone: its own addresses go with it, the others stay and cost.
pub(crate) fn release_ips(state: &mut State, server: &Server) {
    state
        .hetzner
        .primary_ips
        .retain(|_, ip| ip.server != Some(server.id) || !ip.auto_delete);
    for ip in state.hetzner.primary_ips.values_mut() {
        if ip.server == Some(server.id) {
            ip.server = None;
        }
    }
}
