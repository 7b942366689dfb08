//! Whatever a run does, it touches nothing that is not its agent's: every operation, undo and
//! the doctor beside a full set of look-alikes.

use crate::{
    harness::{AGENT, JOB, NAME},
    lab::{Attempt, Lab},
};
use contract::{ErrorClass, Operation, Spec, Step};
use runner::End;
use sim::{DecoyDevice, DecoyServer, DeviceView, KeyView, Knob, ServerView};
use std::time::Duration;

const OTHER_JOB: &str = "0191b2c4-0000-7000-8000-0000000000ff";
const OTHER_AGENT: &str = "0191b2c4-0000-7000-8000-00000000000c";

/// What was there before, and must be there unchanged.
#[derive(Debug, PartialEq, Eq)]
struct Decoys {
    servers: Vec<ServerView>,
    devices: Vec<DeviceView>,
    keys: Vec<KeyView>,
    addresses: Vec<u64>,
}

/// Everything in the world, or of it what `before` holds too.
fn seen(lab: &Lab, before: Option<&Decoys>) -> Decoys {
    let mut world = lab.sim.world();
    if let Some(before) = before {
        let servers: Vec<u64> = before.servers.iter().map(|one| one.id).collect();
        world.servers.retain(|one| servers.contains(&one.id));
        let devices: Vec<u64> = before.devices.iter().map(|one| one.id).collect();
        world.devices.retain(|one| devices.contains(&one.id));
        let keys: Vec<&String> = before.keys.iter().map(|one| &one.id).collect();
        world.keys.retain(|one| keys.contains(&&one.id));
        world.primary_ips.retain(|id| before.addresses.contains(id));
    }
    Decoys {
        servers: world.servers,
        devices: world.devices,
        keys: world.keys,
        addresses: world.primary_ips,
    }
}

/// One server: its name, and what differs from the labels of our own.
fn server(lab: &Lab, name: &str, changes: &[(&str, Option<&str>)]) {
    let own = [
        ("managed_by", "slipway"),
        ("installation", "default"),
        ("agent_id", AGENT),
        ("provisioning_job_id", JOB),
        ("fence", "1"),
    ];
    let mut labels = std::collections::BTreeMap::from(own);
    for (label, value) in changes {
        match value {
            Some(value) => labels.insert(label, value),
            None => labels.remove(label),
        };
    }
    let labels = labels.into_iter();
    lab.sim.add_server(&DecoyServer {
        name: name.to_owned(),
        labels: labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        age: Duration::from_hours(1),
        ..DecoyServer::default()
    });
}

async fn placed(lab: &Lab) -> Decoys {
    let near = format!("{AGENT}x");
    server(lab, "no-installation", &[("installation", None)]);
    server(
        lab,
        "other-installation",
        &[("installation", Some("other"))],
    );
    server(lab, "look-alike", &[("installation", Some("default2"))]);
    server(lab, "unmanaged", &[("managed_by", None)]);
    server(
        lab,
        "managed-elsewhere",
        &[("managed_by", Some("slipway2"))],
    );
    server(lab, "no-agent", &[("agent_id", None)]);
    server(
        lab,
        &format!("agent-{OTHER_AGENT}"),
        &[("agent_id", Some(OTHER_AGENT))],
    );
    server(lab, &format!("{NAME}x"), &[("agent_id", Some(&near))]);
    let none = [
        "managed_by",
        "installation",
        "agent_id",
        "provisioning_job_id",
        "fence",
    ];
    let none = none.map(|label| (label, None));
    server(lab, &format!("{NAME}-1"), &none);
    server(lab, &format!("x-{NAME}"), &none);

    let tag = "tag:agent";
    for (hostname, tags, external) in [
        (NAME, vec![], false),
        (NAME, vec!["tag:other"], false),
        (NAME, vec!["tag:agents", "tag:agen"], false),
        (NAME, vec![tag], true),
        (&format!("{NAME}x"), vec![tag], false),
        (&format!("x{NAME}"), vec![tag], false),
        (&format!("{NAME}-1"), vec![tag], false),
        (&format!("agent-{OTHER_AGENT}"), vec![tag], false),
        (AGENT, vec![tag], false),
    ] {
        lab.sim.add_device(&DecoyDevice {
            hostname: hostname.to_owned(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            online: true,
            external,
            age: Duration::from_mins(1),
        });
    }
    for description in [
        String::new(),
        JOB.to_owned(),
        format!("{JOB} fx"),
        format!("{JOB}f1"),
        format!("{JOB}x f1"),
        format!("x{JOB} f1"),
        format!("{OTHER_JOB} f1"),
        format!("{AGENT} f1"),
        // A newer attempt's of our own job.
        format!("{JOB} f99"),
    ] {
        lab.add_key(&description).await;
    }
    seen(lab, None)
}

/// Runs an attempt and asserts how it ends and that no decoy has changed.
async fn step(lab: &Lab, before: &Decoys, attempt: &Attempt, end: End) {
    let ended = lab.run(attempt).await;
    let what = format!("{} f{}", attempt.operation, attempt.fence);
    assert_eq!(ended.end, end, "{what}: {:#?}", ended.reports.last());
    assert_eq!(seen(lab, Some(before)), *before, "{what}");
}

#[tokio::test(start_paused = true)]
async fn no_operation_touches_what_is_not_its_agents() {
    for filters_ignored in [false, true] {
        let lab = Lab::new();
        lab.sim.turn(Knob::IgnoreFilters(filters_ignored));
        let before = placed(&lab).await;
        let spec = Spec {
            jobs: vec![JOB.to_owned()],
            ..Spec::default()
        };
        lab.tells(spec, true);
        let attempt = Attempt::new;

        step(&lab, &before, &attempt(Operation::Provision, 2), End::Done).await;
        step(&lab, &before, &attempt(Operation::Stop, 3), End::Done).await;
        step(&lab, &before, &attempt(Operation::Start, 4), End::Done).await;
        // The next provision replaces what is there; then one is undone at each step.
        step(&lab, &before, &attempt(Operation::Provision, 5), End::Done).await;
        for (told, fence) in [
            (Step::KeyCreated, 6),
            (Step::VmCreated, 7),
            (Step::Enrolled, 8),
        ] {
            lab.stops(move |report| report.step == Some(told));
            step(
                &lab,
                &before,
                &attempt(Operation::Provision, fence),
                End::Failed,
            )
            .await;
        }
        lab.stops_no_more();
        // A signal while the machine boots: deletes without awaiting them.
        let canceled = attempt(Operation::Provision, 9);
        let raise = canceled.signal.clone();
        lab.stops(move |report| {
            if report.step == Some(Step::VmCreated) {
                raise.send_replace(true);
            }
            false
        });
        step(&lab, &before, &canceled, End::Canceled).await;
        lab.stops_no_more();
        for fence in [10, 11] {
            step(
                &lab,
                &before,
                &attempt(Operation::Destroy, fence),
                End::Done,
            )
            .await;
        }
        let said = lab.doctor().await;
        assert!(said.contains("ok             HETZNER_API_TOKEN"), "{said}");
        assert_eq!(seen(&lab, None), with_own_keys(&lab, before));
    }
}

/// What must be there at the end: the decoys and our spent keys, nothing else of ours.
fn with_own_keys(lab: &Lab, before: Decoys) -> Decoys {
    let keys = lab.sim.world().keys;
    let own = keys.iter().filter(|key| !before.keys.contains(key));
    assert!(own.clone().count() > 0);
    assert!(own.clone().all(|key| !key.usable), "{keys:#?}");
    Decoys { keys, ..before }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_server_of_our_very_name_is_named_and_stays() {
    let lab = Lab::new();
    server(&lab, NAME, &[("installation", Some("other"))]);
    let before = seen(&lab, None);
    let attempt = Attempt::new(Operation::Provision, 2);
    let ended = lab.run(&attempt).await;
    assert_eq!(ended.end, End::Failed);
    let last = ended.last();
    assert_eq!(last.error_class, Some(ErrorClass::Permanent));
    let error = last.error.clone().unwrap();
    assert!(
        error.contains("which is not this installation's"),
        "{error}"
    );
    assert_eq!(seen(&lab, Some(&before)), before);
    for operation in [Operation::Stop, Operation::Start] {
        step(&lab, &before, &Attempt::new(operation, 3), End::Failed).await;
    }
    step(
        &lab,
        &before,
        &Attempt::new(Operation::Destroy, 4),
        End::Done,
    )
    .await;
}
