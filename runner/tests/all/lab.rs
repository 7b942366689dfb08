//! One agent's world in one process and virtual time: the fakes, a callback that knows fences,
//! and attempts whose every outside call passes a gate that can watch, hold or kill.

use crate::harness::{AGENT, HETZNER_TOKEN, JOB, NAME, TAILSCALE_SECRET, quick};
use bytes::Bytes;
use contract::{Operation, Reply, Report, Said, ServerFacts, Spec};
use futures_util::future::BoxFuture;
use http::Method;
use outbound::{BoxError, Dice, Secrets, Transport};
use runner::{
    Actions, ActionsSettings, Clock, CloudSettings, End, WireSettings, World, doctor, operate,
};
use serde_json::{Value, json};
use sim::{Sim, SimConfig, Vendor};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::Instant,
};
use tower::service_fn;
use url::form_urlencoded;

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
    spec: Option<Spec>,
    whole_inventory: bool,
    is_a_page: bool,
    heard: Option<Vec<(String, Value)>>,
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

    /// A variable of the attempt's environment.
    fn variable(&self, name: &str) -> Option<String> {
        let given = self.vars.iter().find(|(key, _)| *key == name);
        let fence = self.fence.to_string();
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
    }

    pub(crate) fn settings(&self, sim: &Sim) -> (WireSettings, CloudSettings) {
        let lookup = |name: &str| self.variable(name);
        let wire = WireSettings::read(self.operation, &lookup).unwrap();
        let mut cloud = CloudSettings::read(&lookup).unwrap();
        cloud.hetzner.url = sim.hetzner_url();
        cloud.tailscale.url = sim.tailscale_url();
        (wire, cloud)
    }

    /// What an attempt gets from outside. Needs a tokio runtime around it.
    pub(crate) fn world(&self, transport: Transport, clock: Clock) -> World {
        let (secrets, dice) = (Secrets::new(), Dice::seeded(self.seed));
        let out = Box::new(std::io::sink());
        let actions = Actions::new(
            ActionsSettings::default(),
            secrets.clone(),
            dice.clone(),
            out,
        );
        World {
            providers: transport.clone(),
            callback: transport,
            heart: Handle::current(),
            dice,
            clock,
            secrets,
            actions: Arc::new(actions),
            signal: self.signal.subscribe(),
        }
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(quick())
    }

    pub(crate) fn with(config: SimConfig) -> Self {
        Self::around(Sim::in_process(config))
    }

    /// A world that is there already.
    pub(crate) fn around(sim: Sim) -> Self {
        let desk = Desk {
            fences: true,
            ..Desk::default()
        };
        Self {
            sim,
            desk: Arc::new(Mutex::new(desk)),
        }
    }

    /// The callback believes everybody, whatever attempt is newer.
    pub(crate) fn believes_all(&self) {
        self.desk.lock().unwrap().fences = false;
    }

    /// A newer attempt of this fence has claimed.
    pub(crate) fn claimed_by(&self, fence: i64) {
        self.desk.lock().unwrap().claimed = fence;
    }

    /// Reports that fit are answered with `continue: false`.
    pub(crate) fn stops(&self, fits: impl Fn(&Report) -> bool + Send + 'static) {
        self.desk.lock().unwrap().stops = Some(Box::new(fits));
    }

    /// Something else stands at the callback's address, and answers everything with a page.
    pub(crate) fn has_a_page_for_a_callback(&self) {
        self.desk.lock().unwrap().is_a_page = true;
    }

    /// Reports are answered with `continue: true` again.
    pub(crate) fn stops_no_more(&self) {
        self.desk.lock().unwrap().stops = None;
    }

    /// What the replies to claims carry.
    pub(crate) fn tells(&self, spec: Spec, whole_inventory: bool) {
        let mut desk = self.desk.lock().unwrap();
        desk.spec = Some(spec);
        desk.whole_inventory = whole_inventory;
    }

    /// Keeps what Hetzner and Tailscale answer from now on; gives what it has kept so far, with
    /// the addresses that were asked.
    pub(crate) fn listen(&self) -> Vec<(String, Value)> {
        let mut desk = self.desk.lock().unwrap();
        desk.heard.replace(Vec::new()).unwrap_or_default()
    }

    /// Makes an auth key at Tailscale that nobody uses; gives its id.
    pub(crate) async fn add_key(&self, description: &str) -> String {
        let create = json!({"reusable": false, "preauthorized": true, "tags": ["tag:agent"]});
        let body = json!({
            "capabilities": {"devices": {"create": create}},
            "description": description,
        });
        let key = self.tailscale_by_hand("/tailnet/-/keys", &body).await;
        key["id"].as_str().unwrap().to_owned()
    }

    /// Gives a device this tag and no other.
    pub(crate) async fn retag(&self, device: &str, tag: &str) {
        let path = format!("/device/{device}/tags");
        self.tailscale_by_hand(&path, &json!({"tags": [tag]})).await;
    }

    /// Gives a server another name.
    pub(crate) async fn rename(&self, server: u64, name: &str) {
        self.change_server(server, &json!({"name": name})).await;
    }

    /// Gives a server these labels and no others.
    pub(crate) async fn relabel(&self, server: u64, labels: &[(&str, &str)]) {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        self.change_server(server, &json!({"labels": labels})).await;
    }

    /// Tells the one machine that is there to shut down.
    pub(crate) async fn shut_down_by_hand(&self) {
        let server = self.sim.world().servers[0].id;
        let path = format!("/servers/{server}/actions/shutdown");
        self.hetzner_by_hand(Method::POST, &path, &json!({})).await;
    }

    async fn change_server(&self, server: u64, change: &Value) {
        let path = format!("/servers/{server}");
        self.hetzner_by_hand(Method::PUT, &path, change).await;
    }

    /// A change at Hetzner as a person with the token makes it.
    async fn hetzner_by_hand(&self, method: Method, path: &str, body: &Value) {
        let call = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.sim.hetzner_url()))
            .header("authorization", format!("Bearer {HETZNER_TOKEN}"))
            .header("content-type", "application/json")
            .body(body.to_string().into());
        let answer = self.sim.carry(call.unwrap()).await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// A POST to Tailscale as a person with the OAuth client makes it.
    async fn tailscale_by_hand(&self, path: &str, body: &Value) -> Value {
        let url = self.sim.tailscale_url();
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", "kSimCNTRL")
            .append_pair("client_secret", TAILSCALE_SECRET)
            .finish();
        let ask = |path: &str, kind: &str, body: String| {
            http::Request::post(format!("{url}{path}"))
                .header("content-type", kind)
                .body(body.into())
        };
        let form = ask("/oauth/token", "application/x-www-form-urlencoded", form).unwrap();
        let token = json(&self.sim.carry(form).await.unwrap());
        let mut post = ask(path, "application/json", body.to_string()).unwrap();
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        post.headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        json(&self.sim.carry(post).await.unwrap())
    }

    /// One attempt from claim to final report.
    pub(crate) async fn run(&self, attempt: &Attempt) -> Ended {
        let world = self.world(attempt);
        let (wire, cloud) = attempt.settings(&self.sim);
        let started = Instant::now();
        let before = self.desk.lock().unwrap().reports.len();
        let end = Box::pin(operate(world, wire, Ok(cloud))).await;
        let took = started.elapsed();
        let mut reports = self.desk.lock().unwrap().reports.clone();
        reports.drain(..before);
        reports.retain(|report| {
            report.sender.fence() == attempt.fence && report.job_id == attempt.job
        });
        assert_written_once(&reports);
        Ended { end, took, reports }
    }

    /// One attempt that dies right after the effect of its first call to an address that ends so.
    pub(crate) async fn dies_after(&self, attempt: Attempt, end: &str) {
        let death = Arc::new(Notify::new());
        let (dies, end) = (Arc::clone(&death), end.to_owned());
        let gate: Gate = Arc::new(move |moment| {
            let dead = moment.after && moment.call.ends_with(&end);
            if dead {
                dies.notify_one();
            }
            Box::pin(async move {
                if dead {
                    std::future::pending::<()>().await;
                }
            })
        });
        let attempt = attempt.gate(gate);
        tokio::select! {
            ended = self.run(&attempt) => panic!("it did not die: {ended:#?}"),
            () = death.notified() => {}
        }
    }

    /// Checks settings, as a person would before the first job. Gives what was printed.
    pub(crate) async fn doctor(&self) -> String {
        let attempt = Attempt::new(Operation::Provision, 1);
        // The host names decide in this world; settings take no plain http for them.
        let hetzner = self.sim.hetzner_url().replace("http:", "https:");
        let tailscale = self.sim.tailscale_url().replace("http:", "https:");
        let lookup = |name: &str| match name {
            "HETZNER_API_URL" => Some(hetzner.clone()),
            "TAILSCALE_API_URL" => Some(tailscale.clone()),
            _ => attempt.variable(name),
        };
        let mut out = Vec::new();
        doctor(self.world(&attempt), &lookup, &mut out).await;
        String::from_utf8(out).unwrap()
    }

    fn world(&self, attempt: &Attempt) -> World {
        let clock = self.sim.clone();
        let clock = Clock::new(move || clock.unix_seconds());
        attempt.world(self.transport(&attempt.gate), clock)
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
            let address = request.uri().to_string();
            let answer = self.sim.carry(request).await?;
            if let Some(heard) = &mut self.desk.lock().unwrap().heard {
                let body = serde_json::from_slice(answer.body());
                heard.push((address, body.unwrap_or_default()));
            }
            return Some(answer);
        }
        let report: Report = serde_json::from_slice(request.body()).unwrap();
        let mut desk = self.desk.lock().unwrap();
        if desk.is_a_page {
            let page = "\n<!doctype html><title>This domain is parked</title>";
            return Some(http::Response::new(Bytes::from_static(page.as_bytes())));
        }
        let fence = report.sender.fence();
        desk.claimed = desk.claimed.max(fence);
        let fenced = desk.fences && fence < desk.claimed;
        let stopped = desk.stops.as_ref().is_some_and(|fits| fits(&report));
        let claims = report.seq == 1;
        desk.reports.push(report);
        let reply = Reply {
            go_on: !stopped,
            spec: desk.spec.clone().filter(|_| claims),
            inventory: desk.whole_inventory && claims,
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

/// The body of a success; null when it has none.
fn json(answer: &http::Response<Bytes>) -> Value {
    assert!(answer.status().is_success(), "{answer:?}");
    if answer.body().is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(answer.body()).unwrap()
}

/// The callback takes a fact that differs from an earlier one of the same attempt for a
/// contradiction.
pub(crate) fn assert_written_once(reports: &[Report]) {
    let facts: [fn(&ServerFacts) -> &Option<String>; 5] = [
        |facts| &facts.server_id,
        |facts| &facts.server_ip,
        |facts| &facts.tailscale_ip,
        |facts| &facts.device_id,
        |facts| &facts.server_name,
    ];
    for fact in facts {
        let told = reports
            .iter()
            .filter_map(|report| fact(&report.facts).as_ref());
        let values: BTreeSet<_> = told.collect();
        assert!(values.len() <= 1, "told differently: {values:?}");
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
