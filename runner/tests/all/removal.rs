//! A destroy leaves nothing, whatever state the agent was in, and may be repeated.

use crate::{
    harness::{AGENT, NAME},
    lab::{Attempt, Lab},
};
use contract::{ErrorClass, Operation, Spec};
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
    // Binding them to the server is answered well and does nothing.
    let body = FaultBody::Empty;
    let mut deaf = Fault::every(Vendor::Hetzner, Effect::Status { status: 200, body });
    deaf.method = Some(http::Method::PUT);
    lab.sim.add_fault(deaf);
    destroyed(&lab, 2).await;
    destroyed(&lab, 3).await;
}

#[tokio::test(start_paused = true)]
async fn addresses_that_would_stay_go_with_their_server_even_when_the_destroy_dies() {
    let lab = Lab::new();
    lab.sim.turn(Knob::AddressesStay(true));
    let provision = Attempt::new(Operation::Provision, 1);
    assert_eq!(lab.run(&provision).await.end, End::Done);
    let destroy = Attempt::new(Operation::Destroy, 2);
    let id = lab.sim.world().servers[0].id;
    lab.dies_after(destroy, &format!("/servers/{id}")).await;
    destroyed(&lab, 3).await;
}

/// What the callback knows of the one machine that is there.
fn known(lab: &Lab) -> Spec {
    let world = lab.sim.world();
    Spec {
        servers: vec![world.servers[0].id.to_string()],
        devices: vec![world.devices[0].node_id.clone()],
        ..Spec::default()
    }
}

/// A machine that was made under settings which are no longer those of today.
async fn made_under_other_settings() -> Lab {
    let lab = Lab::new();
    let mut provision = Attempt::new(Operation::Provision, 1);
    provision.vars = vec![("INSTALLATION", "before")];
    assert_eq!(lab.run(&provision).await.end, End::Done);
    let device = lab.sim.world().devices[0].node_id.clone();
    lab.retag(&device, "tag:before").await;
    lab.tells(known(&lab), false);
    lab
}

#[tokio::test(start_paused = true)]
async fn what_the_callback_knows_is_found_under_other_labels_and_tags() {
    let lab = made_under_other_settings().await;
    for (operation, fence, status) in [
        (Operation::Stop, 2, "off"),
        (Operation::Start, 3, "running"),
    ] {
        assert_eq!(
            lab.run(&Attempt::new(operation, fence)).await.end,
            End::Done
        );
        assert_eq!(lab.sim.world().servers[0].status, status);
    }
    destroyed(&lab, 4).await;
    destroyed(&lab, 5).await;
}

/// Its device is not connected, so nothing shows that the machine is still paid for.
#[tokio::test(start_paused = true)]
async fn a_stopped_machine_is_not_called_gone_by_another_projects_token() {
    let lab = Lab::new();
    assert_eq!(
        lab.run(&Attempt::new(Operation::Provision, 1)).await.end,
        End::Done
    );
    lab.tells(known(&lab), false);
    let id = lab.sim.world().servers[0].id;
    assert_eq!(
        lab.run(&Attempt::new(Operation::Stop, 2)).await.end,
        End::Done
    );
    // Another project has neither the server nor the SSH key.
    assert!(lab.sim.delete_server_by_hand(NAME));
    let mut elsewhere = Attempt::new(Operation::Destroy, 3);
    elsewhere.vars = vec![("HETZNER_SSH_KEY_ID", "99")];
    let ended = lab.run(&elsewhere).await;
    assert_eq!(ended.end, End::Failed);
    assert_eq!(ended.last().error_class, Some(ErrorClass::Permanent));
    assert_eq!(
        lab.sim.world().devices.len(),
        1,
        "it still shows the machine"
    );
    let error = ended.last().error.clone().unwrap();
    assert!(
        error.contains("set HETZNER_API_TOKEN to the project")
            && error.contains(&format!("server {id} ")),
        "{error}"
    );
    destroyed(&lab, 4).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_somebody_made_their_own_is_named_and_not_touched() {
    let lab = made_under_other_settings().await;
    let id = lab.sim.world().servers[0].id;
    lab.rename(id, "theirs").await;
    lab.relabel(id, &[("team", "theirs")]).await;
    for fence in [2, 3] {
        let ended = lab.run(&Attempt::new(Operation::Destroy, fence)).await;
        assert_eq!(ended.end, End::Failed);
        assert_eq!(ended.last().error_class, Some(ErrorClass::Permanent));
        let error = ended.last().error.clone().unwrap();
        assert!(error.contains(&format!("server {id} (theirs)")), "{error}");
        let world = lab.sim.world();
        assert_eq!((world.servers.len(), world.devices.len()), (1, 1));
    }
    let ended = lab.run(&Attempt::new(Operation::Stop, 4)).await;
    assert_eq!(ended.end, End::Failed);
    assert_eq!(lab.sim.world().servers[0].status, "running");
    // Called as the agent's again, it is the agent's again.
    lab.rename(id, NAME).await;
    destroyed(&lab, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_somebody_else_manages_now_is_released() {
    for name in [NAME, "theirs"] {
        let lab = made_under_other_settings().await;
        let id = lab.sim.world().servers[0].id;
        lab.rename(id, name).await;
        lab.relabel(id, &[("managed_by", "them"), ("agent_id", AGENT)])
            .await;
        let ended = lab.run(&Attempt::new(Operation::Destroy, 2)).await;
        assert_eq!(ended.end, End::Done, "{:#?}", ended.last());
        let world = lab.sim.world();
        assert_eq!((world.servers.len(), world.devices.len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_of_another_tailnet_holds_up_no_destroy() {
    let lab = Lab::new();
    assert_eq!(
        lab.run(&Attempt::new(Operation::Provision, 1)).await.end,
        End::Done
    );
    lab.sim.add_device(&DecoyDevice {
        hostname: NAME.to_owned(),
        tags: vec!["tag:agent".to_owned()],
        ..DecoyDevice::default()
    });
    let shared = lab.sim.world().devices.last().unwrap().node_id.clone();
    let foreign = Effect::refuse(501, "", "cannot delete devices outside of your tailnet");
    let mut foreign = Fault::every(Vendor::Tailscale, foreign);
    foreign.method = Some(http::Method::DELETE);
    foreign.path_contains = format!("/device/{shared}");
    lab.sim.add_fault(foreign);
    let ended = lab.run(&Attempt::new(Operation::Destroy, 2)).await;
    assert_eq!(ended.end, End::Done, "{:#?}", ended.last());
    let left: Vec<String> = lab
        .sim
        .world()
        .devices
        .into_iter()
        .map(|one| one.node_id)
        .collect();
    assert_eq!(left, [shared]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_the_lists_show_late_is_removed_all_the_same() {
    let lab = Lab::new();
    lab.sim
        .turn(Knob::ServerListLag(Duration::from_millis(400)));
    assert_eq!(
        lab.run(&Attempt::new(Operation::Provision, 1)).await.end,
        End::Done
    );
    destroyed(&lab, 2).await;
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
    let key = lab.add_key(&format!("{} f1", crate::harness::JOB)).await;
    // Every delete is answered well and does nothing.
    let body = FaultBody::Empty;
    let mut deaf = Fault::every(Vendor::Tailscale, Effect::Status { status: 200, body });
    deaf.method = Some(http::Method::DELETE);
    lab.sim.add_fault(deaf);
    let ended = lab.run(&Attempt::new(Operation::Destroy, 2)).await;
    assert_eq!(ended.end, End::Failed);
    let error = ended.last().error.clone().unwrap();
    let named = format!("still listed after deletion: auth key {key}");
    assert!(error.contains(&named), "{error}");
}
