//! A destroy leaves nothing, whatever state the agent was in, and may be repeated.

use crate::{
    harness::{AGENT, NAME},
    lab::{Attempt, Lab},
};
use contract::{Operation, Spec};
use runner::End;
use sim::{DecoyDevice, DecoyServer, Effect, Fault, FaultBody, Knob, Vendor};
use std::time::Duration;

async fn destroyed(lab: &Lab, fence: i64) {
    let mut attempt = Attempt::new(Operation::Destroy, fence);
    attempt.job = "0191b2c4-0000-7000-8000-0000000000dd".to_owned();
    let ended = lab.run(&attempt).await;
    assert_eq!(ended.end, End::Done, "{:#?}", ended.reports.last());
    assert_eq!(ended.last().inventory, Some(Vec::new()));
    assert_eq!(lab.unclean(), None);
}

#[tokio::test(start_paused = true)]
async fn addresses_that_stay_behind_are_deleted() {
    let lab = Lab::new();
    lab.sim.turn(Knob::AddressesStay(true));
    let provision = Attempt::new(Operation::Provision, 1);
    assert_eq!(lab.run(&provision).await.end, End::Done);
    assert_eq!(lab.sim.world().primary_ips.len(), 2);
    destroyed(&lab, 2).await;
    destroyed(&lab, 3).await;
}

#[tokio::test(start_paused = true)]
async fn the_unused_key_of_a_machine_that_never_enrolled_is_revoked() {
    let lab = Lab::new();
    lab.sim.turn(Knob::BootHangs(true));
    let provision = Attempt::new(Operation::Provision, 1);
    let died = tokio::time::timeout(Duration::from_secs(20), lab.run(&provision)).await;
    assert!(died.is_err(), "it was still waiting");
    let usable = |lab: &Lab| lab.sim.world().keys.iter().filter(|key| key.usable).count();
    assert_eq!(usable(&lab), 1);
    destroyed(&lab, 2).await;
    assert_eq!(usable(&lab), 0);
}

#[tokio::test(start_paused = true)]
async fn several_servers_and_devices_of_the_agent_all_go() {
    let lab = Lab::new();
    for (name, fence) in [("one", "1"), ("two", "2"), ("three", "unreadable")] {
        let labels = [
            ("managed_by", "slipway"),
            ("installation", "default"),
            ("agent_id", AGENT),
            ("fence", fence),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        lab.sim.add_server(&DecoyServer {
            name: name.to_owned(),
            labels: labels.into(),
            ..DecoyServer::default()
        });
        lab.sim.add_device(&DecoyDevice {
            hostname: NAME.to_owned(),
            tags: vec!["tag:agent".to_owned()],
            ..DecoyDevice::default()
        });
    }
    destroyed(&lab, 3).await;
    destroyed(&lab, 4).await;
}

#[tokio::test(start_paused = true)]
async fn unused_keys_of_earlier_jobs_that_never_made_a_server_are_revoked() {
    let lab = Lab::new();
    let earlier = "0191b2c4-0000-7000-8000-0000000000aa";
    let twice = "0191b2c4-0000-7000-8000-0000000000ab";
    let (job, foreign) = (crate::harness::JOB, "0191b2c4-0000-7000-8000-0000000000ff");
    let own = [
        format!("{earlier} f1"),
        format!("{twice} f3"),
        format!("{twice} f4"),
        format!("{job} f2"),
    ];
    let decoys = [
        format!("{foreign} f1"),
        earlier.to_owned(),
        format!("{earlier} fx"),
        format!("{earlier}x f1"),
        format!("x{earlier} f1"),
        // A newer attempt's.
        format!("{earlier} f99"),
        "f1".to_owned(),
        String::new(),
    ];
    for description in own.iter().chain(&decoys) {
        lab.add_key(description).await;
    }
    let jobs = [earlier, twice, job, ""];
    let spec = Spec {
        jobs: jobs.map(str::to_owned).to_vec(),
        ..Spec::default()
    };
    lab.tells(spec, false);
    for fence in [7, 8] {
        let mut attempt = Attempt::new(Operation::Destroy, fence);
        attempt.job = "0191b2c4-0000-7000-8000-0000000000dd".to_owned();
        assert_eq!(lab.run(&attempt).await.end, End::Done);
        for key in lab.sim.world().keys {
            let left = decoys.contains(&key.description);
            assert_eq!(key.usable, left, "{}", key.description);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_go_is_named() {
    let lab = Lab::new();
    lab.add_key(&format!("{} f1", crate::harness::JOB)).await;
    // Every delete is answered well and does nothing.
    let body = FaultBody::Empty;
    let mut deaf = Fault::every(Vendor::Tailscale, Effect::Status { status: 200, body });
    deaf.method = Some(http::Method::DELETE);
    lab.sim.add_fault(deaf);
    let ended = lab.run(&Attempt::new(Operation::Destroy, 2)).await;
    assert_eq!(ended.end, End::Failed);
    let error = ended.last().error.clone().unwrap();
    assert!(error.contains("1 auth keys"), "{error}");
}
