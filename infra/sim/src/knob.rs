//! Knobs: faults and odd habits of the world itself, set while it runs.
//!
//! What happens to single calls on the road is in `fault`.

use std::collections::BTreeMap;
use std::time::Duration;

/// How a running action shows its progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Progress {
    /// By the time that has passed.
    #[default]
    Steady,
    /// In quarters.
    Jumps,
    /// At 0 until it ends.
    Stuck,
}

/// How many calls a vendor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// So many at once.
    pub burst: u32,
    /// Then so many a second.
    pub per_second: u32,
    /// What a refusal gives as `Retry-After`, in seconds; `None`: it gives none.
    pub retry_after: Option<u32>,
}

/// One setting of the running world. Turning the same knob again replaces its setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knob {
    /// Hetzner: a location refuses a type (or every type) with 412 `resource_unavailable`.
    Unavailable {
        /// The location, `None` = all.
        location: Option<String>,
        /// The server type, `None` = all.
        server_type: Option<String>,
        /// On or off again.
        on: bool,
    },
    /// Hetzner: the next `times` actions of this command end with `error` and code
    /// `action_failed`. A failed create leaves the server off, and it is billed.
    FailAction {
        /// `create_server`, `start_server`, `delete_server`, …
        command: String,
        /// How many.
        times: u32,
    },
    /// Hetzner: servers whose create fails stay `initializing`.
    FailedCreateInitializes(bool),
    /// Hetzner: the next `times` starts succeed as actions, but leave the server off.
    StartLeavesOff(u32),
    /// Hetzner: a machine that was told to shut down obeys so long after its action succeeded, and
    /// shows `running` until then; `None`: with its action.
    ObeysLate(Option<Duration>),
    /// Hetzner: `GET /actions` knows no action (404, empty lists) while this is on.
    ActionsVanish(bool),
    /// Hetzner: how running actions show their progress.
    ActionProgress(Progress),
    /// Hetzner: a new server's IPv4 appears only this long after the create call.
    Ipv4Late(Duration),
    /// Hetzner: new servers get no IPv4, whatever was asked.
    Ipv4Never(bool),
    /// Hetzner: a new server is missing from lists for this long (but not by id).
    ServerListLag(Duration),
    /// Hetzner: details of `uniqueness_error` are an empty object (else they name the field).
    UniquenessWithoutDetails(bool),
    /// Hetzner: unknown enum values and extra fields in answers.
    HetznerOddShapes(bool),
    /// Hetzner: `last_page` and `total_entries` are null.
    HetznerNullTotals(bool),
    /// Hetzner: answers carry the removed `datacenter` object.
    HetznerOldShapes(bool),
    /// Hetzner: another token is valid from now on, the old one is refused.
    HetznerToken(String),
    /// Hetzner: the account's limit of servers.
    ServerLimit(usize),
    /// Hetzner: the account's limit of primary IPs.
    PrimaryIpLimit(usize),
    /// Hetzner: addresses made with new servers stay when the server goes.
    AddressesStay(bool),
    /// Hetzner: calls left in the rate bucket.
    HetznerRemaining(u32),
    /// Hetzner: new VMs boot, but never reach `tailscale up`.
    BootHangs(bool),
    /// Tailscale: more calls than these are refused with 429 (its own limits are not published).
    TailscaleLimit(Option<RateLimit>),
    /// Tailscale: every one-off key given out so far counts as used, by a machine nobody sees.
    SpendKeys,
    /// Tailscale: every access token given out so far is refused (as if expired or revoked).
    ExpireTokens,
    /// Tailscale: scopes of the OAuth client from now on.
    TailscaleScopes(Vec<String>),
    /// Tailscale: new devices await approval unless their key is preauthorized, or always.
    DeviceApproval {
        /// Approval is on.
        on: bool,
        /// Even preauthorized keys give unauthorized devices.
        always: bool,
    },
    /// Tailscale: a device is shown as connected for so long after its machine went off.
    QuietLate(Duration),
    /// Tailscale: new devices are approved only so long after they appeared.
    ApprovedLate(Duration),
    /// Tailscale: node keys of new devices expire, also of tagged ones.
    NodeKeysExpire(bool),
    /// Tailscale: `created` of devices made by hand is of year 1.
    YearOne(bool),
    /// Tailscale: new devices show no addresses for this long.
    AddressesLate(Duration),
    /// Tailscale: new devices show only their IPv6 address for this long.
    DeviceIpv4Late(Duration),
    /// Tailscale: devices list their IPv6 address first.
    Ipv6First(bool),
    /// Tailscale: query filters of the device list are ignored.
    IgnoreFilters(bool),
    /// Tailscale: text of `tailnetLockError` of new devices; empty = none.
    TailnetLock(String),
    /// Tailscale: new devices are gone again this long after they appeared.
    DevicesVanish(Option<Duration>),
    /// GitHub: a new run is missing from lists for this long (but not by id).
    RunListLag(Duration),
    /// GitHub: dispatched runs stay queued for ever.
    RunsNeverStart(bool),
    /// GitHub: the next `times` runs end as `startup_failure` at their start.
    StartupFailure(u32),
    /// GitHub: the workflow is disabled.
    WorkflowDisabled(bool),
    /// GitHub: the workflow on the ref has no `workflow_dispatch` trigger.
    NoTrigger(bool),
    /// GitHub: the workflow file is missing, or the token may not see the repository.
    WorkflowHidden(bool),
    /// GitHub: another token is valid from now on; installation tokens are refused too.
    GithubToken(String),
    /// GitHub: calls left in this hour.
    GithubRemaining(u32),
}

/// The settings of all knobs that are not stored elsewhere.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one knob, turned on or off apart from the others"
)]
pub(crate) struct Knobs {
    pub(crate) unavailable: Vec<(Option<String>, Option<String>)>,
    pub(crate) failing_actions: BTreeMap<String, u32>,
    pub(crate) failed_create_initializes: bool,
    pub(crate) start_leaves_off: u32,
    pub(crate) obeys_late: Option<Duration>,
    pub(crate) actions_vanish: bool,
    pub(crate) action_progress: Progress,
    pub(crate) ipv4_late: Duration,
    pub(crate) ipv4_never: bool,
    pub(crate) server_list_lag: Duration,
    pub(crate) uniqueness_without_details: bool,
    pub(crate) odd_shapes: bool,
    pub(crate) null_totals: bool,
    pub(crate) old_shapes: bool,
    pub(crate) primary_ip_limit: Option<usize>,
    pub(crate) addresses_stay: bool,
    pub(crate) boot_hangs: bool,
    /// Device approval is on; whether even for preauthorized keys.
    pub(crate) approval: Option<bool>,
    pub(crate) quiet_late: Duration,
    pub(crate) approved_late: Duration,
    pub(crate) node_keys_expire: bool,
    pub(crate) year_one: bool,
    pub(crate) addresses_late: Duration,
    pub(crate) device_ipv4_late: Duration,
    pub(crate) ipv6_first: bool,
    pub(crate) ignore_filters: bool,
    pub(crate) tailnet_lock: String,
    pub(crate) devices_vanish: Option<Duration>,
    pub(crate) run_list_lag: Duration,
    pub(crate) runs_never_start: bool,
    pub(crate) startup_failures: u32,
    pub(crate) workflow_disabled: bool,
    pub(crate) no_trigger: bool,
    pub(crate) workflow_hidden: bool,
}

impl Knobs {
    /// Sets or takes back one rule of capacity.
    pub(crate) fn set_unavailable(&mut self, rule: (Option<String>, Option<String>), on: bool) {
        self.unavailable.retain(|known| *known != rule);
        if on {
            self.unavailable.push(rule);
        }
    }

    /// Whether this location refuses this type for lack of capacity.
    pub(crate) fn refuses(&self, location: &str, server_type: &str) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        self.unavailable
            .iter()
            .any(|(place, kind)| fits(place, location) && fits(kind, server_type))
    }

    /// Whether the action of this command that ends now is one of those that fail.
    pub(crate) fn action_fails(&mut self, command: &str) -> bool {
        self.failing_actions.get_mut(command).is_some_and(take_one)
    }
}

/// Counts one down; false when none was left.
pub(crate) fn take_one(left: &mut u32) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}
