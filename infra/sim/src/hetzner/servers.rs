//! Hetzner's servers: create, list, look, change, delete.

use std::time::Duration;

use serde_json::{Value, json};

use crate::draw;
use crate::hetzner::actions::{self, Action, Command};
use crate::hetzner::boot::Machine;
use crate::hetzner::labels::{self, Labels};
use crate::hetzner::validate::{self, Order};
use crate::hetzner::{boot, invalid, pages, project, refuse, refuse_with, views};
use crate::state::State;
use crate::wire::{Answer, Call, Reply};
use crate::world::DecoyServer;

/// What the server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Initializing,
    Starting,
    Running,
    Stopping,
    Off,
    Deleting,
    Rebuilding,
}

impl Status {
    /// Hetzner's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Off => "off",
            Self::Deleting => "deleting",
            Self::Rebuilding => "rebuilding",
        }
    }
}

/// The delays one server was given.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Delays {
    pub(crate) create: Duration,
    pub(crate) start: Duration,
    pub(crate) boot: Duration,
    pub(crate) enrol: Duration,
}

impl Delays {
    pub(crate) fn sum(&self) -> Duration {
        self.create + self.start + self.boot + self.enrol
    }

    /// Draws them for a server's name.
    fn draw(state: &State, name: &str) -> Self {
        let hetzner = &state.config.hetzner;
        let of = |what, range| draw::delay(state.config.seed, &[name, what], range);
        Self {
            create: of("create", hetzner.create_delay),
            start: of("start", hetzner.start_delay),
            boot: of("boot", hetzner.boot_delay),
            enrol: of("enrol", state.config.tailscale.enrol_delay),
        }
    }
}

/// One server.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_field_names,
    reason = "`server_type` is Hetzner's word, here and in every answer"
)]
pub(crate) struct Server {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) created: i64,
    pub(crate) server_type: String,
    pub(crate) location: String,
    /// The image's id.
    pub(crate) image: u64,
    pub(crate) labels: Labels,
    pub(crate) user_data: String,
    pub(crate) ssh_keys: Vec<String>,
    pub(crate) firewalls: Vec<u64>,
    /// Ids of its primary IPs.
    pub(crate) ipv4: Option<u64>,
    pub(crate) ipv6: Option<u64>,
    /// Before this the IPv4 is not shown.
    pub(crate) ipv4_shown_from: Duration,
    /// Before this it is missing from lists.
    pub(crate) listed_from: Duration,
    pub(crate) delays: Delays,
    pub(crate) machine: Machine,
}

/// `POST /servers` → 201
pub(crate) fn create(state: &mut State, call: &Call) -> Answer {
    let body = call
        .json()
        .ok_or_else(|| refuse(400, "json_error", "the body is not valid JSON"))?;
    let order = validate::order(state, &body)?;
    refuse_taken_name(state, &order.name, None)?;
    refuse_beyond_limits(state, &order)?;
    if state.knobs.refuses(&order.location, &order.server_type) {
        let message = "error during placement: server location disabled";
        return Err(refuse(412, "resource_unavailable", message));
    }
    let starts = order.starts;
    let password = order
        .ssh_keys
        .is_empty()
        .then(|| draw::text(state.config.seed, &["root", &order.name], 20));
    let id = build(state, order);
    let (action, next) = begin_create(state, id, starts);
    let next_actions: Vec<Value> = next
        .map(|id| actions::json_of(state, id))
        .into_iter()
        .collect();
    let body = json!({
        "server": views::server(state, id), "action": actions::json_of(state, action),
        "next_actions": next_actions, "root_password": password,
    });
    Ok(Reply::json(201, body))
}

/// Puts a valid order into the project; gives the server's id.
fn build(state: &mut State, order: Order) -> u64 {
    let id = state.hetzner.new_id();
    let delays = Delays::draw(state, &order.name);
    let no_ipv4 = state.knobs.ipv4_never;
    let wants_v4 = order.ipv4.filter(|_| !no_ipv4);
    let ipv4 = wants_v4.map(|wish| project::take_ip(state, wish, (id, "ipv4", &order.location)));
    let ipv6 = order
        .ipv6
        .map(|wish| project::take_ip(state, wish, (id, "ipv6", &order.location)));
    state.hetzner.delays.insert(order.name.clone(), delays);
    let server = Server {
        id,
        name: order.name,
        status: Status::Initializing,
        created: state.unix_now(),
        server_type: order.server_type,
        location: order.location,
        image: order.image,
        labels: order.labels,
        user_data: order.user_data,
        ssh_keys: order.ssh_keys,
        firewalls: order.firewalls,
        ipv4,
        ipv6,
        ipv4_shown_from: state.now + state.knobs.ipv4_late,
        listed_from: state.now + state.knobs.server_list_lag,
        delays,
        machine: Machine::default(),
    };
    state.hetzner.servers.insert(id, server);
    id
}

/// The create action, and the start that follows it unless it was not wanted.
fn begin_create(state: &mut State, id: u64, starts: bool) -> (u64, Option<u64>) {
    let delays = state.hetzner.servers.get(&id).map(|server| server.delays);
    let delays = delays.unwrap_or_default();
    let action = actions::begin(state, id, Command::Create, delays.create);
    let both = delays.create + delays.start;
    let next = starts.then(|| actions::begin(state, id, Command::Start, both));
    (action, next)
}

/// 409 `uniqueness_error` when another server has the name.
fn refuse_taken_name(state: &State, name: &str, but: Option<u64>) -> Result<(), Reply> {
    let mut servers = state.hetzner.servers.values();
    if !servers.any(|server| server.name == name && Some(server.id) != but) {
        return Ok(());
    }
    let details = if state.knobs.uniqueness_without_details {
        json!({})
    } else {
        json!({"fields": [{"name": "name"}]})
    };
    let message = "server name is already used";
    Err(refuse_with(409, "uniqueness_error", message, &details))
}

/// 403 `resource_limit_exceeded` when the account is full.
fn refuse_beyond_limits(state: &State, order: &Order) -> Result<(), Reply> {
    let limit = |what: &str, message: &str| {
        let details = json!({"limits": [{"name": what}]});
        refuse_with(403, "resource_limit_exceeded", message, &details)
    };
    if state.hetzner.servers.len() >= state.config.hetzner.server_limit {
        return Err(limit("server_limit", "server limit exceeded"));
    }
    let full = |limit| state.hetzner.primary_ips.len() >= limit;
    if order.ipv4.is_some() && state.knobs.primary_ip_limit.is_some_and(full) {
        return Err(limit("primary_ip_limit", "Primary IP limit exceeded"));
    }
    Ok(())
}

/// `GET /servers`
pub(crate) fn list(state: &State, call: &Call) -> Answer {
    let name = call.param("name");
    let selector = call.param("label_selector");
    let status: Vec<&str> = call.params("status").collect();
    let mut shown = Vec::new();
    for server in state.hetzner.servers.values() {
        let labelled = match selector {
            None => true,
            Some(selector) => labels::matches(&server.labels, selector)
                .ok_or_else(|| invalid("label_selector", "label selector is malformed"))?,
        };
        let fits = name.is_none_or(|name| name == server.name)
            && (status.is_empty() || status.contains(&server.status.as_str()));
        if labelled && fits && server.listed_from <= state.now {
            shown.push(views::server(state, server.id));
        }
    }
    pages::sort(call, &mut shown);
    pages::page(state, call, "servers", shown)
}

/// `GET /servers/{id}`
pub(crate) fn get(state: &State, id: u64) -> Reply {
    Reply::json(200, json!({"server": views::server(state, id)}))
}

/// `PUT /servers/{id}`: name and labels.
pub(crate) fn update(state: &mut State, call: &Call, id: u64) -> Answer {
    let body = call
        .json()
        .ok_or_else(|| refuse(400, "json_error", "the body is not valid JSON"))?;
    let labels = validate::labels(&body)?;
    let name = body.get("name").map(validate::name).transpose()?;
    if let Some(name) = &name {
        refuse_taken_name(state, name, Some(id))?;
    }
    if let Some(server) = state.hetzner.servers.get_mut(&id) {
        if let Some(name) = name {
            server.name = name;
        }
        if body.get("labels").is_some() {
            server.labels = labels;
        }
    }
    Ok(get(state, id))
}

/// `DELETE /servers/{id}` → 200 with an action; 423 while another action runs.
pub(crate) fn delete(state: &mut State, id: u64) -> Answer {
    actions::refuse_when_busy(state, id)?;
    let action = actions::begin_delete(state, id);
    Ok(Reply::json(
        200,
        json!({"action": actions::json_of(state, action)}),
    ))
}

/// The server is gone: its addresses with it, its device quiet.
pub(crate) fn vanish(state: &mut State, id: u64) {
    boot::power_lost(state, id);
    let Some(server) = state.hetzner.servers.remove(&id) else {
        return;
    };
    project::release_ips(state, &server);
    state.hetzner.gone.push(server);
}

/// Somebody deletes it in the console, at once.
pub(crate) fn delete_by_hand(state: &mut State, name: &str) -> bool {
    let Some(id) = id_of_name(state, name) else {
        return false;
    };
    actions::abandon(state, id);
    vanish(state, id);
    true
}

/// Somebody switches it off in the console, at once.
pub(crate) fn power_off_by_hand(state: &mut State, name: &str) -> bool {
    let Some(id) = id_of_name(state, name) else {
        return false;
    };
    set_status(state, id, Status::Off);
    boot::power_lost(state, id);
    true
}

fn id_of_name(state: &State, name: &str) -> Option<u64> {
    let mut servers = state.hetzner.servers.values();
    servers
        .find(|server| server.name == name)
        .map(|server| server.id)
}

/// The status, `Off` for a server that is gone.
pub(crate) fn status(state: &State, id: u64) -> Status {
    let server = state.hetzner.servers.get(&id);
    server.map_or(Status::Off, |server| server.status)
}

/// Sets the status of a server that is there.
pub(crate) fn set_status(state: &mut State, id: u64, status: Status) {
    if let Some(server) = state.hetzner.servers.get_mut(&id) {
        server.status = status;
    }
}

/// Whether this start cannot work because the create before it failed.
pub(crate) fn create_failed(state: &State, start: &Action) -> bool {
    let fresh = state.hetzner.servers.get(&start.server);
    let never_ran = fresh.is_some_and(|server| server.machine.boots == 0);
    never_ran && actions::failed(state, start.server, Command::Create)
}

/// A running server that nobody ordered through the API.
pub(crate) fn add_decoy(state: &mut State, decoy: &DecoyServer) -> u64 {
    let catalog = &state.config.hetzner.catalog;
    let first = catalog.server_types.first();
    let kind = catalog.server_type(&decoy.server_type).or(first);
    let sold = kind.and_then(|kind| kind.sold_at.iter().find(|sold| sold.orderable()));
    let location = if decoy.location.is_empty() {
        sold.map(|sold| sold.location.clone()).unwrap_or_default()
    } else {
        decoy.location.clone()
    };
    let order = Order {
        name: decoy.name.clone(),
        server_type: kind.map(|kind| kind.name.clone()).unwrap_or_default(),
        location,
        image: catalog.images.first().map_or(0, |image| image.id),
        ssh_keys: Vec::new(),
        user_data: String::new(),
        labels: decoy.labels.clone(),
        starts: true,
        ipv4: Some(None),
        ipv6: Some(None),
        firewalls: Vec::new(),
    };
    let id = build(state, order);
    let age = i64::try_from(decoy.age.as_secs()).unwrap_or(i64::MAX);
    let created = state.unix_now().saturating_sub(age);
    if let Some(server) = state.hetzner.servers.get_mut(&id) {
        server.status = Status::Running;
        server.created = created;
        server.machine.boots = 1;
        server.machine.first_boot_done = true;
    }
    id
}
