//! The same code in one process, with the clock under control: what waiting costs, and how many
//! runners share one rate budget.

use crate::harness::{AGENT, HETZNER_TOKEN, JOB, TAILSCALE_SECRET, quick};
use axum::body::Body;
use bytes::Bytes;
use contract::{Operation, Reply, Report, Said};
use outbound::{BoxError, Dice, Secrets, Transport};
use runner::{Actions, ActionsSettings, Clock, CloudSettings, End, WireSettings, World, operate};
use sim::{Cut, DelayRange, Knob, Sim, SimConfig, Vendor};
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch, task::JoinSet, time::Instant};
use tower::{ServiceExt, service_fn};

type Heard = Arc<Mutex<Vec<Report>>>;

fn providers(sim: &Sim) -> Transport {
    let (hetzner, tailscale) = (sim.router(Vendor::Hetzner), sim.router(Vendor::Tailscale));
    Transport::service(service_fn(move |request: http::Request<Bytes>| {
        let is_hetzner = request.uri().host() == Some("hetzner.sim");
        let router = if is_hetzner {
            hetzner.clone()
        } else {
            tailscale.clone()
        };
        async move {
            let answer = router.oneshot(request.map(Body::from)).await?;
            if answer.extensions().get::<Cut>().is_some() {
                return Err::<_, BoxError>("the connection broke".into());
            }
            let (head, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await?;
            Ok(http::Response::from_parts(head, body))
        }
    }))
}

fn callback(heard: &Heard) -> Transport {
    let heard = Arc::clone(heard);
    Transport::service(service_fn(move |request: http::Request<Bytes>| {
        heard
            .lock()
            .unwrap()
            .push(serde_json::from_slice(request.body()).unwrap());
        let reply = serde_json::to_vec(&Reply::default()).unwrap();
        async move { Ok::<_, Infallible>(http::Response::new(Bytes::from(reply))) }
    }))
}

/// Settings for an agent in a world without sockets.
fn settings(sim: &Sim, agent: &str) -> (WireSettings, CloudSettings) {
    let lookup = |name: &str| {
        let value = match name {
            "JOB_ID" => JOB,
            "AGENT_ID" => agent,
            "CALLBACK_URL" => "https://callback.sim/callback",
            "CALLBACK_SECRET" => crate::callback::SECRET,
            "GITHUB_RUN_ID" => "7",
            "GITHUB_RUN_ATTEMPT" | "HETZNER_SSH_KEY_ID" => "1",
            "HETZNER_API_TOKEN" => HETZNER_TOKEN,
            "TAILSCALE_OAUTH_CLIENT_ID" => "kSimCNTRL",
            "TAILSCALE_OAUTH_CLIENT_SECRET" => TAILSCALE_SECRET,
            _ => return None,
        };
        Some(value.to_owned())
    };
    let wire = WireSettings::read(Operation::Provision, &lookup).unwrap();
    let mut cloud = CloudSettings::read(&lookup).unwrap();
    cloud.hetzner.url = sim.hetzner_url();
    cloud.tailscale.url = sim.tailscale_url();
    (wire, cloud)
}

/// One provision from claim to final report; gives how it ended and how long it took.
async fn provision(sim: &Sim, agent: &str, seed: u64) -> (End, Duration, Vec<Report>) {
    let (secrets, dice) = (Secrets::new(), Dice::seeded(seed));
    let heard = Heard::default();
    let out = Box::new(std::io::sink());
    let actions = Actions::new(
        ActionsSettings::default(),
        secrets.clone(),
        dice.clone(),
        out,
    );
    let clock = sim.clone();
    let (_raise, signal) = watch::channel(false);
    let world = World {
        providers: providers(sim),
        callback: callback(&heard),
        heart: Handle::current(),
        dice,
        clock: Clock::new(move || clock.unix_seconds()),
        secrets,
        actions: Arc::new(actions),
        signal,
    };
    let (wire, cloud) = settings(sim, agent);
    let started = Instant::now();
    let end = operate(world, wire, Ok(cloud)).await;
    let took = started.elapsed();
    let reports = heard.lock().unwrap().clone();
    (end, took, reports)
}

fn slow(seed: u64) -> SimConfig {
    let mut config = SimConfig { seed, ..quick() };
    config.hetzner.create_delay = DelayRange::millis(5_000, 60_000);
    config.hetzner.start_delay = DelayRange::NONE;
    config.hetzner.boot_delay = DelayRange::millis(5_000, 60_000);
    config.tailscale.enrol_delay = DelayRange::NONE;
    config
}

#[tokio::test(start_paused = true)]
async fn polling_loses_little_time_and_takes_few_calls() {
    let mut shares = Vec::new();
    for seed in 1..=100 {
        let sim = Sim::in_process(slow(seed));
        let (end, took, _) = provision(&sim, AGENT, seed).await;
        assert_eq!(end, End::Done, "seed {seed}");
        let needed = sim.configured_delay(&format!("agent-{AGENT}")).unwrap();
        shares.push(took.saturating_sub(needed).as_secs_f64() / needed.as_secs_f64());
        let calls = sim.world().calls;
        let hetzner = calls
            .iter()
            .filter(|call| call.vendor == Vendor::Hetzner)
            .count();
        // The first run of an installation makes its firewall: one call that comes once.
        assert!(hetzner <= 9, "seed {seed}: {hetzner} calls");
    }
    shares.sort_by(f64::total_cmp);
    let median = shares[shares.len() / 2];
    println!(
        "lost by polling: median {:.1} %, worst {:.1} %",
        median * 100.0,
        shares[shares.len() - 1] * 100.0
    );
    assert!(median <= 0.10, "{median}");
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_keeps_its_lease_and_ends_at_its_deadline() {
    let sim = Sim::in_process(slow(1));
    sim.turn(Knob::BootHangs(true));
    let (end, took, reports) = provision(&sim, AGENT, 1).await;
    assert_eq!(end, End::Failed);
    assert!(took < Duration::from_mins(13), "{took:?}");
    let beats = reports
        .iter()
        .filter(|report| report.said == Said::Heartbeat)
        .count();
    assert!(beats >= 9, "a heartbeat a minute: {beats}");
    let last = reports.last().unwrap();
    assert!(
        last.error
            .as_ref()
            .unwrap()
            .contains("no usable device after 600 s"),
        "{last:?}"
    );
    assert_eq!(
        last.inventory,
        Some(Vec::new()),
        "the closing list is empty"
    );
    let world = sim.world();
    assert_eq!(world.servers, []);
    assert!(world.keys.iter().all(|key| !key.usable));
}

#[tokio::test(start_paused = true)]
async fn sixty_runners_share_a_budget_of_sixty_calls() {
    let sim = Sim::in_process(slow(7));
    sim.turn(Knob::HetznerRemaining(60));
    let mut runs = JoinSet::new();
    for number in 0..60_u64 {
        let sim = sim.clone();
        let agent = format!("0191b2c4-0000-7000-8000-{number:012x}");
        runs.spawn(async move { provision(&sim, &agent, number).await });
    }
    while let Some(run) = runs.join_next().await {
        let (end, took, reports) = run.unwrap();
        assert_eq!(end, End::Done, "{:#?}", reports.last());
        assert!(took < Duration::from_mins(13), "{took:?}");
    }
    assert_eq!(sim.world().servers.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_runner_alone_waits_little_at_an_empty_budget() {
    let sim = Sim::in_process(slow(3));
    sim.turn(Knob::HetznerRemaining(0));
    let (end, took, _) = provision(&sim, AGENT, 3).await;
    assert_eq!(end, End::Done);
    let needed = sim.configured_delay(&format!("agent-{AGENT}")).unwrap();
    let calls = sim.world().calls;
    let refused = calls.iter().filter(|call| call.status == Some(429)).count();
    assert!(refused <= 2, "{refused}");
    assert!(
        took < needed + Duration::from_mins(3),
        "{took:?} for {needed:?}"
    );
}
