//! What can go wrong at Hetzner, Tailscale and GitHub: single calls, and their worlds.

use std::time::Duration;

use http::Method;
use rand::{RngExt as _, rngs::StdRng};
use sim::{Effect, Fault, FaultBody, Knob, Progress, Vendor};

/// Calls that are bent: whose, method, part of the path.
const ROADS: [(Vendor, Method, &str); 17] = [
    (Vendor::Github, Method::POST, "/dispatches"),
    (Vendor::Github, Method::POST, "/dispatches"),
    (Vendor::Github, Method::GET, "/runs"),
    (Vendor::Github, Method::POST, "cancel"),
    (Vendor::Hetzner, Method::POST, "/servers"),
    (Vendor::Hetzner, Method::POST, "/servers"),
    (Vendor::Hetzner, Method::GET, "/servers"),
    (Vendor::Hetzner, Method::GET, "/actions"),
    (Vendor::Hetzner, Method::GET, "/server_types"),
    (Vendor::Hetzner, Method::POST, "/actions"),
    (Vendor::Hetzner, Method::DELETE, "/servers"),
    (Vendor::Tailscale, Method::POST, "/oauth/token"),
    (Vendor::Tailscale, Method::POST, "/keys"),
    (Vendor::Tailscale, Method::GET, "/devices"),
    (Vendor::Tailscale, Method::DELETE, "/device"),
    (Vendor::Tailscale, Method::DELETE, "/keys"),
    (Vendor::Tailscale, Method::GET, "/keys"),
];

/// A fault for one call, or a few.
pub(super) fn fault(random: &mut StdRng) -> Option<Fault> {
    let (vendor, method, path) = ROADS.get(random.random_range(0..ROADS.len()))?;
    let effect = effect(*vendor, random);
    let mut fault = Fault::once(*vendor, method.clone(), path, effect);
    fault.times = random.random_range(1..=2);
    Some(fault)
}

fn effect(vendor: Vendor, random: &mut StdRng) -> Effect {
    let html = || FaultBody::gateway_page("502 Bad Gateway");
    match random.random_range(0..9) {
        0 => Effect::refuse(500, "server_error", "something went wrong"),
        1 => Effect::refuse(503, "unavailable", "try again later"),
        2 => Effect::Status {
            status: 502,
            body: html(),
        },
        3 => limited(vendor),
        4 => Effect::CutBefore,
        5 => Effect::CutAfter,
        6 => Effect::ReplyLost504,
        7 => Effect::ReplyReplaced {
            status: 502,
            body: html(),
        },
        _ => Effect::SlowReply(Duration::from_millis(random.random_range(500..4000))),
    }
}

fn limited(vendor: Vendor) -> Effect {
    match vendor {
        Vendor::Github => Effect::github_secondary_limit(403, Some(3)),
        Vendor::Hetzner | Vendor::Tailscale => {
            Effect::refuse(429, "rate_limit_exceeded", "limit of requests is exceeded")
        }
    }
}

/// A trouble of the world: turned on, and off again some seconds later.
#[derive(Debug)]
pub(super) struct Spell {
    pub(super) vendor: Vendor,
    pub(super) on: Knob,
    /// None for what ends by itself.
    pub(super) off: Option<Knob>,
}

/// Every trouble of a world there is.
pub(super) fn spells(random: &mut StdRng) -> Vec<Spell> {
    let lag = Duration::from_millis(random.random_range(500..3000));
    let times = random.random_range(1..=2);
    let short = short(times).into_iter().map(|(vendor, on)| Spell {
        vendor,
        on,
        off: None,
    });
    let lasting = lasting(lag).into_iter().map(|(vendor, on, off)| Spell {
        vendor,
        on,
        off: Some(off),
    });
    short.chain(lasting).collect()
}

fn short(times: u32) -> Vec<(Vendor, Knob)> {
    let fail = |command: &str| Knob::FailAction {
        command: command.to_owned(),
        times,
    };
    vec![
        (Vendor::Hetzner, fail("create_server")),
        (Vendor::Hetzner, fail("start_server")),
        (Vendor::Hetzner, fail("delete_server")),
        (Vendor::Hetzner, Knob::StartLeavesOff(1)),
        (Vendor::Tailscale, Knob::ExpireTokens),
        (Vendor::Github, Knob::StartupFailure(1)),
    ]
}

/// Each with what ends it. A boot that hangs is left out: the runner would wait for it in its own
/// time, which does not pass faster.
fn lasting(lag: Duration) -> Vec<(Vendor, Knob, Knob)> {
    let sold_out = |location: Option<&str>, on| Knob::Unavailable {
        location: location.map(str::to_owned),
        server_type: None,
        on,
    };
    let switch = |vendor, knob: fn(bool) -> Knob| (vendor, knob(true), knob(false));
    let late = |vendor, knob: fn(Duration) -> Knob| (vendor, knob(lag), knob(Duration::ZERO));
    let (hetzner, tailscale, github) = (Vendor::Hetzner, Vendor::Tailscale, Vendor::Github);
    let progress = Knob::ActionProgress;
    let ash = Some("ash");
    vec![
        (hetzner, sold_out(ash, true), sold_out(ash, false)),
        (hetzner, sold_out(None, true), sold_out(None, false)),
        (
            hetzner,
            progress(Progress::Stuck),
            progress(Progress::Steady),
        ),
        (
            hetzner,
            Knob::HetznerRemaining(20),
            Knob::HetznerRemaining(3600),
        ),
        switch(hetzner, Knob::ActionsVanish),
        switch(hetzner, Knob::HetznerOddShapes),
        late(hetzner, Knob::Ipv4Late),
        late(hetzner, Knob::ServerListLag),
        late(tailscale, Knob::AddressesLate),
        switch(tailscale, Knob::Ipv6First),
        late(github, Knob::RunListLag),
        switch(github, Knob::RunsNeverStart),
        switch(github, Knob::WorkflowDisabled),
    ]
}

/// Everything as it was before.
pub(super) fn cures(random: &mut StdRng) -> Vec<Knob> {
    let lasting = spells(random).into_iter().filter_map(|spell| spell.off);
    let counted = ["create_server", "start_server", "delete_server"].map(|command| {
        let command = command.to_owned();
        Knob::FailAction { command, times: 0 }
    });
    let others = [Knob::StartLeavesOff(0), Knob::StartupFailure(0)];
    lasting.chain(counted).chain(others).collect()
}
