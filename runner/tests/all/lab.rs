//! One agent's world in one process and virtual time: the fakes, a callback that knows fences,
//! and attempts whose every outside call passes a gate that can watch, hold or kill.

use crate::harness::{AGENT, HETZNER_TOKEN, JOB, NAME, TAILSCALE_SECRET, quick};
use bytes::Bytes;
use contract::{Operation, Reply, Report, Said};
use futures_util::future::BoxFuture;
use outbound::{BoxError, Dice, Secrets, Transport};
use runner::{Actions, ActionsSettings, Clock, CloudSettings, End, WireSettings, World, operate};
use sim::{Sim, SimConfig, Vendor};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch, time::Instant};
use tower::service_fn;

/// A moment of an outside call.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// Counts the attempt's calls, from 1.
    pub(crate) number: usize,
    /// Method and address.
    pub(crate) call: String,
    /// Before it reaches the other side, or after its effect and before its answer.
    pub(crate) after: bool,
}

/// What every call of an attempt passes, twice.
pub(crate) type Gate = Arc<dyn Fn(Moment) -> BoxFuture<'static, ()> + Send + Sync>;

/// A gate that lets everything pass.
pub(crate) fn open() -> Gate {
    Arc::new(|_| Box::pin(std::future::ready(())))
}

type StopRule = Box<dyn Fn(&Report) -> bool + Send>;

#[derive(Default)]
struct Desk {
    reports: Vec<Report>,
    claimed: i64,
    fences: bool,
    stops: Option<StopRule>,
}

/// The world.
#[derive(Clone)]
pub(crate) struct Lab {
    pub(crate) sim: Sim,
    desk: Arc<Mutex<Desk>>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) took: Duration,
    pub(crate) reports: Vec<Report>,
}

/// One try of a job.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) operation: Operation,
    pub(crate) job: String,
    pub(crate) agent: String,
    pub(crate) fence: i64,
    pub(crate) seed: u64,
    pub(crate) gate: Gate,
    pub(crate) signal: watch::Sender<bool>,
    /// Settings that differ from the usual.
    pub(crate) vars: Vec<(&'static str, &'static str)>,
}

impl Attempt {
    pub(crate) fn new(operation: Operation, fence: i64) -> Self {
        Self {
            operation,
            job: JOB.to_owned(),
            agent: AGENT.to_owned(),
            fence,
            seed: 1,
            gate: open(),
            signal: watch::Sender::new(false),
            vars: Vec::new(),
        }
    }

    pub(crate) fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    fn settings(&self, sim: &Sim) -> (WireSettings, CloudSettings) {
        let fence = self.fence.to_string();
        let lookup = |name: &str| {
            let given = self.vars.iter().find(|(key, _)| *key == name);
            let value = match name {
                _ if given.is_some() => given.map(|(_, value)| *value).unwrap_or_default(),
                "JOB_ID" => &self.job,
                "AGENT_ID" => &self.agent,
                "FENCE" => &fence,
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
        let wire = WireSettings::read(self.operation, &lookup).unwrap();
        let mut cloud = CloudSettings::read(&lookup).unwrap();
        cloud.hetzner.url = sim.hetzner_url();
        cloud.tailscale.url = sim.tailscale_url();
        (wire, cloud)
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(quick())
    }

    pub(crate) fn with(config: SimConfig) -> Self {
        let desk = Desk {
            fences: true,
            ..Desk::default()
        };
        Self {
            sim: Sim::in_process(config),
            desk: Arc::new(Mutex::new(desk)),
        }
    }

    /// The callback believes everybody, whatever attempt is newer.
    pub(crate) fn believes_all(&self) {
        self.desk.lock().unwrap().fences = false;
    }

    /// Reports that fit are answered with `continue: false`.
    pub(crate) fn stops(&self, fits: impl Fn(&Report) -> bool + Send + 'static) {
        self.desk.lock().unwrap().stops = Some(Box::new(fits));
    }

    /// One attempt from claim to final report.
    pub(crate) async fn run(&self, attempt: &Attempt) -> Ended {
        let (secrets, dice) = (Secrets::new(), Dice::seeded(attempt.seed));
        let out = Box::new(std::io::sink());
        let actions = Actions::new(
            ActionsSettings::default(),
            secrets.clone(),
            dice.clone(),
            out,
        );
        let clock = self.sim.clone();
        let transport = self.transport(&attempt.gate);
        let world = World {
            providers: transport.clone(),
            callback: transport,
            heart: Handle::current(),
            dice,
            clock: Clock::new(move || clock.unix_seconds()),
            secrets,
            actions: Arc::new(actions),
            signal: attempt.signal.subscribe(),
        };
        let (wire, cloud) = attempt.settings(&self.sim);
        let started = Instant::now();
        let before = self.desk.lock().unwrap().reports.len();
        let end = Box::pin(operate(world, wire, Ok(cloud))).await;
        let took = started.elapsed();
        let mut reports = self.desk.lock().unwrap().reports.clone();
        reports.drain(..before);
        reports.retain(|report| report.sender.fence() == attempt.fence);
        Ended { end, took, reports }
    }

    fn transport(&self, gate: &Gate) -> Transport {
        let (lab, gate) = (self.clone(), Arc::clone(gate));
        let calls = Arc::new(AtomicUsize::new(0));
        Transport::service(service_fn(move |request: http::Request<Bytes>| {
            let (lab, gate) = (lab.clone(), Arc::clone(&gate));
            let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
            let call = format!("{} {}", request.method(), request.uri());
            async move {
                let mut moment = Moment {
                    number,
                    call,
                    after: false,
                };
                gate(moment.clone()).await;
                let answer = lab.answer(request).await;
                moment.after = true;
                gate(moment).await;
                answer.ok_or_else(|| BoxError::from("the connection broke"))
            }
        }))
    }

    async fn answer(&self, request: http::Request<Bytes>) -> Option<http::Response<Bytes>> {
        if request.uri().host() != Some("callback.sim") {
            return self.sim.carry(request).await;
        }
        let report: Report = serde_json::from_slice(request.body()).unwrap();
        let mut desk = self.desk.lock().unwrap();
        let fence = report.sender.fence();
        desk.claimed = desk.claimed.max(fence);
        let fenced = desk.fences && fence < desk.claimed;
        let stopped = desk.stops.as_ref().is_some_and(|fits| fits(&report));
        desk.reports.push(report);
        let reply = Reply {
            go_on: !stopped,
            ..Reply::default()
        };
        let mut answer = http::Response::new(Bytes::from(serde_json::to_vec(&reply).unwrap()));
        if fenced {
            *answer.status_mut() = http::StatusCode::CONFLICT;
        }
        Some(answer)
    }

    /// How many calls went to Hetzner, and how many of them were refused with 429.
    pub(crate) fn hetzner_calls(&self) -> (usize, usize) {
        let calls = self.sim.world().calls;
        let own = calls.iter().filter(|call| call.vendor == Vendor::Hetzner);
        let refused = own.clone().filter(|call| call.status == Some(429));
        (own.count(), refused.count())
    }

    /// What is wrong with a world in which nothing of the agent may be left.
    pub(crate) fn unclean(&self) -> Option<String> {
        let world = self.sim.world();
        let keys = world.keys.iter().filter(|key| key.usable).count();
        let left = (
            world.servers.len(),
            world.devices.len(),
            keys,
            world.primary_ips.len(),
        );
        (left != (0, 0, 0, 0)).then(|| format!("servers, devices, keys, addresses: {left:?}"))
    }

    /// What is wrong with a world in which the agent has one machine, of this fence, enrolled.
    pub(crate) fn incomplete(&self, fence: i64) -> Option<String> {
        let world = self.sim.world();
        let [server] = world.servers.as_slice() else {
            return Some(format!("servers: {:?}", world.servers));
        };
        let own = fence.to_string();
        if server.name != NAME || server.labels.get("fence") != Some(&own) {
            return Some(format!("not of attempt {fence}: {server:?}"));
        }
        let devices: Vec<u64> = world.devices.iter().map(|device| device.id).collect();
        if server.device_id.is_none() || devices != Vec::from_iter(server.device_id) {
            return Some(format!("devices {devices:?}, ours {:?}", server.device_id));
        }
        let keys: Vec<_> = world.keys.iter().filter(|key| key.usable).collect();
        (!keys.is_empty()).then(|| format!("keys: {keys:?}"))
    }
}

impl Ended {
    /// The report that said how it ended.
    pub(crate) fn last(&self) -> &Report {
        let last = self.reports.iter().rfind(|report| report.is_final());
        last.expect("a final report came")
    }

    /// How often it was said that the runner lives.
    pub(crate) fn heartbeats(&self) -> usize {
        let beats = self.reports.iter().map(|report| report.said);
        beats.filter(|said| *said == Said::Heartbeat).count()
    }
}
