//! The rows of the table of faults that are Tailscale's: keys, tokens and devices. It must not
//! know how rows are run.

use crate::{
    fault_rows::{LATE, WHOLE, bend, permanent, transient},
    fault_table::{Met, Row, Want, row},
    harness::NAME,
};
use http::Method;
use serde_json::Value;
use sim::{DecoyDevice, Effect, Fault, FaultBody, Knob, Sim, Vendor};
use std::time::Duration;

/// The list of the devices of our hostname.
const LIST: &str = "/tailnet/-/devices?hostname=agent-";
const CREATE: &str = "POST http://hetzner.sim/v1/servers";

/// Every row.
pub(crate) fn all() -> Vec<Row> {
    let rows = [of_keys(), of_devices(), of_lists(), of_lost_devices()];
    rows.into_iter().flatten().collect()
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

/// The next two looks for the device are refused.
fn refuse_looks(sim: &Sim, headers: Vec<(String, String)>) {
    let effect = Effect::Answer {
        status: 429,
        headers,
        body: FaultBody::error("", "slow"),
    };
    let mut fault = Fault::once(Vendor::Tailscale, Method::GET, "/devices", effect);
    fault.times = 2;
    sim.add_fault(fault);
}

/// The next calls of this kind are refused.
fn refuse(sim: &Sim, method: Method, path: &str, times: u32) {
    let effect = Effect::Answer {
        status: 429,
        headers: vec![("Retry-After".to_owned(), "45".to_owned())],
        body: FaultBody::error("", "slow"),
    };
    let mut fault = Fault::once(Vendor::Tailscale, method, path, effect);
    fault.times = times;
    sim.add_fault(fault);
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

fn of_keys() -> Vec<Row> {
    vec![
        row("T-F1", permanent("TAILSCALE_TAG"), (2, 6), |_| {}).var("TAILSCALE_TAG", "tag:other"),
        row("T-F2", permanent("auth_keys"), (2, 6), |sim| {
            sim.turn(Knob::TailscaleScopes(vec!["devices:core:read".to_owned()]));
        }),
        row("T-F3", WHOLE, (8, 9), |_| {})
            .then(CREATE, |sim| sim.turn(Knob::ExpireTokens))
            .met(|met| met.answered(Vendor::Tailscale, &Method::GET, "/devices", 401) == 1),
        // Also in the moment of a change: it is made again, with another token.
        row("T-F3", WHOLE, (8, 9), |_| {})
            .then("GET http://tailscale.sim/api/v2/tailnet/-/keys", |sim| {
                sim.turn(Knob::ExpireTokens);
            })
            .met(|met| met.answered(Vendor::Tailscale, &Method::POST, "/keys", 401) == 1),
        row("T-F4", WHOLE, (8, 18), |sim| {
            bend_tailscale(sim, 429, &FaultBody::error("", "slow"));
        })
        .met(|met| met.bent() == 8),
        row("T-F4", WHOLE, (8, 20), |sim| {
            bend_tailscale(sim, 500, &FaultBody::error("", "oops"));
        })
        .met(|met| met.bent() == 8),
        row("T-F4", WHOLE, (8, 20), |sim| {
            bend_tailscale(sim, 502, &FaultBody::gateway_page("Bad Gateway"));
        })
        .met(|met| met.bent() == 8),
        // A look that is refused is not repeated at once, and the next ones come later.
        row("T-F4", WHOLE, (8, 10), |_| {})
            .then(CREATE, |sim| refuse_looks(sim, Vec::new()))
            .met(|met| met.bent() == 2 && met.ended.took > Duration::from_secs(7)),
        row("T-F4", WHOLE, (8, 10), |_| {})
            .then(CREATE, |sim| {
                let asked = ("Retry-After".to_owned(), "20".to_owned());
                refuse_looks(sim, vec![asked]);
            })
            .met(|met| met.bent() == 2 && met.ended.took > Duration::from_secs(40)),
        // So is a change, and not so often that its tries are used up.
        row("T-F4", WHOLE, (8, 12), |sim| {
            refuse(sim, Method::POST, "/keys", 4);
        })
        .met(|met| met.bent() == 4 && met.ended.took > Duration::from_mins(3)),
        row("T-F4", WHOLE, (8, 12), |sim| {
            device(sim, NAME, false);
            refuse(sim, Method::DELETE, "/device/", 2);
        })
        .met(|met| met.bent() == 2),
        row("T-F5", WHOLE, (8, 11), |sim| {
            bend(
                sim,
                Vendor::Tailscale,
                Method::POST,
                "/keys",
                Effect::CutAfter,
            );
        })
        .met(|met| met.world.keys.iter().any(|key| key.revoked)),
    ]
}

/// Two devices had our hostname, so the newer one's name has a number.
fn numbered(met: &Met) -> bool {
    let mut devices = met.world.devices.iter();
    devices.any(|device| device.key_id.is_some() && device.name.starts_with(&format!("{NAME}-1.")))
}

fn of_devices() -> Vec<Row> {
    vec![
        row("T-F6", WHOLE, (8, 9), |sim| device(sim, NAME, false))
            .met(|met| met.answered(Vendor::Tailscale, &Method::DELETE, "/device/", 200) == 1),
        // It turns up after the first look.
        row("T-F6", WHOLE, (8, 10), |_| {})
            .then(CREATE, |sim| device(sim, NAME, false))
            .met(numbered),
        row(
            "T-F7",
            transient("approval in the tailnet"),
            (25, 245),
            |sim| {
                let always = true;
                sim.turn(Knob::DeviceApproval { on: true, always });
            },
        ),
        row("T-F7", WHOLE, (8, 13), |sim| {
            sim.turn(Knob::ApprovedLate(LATE));
        })
        .met(|met| met.ended.took > LATE),
        row("T-F7", WHOLE, (8, 13), |sim| {
            sim.turn(Knob::AddressesLate(LATE));
        })
        .met(|met| met.ended.took > LATE),
        row("T-F7", WHOLE, (8, 13), |sim| {
            sim.turn(Knob::DeviceIpv4Late(LATE));
        })
        .met(|met| met.ended.took > LATE),
        row("T-F7", WHOLE, (8, 8), |sim| sim.turn(Knob::Ipv6First(true))).met(|met| {
            met.was_told(LIST, |one| {
                let first = one["addresses"][0].as_str();
                first.is_some_and(|address| address.contains(':'))
            })
        }),
    ]
}

fn of_lists() -> Vec<Row> {
    vec![
        // Times are absent, empty, and of year 1.
        row("T-F8", Want::Complete(1), (8, 8), |sim| {
            sim.turn(Knob::IgnoreFilters(true));
            device(sim, "another", true);
        })
        .met(|met| {
            let connected = |one: &Value| one["connectedToControl"] == true;
            met.was_told(LIST, |one| one["created"] == "")
                && met.was_told(LIST, |one| connected(one) && one.get("lastSeen").is_none())
        }),
        row("T-F8", Want::Complete(1), (8, 8), |sim| {
            sim.turn(Knob::IgnoreFilters(true));
            sim.turn(Knob::YearOne(true));
            device(sim, "another", false);
        })
        .met(|met| {
            let year_one = "0001-01-01T00:00:00Z";
            met.was_told(LIST, |one| one["created"] == year_one)
                && met.was_told(LIST, |one| one["expires"] == year_one)
        }),
        row("T-F11", Want::Complete(2), (8, 8), |sim| {
            sim.turn(Knob::IgnoreFilters(true));
            device(sim, "another", false);
            device(sim, "third", true);
        })
        .met(|met| {
            let others = ["another", "third"];
            let was_told = |name| met.was_told(LIST, |one| one["hostname"] == name);
            others.into_iter().all(was_told)
        }),
    ]
}

fn of_lost_devices() -> Vec<Row> {
    vec![
        row("T-F9", transient("the machine to enrol"), (25, 245), |_| {})
            .then(CREATE, |sim| sim.turn(Knob::SpendKeys)),
        row(
            "T-F10",
            transient("the machine to enrol"),
            (25, 245),
            |sim| {
                sim.turn(Knob::DevicesVanish(Some(Duration::from_millis(50))));
            },
        ),
        // Seen, and gone before it could be used.
        row(
            "T-F10",
            transient("an address in 100.64.0.0/10"),
            (25, 245),
            |sim| {
                sim.turn(Knob::AddressesLate(Duration::from_secs(10)));
                sim.turn(Knob::DevicesVanish(Some(LATE)));
            },
        ),
        // A delete whose answer is lost is made again, and finds nothing: 404.
        row("T-F12", WHOLE, (8, 10), |sim| {
            device(sim, NAME, false);
            bend(
                sim,
                Vendor::Tailscale,
                Method::DELETE,
                "/device",
                Effect::CutAfter,
            );
        })
        .met(|met| met.answered(Vendor::Tailscale, &Method::DELETE, "/device/", 404) == 1),
        // A device of another tailnet is not ours, and shows it by its time.
        row("T-F12", Want::Complete(1), (8, 8), |sim| {
            device(sim, NAME, true);
        })
        .met(numbered),
        // And one that does not show it is passed over when it cannot be deleted.
        row("T-F12", WHOLE, (8, 10), |sim| {
            device(sim, NAME, false);
            let foreign = "cannot delete devices outside of your tailnet";
            let foreign = Effect::refuse(501, "", foreign);
            bend(sim, Vendor::Tailscale, Method::DELETE, "/device", foreign);
        })
        .met(|met| met.answered(Vendor::Tailscale, &Method::DELETE, "/device/", 501) == 1),
        row("T-F13", permanent("tailnet lock"), (12, 15), |sim| {
            sim.turn(Knob::TailnetLock("node key is not signed".to_owned()));
        }),
    ]
}
