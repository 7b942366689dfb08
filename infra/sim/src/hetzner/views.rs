//! How servers are written in answers and in snapshots.

use serde_json::{Value, json};

use crate::clock::offset_form;
use crate::hetzner::servers::Server;
use crate::hetzner::{Hetzner, actions};
use crate::state::State;
use crate::world::{FirewallView, ServerView};

/// The API's object of a server; null when it is gone.
pub(crate) fn server(state: &State, id: u64) -> Value {
    let known = state.hetzner.servers.get(&id);
    known.map_or(Value::Null, |server| object(state, server))
}

fn object(state: &State, server: &Server) -> Value {
    let catalog = &state.config.hetzner.catalog;
    let location = catalog
        .location(&server.location)
        .map(super::catalog::Location::json);
    let kind = catalog.server_type(&server.server_type);
    let image = catalog.images.iter().find(|image| image.id == server.image);
    let firewalls = server
        .firewalls
        .iter()
        .map(|id| json!({"id": id, "status": "applied"}));
    let mut object = json!({
        "id": server.id, "name": server.name, "status": server.status.as_str(),
        "created": offset_form(server.created), "public_net": {
            "ipv4": ipv4(state, server), "ipv6": ipv6(state, server), "floating_ips": [],
            "firewalls": firewalls.collect::<Vec<_>>(),
        },
        "private_net": [], "server_type": kind.map(|kind| kind.json(catalog)),
        "location": location, "image": image.map(super::catalog::Image::json), "iso": null,
        "rescue_enabled": false, "locked": actions::busy(state, server.id),
        "backup_window": null, "outgoing_traffic": 0, "ingoing_traffic": 0,
        "included_traffic": 21_990_232_555_520_u64,
        "protection": {"delete": false, "rebuild": false}, "labels": server.labels,
        "volumes": [], "load_balancers": [],
        "primary_disk_size": kind.map(|kind| kind.disk), "placement_group": null,
    });
    if let (true, Some(fields)) = (state.knobs.old_shapes, object.as_object_mut()) {
        let name = format!("{}-dc1", server.location);
        let old = json!({"id": 1, "name": name, "description": name, "location": location,
            "server_types": {"supported": [], "available": [], "available_for_migration": []}});
        fields.insert("datacenter".to_owned(), old);
    }
    object
}

fn ipv4(state: &State, server: &Server) -> Value {
    let shown = server.ipv4.filter(|_| server.ipv4_shown_from <= state.now);
    let ip = shown.and_then(|id| state.hetzner.primary_ips.get(&id));
    ip.map_or(Value::Null, |ip| {
        let name = format!("static.{}.clients.your-server.de", ip.ip);
        json!({"id": ip.id, "ip": ip.ip, "blocked": false, "dns_ptr": name})
    })
}

fn ipv6(state: &State, server: &Server) -> Value {
    let ip = server
        .ipv6
        .and_then(|id| state.hetzner.primary_ips.get(&id));
    ip.map_or(
        Value::Null,
        |ip| json!({"id": ip.id, "ip": ip.ip, "blocked": false, "dns_ptr": []}),
    )
}

/// Extra fields everywhere, and a server status nobody has heard of while it is being made.
pub(crate) fn make_odd(body: &mut Value) {
    match body {
        Value::Object(fields) => {
            let status = fields.get("status").and_then(Value::as_str);
            if status == Some("initializing") {
                fields.insert("status".to_owned(), json!("warming_up"));
            }
            fields.values_mut().for_each(make_odd);
            if fields.contains_key("id") {
                fields.insert("x_new_field".to_owned(), json!({"since": "tomorrow"}));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_odd),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Hetzner {
    /// Servers for a snapshot: those there, or those gone.
    pub(crate) fn views(&self, state: &State, gone: bool) -> Vec<ServerView> {
        let view = |server: &Server| self.view(state, server);
        if gone {
            self.gone.iter().map(view).collect()
        } else {
            self.servers.values().map(view).collect()
        }
    }

    fn view(&self, state: &State, server: &Server) -> ServerView {
        let images = &state.config.hetzner.catalog.images;
        let image = images.iter().find(|image| image.id == server.image);
        let ip = server.ipv4.and_then(|id| self.primary_ips.get(&id));
        ServerView {
            id: server.id,
            name: server.name.clone(),
            status: server.status.as_str().to_owned(),
            labels: server.labels.clone(),
            server_type: server.server_type.clone(),
            location: server.location.clone(),
            image: image.map(super::catalog::Image::label).unwrap_or_default(),
            ipv4: ip.map(|ip| ip.ip.clone()),
            user_data: server.user_data.clone(),
            ssh_keys: server.ssh_keys.clone(),
            firewalls: server.firewalls.clone(),
            created: server.created,
            boots: server.machine.boots,
            boot_note: server.machine.note.clone(),
            device_id: server.machine.device,
        }
    }

    /// Firewalls for a snapshot.
    pub(crate) fn firewall_views(&self) -> Vec<FirewallView> {
        let view = |firewall: &super::Firewall| FirewallView {
            id: firewall.id,
            name: firewall.name.clone(),
            rules: firewall.rules.len(),
        };
        self.firewalls.values().map(view).collect()
    }
}
