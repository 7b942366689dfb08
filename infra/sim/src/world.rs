//! A snapshot of the world for assertions: what is there, what was asked, nothing secret.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;

use crate::fault::Vendor;
use crate::runs::Conclusion;
use crate::state::State;

/// Everything there is at one moment.
#[derive(Debug, Clone)]
pub struct World {
    /// Time since the start of the world.
    pub at: Duration,
    /// The wall clock, unix seconds.
    pub unix_seconds: i64,
    /// Hetzner servers that exist, those being deleted included; by id.
    pub servers: Vec<ServerView>,
    /// Hetzner servers that once existed.
    pub deleted_servers: Vec<ServerView>,
    /// Ids of all Hetzner primary IPs.
    pub primary_ips: Vec<u64>,
    /// Hetzner firewalls.
    pub firewalls: Vec<FirewallView>,
    /// Tailscale auth keys ever made.
    pub keys: Vec<KeyView>,
    /// Tailscale devices that are listed.
    pub devices: Vec<DeviceView>,
    /// GitHub runs.
    pub runs: Vec<RunView>,
    /// Every call, in order of its answer.
    pub calls: Vec<CallRecord>,
}

/// A server at Hetzner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// Hetzner's id.
    pub id: u64,
    /// Unique name.
    pub name: String,
    /// `initializing`, `starting`, `running`, `off`, …
    pub status: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Server type by name.
    pub server_type: String,
    /// Location by name.
    pub location: String,
    /// Image by name or id.
    pub image: String,
    /// Public IPv4, when it has one.
    pub ipv4: Option<String>,
    /// The user data it was made with.
    pub user_data: String,
    /// Names of its SSH keys.
    pub ssh_keys: Vec<String>,
    /// Ids of its firewalls.
    pub firewalls: Vec<u64>,
    /// Unix seconds of its create call.
    pub created: i64,
    /// How many times it booted.
    pub boots: u32,
    /// What became of its enrolment: why it did not enrol, or nothing to tell.
    pub boot_note: Option<String>,
    /// The device it enrolled as.
    pub device_id: Option<u64>,
}

/// A firewall at Hetzner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallView {
    /// Hetzner's id.
    pub id: u64,
    /// Unique name.
    pub name: String,
    /// Number of rules.
    pub rules: usize,
}

/// An auth key at Tailscale; its secret is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and tests ask for one at a time"
)]
pub struct KeyView {
    /// Tailscale's id.
    pub id: String,
    /// The text given at creation.
    pub description: String,
    /// Unix seconds of its creation.
    pub created: i64,
    /// Unix seconds of its end.
    pub expires: i64,
    /// A one-off key that enrolled a device.
    pub used: bool,
    /// It was deleted.
    pub revoked: bool,
    /// It can be used more than once.
    pub reusable: bool,
    /// Its devices vanish when they go quiet.
    pub ephemeral: bool,
    /// Its devices need no approval.
    pub preauthorized: bool,
    /// Tags of its devices.
    pub tags: Vec<String>,
    /// It can still enrol a device.
    pub usable: bool,
}

/// A device at Tailscale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// The legacy decimal id.
    pub id: u64,
    /// The id to prefer, `n…CNTRL`.
    pub node_id: String,
    /// Its DNS name, unique.
    pub name: String,
    /// What the machine calls itself, not unique.
    pub hostname: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its 100.x address.
    pub ipv4: String,
    /// Connected to the control plane now.
    pub online: bool,
    /// Allowed into the tailnet.
    pub authorized: bool,
    /// Deleted when it goes quiet.
    pub ephemeral: bool,
    /// Unix seconds of its enrolment.
    pub created: i64,
    /// The key it came with, `None` for a decoy.
    pub key_id: Option<String>,
}

/// A run at GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunView {
    /// GitHub's id.
    pub id: u64,
    /// The newest attempt.
    pub attempt: u32,
    /// Its `display_title`.
    pub name: String,
    /// `queued`, `pending`, `in_progress`, `completed`.
    pub status: String,
    /// How it ended.
    pub conclusion: Option<Conclusion>,
    /// Its inputs after defaults.
    pub inputs: BTreeMap<String, String>,
    /// Unix seconds of the dispatch.
    pub created: i64,
    /// A cancel was asked for.
    pub cancel_requested: bool,
}

/// One call that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// Time since the start of the world: when it was answered, a slow answer when it was sent.
    pub at: Duration,
    /// Whose.
    pub vendor: Vendor,
    /// HTTP method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Status of the answer; `None` when the connection was cut.
    pub status: Option<u16>,
    /// Scheme of the `Authorization` header, its secret redacted.
    pub authorization: Option<String>,
    /// A [`Fault`](crate::Fault) bent it.
    pub bent: bool,
}

/// Something that will happen by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// What: the end of an action by its command, as `delete_server`, or `boot`, `enrolment`, …
    pub what: &'static str,
    /// Id of the server, device or run that it happens to.
    pub subject: u64,
}

/// A server that was there before us, or made by hand.
#[derive(Debug, Clone, Default)]
pub struct DecoyServer {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Server type; empty = the catalog's first.
    pub server_type: String,
    /// Location; empty = the first that sells the type.
    pub location: String,
    /// How long ago it was made.
    pub age: Duration,
}

/// A device that was there before us, or joined by hand.
#[derive(Debug, Clone, Default)]
pub struct DecoyDevice {
    /// What the machine calls itself.
    pub hostname: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Connected now.
    pub online: bool,
    /// Of another tailnet, shared in: `created` is empty and DELETE gives 501.
    pub external: bool,
    /// How long ago it joined.
    pub age: Duration,
}

impl World {
    /// Takes the snapshot.
    pub(crate) fn of(state: &State) -> Self {
        let hetzner = &state.hetzner;
        Self {
            at: state.now,
            unix_seconds: state.unix_now(),
            servers: hetzner.views(state, false),
            deleted_servers: hetzner.views(state, true),
            primary_ips: hetzner.primary_ips.keys().copied().collect(),
            firewalls: hetzner.firewall_views(),
            keys: state.tailscale.key_views(state),
            devices: state.tailscale.device_views(state),
            runs: state.github.views(state),
            calls: state.calls.clone(),
        }
    }

    /// The server of this name, if it exists.
    pub fn server(&self, name: &str) -> Option<&ServerView> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Calls of a vendor with this method whose path contains the text.
    pub fn calls_to(&self, vendor: Vendor, method: &Method, part: &str) -> Vec<&CallRecord> {
        let fits = |call: &&CallRecord| {
            call.vendor == vendor && call.method == *method && call.path.contains(part)
        };
        self.calls.iter().filter(fits).collect()
    }
}
