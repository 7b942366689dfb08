//! The same code in one process, with the clock under control: what waiting costs, and how many
//! runners share one rate budget.

use crate::{
    harness::{AGENT, NAME, quick},
    lab::{Attempt, Ended, Lab},
};
use contract::{Operation, Said};
use http::Method;
use runner::End;
use sim::{CallRecord, DelayRange, Knob, Progress, RateLimit, SimConfig, Vendor};
use std::time::Duration;
use tokio::task::JoinSet;

/// Another agent.
const OTHER: &str = "0191b2c4-0000-7000-8000-00000000000c";

async fn provision(lab: &Lab, agent: &str, seed: u64) -> Ended {
    let mut attempt = Attempt::new(Operation::Provision, 1);
    attempt.agent = agent.to_owned();
    attempt.job = agent.replace("-7000-", "-7001-");
    attempt.seed = seed;
    lab.run(&attempt).await
}

fn slow(seed: u64) -> SimConfig {
    let mut config = SimConfig { seed, ..quick() };
    config.hetzner.create_delay = DelayRange::millis(5_000, 60_000);
    config.hetzner.start_delay = DelayRange::NONE;
    config.hetzner.boot_delay = DelayRange::millis(5_000, 60_000);
    config.tailscale.enrol_delay = DelayRange::NONE;
    config
}

/// What Hetzner shows while an action runs cannot be relied upon.
const PROGRESS: [Progress; 3] = [Progress::Steady, Progress::Jumps, Progress::Stuck];

#[tokio::test(start_paused = true)]
async fn polling_loses_little_time_and_takes_few_calls() {
    for progress in PROGRESS {
        let mut shares = Vec::new();
        for seed in 1..=60 {
            let lab = Lab::with(slow(seed));
            lab.sim.turn(Knob::ActionProgress(progress));
            let ended = provision(&lab, AGENT, seed).await;
            assert_eq!(ended.end, End::Done, "seed {seed}");
            let needed = lab.sim.configured_delay(NAME).unwrap();
            let lost = ended.took.saturating_sub(needed);
            shares.push(lost.as_secs_f64() / needed.as_secs_f64());
            // The firewall's making is among them: the world is new.
            let (calls, _) = lab.hetzner_calls();
            assert!(calls <= 8, "{progress:?}, seed {seed}: {calls} calls");
        }
        shares.sort_by(f64::total_cmp);
        let median = shares[shares.len() / 2];
        println!(
            "{progress:?}: lost by polling: median {:.1} %, worst {:.1} %",
            median * 100.0,
            shares[shares.len() - 1] * 100.0
        );
        assert!(median <= 0.10, "{progress:?}: {median}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_boots_slowly_costs_no_more_calls() {
    for boot in [60, 120, 180, 210] {
        for create in [5, 30, 60] {
            let mut config = slow(1);
            config.hetzner.create_delay = DelayRange::millis(create * 1_000, create * 1_000);
            config.hetzner.boot_delay = DelayRange::millis(boot * 1_000, boot * 1_000);
            let lab = Lab::with(config);
            // So that the firewall is there already.
            assert_eq!(provision(&lab, OTHER, 1).await.end, End::Done);
            let (before, _) = lab.hetzner_calls();
            assert_eq!(provision(&lab, AGENT, 2).await.end, End::Done);
            let (calls, _) = lab.hetzner_calls();
            let calls = calls - before;
            assert!(
                calls <= 8,
                "create {create} s, boot {boot} s: {calls} calls"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_create_is_noticed_in_proportion_to_what_it_took() {
    for progress in PROGRESS {
        for took in [5_u64, 20, 50, 110] {
            let mut config = slow(1);
            config.hetzner.create_delay = DelayRange::millis(took * 1_000, took * 1_000);
            let lab = Lab::with(config);
            lab.sim.turn(Knob::ActionProgress(progress));
            let command = "create_server".to_owned();
            lab.sim.turn(Knob::FailAction { command, times: 1 });
            let ended = provision(&lab, AGENT, 1).await;
            assert_eq!(ended.end, End::Failed);
            // Looks come at 12 s at the latest, then each time at three and a half times the
            // time; what is left is the undo.
            let most = Duration::from_secs(12 + took * 7 / 2 + 5);
            let took_in_all = ended.took;
            assert!(
                took_in_all <= most,
                "{progress:?}, {took} s: {took_in_all:?}"
            );
            assert_eq!(lab.unclean(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_keeps_its_lease_and_ends_at_its_deadline() {
    let lab = Lab::with(slow(1));
    lab.sim.turn(Knob::BootHangs(true));
    let ended = provision(&lab, AGENT, 1).await;
    assert_eq!(ended.end, End::Failed);
    assert!(ended.took < Duration::from_mins(13), "{:?}", ended.took);
    let beats = ended.heartbeats();
    assert!(beats >= 9, "a heartbeat a minute: {beats}");
    let last = ended.last();
    let error = last.error.as_deref().unwrap();
    assert!(error.contains("no usable device after 600 s"), "{last:?}");
    assert_eq!(
        last.inventory,
        Some(Vec::new()),
        "the closing list is empty"
    );
    assert_eq!(lab.unclean(), None);
}

/// Provisions for sixty agents at once, asserts that all end well in time, and gives how long the
/// longest took.
async fn sixty(lab: &Lab, seed: u64) -> Duration {
    let mut runs = JoinSet::new();
    for number in 0..60_u64 {
        let lab = lab.clone();
        let agent = format!("0191b2c4-0000-7000-8000-{number:012x}");
        runs.spawn(async move { provision(&lab, &agent, seed * 100 + number).await });
    }
    let mut longest = Duration::ZERO;
    while let Some(run) = runs.join_next().await {
        let ended = run.unwrap();
        assert_eq!(ended.end, End::Done, "{:#?}", ended.reports.last());
        longest = longest.max(ended.took);
    }
    assert!(longest < Duration::from_mins(13), "{longest:?}");
    let world = lab.sim.world();
    assert_eq!((world.servers.len(), world.devices.len()), (60, 60));
    assert!(world.keys.iter().all(|key| !key.usable), "{:?}", world.keys);
    longest
}

#[tokio::test(start_paused = true)]
async fn sixty_runners_share_a_budget_of_sixty_calls() {
    for seed in [7, 8, 9] {
        let lab = Lab::with(slow(seed));
        lab.sim.turn(Knob::HetznerRemaining(60));
        let longest = sixty(&lab, seed).await;
        let (calls, refused) = lab.hetzner_calls();
        println!("{calls} calls, {refused} refused, longest {longest:?}");
        assert!(refused * 20 < calls, "{refused} of {calls}");
    }
}

/// What is paid for goes first, and the proof that nothing is left still comes in time.
#[tokio::test(start_paused = true)]
async fn sixty_destroys_end_on_a_budget_of_sixty_calls() {
    let mut config = slow(7);
    config.hetzner.delete_delay = DelayRange::millis(1_000, 10_000);
    let lab = Lab::with(config);
    lab.believes_all();
    sixty(&lab, 7).await;
    lab.sim.turn(Knob::HetznerRemaining(60));
    let (before, _) = lab.hetzner_calls();
    let mut runs = JoinSet::new();
    for number in 0..60_u64 {
        let lab = lab.clone();
        let mut destroy = Attempt::new(Operation::Destroy, 2);
        destroy.agent = format!("0191b2c4-0000-7000-8000-{number:012x}");
        destroy.job = destroy.agent.replace("-7000-", "-7002-");
        destroy.seed = 700 + number;
        runs.spawn(async move { lab.run(&destroy).await });
    }
    let mut longest = Duration::ZERO;
    while let Some(run) = runs.join_next().await {
        let ended = run.unwrap();
        assert_eq!(ended.end, End::Done, "{:#?}", ended.reports.last());
        longest = longest.max(ended.took);
    }
    let (calls, _) = lab.hetzner_calls();
    println!("{} calls, longest {longest:?}", calls - before);
    assert_eq!(lab.unclean(), None);
}

/// Tailscale's limits are not published: a run that meets them slows down. That sixty begin in
/// one moment cannot be helped; what they look for afterwards is hardly refused any more.
#[tokio::test(start_paused = true)]
async fn sixty_runners_share_what_tailscale_takes() {
    let first = Duration::from_secs(40);
    for (seed, retry_after) in [(7, None), (8, Some(3)), (9, None), (10, Some(10))] {
        let lab = Lab::with(slow(seed));
        lab.sim.turn(Knob::TailscaleLimit(Some(RateLimit {
            burst: 60,
            per_second: 10,
            retry_after,
        })));
        let longest = sixty(&lab, seed).await;
        let world = lab.sim.world();
        let of_tailscale = |call: &&CallRecord| call.vendor == Vendor::Tailscale;
        let calls: Vec<_> = world.calls.iter().filter(of_tailscale).collect();
        let refused = |call: &&&CallRecord| call.status == Some(429);
        let all = calls.iter().filter(refused).count();
        let later: Vec<_> = calls.iter().filter(|call| call.at > first).collect();
        let later_refused = later.iter().copied().filter(refused).count();
        println!(
            "{retry_after:?}: {all} of {} calls refused, later {later_refused} of {}, {longest:?}",
            calls.len(),
            later.len(),
        );
        assert!(all * 2 < calls.len(), "{all} of {}", calls.len());
        assert!(later.len() > 100, "most machines were yet to come");
        assert!(later_refused * 10 < later.len(), "{later_refused}");
        // The slowest machine takes two minutes.
        assert!(longest < Duration::from_mins(4), "{longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_alone_waits_little_at_an_empty_budget() {
    let lab = Lab::with(slow(3));
    lab.sim.turn(Knob::HetznerRemaining(0));
    let ended = provision(&lab, AGENT, 3).await;
    assert_eq!(ended.end, End::Done);
    let needed = lab.sim.configured_delay(NAME).unwrap();
    let (_, refused) = lab.hetzner_calls();
    assert!(refused <= 2, "{refused}");
    assert!(
        ended.took < needed + Duration::from_mins(3),
        "{:?} for {needed:?}",
        ended.took
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_order_ends_a_wait_for_the_budget() {
    let lab = Lab::with(slow(3));
    lab.sim.turn(Knob::HetznerRemaining(1));
    // The second read has to wait; the order comes with the first heartbeat.
    lab.stops(|report| report.said == Said::Heartbeat);
    let ended = provision(&lab, AGENT, 3).await;
    assert_eq!(ended.end, End::Failed);
    assert!(ended.last().error.as_ref().unwrap().contains("not wanted"));
    assert!(ended.took < Duration::from_secs(75), "{:?}", ended.took);
    assert_eq!(lab.unclean(), None);
}

#[tokio::test(start_paused = true)]
async fn a_delete_goes_first_among_sixty_provisions() {
    let lab = Lab::with(slow(4));
    lab.believes_all();
    assert_eq!(provision(&lab, AGENT, 4).await.end, End::Done);
    lab.sim.turn(Knob::HetznerRemaining(60));
    let before = lab.sim.world().at;
    let mut runs = JoinSet::new();
    for number in 100..160_u64 {
        let lab = lab.clone();
        let agent = format!("0191b2c4-0000-7000-8000-{number:012x}");
        runs.spawn(async move { provision(&lab, &agent, number).await.end });
    }
    let mut destroy = Attempt::new(Operation::Destroy, 2);
    destroy.job = "0191b2c4-0000-7000-8000-0000000000dd".to_owned();
    let ended = lab.run(&destroy).await;
    assert_eq!(ended.end, End::Done, "{:?}", ended.last());
    while let Some(end) = runs.join_next().await {
        assert_eq!(end.unwrap(), End::Done);
    }
    let world = lab.sim.world();
    let first = |method: &Method| {
        let calls = world.calls_to(Vendor::Hetzner, method, "/servers");
        let done = calls.iter().filter(|call| call.at >= before);
        let ok = done.filter(|call| call.status.is_some_and(|status| status < 300));
        ok.map(|call| call.at.saturating_sub(before))
            .min()
            .expect("it was made")
    };
    let (delete, create) = (first(&Method::DELETE), first(&Method::POST));
    println!("first delete after {delete:?}, first create after {create:?}");
    assert!(delete < create, "{delete:?}, {create:?}");
    assert!(delete < Duration::from_secs(10), "{delete:?}");
}
