//! A prepared world behind doors, attempts of the real process in it, and what the world must be
//! when an operation has ended. What befalls an attempt is each test's matter.

use crate::{
    door::Doors,
    harness::{NAME, Stage, quick},
    lab::{Gate, Moment},
};
use contract::{Operation, Outcome, Report, Said};
use sim::{DelayRange, SimConfig};
use std::sync::{Arc, Mutex};

/// Fence of the attempt that something befalls; those before it prepared the world.
pub(crate) const FENCE: i64 = 5;

/// Fakes whose doings take no time, so that nothing is asked for more often than it must be.
pub(crate) fn prompt() -> SimConfig {
    let mut config = quick();
    let hetzner = &mut config.hetzner;
    for delay in [
        &mut hetzner.create_delay,
        &mut hetzner.start_delay,
        &mut hetzner.boot_delay,
        &mut hetzner.delete_delay,
        &mut config.tailscale.enrol_delay,
    ] {
        *delay = DelayRange::NONE;
    }
    config
}

/// A stage, and the doors before it.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) doors: Doors,
    pub(crate) operation: Operation,
}

impl Scene {
    /// What was there before the operation.
    pub(crate) async fn prepared(operation: Operation) -> Self {
        let mut stage = Stage::with(prompt()).await;
        // The heart does not beat meanwhile: when it would depends on the moment.
        stage.set("HEARTBEAT_SECONDS", "85");
        let doors = Doors::before(&mut stage).await;
        let before: &[Operation] = match operation {
            Operation::Provision | Operation::Configure => &[],
            Operation::Stop | Operation::Destroy => &[Operation::Provision],
            Operation::Start => &[Operation::Provision, Operation::Stop],
        };
        let mut scene = Self {
            stage,
            doors,
            operation,
        };
        for (earlier, fence) in before.iter().zip(1..) {
            scene.operation = *earlier;
            scene.attempt(fence, "before").await;
        }
        scene.operation = operation;
        scene
    }

    /// Runs an attempt that nothing befalls.
    pub(crate) async fn attempt(&mut self, fence: i64, what: &str) {
        self.stage.set("FENCE", &fence.to_string());
        let ran = self.stage.run(&[self.operation.as_str()]).await;
        let operation = self.operation;
        assert_eq!(ran.code, Some(0), "{what}: {operation} f{fence}: {ran:#?}");
    }

    /// How many calls had an effect so far.
    pub(crate) fn effects(&self) -> usize {
        self.stage.world().calls.len() + self.stage.callback.reports().len()
    }

    /// What the attempt told.
    pub(crate) fn told(&self, fence: i64) -> Vec<Report> {
        let mut reports = self.stage.callback.reports();
        reports.retain(|report| report.sender.fence() == fence);
        reports
    }

    /// Asserts that the world is as the operation should leave it, and that this was told.
    pub(crate) fn assert_ended(&self, fence: i64, what: &str) {
        let world = self.stage.world();
        let told = self.told(fence);
        let last = told.last().expect("it reported");
        assert_eq!(last.said, Said::Running, "{what}: {last:#?}");
        let rows = last.inventory.iter().flatten();
        let rows: Vec<&str> = rows.map(|row| row.server_id.as_str()).collect();
        let usable = world.keys.iter().filter(|key| key.usable).count();
        let left = (world.servers.len(), world.devices.len(), usable);
        if self.operation == Operation::Destroy {
            let addresses = world.primary_ips.len();
            assert_eq!((left, addresses), ((0, 0, 0), 0), "{what}: {world:#?}");
            assert_eq!(rows, Vec::<&str>::new(), "{what}");
            return;
        }
        assert_eq!(left, (1, 1, 0), "{what}: {world:#?}");
        let server = world.server(NAME).expect("it has the agent's name");
        let id = server.id.to_string();
        assert_eq!(rows, [id.as_str()], "{what}");
        assert_eq!(last.facts.server_id, Some(id), "{what}");
        assert_eq!(world.firewalls.len(), 1, "{what}");
        let device = &world.devices[0];
        assert_eq!(server.device_id, Some(device.id), "{what}");
        let is_on = self.operation != Operation::Stop;
        let status = if is_on { "running" } else { "off" };
        let seen = (server.status.as_str(), device.online);
        assert_eq!(seen, (status, is_on), "{what}");
        if is_on {
            assert_eq!(last.outcome, Some(Outcome::Ready), "{what}");
            let told = last.facts.device_id.as_deref();
            assert_eq!(told, Some(device.node_id.as_str()), "{what}");
        }
        let makes = self.operation == Operation::Provision;
        let made_by = if makes { fence } else { 1 };
        assert_eq!(server.labels["fence"], made_by.to_string(), "{what}");
    }
}

/// Every moment of a clean run.
pub(crate) async fn moments(operation: Operation) -> Vec<Moment> {
    let mut scene = Scene::prepared(operation).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&seen);
    let gate: Gate = Arc::new(move |moment| {
        list.lock().unwrap().push(moment);
        Box::pin(std::future::ready(()))
    });
    scene.doors.keep(gate);
    scene.attempt(FENCE, "a clean run").await;
    scene.assert_ended(FENCE, "a clean run");
    let seen = seen.lock().unwrap();
    seen.clone()
}
