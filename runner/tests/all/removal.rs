//! A destroy leaves nothing, whatever state the agent was in, and may be repeated.

use crate::{
    harness::{AGENT, NAME},
    lab::{Attempt, Lab},
};
use contract::Operation;
use runner::End;
use sim::{DecoyDevice, DecoyServer, Knob};
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
