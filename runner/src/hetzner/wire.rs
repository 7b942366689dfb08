//! Hetzner's JSON, only what we read and write, and how it becomes ours. Unknown fields and
//! unknown words survive. A root password is never read: there is no field for it.

use crate::hetzner::{Action, ActionState, Firewall, Location, NewServer, Server, ServerType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

#[derive(Deserialize)]
pub(super) struct Page<T> {
    #[serde(flatten)]
    pub(super) rows: T,
    #[serde(default)]
    pub(super) meta: Option<Meta>,
}

#[derive(Deserialize)]
pub(super) struct Meta {
    #[serde(default)]
    pub(super) pagination: Option<Pagination>,
}

#[derive(Deserialize)]
pub(super) struct Pagination {
    #[serde(default)]
    pub(super) next_page: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Servers {
    pub(super) servers: Vec<ServerBody>,
}

#[derive(Deserialize)]
pub(super) struct OneServer {
    pub(super) server: ServerBody,
}

#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) server: ServerBody,
    pub(super) action: ActionBody,
    #[serde(default)]
    pub(super) next_actions: Vec<ActionBody>,
}

#[derive(Deserialize)]
pub(super) struct ServerBody {
    id: u64,
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    created: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    public_net: Option<PublicNet>,
}

#[derive(Deserialize)]
struct PublicNet {
    #[serde(default)]
    ipv4: Option<Ip>,
    #[serde(default)]
    ipv6: Option<Ip>,
}

#[derive(Deserialize)]
struct Ip {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    ip: Option<String>,
}

impl From<ServerBody> for Server {
    fn from(body: ServerBody) -> Self {
        let (ipv4, ipv6) = body
            .public_net
            .map_or((None, None), |net| (net.ipv4, net.ipv6));
        let both = ipv4.iter().chain(&ipv6);
        let addresses = both.filter_map(|ip| ip.id).collect();
        let (ipv4, ipv6) = (ipv4.and_then(|ip| ip.ip), ipv6.and_then(|ip| ip.ip));
        Self {
            id: body.id,
            name: body.name,
            status: body.status,
            created: body.created,
            labels: body.labels,
            ipv4,
            addresses,
            // The host takes ::1 of the network that Hetzner shows.
            ipv6: ipv6.and_then(|net| Some(format!("{}1", net.split_once('/')?.0))),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct PrimaryIps {
    pub(super) primary_ips: Vec<PrimaryIpBody>,
}

#[derive(Deserialize)]
pub(super) struct OnePrimaryIp {
    pub(super) primary_ip: PrimaryIpBody,
}

#[derive(Deserialize)]
pub(super) struct PrimaryIpBody {
    pub(super) id: u64,
}

#[derive(Deserialize)]
pub(super) struct OneAction {
    #[serde(default)]
    pub(super) action: Option<ActionBody>,
}

#[derive(Deserialize)]
pub(super) struct Actions {
    pub(super) actions: Vec<ActionBody>,
}

#[derive(Deserialize)]
pub(super) struct ActionBody {
    id: u64,
    #[serde(default)]
    command: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    progress: u64,
    #[serde(default)]
    started: Option<String>,
    #[serde(default)]
    error: Option<ActionError>,
}

#[derive(Deserialize)]
struct ActionError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl From<ActionBody> for Action {
    fn from(body: ActionBody) -> Self {
        let state = match body.status.as_str() {
            "success" => ActionState::Success,
            "error" => ActionState::Failed(body.error.map_or_else(String::new, |error| {
                format!("{} ({})", error.message, error.code)
            })),
            _ => ActionState::Running,
        };
        let progress = body.progress.min(100);
        let started = body.started.as_deref();
        let started = started.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        Self {
            id: body.id,
            command: body.command,
            state,
            progress,
            started: started.map(OffsetDateTime::unix_timestamp),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ServerTypes {
    pub(super) server_types: Vec<ServerTypeBody>,
}

#[derive(Deserialize)]
pub(super) struct ServerTypeBody {
    name: String,
    #[serde(default)]
    cores: u32,
    #[serde(default)]
    memory: f64,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    cpu_type: String,
    #[serde(default)]
    prices: Vec<Price>,
    #[serde(default)]
    locations: Vec<LocationBody>,
}

#[derive(Deserialize)]
struct Price {
    #[serde(default)]
    location: String,
    #[serde(default)]
    price_monthly: Option<Amount>,
}

#[derive(Deserialize)]
struct Amount {
    #[serde(default)]
    net: String,
}

#[derive(Deserialize)]
struct LocationBody {
    name: String,
    #[serde(default)]
    available: Option<bool>,
    #[serde(default)]
    deprecation: Option<Deprecation>,
}

#[derive(Deserialize)]
struct Deprecation {
    #[serde(default)]
    unavailable_after: Option<String>,
}

impl From<ServerTypeBody> for ServerType {
    fn from(body: ServerTypeBody) -> Self {
        let price = |location: &str| {
            let found = body
                .prices
                .iter()
                .find(|price| price.location == location)?;
            found.price_monthly.as_ref()?.net.parse().ok()
        };
        let locations = body
            .locations
            .iter()
            .map(|place| Location {
                name: place.name.clone(),
                // `available` came in 2026; where it is missing the deprecation decides.
                available: place.available.unwrap_or(place.deprecation.is_none()),
                leaves: place
                    .deprecation
                    .as_ref()
                    .and_then(|end| end.unavailable_after.clone()),
                price_monthly: price(&place.name).unwrap_or(f64::INFINITY),
            })
            .collect();
        Self {
            name: body.name,
            cores: body.cores,
            memory_gb: body.memory,
            shared_x86: body.architecture == "x86" && body.cpu_type == "shared",
            architecture: body.architecture,
            locations,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Firewalls {
    pub(super) firewalls: Vec<FirewallBody>,
}

#[derive(Deserialize)]
pub(super) struct OneFirewall {
    pub(super) firewall: FirewallBody,
}

#[derive(Deserialize)]
pub(super) struct FirewallBody {
    id: u64,
    name: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    direction: String,
    #[serde(default)]
    protocol: String,
    /// Absent for protocols without ports.
    #[serde(default)]
    port: Option<String>,
}

impl From<FirewallBody> for Firewall {
    fn from(body: FirewallBody) -> Self {
        let inbound = body.rules.into_iter().filter(|rule| rule.direction == "in");
        let named = |rule: Rule| match rule.port {
            Some(port) => format!("{port}/{}", rule.protocol),
            None => rule.protocol,
        };
        Self {
            id: body.id,
            name: body.name,
            lets_in: inbound.map(named).collect(),
        }
    }
}

/// The body of a create. `location`, never `datacenter`: that one is gone since July 2026.
#[derive(Serialize)]
pub(super) struct CreateBody<'a> {
    name: &'a str,
    server_type: &'a str,
    location: &'a str,
    image: &'a str,
    ssh_keys: [u64; 1],
    user_data: &'a str,
    labels: &'a BTreeMap<&'static str, String>,
    firewalls: [FirewallRef; 1],
    start_after_create: bool,
}

#[derive(Serialize)]
struct FirewallRef {
    firewall: u64,
}

impl<'a> From<&'a NewServer<'a>> for CreateBody<'a> {
    fn from(new: &'a NewServer<'a>) -> Self {
        Self {
            name: new.name,
            server_type: new.server_type,
            location: new.location,
            image: new.image,
            ssh_keys: [new.ssh_key],
            user_data: new.user_data,
            labels: new.labels,
            firewalls: [FirewallRef {
                firewall: new.firewall,
            }],
            start_after_create: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_server_is_read_with_what_we_do_not_know() {
        let body = json!({
            "id": 9_007_199_254_740_991_u64, "name": "a", "status": "levitating", "new": {},
            "public_net": {"ipv4": null, "ipv6": {"ip": "2001:db8:1::/64", "odd": 1}},
            "labels": {"fence": "2"}, "created": "2026-11-21T00:00:00+00:00",
        });
        let server = Server::from(serde_json::from_value::<ServerBody>(body).unwrap());
        assert_eq!(server.id, 9_007_199_254_740_991);
        assert_eq!(
            (server.ipv4, server.ipv6.as_deref()),
            (None, Some("2001:db8:1::1"))
        );
        assert_eq!(server.status, "levitating");
    }

    #[test]
    fn a_create_answer_is_read_without_its_root_password() {
        let body = json!({
            "server": {"id": 1, "name": "a"}, "root_password": "hunter2",
            "action": {"id": 5, "status": "running", "progress": 250},
            "next_actions": [{"id": 6, "status": "error", "error": {"code": "c", "message": "m"}}],
        });
        let created: Created = serde_json::from_value(body).unwrap();
        assert_eq!(Action::from(created.action).progress, 100);
        let next = Action::from(created.next_actions.into_iter().next().unwrap());
        assert_eq!(next.state, ActionState::Failed("m (c)".to_owned()));
    }

    #[test]
    fn a_firewall_tells_what_it_lets_in() {
        let body = json!({"id": 1, "name": "f", "rules": [
            {"direction": "in", "protocol": "udp", "port": "41641", "source_ips": ["0.0.0.0/0"]},
            {"direction": "in", "protocol": "tcp", "port": "22"},
            {"direction": "in", "protocol": "icmp", "port": null},
            {"direction": "out", "protocol": "tcp", "port": "25"},
        ]});
        let firewall = Firewall::from(serde_json::from_value::<FirewallBody>(body).unwrap());
        assert_eq!(firewall.lets_in, ["41641/udp", "22/tcp", "icmp"]);
        assert_eq!(firewall.opens_beside(41641), ["22/tcp", "icmp"]);
    }

    #[test]
    fn availability_and_price_come_from_the_location() {
        let body = json!({
            "name": "cx23", "cores": 2, "memory": 4.0, "architecture": "x86", "cpu_type": "shared",
            "prices": [{"location": "fsn1", "price_monthly": {"net": "3.4900000000"}}],
            "locations": [
                {"name": "fsn1", "available": true, "deprecation": null},
                {"name": "nbg1", "deprecation": {"unavailable_after": "2025-12-31T00:00:00Z"}},
                {"name": "hel1"},
            ],
        });
        let kind = ServerType::from(serde_json::from_value::<ServerTypeBody>(body).unwrap());
        let states: Vec<bool> = kind.locations.iter().map(|place| place.available).collect();
        assert_eq!(states, [true, false, true]);
        assert!((kind.locations[0].price_monthly - 3.49).abs() < 1e-9);
        assert!(kind.locations[1].price_monthly.is_infinite());
    }
}
