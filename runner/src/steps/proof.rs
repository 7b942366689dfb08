//! One proof for every step of every plan: fail before it, fail after it, repeat it, repeat its
//! undo. The world ends clean or complete. It must not know what a step does.

use crate::{
    actions::Actions,
    clock::Clock,
    hetzner::Hetzner,
    lease::{Halt, Lease, RUN_MAX, Trouble},
    made::Ledger,
    plan::{Step, Tell, carry_out, unwind},
    report::{Post, Reporter},
    run::{Run, Work},
    settings::{ActionsSettings, CloudSettings, WireSettings},
    steps,
    tailscale::Tailscale,
};
use bytes::Bytes;
use contract::{Operation, Reply, Spec};
use outbound::{BoxError, Client, Dice, Secrets, Transport};
use sim::{DelayRange, HetznerConfig, Sim, SimConfig, TailscaleConfig};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, time::Instant};
use tower::service_fn;

const FAIL: Step = Step {
    name: "fail",
    title: "Fail",
    act: |_| Box::pin(async { Err(Trouble::transient("told to fail").into()) }),
    undo: None,
    tell: Tell::Nothing,
};

fn world() -> Sim {
    let quick = DelayRange::millis(50, 100);
    Sim::in_process(SimConfig {
        hetzner: HetznerConfig {
            create_delay: quick,
            start_delay: quick,
            boot_delay: quick,
            delete_delay: quick,
            ..HetznerConfig::default()
        },
        tailscale: TailscaleConfig {
            enrol_delay: quick,
            ..TailscaleConfig::default()
        },
        ..SimConfig::default()
    })
}

/// Carries calls to the fakes; every report is acknowledged.
fn transport(sim: &Sim) -> Transport {
    let sim = sim.clone();
    Transport::service(service_fn(move |request: http::Request<Bytes>| {
        let sim = sim.clone();
        async move {
            if request.uri().host() == Some("callback.sim") {
                let reply = serde_json::to_vec(&Reply::default())?;
                return Ok(http::Response::new(Bytes::from(reply)));
            }
            let answer = sim.carry(request).await;
            answer.ok_or_else(|| BoxError::from("the connection broke"))
        }
    }))
}

/// An attempt at work, as after its claim.
fn run(sim: &Sim, operation: Operation, fence: i64) -> Run {
    let fence = fence.to_string();
    let lookup = |name: &str| {
        let value = match name {
            "JOB_ID" => "0191b2c4-0000-7000-8000-00000000000a",
            "AGENT_ID" => "0191b2c4-0000-7000-8000-00000000000b",
            "FENCE" => &fence,
            "CALLBACK_URL" => "https://callback.sim/callback",
            "CALLBACK_SECRET" => "0123456789abcdef0123456789abcdef",
            "GITHUB_RUN_ID" => "7",
            "GITHUB_RUN_ATTEMPT" | "HETZNER_SSH_KEY_ID" => "1",
            "HETZNER_API_TOKEN" => return Some(HetznerConfig::default().token),
            "TAILSCALE_OAUTH_CLIENT_ID" => return Some(TailscaleConfig::default().client_id),
            "TAILSCALE_OAUTH_CLIENT_SECRET" => {
                return Some(TailscaleConfig::default().client_secret);
            }
            _ => return None,
        };
        Some(value.to_owned())
    };
    let wire = WireSettings::read(operation, &lookup).unwrap();
    let mut cloud = CloudSettings::read(&lookup).unwrap();
    cloud.hetzner.url = sim.hetzner_url();
    cloud.tailscale.url = sim.tailscale_url();
    let (secrets, dice) = (Secrets::new(), Dice::seeded(1));
    let client = Client::new(transport(sim), secrets.clone(), dice.clone());
    let (lease, made) = (
        Lease::new(Instant::now(), Duration::from_mins(5), RUN_MAX),
        Ledger::default(),
    );
    let clock = sim.clone();
    let post = Post {
        client: client.clone(),
        wire: wire.clone(),
        clock: Clock::new(move || clock.unix_seconds()),
        made: made.clone(),
    };
    let clock = post.clock.clone();
    let (hetzner, tailscale) = (&cloud.hetzner, &cloud.tailscale);
    Run {
        hetzner: Hetzner::new(client.clone(), &hetzner.url, &hetzner.token)
            .while_held(lease.clone()),
        tailscale: Tailscale::new(
            client,
            &tailscale.url,
            &tailscale.client_id,
            &tailscale.client_secret,
        ),
        inputs: wire.inputs,
        cloud,
        spec: Spec::default(),
        reporter: Reporter::start(post, lease.clone(), &Handle::current()),
        clock,
        lease,
        actions: Arc::new(Actions::new(
            ActionsSettings::default(),
            secrets,
            dice,
            Box::new(std::io::sink()),
        )),
        made,
        work: Work::default(),
    }
}

/// A plan, what comes before it, and whether the world ends with a machine in this status.
struct Subject {
    operation: Operation,
    plan: &'static [Step],
    before: &'static [(Operation, &'static [Step])],
    /// Status of the machine when the plan was carried out; `None`: nothing is left.
    done: Option<&'static str>,
    /// The same when it failed and was undone; what is no undo's matter may be half done.
    undone: Undone,
}

enum Undone {
    Clean,
    /// The plan has no undo: carried out again it comes to its end.
    Repeated,
}

const PROVISIONED: (Operation, &[Step]) = (Operation::Provision, steps::PROVISION);

const SUBJECTS: [Subject; 4] = [
    Subject {
        operation: Operation::Provision,
        plan: steps::PROVISION,
        before: &[],
        done: Some("running"),
        undone: Undone::Clean,
    },
    Subject {
        operation: Operation::Stop,
        plan: steps::STOP,
        before: &[PROVISIONED],
        done: Some("off"),
        undone: Undone::Repeated,
    },
    Subject {
        operation: Operation::Start,
        plan: steps::START,
        before: &[PROVISIONED, (Operation::Stop, steps::STOP)],
        done: Some("running"),
        undone: Undone::Repeated,
    },
    Subject {
        operation: Operation::Destroy,
        plan: steps::DESTROY,
        before: &[PROVISIONED],
        done: None,
        undone: Undone::Repeated,
    },
];

/// Servers by status, devices, usable keys, addresses.
type Count = (Vec<String>, usize, usize, usize);

fn count(sim: &Sim) -> Count {
    let world = sim.world();
    let servers = world.servers.iter().map(|one| one.status.clone()).collect();
    let keys = world.keys.iter().filter(|key| key.usable).count();
    (servers, world.devices.len(), keys, world.primary_ips.len())
}

fn wanted(status: Option<&str>) -> Count {
    status.map_or((Vec::new(), 0, 0, 0), |status| {
        (vec![status.to_owned()], 1, 0, 2)
    })
}

async fn prepared(subject: &Subject) -> Sim {
    let sim = world();
    for ((operation, plan), fence) in subject.before.iter().zip(1..) {
        let mut run = run(&sim, *operation, fence);
        assert_eq!(carry_out(&mut run, plan).await, Ok(()));
    }
    sim
}

/// Carries out `plan` in a prepared world and asserts how it ends; a failed one is undone, twice.
async fn prove(subject: &Subject, plan: &[Step], what: &str) {
    let sim = prepared(subject).await;
    let mut own = run(&sim, subject.operation, 5);
    let ended = carry_out(&mut own, plan).await;
    if ended.is_ok() {
        assert_eq!(count(&sim), wanted(subject.done), "{what}");
    } else {
        let told = Halt::from(Trouble::transient("told to fail"));
        assert_eq!(ended, Err(told), "{what}");
    }
    for time in ["once", "twice"] {
        assert_eq!(unwind(&mut own, plan).await, Vec::<String>::new(), "{what}");
        if matches!(subject.undone, Undone::Clean) {
            assert_eq!(count(&sim), wanted(None), "{what}, undone {time}");
        }
    }
    if matches!(subject.undone, Undone::Repeated) {
        let mut again = run(&sim, subject.operation, 6);
        assert_eq!(carry_out(&mut again, subject.plan).await, Ok(()), "{what}");
        assert_eq!(count(&sim), wanted(subject.done), "{what}, then again");
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_may_fail_be_repeated_and_be_undone_twice() {
    for subject in &SUBJECTS {
        let (plan, operation) = (subject.plan, subject.operation);
        prove(subject, plan, &format!("{operation}")).await;
        for (index, step) in plan.iter().enumerate() {
            let what = |event: &str| format!("{operation}: {event} {}", step.name);
            let with = |parts: [&[Step]; 3]| parts.concat();
            let (head, tail) = plan.split_at(index);
            let (after, rest) = plan.split_at(index + 1);
            let failed = with([head, &[FAIL], tail]);
            prove(subject, &failed, &what("failed before")).await;
            let failed = with([after, &[FAIL], rest]);
            prove(subject, &failed, &what("failed after")).await;
            let repeated = with([after, &[*step], rest]);
            prove(subject, &repeated, &what("repeated")).await;
        }
        let twice: Vec<Step> = plan.iter().flat_map(|step| [*step, *step]).collect();
        prove(subject, &twice, &format!("{operation}: every step twice")).await;
        let whole = [plan, plan].concat();
        prove(subject, &whole, &format!("{operation}: all of it twice")).await;
    }
}
