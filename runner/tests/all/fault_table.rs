//! Every fault of Hetzner (H-F1 to 15) and Tailscale (T-F1 to 13) that was seen in the field:
//! how the attempt ends, how many calls it takes, and that nothing is left behind.

use crate::{
    harness::{AGENT, NAME},
    lab::{Attempt, Ended, Gate, Lab},
};
use contract::{ErrorClass, Operation};
use http::Method;
use runner::End;
use sim::{DecoyDevice, DecoyServer, Effect, Fault, FaultBody, Knob, Sim, Vendor};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How the attempt ends.
#[derive(Clone, Copy)]
enum Want {
    /// One machine, enrolled, beside so many devices that are none of ours.
    Complete(usize),
    /// Nothing is left; class and words of the error.
    Clean(ErrorClass, &'static str),
    /// What is left is named; words of the error.
    Named(&'static str),
}

/// Right after the effect of the first call that holds the text.
type Moment = (&'static str, fn(&Sim));

struct Row {
    fault: &'static str,
    world: fn(&Sim),
    then: Option<Moment>,
    vars: Vec<(&'static str, &'static str)>,
    want: Want,
    /// Most calls to Hetzner.
    calls: usize,
}

const CREATE: &str = "POST http://hetzner.sim/v1/servers";

fn row(fault: &'static str, want: Want, calls: usize, world: fn(&Sim)) -> Row {
    Row {
        fault,
        world,
        then: None,
        vars: Vec::new(),
        want,
        calls,
    }
}

impl Row {
    fn then(mut self, call: &'static str, change: fn(&Sim)) -> Self {
        self.then = Some((call, change));
        self
    }

    fn var(mut self, name: &'static str, value: &'static str) -> Self {
        self.vars.push((name, value));
        self
    }
}

fn bend(sim: &Sim, vendor: Vendor, method: Method, path: &str, effect: Effect) {
    sim.add_fault(Fault::once(vendor, method, path, effect));
}

fn bend_create(sim: &Sim, effect: Effect) {
    bend(sim, Vendor::Hetzner, Method::POST, "/servers", effect);
}

/// Every kind of call to Tailscale fails so, twice.
fn bend_tailscale(sim: &Sim, status: u16, body: &FaultBody) {
    for (method, path) in [
        (Method::POST, "/oauth/token"),
        (Method::GET, "/devices"),
        (Method::GET, "/keys"),
        (Method::POST, "/keys"),
    ] {
        let body = body.clone();
        let effect = Effect::Status { status, body };
        let mut fault = Fault::once(Vendor::Tailscale, method, path, effect);
        fault.times = 2;
        sim.add_fault(fault);
    }
}

fn unavailable(sim: &Sim, location: &str, server_type: Option<&str>) {
    sim.turn(Knob::Unavailable {
        location: Some(location.to_owned()),
        server_type: server_type.map(str::to_owned),
        on: true,
    });
}

fn fail_action(sim: &Sim, command: &str) {
    let command = command.to_owned();
    sim.turn(Knob::FailAction { command, times: 1 });
}

fn device(sim: &Sim, hostname: &str, external: bool) {
    sim.add_device(&DecoyDevice {
        hostname: hostname.to_owned(),
        tags: vec!["tag:agent".to_owned()],
        external,
        age: Duration::from_hours(1),
        ..DecoyDevice::default()
    });
}

/// More servers of an earlier attempt than one page holds.
fn many_old_servers(sim: &Sim) {
    for number in 0..55 {
        let labels = [
            ("managed_by", "slipway"),
            ("installation", "default"),
            ("agent_id", AGENT),
            ("fence", "4"),
        ];
        sim.add_server(&DecoyServer {
            name: format!("old-{number}"),
            labels: labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..DecoyServer::default()
        });
    }
}

const WHOLE: Want = Want::Complete(0);

fn of_create() -> Vec<Row> {
    use ErrorClass::{Capacity, Permanent};
    let permanent = |words| Want::Clean(Permanent, words);
    vec![
        row("H-F1", WHOLE, 8, |sim| bend_create(sim, Effect::CutAfter)),
        row("H-F1", WHOLE, 8, |sim| {
            bend_create(sim, Effect::ReplyLost504);
        }),
        row("H-F1", WHOLE, 8, |sim| {
            let body = FaultBody::gateway_page("Bad Gateway");
            bend_create(sim, Effect::ReplyReplaced { status: 502, body });
        }),
        row("H-F1", WHOLE, 10, |sim| bend_create(sim, Effect::CutBefore)),
        row("H-F2", WHOLE, 15, |sim| {
            sim.turn(Knob::ServerListLag(Duration::from_secs(3)));
            bend_create(sim, Effect::CutAfter);
        }),
        row("H-F2", WHOLE, 15, |sim| {
            sim.turn(Knob::ServerListLag(Duration::from_secs(3)));
            sim.turn(Knob::UniquenessWithoutDetails(true));
            bend_create(sim, Effect::CutAfter);
        }),
        row("H-F3", WHOLE, 8, |sim| {
            unavailable(sim, "ash", Some("cpx11"));
        }),
        row("H-F3", Want::Clean(Capacity, "cpx21 at ash"), 9, |sim| {
            unavailable(sim, "ash", None);
        }),
        row("H-F3", WHOLE, 12, |sim| unavailable(sim, "nbg1", None)).var("REGION", "eu-central"),
        row("H-F4", WHOLE, 8, |sim| {
            let message = "unsupported location for server type";
            bend_create(sim, Effect::refuse(422, "invalid_input", message));
        }),
        row("H-F4", WHOLE, 8, |_| {}).var("HETZNER_SERVER_TYPE", "cx999"),
        row("H-F4", permanent("image"), 7, |_| {}).var("HETZNER_IMAGE", "cp/m-2.2"),
        row("H-F4", permanent("SSH key"), 7, |_| {}).var("HETZNER_SSH_KEY_ID", "999"),
        row("H-F5", permanent("higher limit"), 7, |sim| {
            sim.turn(Knob::ServerLimit(0));
        }),
        row("H-F5", permanent("higher limit"), 7, |sim| {
            sim.turn(Knob::PrimaryIpLimit(0));
        }),
        row("H-F7", permanent("HETZNER_API_TOKEN"), 7, |sim| {
            bend_create(sim, Effect::refuse(403, "forbidden", "project blocked"));
        }),
        row("H-F7", WHOLE, 8, |sim| {
            bend_create(sim, Effect::refuse(403, "maintenance", "back soon"));
        }),
        row("H-F8", WHOLE, 10, |sim| sim.turn(Knob::HetznerRemaining(0))),
    ]
}

fn of_servers() -> Vec<Row> {
    use ErrorClass::Transient;
    let transient = |words| Want::Clean(Transient, words);
    vec![
        row("H-F6", WHOLE, 8, |_| {}).then(CREATE, |sim| {
            sim.turn(Knob::HetznerToken("z".repeat(64)));
        }),
        row("H-F6", Want::Named("left behind: server"), 10, |sim| {
            sim.turn(Knob::BootHangs(true));
        })
        .then(CREATE, |sim| sim.turn(Knob::HetznerToken("z".repeat(64)))),
        row("H-F9", transient("create_server failed"), 12, |sim| {
            fail_action(sim, "create_server");
        }),
        row("H-F9", transient("start_server failed"), 12, |sim| {
            fail_action(sim, "start_server");
        }),
        row("H-F9", WHOLE, 12, |sim| sim.turn(Knob::StartLeavesOff(1))),
        row("H-F9", WHOLE, 8, |sim| sim.turn(Knob::ActionsVanish(true))),
        row("H-F10", WHOLE, 14, |sim| sim.turn(Knob::Ipv4Never(true))),
        row("H-F10", WHOLE, 14, |sim| {
            sim.turn(Knob::Ipv4Late(Duration::from_secs(2)));
        }),
        row("H-F11", transient("gone"), 12, |_| {}).then(CREATE, |sim| {
            assert!(sim.delete_server_by_hand(NAME));
        }),
        row("H-F12", transient("create_server failed"), 16, |sim| {
            fail_action(sim, "create_server");
            fail_action(sim, "delete_server");
            let locked = Effect::refuse(423, "locked", "locked");
            bend(sim, Vendor::Hetzner, Method::DELETE, "/servers", locked);
        }),
        row("H-F13", WHOLE, 10, |sim| {
            sim.turn(Knob::ServerListLag(Duration::from_secs(20)));
        }),
        row("H-F14", WHOLE, 8, |sim| {
            sim.turn(Knob::HetznerOddShapes(true));
            sim.turn(Knob::HetznerNullTotals(true));
        }),
        row("H-F14", WHOLE, 180, many_old_servers),
        row("H-F15", WHOLE, 8, |sim| {
            sim.turn(Knob::HetznerOldShapes(true));
        }),
    ]
}

fn of_tailscale() -> Vec<Row> {
    use ErrorClass::{Permanent, Transient};
    let permanent = |words| Want::Clean(Permanent, words);
    let transient = |words| Want::Clean(Transient, words);
    vec![
        row("T-F1", permanent("TAILSCALE_TAG"), 2, |_| {}).var("TAILSCALE_TAG", "tag:other"),
        row("T-F2", permanent("auth_keys"), 2, |sim| {
            sim.turn(Knob::TailscaleScopes(vec!["devices:core:read".to_owned()]));
        }),
        row("T-F3", WHOLE, 8, |_| {}).then(CREATE, |sim| sim.turn(Knob::ExpireTokens)),
        row("T-F4", WHOLE, 8, |sim| {
            bend_tailscale(sim, 429, &FaultBody::error("", "slow"));
        }),
        row("T-F4", WHOLE, 8, |sim| {
            bend_tailscale(sim, 500, &FaultBody::error("", "oops"));
        }),
        row("T-F4", WHOLE, 8, |sim| {
            bend_tailscale(sim, 502, &FaultBody::gateway_page("Bad Gateway"));
        }),
        row("T-F5", WHOLE, 8, |sim| {
            bend(
                sim,
                Vendor::Tailscale,
                Method::POST,
                "/keys",
                Effect::CutAfter,
            );
        }),
        row("T-F6", WHOLE, 8, |sim| device(sim, NAME, false)),
        row("T-F7", transient("approval in the tailnet"), 25, |sim| {
            let always = true;
            sim.turn(Knob::DeviceApproval { on: true, always });
        }),
        row("T-F7", WHOLE, 8, |sim| sim.turn(Knob::AddressesLate(LATE))),
        row("T-F7", WHOLE, 8, |sim| sim.turn(Knob::DeviceIpv4Late(LATE))),
        row("T-F7", WHOLE, 8, |sim| sim.turn(Knob::Ipv6First(true))),
        row("T-F8", Want::Complete(1), 8, |sim| {
            device(sim, "another", true);
        }),
        row("T-F9", transient("the machine to enrol"), 25, |_| {})
            .then(CREATE, |sim| sim.turn(Knob::SpendKeys)),
        row("T-F10", transient("the machine to enrol"), 25, |sim| {
            sim.turn(Knob::DevicesVanish(Some(Duration::from_millis(50))));
        }),
        row("T-F11", Want::Complete(2), 8, |sim| {
            sim.turn(Knob::IgnoreFilters(true));
            device(sim, "another", false);
            device(sim, "third", true);
        }),
        // A delete whose answer is lost is made again, and finds nothing: 404.
        row("T-F12", WHOLE, 8, |sim| {
            device(sim, NAME, false);
            bend(
                sim,
                Vendor::Tailscale,
                Method::DELETE,
                "/device",
                Effect::CutAfter,
            );
        }),
        // A device of another tailnet cannot be deleted: 501. It is not ours.
        row("T-F12", Want::Complete(1), 8, |sim| device(sim, NAME, true)),
        row("T-F13", permanent("tailnet lock"), 12, |sim| {
            sim.turn(Knob::TailnetLock("node key is not signed".to_owned()));
        }),
    ]
}

const LATE: Duration = Duration::from_secs(4);

async fn run(lab: &Lab, row: &Row) -> Ended {
    let mut attempt = Attempt::new(Operation::Provision, 5);
    attempt.vars.clone_from(&row.vars);
    if let Some((call, change)) = row.then {
        let (sim, done) = (lab.sim.clone(), Arc::new(AtomicBool::new(false)));
        let gate: Gate = Arc::new(move |moment| {
            let fits = moment.after && moment.call.starts_with(call);
            if fits && !done.swap(true, Ordering::Relaxed) {
                change(&sim);
            }
            Box::pin(std::future::ready(()))
        });
        attempt = attempt.gate(gate);
    }
    lab.run(&attempt).await
}

/// What is wrong with the end of a row.
fn wrong(lab: &Lab, row: &Row, ended: &Ended) -> Option<String> {
    let world = lab.sim.world();
    let says = |class: Option<ErrorClass>, words: &str| {
        let last = ended.last();
        let error = last.error.clone().unwrap_or_default();
        let fits = error.contains(words) && class.is_none_or(|one| last.error_class == Some(one));
        (ended.end != End::Failed || !fits).then(|| format!("{:?}: {last:?}", ended.end))
    };
    match row.want {
        Want::Complete(others) => {
            let foreign = |one: &&sim::DeviceView| one.key_id.is_none();
            let count = world.devices.iter().filter(foreign).count();
            let machine = world.server(NAME).and_then(|server| server.device_id);
            let own: Vec<u64> = world
                .devices
                .iter()
                .filter(|one| !foreign(one))
                .map(|one| one.id)
                .collect();
            let usable = world.keys.iter().filter(|key| key.usable).count();
            let right = ended.end == End::Done
                && world.servers.len() == 1
                && machine.is_some()
                && own == Vec::from_iter(machine)
                && (count, usable) == (others, 0);
            (!right).then(|| format!("{:?} {:?} {world:?}", ended.end, ended.reports.last()))
        }
        Want::Clean(class, words) => lab.unclean().or_else(|| says(Some(class), words)),
        Want::Named(words) => says(None, words),
    }
}

#[tokio::test(start_paused = true)]
async fn every_fault_ends_as_it_should() {
    let rows: Vec<Row> = [of_create(), of_servers(), of_tailscale()]
        .into_iter()
        .flatten()
        .collect();
    let mut breaches = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let lab = Lab::new();
        (row.world)(&lab.sim);
        let ended = run(&lab, row).await;
        let (calls, _) = lab.hetzner_calls();
        let took = ended.took.as_secs();
        println!(
            "{:>5}: {calls:>3} calls, {took:>3} s, {:?}",
            row.fault, ended.end
        );
        if let Some(wrong) = wrong(&lab, row, &ended) {
            breaches.push(format!("row {index}, {}: {wrong}", row.fault));
        }
        if calls > row.calls {
            breaches.push(format!("row {index}, {}: {calls} calls", row.fault));
        }
        let world = lab.sim.world();
        let old = world.calls_to(Vendor::Hetzner, &Method::GET, "/datacenters");
        assert!(old.is_empty(), "what is gone is not asked for");
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    let hetzner = (1..=15).map(|number| format!("H-F{number}"));
    let tailscale = (1..=13).map(|number| format!("T-F{number}"));
    for fault in hetzner.chain(tailscale) {
        assert!(
            rows.iter().any(|row| row.fault == fault),
            "{fault} has a row"
        );
    }
}
