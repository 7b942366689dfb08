//! The rows of the table of faults, those of Hetzner here: what the world does to the attempt,
//! how it ends, and what shows that the fault was met. It must not know how rows are run.

use crate::{
    fault_rows_tailnet,
    fault_table::{Met, Row, Want, row},
    harness::{AGENT, NAME},
};
use contract::ErrorClass::{Capacity, Permanent, Transient};
use http::Method;
use serde_json::Value;
use sim::{DecoyServer, DelayRange, Effect, Fault, FaultBody, Knob, Sim, SimConfig, Vendor};
use std::time::Duration;

const CREATE: &str = "POST http://hetzner.sim/v1/servers";
pub(crate) const WHOLE: Want = Want::Complete(0);
pub(crate) const LATE: Duration = Duration::from_secs(4);

/// Every row.
pub(crate) fn all() -> Vec<Row> {
    [
        of_lost_creates(),
        of_capacity(),
        of_refusals(),
        of_budget(),
        of_tokens(),
        of_actions(),
        of_servers(),
        fault_rows_tailnet::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(crate) const fn permanent(words: &'static str) -> Want {
    Want::Clean(Permanent, words)
}

pub(crate) const fn transient(words: &'static str) -> Want {
    Want::Clean(Transient, words)
}

pub(crate) fn bend(sim: &Sim, vendor: Vendor, method: Method, path: &str, effect: Effect) {
    sim.add_fault(Fault::once(vendor, method, path, effect));
}

fn bend_create(sim: &Sim, effect: Effect) {
    bend(sim, Vendor::Hetzner, Method::POST, "/servers", effect);
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

/// A create long enough for a look at its actions, and a machine that takes its time.
fn slow(config: &mut SimConfig) {
    config.hetzner.create_delay = DelayRange::millis(14_000, 14_000);
    config.hetzner.boot_delay = DelayRange::millis(5_000, 5_000);
}

fn struck(met: &Met) -> bool {
    met.bent() > 0
}

/// Values and fields that nobody knows, and pages that do not say how many they are.
fn odd_shapes(met: &Met) -> bool {
    let is_null = |one: &Value, name| one.get(name).is_some_and(Value::is_null);
    met.was_told("/v1/servers", |one| one["status"] == "warming_up")
        && met.was_told("/v1/servers", |one| one.get("x_new_field").is_some())
        && met.was_told("/v1/servers", |one| {
            is_null(one, "last_page") && is_null(one, "total_entries")
        })
}

fn creates(met: &Met, status: u16) -> usize {
    met.answered(Vendor::Hetzner, &Method::POST, "/servers", status)
}

fn looks(met: &Met, part: &str) -> usize {
    let calls = met.world.calls_to(Vendor::Hetzner, &Method::GET, part);
    calls.len()
}

fn of_lost_creates() -> Vec<Row> {
    let lagging = |sim: &Sim| {
        sim.turn(Knob::ServerListLag(Duration::from_secs(3)));
        bend_create(sim, Effect::CutAfter);
    };
    vec![
        row("H-F1", WHOLE, (8, 9), |sim| {
            bend_create(sim, Effect::CutAfter);
        })
        .met(struck),
        row("H-F1", WHOLE, (8, 9), |sim| {
            bend_create(sim, Effect::ReplyLost504);
        })
        .met(struck),
        row("H-F1", WHOLE, (8, 9), |sim| {
            let body = FaultBody::gateway_page("Bad Gateway");
            bend_create(sim, Effect::ReplyReplaced { status: 502, body });
        })
        .met(struck),
        row("H-F1", WHOLE, (8, 9), |sim| {
            let body = FaultBody::error("unavailable", "not now");
            bend_create(sim, Effect::ReplyReplaced { status: 503, body });
        })
        .met(|met| struck(met) && creates(met, 409) == 0),
        row("H-F1", WHOLE, (10, 11), |sim| {
            bend_create(sim, Effect::CutBefore);
        })
        .met(struck),
        row("H-F2", WHOLE, (15, 15), lagging).met(|met| creates(met, 409) > 0),
        row("H-F2", WHOLE, (15, 15), |sim| {
            sim.turn(Knob::ServerListLag(Duration::from_secs(3)));
            sim.turn(Knob::UniquenessWithoutDetails(true));
            bend_create(sim, Effect::CutAfter);
        })
        .met(|met| creates(met, 409) > 0),
    ]
}

fn of_capacity() -> Vec<Row> {
    vec![
        row("H-F3", WHOLE, (8, 7), |sim| {
            unavailable(sim, "ash", Some("cpx11"));
        })
        .met(|met| creates(met, 412) == 1),
        row(
            "H-F3",
            Want::Clean(Capacity, "cpx21 at ash"),
            (11, 7),
            |sim| {
                unavailable(sim, "ash", None);
            },
        ),
        row("H-F3", WHOLE, (16, 7), |sim| unavailable(sim, "nbg1", None))
            .var("REGION", "eu-central")
            .met(|met| creates(met, 412) > 1 && met.world.servers[0].location != "nbg1"),
        row("H-F4", WHOLE, (8, 7), |sim| {
            let message = "unsupported location for server type";
            bend_create(sim, Effect::refuse(422, "invalid_input", message));
        })
        .met(struck),
        row("H-F4", WHOLE, (8, 7), |sim| {
            let message = "server type is no longer available";
            bend_create(sim, Effect::refuse(422, "invalid_server_type", message));
        })
        .met(struck),
        row("H-F4", WHOLE, (8, 7), |_| {})
            .var("HETZNER_SERVER_TYPE", "cx999")
            .met(|met| met.world.servers[0].server_type != "cx999"),
    ]
}

fn of_refusals() -> Vec<Row> {
    vec![
        row("H-F4", permanent("image"), (7, 7), |_| {}).var("HETZNER_IMAGE", "cp/m-2.2"),
        row("H-F4", permanent("SSH key"), (7, 7), |_| {}).var("HETZNER_SSH_KEY_ID", "999"),
        // Asked again it would be refused again, and who asks for ever is shut out.
        row("H-F4", permanent("ssh_key with ID"), (7, 7), |sim| {
            let message = "ssh_key with ID '1' not found";
            bend_create(sim, Effect::refuse(404, "not_found", message));
        }),
        row("H-F5", permanent("higher limit"), (7, 7), |sim| {
            sim.turn(Knob::ServerLimit(0));
        }),
        row("H-F5", permanent("higher limit"), (7, 7), |sim| {
            sim.turn(Knob::PrimaryIpLimit(0));
        }),
        row("H-F7", permanent("HETZNER_API_TOKEN"), (7, 7), |sim| {
            bend_create(sim, Effect::refuse(403, "forbidden", "project blocked"));
        }),
        row("H-F7", WHOLE, (8, 7), |sim| {
            bend_create(sim, Effect::refuse(403, "maintenance", "back soon"));
        })
        .met(struck),
        row("H-F7", WHOLE, (8, 7), |sim| {
            let maintenance = Effect::refuse(403, "maintenance", "back soon");
            bend(
                sim,
                Vendor::Hetzner,
                Method::GET,
                "/server_types",
                maintenance,
            );
        })
        .met(struck),
    ]
}

fn of_budget() -> Vec<Row> {
    let full = |met: &Met| {
        let refused = met
            .world
            .calls
            .iter()
            .filter(|call| call.status == Some(429));
        // A call comes back each second; the bucket is full again an hour later.
        refused.count() > 0 && met.ended.took < Duration::from_mins(8)
    };
    vec![
        row("H-F8", WHOLE, (10, 15), |sim| {
            sim.turn(Knob::HetznerRemaining(0));
        })
        .met(full),
        row("H-F8", WHOLE, (10, 15), |_| {})
            .then("GET http://hetzner.sim/v1/firewalls", |sim| {
                sim.turn(Knob::HetznerRemaining(0));
            })
            .met(full),
    ]
}

fn of_tokens() -> Vec<Row> {
    let rotate = |sim: &Sim| sim.turn(Knob::HetznerToken("z".repeat(64)));
    let refused = |met: &Met| {
        let mut calls = met.world.calls.iter();
        calls.any(|call| call.vendor == Vendor::Hetzner && call.status == Some(401))
    };
    vec![
        // The machine works; only the closing list meets the new token.
        row("H-F6", WHOLE, (8, 8), |_| {})
            .then(CREATE, rotate)
            .met(refused),
        row("H-F6", permanent("HETZNER_API_TOKEN"), (7, 7), |_| {})
            .then("GET http://hetzner.sim/v1/firewalls", rotate),
        row(
            "H-F6",
            Want::Named("left behind: server"),
            (10, 25),
            |sim| {
                sim.turn(Knob::BootHangs(true));
            },
        )
        .then(CREATE, rotate)
        .met(refused),
    ]
}

fn of_actions() -> Vec<Row> {
    vec![
        row("H-F9", transient("create_server failed"), (12, 25), |sim| {
            fail_action(sim, "create_server");
        }),
        row("H-F9", transient("start_server failed"), (12, 25), |sim| {
            fail_action(sim, "start_server");
        }),
        row("H-F9", transient("create_server failed"), (12, 25), |sim| {
            fail_action(sim, "create_server");
            sim.turn(Knob::FailedCreateInitializes(true));
        }),
        row("H-F9", WHOLE, (12, 130), |sim| {
            sim.turn(Knob::StartLeavesOff(1));
        })
        .met(|met| {
            let on = met
                .world
                .calls_to(Vendor::Hetzner, &Method::POST, "/poweron");
            on.len() == 1
        }),
        // A power-on that is refused is asked for again.
        row("H-F9", WHOLE, (14, 150), |sim| {
            sim.turn(Knob::StartLeavesOff(1));
            let locked = Effect::refuse(423, "locked", "locked");
            bend(sim, Vendor::Hetzner, Method::POST, "/poweron", locked);
        })
        .met(|met| met.answered(Vendor::Hetzner, &Method::POST, "/poweron", 201) == 1),
        // So is one that was taken and had no effect.
        row("H-F9", WHOLE, (14, 170), |sim| {
            sim.turn(Knob::StartLeavesOff(2));
        })
        .met(|met| met.answered(Vendor::Hetzner, &Method::POST, "/poweron", 201) == 2),
        row("H-F9", WHOLE, (12, 80), |sim| {
            sim.turn(Knob::ActionsVanish(true));
            sim.turn(Knob::StartLeavesOff(1));
        })
        .met(|met| met.answered(Vendor::Hetzner, &Method::POST, "/poweron", 201) == 1),
        row("H-F9", WHOLE, (9, 36), |sim| {
            sim.turn(Knob::ActionsVanish(true));
        })
        .delays(slow)
        .met(|met| looks(met, "/actions?") > 0 && looks(met, "/servers/") > 0),
        row("H-F9", WHOLE, (9, 36), |sim| {
            let gone = Effect::refuse(404, "not_found", "action not found");
            bend(sim, Vendor::Hetzner, Method::GET, "/actions?", gone);
        })
        .delays(slow)
        .met(struck),
    ]
}

fn of_servers() -> Vec<Row> {
    vec![
        row("H-F10", WHOLE, (14, 8), |sim| {
            sim.turn(Knob::Ipv4Never(true));
        })
        .met(|met| {
            let told = met.ended.last().facts.server_ip.clone();
            told.is_some_and(|ip| ip.contains(':'))
        }),
        row("H-F10", WHOLE, (14, 8), |sim| {
            sim.turn(Knob::Ipv4Late(Duration::from_secs(2)));
        })
        .met(|met| {
            let told = met.ended.last().facts.server_ip.clone();
            told.is_some_and(|ip| ip.contains('.')) && looks(met, "/servers/") > 0
        }),
        // Removed by hand: the actions say so, or the server's own absence.
        row("H-F11", transient("failed"), (12, 25), |_| {}).then(CREATE, |sim| {
            assert!(sim.delete_server_by_hand(NAME));
        }),
        row("H-F11", transient("vanished"), (12, 130), |sim| {
            sim.turn(Knob::BootHangs(true));
        })
        .then("GET http://hetzner.sim/v1/actions", |sim| {
            assert!(sim.delete_server_by_hand(NAME));
        }),
        row(
            "H-F12",
            transient("create_server failed"),
            (16, 25),
            |sim| {
                fail_action(sim, "create_server");
                fail_action(sim, "delete_server");
                let locked = Effect::refuse(423, "locked", "locked");
                bend(sim, Vendor::Hetzner, Method::DELETE, "/servers", locked);
            },
        )
        .met(struck),
        row("H-F13", WHOLE, (10, 8), |sim| {
            sim.turn(Knob::ServerListLag(Duration::from_secs(20)));
        })
        .met(|met| met.ended.last().inventory == Some(Vec::new())),
        row("H-F14", WHOLE, (8, 8), |sim| {
            sim.turn(Knob::HetznerOddShapes(true));
            sim.turn(Knob::HetznerNullTotals(true));
        })
        .met(odd_shapes),
        row("H-F14", WHOLE, (180, 30), many_old_servers)
            .met(|met| met.answered(Vendor::Hetzner, &Method::DELETE, "/servers/", 200) == 55),
        row("H-F15", WHOLE, (8, 8), |sim| {
            sim.turn(Knob::HetznerOldShapes(true));
        })
        .met(|met| met.was_told("/v1/servers", |one| one["datacenter"]["name"].is_string())),
    ]
}
