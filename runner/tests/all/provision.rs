//! What a good provision does and leaves, on clean ground and on what earlier attempts left.

use crate::{
    callback::Bend,
    endings::signal,
    harness::{AGENT, JOB, NAME, Stage, finish},
};
use contract::{Outcome, Report, Said, Spec, Step};
use sim::{DecoyDevice, DecoyServer, Effect, Fault, Knob, Vendor};
use std::{collections::BTreeMap, time::Duration};

fn labels(fence: &str) -> BTreeMap<String, String> {
    [
        ("managed_by", "slipway"),
        ("installation", "default"),
        ("agent_id", AGENT),
        ("provisioning_job_id", JOB),
        ("fence", fence),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[tokio::test]
async fn a_machine_is_made_and_enrolled() {
    let stage = Stage::new().await;
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    stage.assert_complete();

    let world = stage.world();
    let server = world.server(NAME).unwrap();
    assert_eq!(server.labels, labels("1"));
    assert_eq!(
        (server.server_type.as_str(), server.location.as_str()),
        ("cpx11", "ash")
    );
    assert_eq!(
        (server.image.as_str(), server.ssh_keys.len()),
        ("ubuntu-22.04", 1)
    );
    assert_eq!(server.firewalls, [world.firewalls[0].id]);
    let firewall = &world.firewalls[0];
    assert_eq!(
        (firewall.name.as_str(), firewall.rules),
        ("slipway-default", 1)
    );
    let (key, device) = (&world.keys[0], &world.devices[0]);
    assert!(
        key.used && !key.reusable && !key.ephemeral && key.preauthorized,
        "{key:?}"
    );
    assert_eq!(
        (key.tags.clone(), key.expires - key.created),
        (vec!["tag:agent".to_owned()], 3600)
    );
    assert_eq!(key.description, format!("{JOB} f1"));
    assert_eq!(
        (device.hostname.as_str(), device.key_id.as_ref()),
        (NAME, Some(&key.id))
    );
    // A list, the price list, the firewall (looked for and made), the create, a look, the
    // closing inventory.
    assert!(stage.calls(Vendor::Hetzner) <= 8, "{:#?}", world.calls);
}

#[tokio::test]
async fn every_step_is_reported_and_the_end_is_shown() {
    let stage = Stage::new().await;
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let world = stage.world();
    let (server, device) = (world.server(NAME).unwrap(), &world.devices[0]);

    let reports = stage.callback.reports();
    assert!(
        reports.windows(2).all(|pair| pair[0].seq < pair[1].seq),
        "{reports:#?}"
    );
    let steps: Vec<Step> = reports.iter().filter_map(|report| report.step).collect();
    assert_eq!(steps, [Step::KeyCreated, Step::VmCreated, Step::Enrolled]);
    let last = stage.callback.last();
    assert_eq!(
        (last.said, last.outcome),
        (Said::Running, Some(Outcome::Ready))
    );
    let facts = last.facts;
    assert_eq!(facts.server_id, Some(server.id.to_string()));
    assert_eq!(facts.server_name.as_deref(), Some(NAME));
    assert_eq!(facts.server_ip, server.ipv4);
    assert_eq!(facts.tailscale_ip.as_ref(), Some(&device.ipv4));
    assert_eq!(facts.device_id.as_ref(), Some(&device.node_id));
    let rows = last.inventory.unwrap();
    assert_eq!(
        (
            rows.len(),
            rows[0].agent_id.as_str(),
            rows[0].fence.as_str()
        ),
        (1, AGENT, "1")
    );

    assert_eq!(stage.output("server_id"), server.id.to_string());
    assert_eq!(Some(stage.output("server_ip")), facts.server_ip);
    assert_eq!(Some(stage.output("tailscale_ip")), facts.tailscale_ip);
    assert_eq!(stage.output("server_name"), NAME);
    let summary = stage.text("summary");
    assert!(
        summary.contains("### The agent's machine is up"),
        "{summary}"
    );
    assert!(
        summary.contains(&format!("| Server | {NAME} |")),
        "{summary}"
    );
    assert!(stage.path("marker").exists());
}

#[tokio::test]
async fn the_operation_may_come_from_the_environment_and_the_spec_wins() {
    let stage = Stage::new().await;
    let spec = Spec {
        agent_name: "x".to_owned(),
        region: "eu-west".to_owned(),
        server_type: Some("cx33".to_owned()),
        ..Spec::default()
    };
    stage.callback.spec(spec, true);
    let foreign = DecoyServer {
        name: "agent-other".to_owned(),
        labels: BTreeMap::from([
            ("managed_by".to_owned(), "slipway".to_owned()),
            ("installation".to_owned(), "default".to_owned()),
            ("agent_id".to_owned(), "other".to_owned()),
        ]),
        ..DecoyServer::default()
    };
    stage.sim.add_server(&foreign);
    let ran = stage.run(&[]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let world = stage.world();
    let server = world.server(NAME).unwrap();
    assert_eq!(
        (server.server_type.as_str(), server.location.as_str()),
        ("cx33", "fsn1")
    );
    let rows = stage.callback.last().inventory.unwrap();
    assert_eq!(rows.len(), 2, "the whole installation was asked for");
}

#[tokio::test]
async fn an_unknown_region_goes_to_nuremberg_with_a_warning() {
    let mut stage = Stage::new().await;
    stage.set("REGION", "moon");
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(
        ran.stdout.contains("::warning::region \"moon\" is unknown"),
        "{}",
        ran.stdout
    );
    let world = stage.world();
    let server = world.server(NAME).unwrap();
    assert_eq!(
        (server.server_type.as_str(), server.location.as_str()),
        ("cx23", "nbg1")
    );
}

#[tokio::test]
async fn what_an_older_attempt_left_is_replaced_and_decoys_stay() {
    let mut stage = Stage::new().await;
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let (old_server, old_device) = (
        stage.world().server(NAME).unwrap().id,
        stage.world().devices[0].node_id.clone(),
    );
    let decoy = |name: &str, change: fn(&mut BTreeMap<String, String>)| {
        let mut labels = labels("1");
        change(&mut labels);
        DecoyServer {
            name: name.to_owned(),
            labels,
            ..DecoyServer::default()
        }
    };
    stage.sim.add_server(&decoy("foreign", BTreeMap::clear));
    stage.sim.add_server(&decoy("elsewhere", |labels| {
        labels.insert("installation".to_owned(), "other".to_owned());
    }));
    stage.sim.add_server(&decoy("look-alike", |labels| {
        labels.insert("agent_id".to_owned(), format!("{AGENT}0"));
    }));
    let device = |hostname: &str, tag: &str| DecoyDevice {
        hostname: hostname.to_owned(),
        tags: vec![tag.to_owned()],
        age: Duration::from_mins(1),
        ..DecoyDevice::default()
    };
    stage.sim.add_device(&device(NAME, "tag:other"));
    stage.sim.add_device(&device("agent-other", "tag:agent"));

    stage.set("FENCE", "2");
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let world = stage.world();
    let server = world.server(NAME).unwrap();
    assert_ne!(server.id, old_server);
    assert_eq!(server.labels, labels("2"));
    assert_eq!(world.servers.len(), 4, "the decoys stay");
    assert_eq!(world.devices.len(), 3, "the decoys stay");
    assert!(
        world
            .devices
            .iter()
            .all(|device| device.node_id != old_device)
    );
}

#[tokio::test]
async fn a_newer_attempt_is_left_alone() {
    let stage = Stage::new().await;
    let newer = DecoyServer {
        name: NAME.to_owned(),
        labels: labels("2"),
        ..DecoyServer::default()
    };
    let id = stage.sim.add_server(&newer);
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let world = stage.world();
    assert_eq!(
        world
            .servers
            .iter()
            .map(|server| server.id)
            .collect::<Vec<_>>(),
        [id]
    );
    let last = stage.callback.last();
    assert!(last.error.unwrap().contains("stale"));
    assert_eq!(last.failed_step.as_deref(), Some("look"));
}

#[tokio::test]
async fn heartbeats_go_on_while_a_step_waits() {
    let mut stage = Stage::new().await;
    stage.set("HEARTBEAT_SECONDS", "1");
    stage.sim.turn(Knob::BootHangs(true));
    let child = stage.start(&["provision"]);
    // Ids ride on them.
    let beats =
        |report: &&Report| report.said == Said::Heartbeat && report.facts.server_id.is_some();
    let several = |reports: &Vec<Report>| reports.iter().filter(beats).count() >= 3;
    stage.callback.until(several).await;
    signal(&child, "INT").await;
    assert_eq!(finish(child).await.code, Some(130));
}

#[tokio::test]
async fn reports_are_repeated_with_their_seq_until_they_are_heard() {
    let stage = Stage::new().await;
    stage
        .callback
        .bend(1, Bend::Status(503), |report| report.seq == 1);
    stage
        .callback
        .bend(1, Bend::Cut, |report| report.step == Some(Step::KeyCreated));
    stage
        .callback
        .bend(1, Bend::Status(429), |report| report.said == Said::Running);
    stage
        .callback
        .bend(1, Bend::Cut, |report| report.said == Said::Running);
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let seqs: Vec<i64> = stage
        .callback
        .reports()
        .iter()
        .map(|report| report.seq)
        .collect();
    assert!(seqs.windows(2).all(|pair| pair[0] <= pair[1]), "{seqs:?}");
    let copies = |said| {
        stage
            .callback
            .reports()
            .iter()
            .filter(|one| one.said == said)
            .count()
    };
    assert_eq!(copies(Said::Running), 3);
    assert_eq!(seqs.iter().filter(|seq| **seq == 1).count(), 2);
    stage.assert_complete();
}

#[tokio::test]
async fn a_bare_answer_to_the_claim_is_enough() {
    let stage = Stage::new().await;
    stage
        .callback
        .bend(1, Bend::Status(204), |report| report.seq == 1);
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    stage.assert_complete();
}

#[tokio::test]
async fn a_slow_create_is_waited_for() {
    let stage = Stage::new().await;
    let slow = Effect::SlowReply(Duration::from_secs(2));
    stage.sim.add_fault(Fault::once(
        Vendor::Hetzner,
        http::Method::POST,
        "/servers",
        slow,
    ));
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    stage.assert_complete();
}
