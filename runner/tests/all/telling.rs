//! What reports tell beside steps: every fact once, and at the end the servers that were listed.

use crate::{
    harness::{AGENT, NAME, quick},
    lab::{Attempt, Ended, Gate, Lab},
};
use contract::{ErrorClass, INVENTORY_ROWS_MAX, Operation, REPORT_BYTES_MAX, Report, Said, Spec};
use http::Method;
use runner::End;
use sim::{DecoyServer, DelayRange, Effect, Fault, FaultBody, Knob, Vendor};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

#[tokio::test(start_paused = true)]
async fn an_address_that_was_told_stays_when_a_better_one_comes() {
    let mut config = quick();
    config.hetzner.boot_delay = DelayRange::millis(200_000, 200_000);
    let lab = Lab::with(config);
    lab.sim.turn(Knob::Ipv4Late(Duration::from_secs(30)));
    let ended = lab.run(&Attempt::new(Operation::Provision, 1)).await;
    assert_eq!(ended.end, End::Done);
    // The address came, and the runner has looked at the server since.
    let world = lab.sim.world();
    assert!(world.server(NAME).unwrap().ipv4.is_some());
    let looks = world.calls_to(Vendor::Hetzner, &Method::GET, "/servers/");
    assert!(looks.iter().any(|call| call.at > Duration::from_secs(31)));
    let told: BTreeSet<_> = ended
        .reports
        .iter()
        .filter_map(|report| report.facts.server_ip.clone())
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let first = told.first().unwrap();
    assert!(first.parse::<std::net::Ipv6Addr>().is_ok(), "{first}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_comes_soon_is_waited_for() {
    let lab = Lab::new();
    lab.sim.turn(Knob::Ipv4Late(Duration::from_secs(3)));
    let ended = lab.run(&Attempt::new(Operation::Provision, 1)).await;
    let told = ended.last().facts.server_ip.clone();
    assert_eq!(told, lab.sim.world().server(NAME).unwrap().ipv4);
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Servers of other agents of this installation, and as many of another installation.
/// Their labels are `width` long, where that is longer than ours.
fn neighbours(lab: &Lab, count: usize, width: usize) {
    let fence = format!("{:1<width$}", "");
    for number in 0..count {
        let agent = format!(
            "{:x<width$}",
            format!("0191b2c4-0000-7000-8001-{number:012x}")
        );
        for (installation, prefix) in [("default", "own"), ("other", "foreign")] {
            lab.sim.add_server(&DecoyServer {
                name: format!("{prefix}-{number}"),
                labels: labels(&[
                    ("managed_by", "slipway"),
                    ("installation", installation),
                    ("agent_id", &agent),
                    ("fence", &fence),
                ]),
                ..DecoyServer::default()
            });
        }
    }
}

fn rows(ended: &Ended) -> usize {
    let rows = ended.last().inventory.as_ref().expect("it was listed");
    rows.len()
}

fn assert_small(report: &Report) {
    let bytes = report.to_body().unwrap().len();
    assert!(bytes <= REPORT_BYTES_MAX, "{bytes} bytes");
}

async fn provision(lab: &Lab, fence: i64) -> Ended {
    lab.run(&Attempt::new(Operation::Provision, fence)).await
}

#[tokio::test(start_paused = true)]
async fn the_last_report_carries_the_own_agent_or_when_asked_every_page_of_the_project() {
    let lab = Lab::new();
    neighbours(&lab, 120, 1);
    let ended = provision(&lab, 1).await;
    assert_eq!((ended.end, rows(&ended)), (End::Done, 1));

    lab.tells(Spec::default(), true);
    let ended = provision(&lab, 2).await;
    assert_eq!((ended.end, rows(&ended)), (End::Done, 121));
    let own = ended.last().inventory.iter().flatten();
    assert_eq!(own.filter(|row| row.agent_id == AGENT).count(), 1);
    assert_small(ended.last());

    // The other operations, and a run that fails.
    for (operation, fence) in [(Operation::Stop, 3), (Operation::Start, 4)] {
        let ended = lab.run(&Attempt::new(operation, fence)).await;
        assert_eq!((ended.end, rows(&ended)), (End::Done, 121), "{operation}");
    }
    lab.stops(|report| report.facts.server_id.is_some());
    let ended = provision(&lab, 5).await;
    assert_eq!((ended.end, rows(&ended)), (End::Failed, 120));
    lab.stops_no_more();
    let ended = lab.run(&Attempt::new(Operation::Destroy, 6)).await;
    assert_eq!((ended.end, rows(&ended)), (End::Done, 120));
}

#[tokio::test(start_paused = true)]
async fn a_large_project_fits_into_the_report_and_takes_few_calls() {
    // Hetzner: a label's value has up to 63 characters.
    for (width, least) in [(2, INVENTORY_ROWS_MAX), (63, 200)] {
        // Hetzner: ids go up to 2^53 - 1.
        let mut config = quick();
        config.hetzner.first_id = 9_007_199_254_000_000;
        let lab = Lab::with(config);
        neighbours(&lab, 400, width);
        lab.tells(Spec::default(), true);
        let ended = provision(&lab, 1).await;
        assert_eq!(ended.end, End::Done);
        let found = rows(&ended);
        assert!((least..=INVENTORY_ROWS_MAX).contains(&found), "{found}");
        assert_small(ended.last());
        let (calls, _) = lab.hetzner_calls();
        assert!(calls <= 14, "{calls}");
    }
}

/// An attempt whose lists of servers fail from the moment the server was asked for.
fn blind(
    operation: Operation,
    fence: i64,
    lab: &Lab,
    from: &'static str,
    effect: Effect,
) -> Attempt {
    let sim = lab.sim.clone();
    let gate: Gate = Arc::new(move |moment| {
        if moment.after && moment.call.starts_with(from) {
            let mut lists = Fault::every(Vendor::Hetzner, effect.clone());
            lists.method = Some(Method::GET);
            lists.path_contains = "/servers?".to_owned();
            sim.add_fault(lists);
        }
        Box::pin(std::future::ready(()))
    });
    Attempt::new(operation, fence).gate(gate)
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_had_fails_no_run() {
    let body = || FaultBody::error("server_error", "oops");
    let effects = [
        Effect::Status {
            status: 500,
            body: body(),
        },
        Effect::Status {
            status: 429,
            body: body(),
        },
        Effect::Status {
            status: 403,
            body: body(),
        },
        Effect::CutBefore,
        Effect::Delay(Duration::from_secs(25)),
    ];
    for effect in effects {
        for whole in [false, true] {
            let what = format!("{effect:?}, whole: {whole}");
            let lab = Lab::new();
            lab.tells(Spec::default(), whole);
            let create = "POST http://hetzner.sim/v1/servers";
            let attempt = blind(Operation::Provision, 1, &lab, create, effect.clone());
            let ended = lab.run(&attempt).await;
            assert_eq!(ended.end, End::Done, "{what}: {:#?}", ended.reports.last());
            assert_eq!(ended.last().inventory, None, "{what}");
            assert_eq!(ended.last().said, Said::Running, "{what}");
            lab.sim.clear_faults();

            let power = "POST http://hetzner.sim/v1/servers";
            let attempt = blind(Operation::Stop, 2, &lab, power, effect.clone());
            let ended = lab.run(&attempt).await;
            assert_eq!(ended.end, End::Done, "{what}: {:#?}", ended.reports.last());
            assert_eq!(ended.last().inventory, None, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_its_jobs_touches_nothing() {
    let other = "0191b2c4-0000-7000-8000-0000000000ee";
    let spec = |change: fn(&mut Spec, &str)| {
        let mut spec = Spec {
            agent_id: Some(AGENT.to_owned()),
            operation: Some(Operation::Provision),
            installation: Some("default".to_owned()),
            ..Spec::default()
        };
        change(&mut spec, other);
        spec
    };
    let transient = ErrorClass::Transient;
    for (spec, class, words) in [
        (
            spec(|spec, other| spec.agent_id = Some(other.to_owned())),
            transient,
            "another operation or agent",
        ),
        (
            spec(|spec, _| spec.operation = Some(Operation::Stop)),
            transient,
            "another operation or agent",
        ),
        (
            spec(|spec, other| spec.installation = Some(other.to_owned())),
            ErrorClass::Permanent,
            "INSTALLATION differs",
        ),
    ] {
        let lab = Lab::new();
        lab.tells(spec, false);
        let ended = lab.run(&Attempt::new(Operation::Provision, 1)).await;
        assert_eq!(ended.end, End::Failed);
        let last = ended.last();
        assert_eq!(last.error_class, Some(class));
        assert!(last.error.as_ref().unwrap().contains(words), "{last:?}");
        assert_eq!(lab.sim.world().calls, []);
    }
    let lab = Lab::new();
    lab.tells(spec(|_, _| {}), false);
    let ended = lab.run(&Attempt::new(Operation::Provision, 1)).await;
    assert_eq!(ended.end, End::Done);
}
