//! The whole state of the world and its timeline: what is due when, in order.
//!
//! State moves only forward in [`State::settle`], which is called before every look at it. So an
//! answer never depends on whether a background task happened to run in time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{self, Clock};
use crate::config::SimConfig;
use crate::fault::Fault;
use crate::github::Github;
use crate::hetzner::Hetzner;
use crate::hetzner::boot::EnrolPlan;
use crate::knob::{Knob, Knobs};
use crate::runs::RunEvent;
use crate::tailscale::Tailscale;
use crate::world::{CallRecord, Waiting};
use crate::{github, hetzner, tailscale};

/// Something that happens by itself.
#[derive(Debug, Clone)]
pub(crate) enum Due {
    ActionEnds(u64),
    Boots {
        server: u64,
        boot: u32,
    },
    Enrols {
        server: u64,
        boot: u32,
        plan: EnrolPlan,
    },
    GoesOff {
        server: u64,
        boot: u32,
    },
    DeviceVanishes(u64),
    RunStarts {
        run: u64,
        attempt: u32,
    },
    RunTimesOut {
        run: u64,
        attempt: u32,
    },
    RunIsEnded {
        run: u64,
        attempt: u32,
    },
}

/// Everything that is, behind one lock.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) config: SimConfig,
    pub(crate) clock: Clock,
    /// Time of the world: the start of the event or call being handled.
    pub(crate) now: Duration,
    timeline: BTreeMap<(Duration, u64), Due>,
    entries: u64,
    pub(crate) knobs: Knobs,
    pub(crate) faults: Vec<Fault>,
    pub(crate) calls: Vec<CallRecord>,
    pub(crate) outbox: Vec<RunEvent>,
    pub(crate) hetzner: Hetzner,
    pub(crate) tailscale: Tailscale,
    pub(crate) github: Github,
}

impl State {
    /// An empty world that starts now.
    pub(crate) fn new(config: SimConfig) -> Self {
        Self {
            clock: Clock::start(Duration::ZERO),
            now: Duration::ZERO,
            timeline: BTreeMap::new(),
            entries: 0,
            knobs: Knobs::default(),
            faults: Vec::new(),
            calls: Vec::new(),
            outbox: Vec::new(),
            hetzner: Hetzner::new(&config.hetzner),
            tailscale: Tailscale::default(),
            github: Github::new(&config.github),
            config,
        }
    }

    /// Lets everything happen that is due by now, each thing at its own time.
    /// In a held world nothing happens.
    pub(crate) fn settle(&mut self) {
        if self.clock.is_still() {
            return;
        }
        let now = self.clock.elapsed().max(self.now);
        while let Some(entry) = self.timeline.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                break;
            }
            let due = entry.remove();
            self.now = at;
            self.happen(due);
        }
        self.now = now;
    }

    /// When the next thing is due; never in a held world.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        if self.clock.is_still() {
            return None;
        }
        self.timeline.first_key_value().map(|((at, _), _)| *at)
    }

    /// Stops the clock: from now on things happen only when they are told to.
    pub(crate) fn hold(&mut self) {
        self.clock = Clock::still(self.now);
    }

    /// Starts the clock again; what is overdue happens at the next look.
    pub(crate) fn go_on(&mut self) {
        self.clock = Clock::start(self.now);
    }

    /// The entries of the timeline that still have an effect, in order.
    fn effective(&self) -> impl Iterator<Item = (&(Duration, u64), Waiting)> {
        let timeline = self.timeline.iter();
        timeline.filter_map(|(key, due)| Some((key, self.waiting_of(due)?)))
    }

    /// What would happen next, in order.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.effective().map(|(_, waiting)| waiting).collect()
    }

    /// Lets one of what waits happen, at its time or, when that is past, now.
    pub(crate) fn let_happen(&mut self, waiting: &Waiting) -> bool {
        let found = self.effective().find(|(_, one)| one == waiting);
        let Some(key) = found.map(|(key, _)| *key) else {
            return false;
        };
        let due = self.timeline.remove(&key);
        self.now = self.now.max(key.0);
        self.clock = Clock::still(self.now);
        if let Some(due) = due {
            self.happen(due);
        }
        true
    }

    /// What an entry will do; `None` when it does nothing any more.
    fn waiting_of(&self, due: &Due) -> Option<Waiting> {
        let (what, subject) = match *due {
            Due::ActionEnds(action) => hetzner::actions::under_way(self, action)?,
            Due::GoesOff { server, boot } => (
                "shutdown",
                hetzner::boot::is_on(self, server, boot).then_some(server)?,
            ),
            Due::Boots { server, boot } => (
                "boot",
                hetzner::boot::is_on(self, server, boot).then_some(server)?,
            ),
            Due::Enrols { server, boot, .. } => (
                "enrolment",
                hetzner::boot::is_on(self, server, boot).then_some(server)?,
            ),
            Due::DeviceVanishes(device) => ("device vanishes", device),
            Due::RunStarts { run, .. } => ("run starts", run),
            Due::RunTimesOut { run, .. } => ("run times out", run),
            Due::RunIsEnded { run, .. } => ("run is ended", run),
        };
        Some(Waiting { what, subject })
    }

    /// Puts something on the timeline, `after` from now.
    pub(crate) fn schedule(&mut self, after: Duration, due: Due) {
        self.entries += 1;
        self.timeline.insert((self.now + after, self.entries), due);
    }

    /// Unix seconds of the world's now.
    pub(crate) fn unix_now(&self) -> i64 {
        self.unix_at(self.now)
    }

    /// Unix seconds of an offset.
    pub(crate) fn unix_at(&self, offset: Duration) -> i64 {
        clock::unix_seconds(self.config.epoch_unix_seconds, offset)
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::ActionEnds(action) => hetzner::actions::end(self, action),
            Due::Boots { server, boot } => hetzner::boot::boots(self, server, boot),
            Due::Enrols { server, boot, plan } => {
                hetzner::boot::enrols(self, server, boot, &plan);
            }
            Due::GoesOff { server, boot } => hetzner::boot::goes_off(self, server, boot),
            Due::DeviceVanishes(device) => tailscale::devices::vanish(self, device),
            Due::RunStarts { run, attempt } => github::runs::starts(self, run, attempt),
            Due::RunTimesOut { run, attempt } => github::runs::times_out(self, run, attempt),
            Due::RunIsEnded { run, attempt } => github::runs::is_ended(self, run, attempt),
        }
    }

    /// Turns a knob.
    pub(crate) fn turn(&mut self, knob: Knob) {
        match knob {
            Knob::Unavailable {
                location,
                server_type,
                on,
            } => self.knobs.set_unavailable((location, server_type), on),
            Knob::FailAction { command, times } => {
                self.knobs.failing_actions.insert(command, times);
            }
            Knob::FailedCreateInitializes(on) => self.knobs.failed_create_initializes = on,
            Knob::StartLeavesOff(times) => self.knobs.start_leaves_off = times,
            Knob::ObeysLate(late) => self.knobs.obeys_late = late,
            Knob::ActionsVanish(on) => self.knobs.actions_vanish = on,
            Knob::ActionProgress(progress) => self.knobs.action_progress = progress,
            Knob::Ipv4Late(late) => self.knobs.ipv4_late = late,
            Knob::Ipv4Never(on) => self.knobs.ipv4_never = on,
            Knob::ServerListLag(lag) => self.knobs.server_list_lag = lag,
            Knob::UniquenessWithoutDetails(on) => self.knobs.uniqueness_without_details = on,
            Knob::HetznerOddShapes(on) => self.knobs.odd_shapes = on,
            Knob::HetznerNullTotals(on) => self.knobs.null_totals = on,
            Knob::HetznerOldShapes(on) => self.knobs.old_shapes = on,
            Knob::HetznerToken(token) => self.config.hetzner.token = token,
            Knob::ServerLimit(limit) => self.config.hetzner.server_limit = limit,
            Knob::PrimaryIpLimit(limit) => self.knobs.primary_ip_limit = Some(limit),
            Knob::AddressesStay(on) => self.knobs.addresses_stay = on,
            Knob::SpendKeys => self.tailscale.spend_keys(self.now),
            Knob::HetznerRemaining(left) => self.hetzner.bucket.set(left, self.now),
            Knob::BootHangs(on) => self.knobs.boot_hangs = on,
            Knob::TailscaleLimit(limit) => self.tailscale.limit(limit, self.now),
            Knob::ExpireTokens => self.tailscale.expire_tokens(),
            Knob::TailscaleScopes(scopes) => self.config.tailscale.scopes = scopes,
            Knob::DeviceApproval { on, always } => self.knobs.approval = on.then_some(always),
            Knob::QuietLate(late) => self.knobs.quiet_late = late,
            Knob::ApprovedLate(late) => self.knobs.approved_late = late,
            Knob::NodeKeysExpire(on) => self.knobs.node_keys_expire = on,
            Knob::YearOne(on) => self.knobs.year_one = on,
            Knob::AddressesLate(late) => self.knobs.addresses_late = late,
            Knob::DeviceIpv4Late(late) => self.knobs.device_ipv4_late = late,
            Knob::Ipv6First(on) => self.knobs.ipv6_first = on,
            Knob::IgnoreFilters(on) => self.knobs.ignore_filters = on,
            Knob::TailnetLock(text) => self.knobs.tailnet_lock = text,
            Knob::DevicesVanish(after) => self.knobs.devices_vanish = after,
            Knob::RunListLag(lag) => self.knobs.run_list_lag = lag,
            Knob::RunsNeverStart(on) => self.knobs.runs_never_start = on,
            Knob::StartupFailure(times) => self.knobs.startup_failures = times,
            Knob::WorkflowDisabled(on) => self.knobs.workflow_disabled = on,
            Knob::NoTrigger(on) => self.knobs.no_trigger = on,
            Knob::WorkflowHidden(on) => self.knobs.workflow_hidden = on,
            Knob::GithubToken(token) => {
                self.config.github.token = token;
                self.github.forget_tokens();
            }
            Knob::GithubRemaining(left) => self.github.set_remaining(left, self.now),
        }
    }
}
