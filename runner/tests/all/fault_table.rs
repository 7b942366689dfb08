//! Every fault of Hetzner (H-F1 to 15) and Tailscale (T-F1 to 13) that was seen in the field: how
//! an attempt ends that meets it, how many calls it takes, and that nothing is left behind. Each
//! row proves that its fault was met. The rows are in `fault_rows`.

use crate::{
    fault_rows,
    harness::{HETZNER_TOKEN, NAME},
    lab::{Attempt, Ended, Gate, Lab},
};
use contract::{ErrorClass, Operation};
use http::Method;
use runner::End;
use serde_json::Value;
use sim::{Sim, SimConfig, Vendor, World};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// How the attempt ends.
#[derive(Clone, Copy)]
pub(crate) enum Want {
    /// One machine, enrolled, beside so many devices that are none of ours.
    Complete(usize),
    /// Nothing is left; class and words of the error.
    Clean(ErrorClass, &'static str),
    /// What is left is named; words of the error.
    Named(&'static str),
}

/// What an attempt came to.
pub(crate) struct Met {
    pub(crate) ended: Ended,
    pub(crate) world: World,
    /// What it was answered, with the addresses that it asked.
    pub(crate) answers: Vec<(String, Value)>,
}

/// Whether a JSON value holds, at any depth, one that fits.
fn holds(value: &Value, fits: &dyn Fn(&Value) -> bool) -> bool {
    let inside = match value {
        Value::Object(fields) => fields.values().any(|one| holds(one, fits)),
        Value::Array(items) => items.iter().any(|one| holds(one, fits)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    inside || fits(value)
}

impl Met {
    /// Whether an address that contains this was answered with something that fits.
    pub(crate) fn was_told(&self, part: &str, fits: impl Fn(&Value) -> bool) -> bool {
        let mut answers = self.answers.iter();
        answers.any(|(address, body)| address.contains(part) && holds(body, &fits))
    }

    /// How many calls to a vendor were answered so.
    pub(crate) fn answered(
        &self,
        vendor: Vendor,
        method: &Method,
        part: &str,
        status: u16,
    ) -> usize {
        let calls = self.world.calls_to(vendor, method, part);
        let fits = |call: &&&sim::CallRecord| call.status == Some(status);
        calls.iter().filter(fits).count()
    }

    /// How many calls were bent on the road.
    pub(crate) fn bent(&self) -> usize {
        self.world.calls.iter().filter(|call| call.bent).count()
    }

    fn calls_to(&self, vendor: Vendor) -> usize {
        let calls = self.world.calls.iter();
        calls.filter(|call| call.vendor == vendor).count()
    }
}

/// Right after the effect of the first call that begins so.
type Moment = (&'static str, fn(&Sim));

/// One fault.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    world: fn(&Sim),
    then: Option<Moment>,
    vars: Vec<(&'static str, &'static str)>,
    delays: Option<fn(&mut SimConfig)>,
    want: Want,
    /// Most calls to Hetzner, and to Tailscale.
    most: (usize, usize),
    /// Whether the fault was met, where the words of the error do not show it.
    met: Option<fn(&Met) -> bool>,
}

/// A row: its fault, how it ends, and the most calls to Hetzner and to Tailscale.
pub(crate) fn row(fault: &'static str, want: Want, most: (usize, usize), world: fn(&Sim)) -> Row {
    Row {
        fault,
        world,
        then: None,
        vars: Vec::new(),
        delays: None,
        want,
        most,
        met: None,
    }
}

impl Row {
    pub(crate) fn then(mut self, call: &'static str, change: fn(&Sim)) -> Self {
        self.then = Some((call, change));
        self
    }

    pub(crate) fn var(mut self, name: &'static str, value: &'static str) -> Self {
        self.vars.push((name, value));
        self
    }

    pub(crate) fn delays(mut self, change: fn(&mut SimConfig)) -> Self {
        self.delays = Some(change);
        self
    }

    pub(crate) fn met(mut self, proof: fn(&Met) -> bool) -> Self {
        self.met = Some(proof);
        self
    }

    async fn run(&self) -> (Lab, Met) {
        let mut config = crate::harness::quick();
        if let Some(change) = self.delays {
            change(&mut config);
        }
        let lab = Lab::with(config);
        (self.world)(&lab.sim);
        lab.listen();
        let mut attempt = Attempt::new(Operation::Provision, 5);
        attempt.vars.clone_from(&self.vars);
        if let Some((call, change)) = self.then {
            let (sim, done) = (lab.sim.clone(), Arc::new(AtomicBool::new(false)));
            let gate: Gate = Arc::new(move |moment| {
                let fits = moment.after && moment.call.starts_with(call);
                if fits && !done.swap(true, Ordering::Relaxed) {
                    change(&sim);
                }
                Box::pin(std::future::ready(()))
            });
            attempt = attempt.gate(gate);
        }
        let ended = lab.run(&attempt).await;
        let met = Met {
            ended,
            world: lab.sim.world(),
            answers: lab.listen(),
        };
        (lab, met)
    }

    /// Everything that is wrong with what the attempt came to.
    fn breaches(&self, lab: &Lab, met: &Met) -> Vec<String> {
        let mut breaches = Vec::new();
        let mut unless = |right: bool, what: String| {
            if !right {
                breaches.push(format!("{}: {what}", self.fault));
            }
        };
        let wrong = self.wrong_end(lab, met);
        unless(wrong.is_none(), wrong.unwrap_or_default());
        for (vendor, most) in [
            (Vendor::Hetzner, self.most.0),
            (Vendor::Tailscale, self.most.1),
        ] {
            let calls = met.calls_to(vendor);
            unless(calls <= most, format!("{calls} calls to {vendor:?}"));
        }
        let named = match self.want {
            Want::Clean(_, words) | Want::Named(words) => !words.is_empty(),
            Want::Complete(_) => false,
        };
        let proved = self.met.map_or(named, |proof| proof(met));
        unless(proved, "the fault was not met".to_owned());
        let beginning: String = HETZNER_TOKEN.chars().take(12).collect();
        let told = format!("{:?}", met.ended.reports);
        unless(!told.contains(&beginning), "the token shows".to_owned());
        let old = met
            .world
            .calls_to(Vendor::Hetzner, &Method::GET, "/datacenters");
        unless(old.is_empty(), "what is gone was asked for".to_owned());
        breaches
    }

    fn wrong_end(&self, lab: &Lab, Met { ended, world, .. }: &Met) -> Option<String> {
        let says = |class: Option<ErrorClass>, words: &str| {
            let last = ended.last();
            let error = last.error.clone().unwrap_or_default();
            let fits =
                error.contains(words) && class.is_none_or(|one| last.error_class == Some(one));
            (ended.end != End::Failed || !fits).then(|| format!("{:?}: {last:?}", ended.end))
        };
        match self.want {
            Want::Complete(others) => {
                let (foreign, own): (Vec<_>, Vec<_>) =
                    world.devices.iter().partition(|one| one.key_id.is_none());
                let machine = world.server(NAME).and_then(|server| server.device_id);
                let own: Vec<u64> = own.iter().map(|one| one.id).collect();
                let usable = world.keys.iter().filter(|key| key.usable).count();
                let right = ended.end == End::Done
                    && world.servers.len() == 1
                    && machine.is_some()
                    && own == Vec::from_iter(machine)
                    && (foreign.len(), usable) == (others, 0);
                (!right).then(|| format!("{:?} {:?} {world:?}", ended.end, ended.reports.last()))
            }
            Want::Clean(class, words) => lab.unclean().or_else(|| says(Some(class), words)),
            Want::Named(words) => says(None, words),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_fault_ends_as_it_should() {
    let rows = fault_rows::all();
    let mut breaches = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let (lab, met) = row.run().await;
        println!(
            "{:>5}: {:>3} + {:>3} calls, {:>3} s, {:?}",
            row.fault,
            met.calls_to(Vendor::Hetzner),
            met.calls_to(Vendor::Tailscale),
            met.ended.took.as_secs(),
            met.ended.end
        );
        let wrong = row.breaches(&lab, &met);
        breaches.extend(wrong.into_iter().map(|what| format!("row {index}, {what}")));
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    let hetzner = (1..=15).map(|number| format!("H-F{number}"));
    let tailscale = (1..=13).map(|number| format!("T-F{number}"));
    for fault in hetzner.chain(tailscale) {
        assert!(
            rows.iter().any(|row| row.fault == fault),
            "{fault} has a row"
        );
    }
}
