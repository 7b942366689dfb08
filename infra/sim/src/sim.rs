//! The handle to a running world: start it, steer it, look at it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::{Router, body::Body};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::config::SimConfig;
use crate::fault::{Fault, Vendor};
use crate::knob::Knob;
use crate::runs::{Conclusion, RunEvent};
use crate::state::State;
use crate::world::{DecoyDevice, DecoyServer, Waiting, World};
use crate::{github, hetzner, serve, tailscale};

/// A running world; clones are handles to the same one. It stops when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Sim {
    shared: Arc<Shared>,
    listeners: Option<Arc<Listeners>>,
}

/// What handles, listeners and the timer share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    events: Mutex<Events>,
    timeline_changed: Arc<Notify>,
    /// Told after each call and each thing that happened by itself.
    moved: watch::Sender<()>,
}

/// The channel to the embedder; events wait in it until somebody takes the receiver.
#[derive(Debug)]
struct Events {
    sender: mpsc::UnboundedSender<RunEvent>,
    receiver: Option<mpsc::UnboundedReceiver<RunEvent>>,
}

/// One listener per vendor; dropping it ends them and their connections.
#[derive(Debug)]
struct Listeners {
    hetzner: SocketAddr,
    tailscale: SocketAddr,
    github: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.timeline_changed.notify_one();
    }
}

impl Shared {
    /// Brings the world up to now, then looks at it or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.next_due();
        state.settle();
        let seen = look(&mut state);
        let changed = state.next_due() != before;
        let outbox = std::mem::take(&mut state.outbox);
        if !outbox.is_empty() {
            let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            for event in outbox {
                // Nobody listening any more is the embedder's choice, not an error of the world.
                drop(events.sender.send(event));
            }
        }
        drop(state);
        if changed {
            self.timeline_changed.notify_one();
        }
        seen
    }

    /// Has whoever waits for the world look again.
    pub(crate) fn moved(&self) {
        self.moved.send_replace(());
    }
}

impl Sim {
    /// The world without sockets, for [`Sim::router`] and virtual time. Its URLs have the host
    /// names `hetzner.sim`, `tailscale.sim` and `github.sim`. Needs a tokio runtime around it.
    pub fn in_process(config: SimConfig) -> Self {
        Self::of(State::new(config))
    }

    /// A world without sockets in this state.
    fn of(state: State) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let timeline_changed = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            events: Mutex::new(Events {
                sender,
                receiver: Some(receiver),
            }),
            timeline_changed: Arc::clone(&timeline_changed),
            moved: watch::Sender::new(()),
        });
        tokio::spawn(keep_time(Arc::downgrade(&shared), timeline_changed));
        Self {
            shared,
            listeners: None,
        }
    }

    /// The world behind one listener per vendor on 127.0.0.1.
    pub async fn start(config: SimConfig) -> std::io::Result<Self> {
        let mut sim = Self::in_process(config);
        let vendors = [Vendor::Hetzner, Vendor::Tailscale, Vendor::Github];
        let mut addresses = Vec::new();
        let mut tasks = Vec::new();
        for vendor in vendors {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            addresses.push(listener.local_addr()?);
            tasks.push(serve::listen(listener, sim.router(vendor)));
        }
        if let [hetzner, tailscale, github] = *addresses {
            sim.listeners = Some(Arc::new(Listeners {
                hetzner,
                tailscale,
                github,
                tasks,
            }));
        }
        Ok(sim)
    }

    /// Closes the listeners and every connection. The world can still be looked at.
    pub fn shutdown(&self) {
        if let Some(listeners) = &self.listeners {
            for task in &listeners.tasks {
                task.abort();
            }
        }
    }

    /// `http://127.0.0.1:PORT/v1`
    pub fn hetzner_url(&self) -> String {
        self.url(Vendor::Hetzner)
    }

    /// `http://127.0.0.1:PORT/api/v2`
    pub fn tailscale_url(&self) -> String {
        self.url(Vendor::Tailscale)
    }

    /// `http://127.0.0.1:PORT`
    pub fn github_url(&self) -> String {
        self.url(Vendor::Github)
    }

    fn url(&self, vendor: Vendor) -> String {
        let host = match (&self.listeners, vendor) {
            (Some(listeners), Vendor::Hetzner) => listeners.hetzner.to_string(),
            (Some(listeners), Vendor::Tailscale) => listeners.tailscale.to_string(),
            (Some(listeners), Vendor::Github) => listeners.github.to_string(),
            (None, Vendor::Hetzner) => "hetzner.sim".to_owned(),
            (None, Vendor::Tailscale) => "tailscale.sim".to_owned(),
            (None, Vendor::Github) => "github.sim".to_owned(),
        };
        format!("http://{host}{}", serve::base_path(vendor))
    }

    /// A vendor as an in-process service, base path included. A lost connection is an answer with
    /// the extension [`crate::Cut`].
    pub fn router(&self, vendor: Vendor) -> Router {
        serve::router(Arc::clone(&self.shared), vendor)
    }

    /// Carries a call in process to the vendor that its host name belongs to, as in
    /// [`Sim::hetzner_url`]. `None`: the connection broke, or the host is nobody's.
    pub async fn carry(&self, request: http::Request<Bytes>) -> Option<http::Response<Bytes>> {
        let vendor = match request.uri().host()? {
            "hetzner.sim" => Vendor::Hetzner,
            "tailscale.sim" => Vendor::Tailscale,
            "github.sim" => Vendor::Github,
            _ => return None,
        };
        let answer = self.router(vendor).oneshot(request.map(Body::from)).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        if answer.extensions().get::<serve::Cut>().is_some() {
            return None;
        }
        let (head, body) = answer.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(http::Response::from_parts(head, body))
    }

    /// The receiver of run events. Events wait until it is taken; taking it again starts a new
    /// channel and ends the one before.
    pub fn take_runs(&self) -> mpsc::UnboundedReceiver<RunEvent> {
        let mut events = self
            .shared
            .events
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = events.receiver.take() {
            return receiver;
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        events.sender = sender;
        receiver
    }

    /// The embedder started the run's job: it is `in_progress` from now on.
    pub fn run_started(&self, run_id: u64) {
        self.shared
            .with(|state| github::runs::job_started(state, run_id));
    }

    /// The run's job ended; the next run of its concurrency group may start.
    pub fn run_finished(&self, run_id: u64, conclusion: Conclusion) {
        self.shared
            .with(|state| github::runs::finish(state, run_id, conclusion));
    }

    /// A person presses "Re-run all jobs": same run id and inputs, the next attempt. False when
    /// the run is unknown or not completed.
    pub fn rerun_by_hand(&self, run_id: u64) -> bool {
        self.shared.with(|state| github::runs::rerun(state, run_id))
    }

    /// Lays a fault; several faults are tried in the order they were added, the first that strikes
    /// bends the call.
    pub fn add_fault(&self, fault: Fault) {
        self.shared.with(|state| state.faults.push(fault));
    }

    /// Takes all faults away (knobs stay).
    pub fn clear_faults(&self) {
        self.shared.with(|state| state.faults.clear());
    }

    /// Turns a knob of the world.
    pub fn turn(&self, knob: Knob) {
        self.shared.with(|state| state.turn(knob));
    }

    /// A snapshot for assertions.
    pub fn world(&self) -> World {
        self.shared.with(|state| World::of(state))
    }

    /// Waits until the world is as wished, and gives it: it is looked at now, after each call, and
    /// when something has happened by itself. Whoever asks bounds the time.
    pub async fn until(&self, mut wish: impl FnMut(&World) -> bool) -> World {
        let mut moved = self.shared.moved.subscribe();
        loop {
            let world = self.world();
            if wish(&world) || moved.changed().await.is_err() {
                return world;
            }
        }
    }

    /// Stops the world's clock: from now on it answers calls, and everything else that would
    /// happen by itself waits for [`Sim::let_happen`]. So whoever drives it decides the order.
    pub fn hold(&self) {
        self.shared.with(State::hold);
    }

    /// Lets the clock of a held world go on; what is overdue happens at once.
    pub fn go_on(&self) {
        self.shared.with(State::go_on);
    }

    /// What will happen by itself, in the order in which it is due.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.shared.with(|state| state.waiting())
    }

    /// Lets something happen that waits in a held world; its clock moves on to when that was
    /// due. False when it does not wait.
    pub fn let_happen(&self, waiting: &Waiting) -> bool {
        self.shared.with(|state| state.let_happen(waiting))
    }

    /// Another world without sockets, like this one at this moment; each then goes its own way.
    /// Its list of calls begins anew. Needs a tokio runtime around it.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::of(self.shared.with(|state| {
            let calls = std::mem::take(&mut state.calls);
            let copy = state.clone();
            state.calls = calls;
            copy
        }))
    }

    /// Unix seconds of the world's wall clock.
    pub fn unix_seconds(&self) -> i64 {
        self.shared.with(|state| state.unix_now())
    }

    /// The sum of the delays the newest server of this name was given (create, start, boot,
    /// enrolment): the part of a provision that was the fake's own waiting.
    pub fn configured_delay(&self, server_name: &str) -> Option<Duration> {
        self.shared
            .with(|state| state.hetzner.delays_of(server_name))
    }

    /// The delay the run was given between its dispatch and its start.
    pub fn configured_run_delay(&self, run_id: u64) -> Option<Duration> {
        self.shared.with(|state| state.github.delay_of(run_id))
    }

    /// Somebody deletes a server in the console, at once. False when there is none of this name.
    pub fn delete_server_by_hand(&self, name: &str) -> bool {
        self.shared
            .with(|state| hetzner::servers::delete_by_hand(state, name))
    }

    /// Somebody switches a server off in the console. False when there is none of this name.
    pub fn power_off_by_hand(&self, name: &str) -> bool {
        self.shared
            .with(|state| hetzner::servers::power_off_by_hand(state, name))
    }

    /// Puts a running server there that nobody ordered through the API; gives its id.
    pub fn add_server(&self, decoy: &DecoyServer) -> u64 {
        self.shared
            .with(|state| hetzner::servers::add_decoy(state, decoy))
    }

    /// Puts a device into the tailnet; gives its legacy id.
    pub fn add_device(&self, decoy: &DecoyDevice) -> u64 {
        self.shared
            .with(|state| tailscale::devices::add_decoy(state, decoy))
    }
}

/// Wakes the world whenever something is due, so that run events are sent in time.
async fn keep_time(shared: Weak<Shared>, changed: Arc<Notify>) {
    loop {
        let Some(next) = shared.upgrade().map(|shared| {
            let look = |state: &mut State| {
                let due = state.next_due();
                due.and_then(|offset| state.clock.at(offset))
            };
            let next = shared.with(look);
            shared.moved();
            next
        }) else {
            return;
        };
        match next {
            None => changed.notified().await,
            Some(at) => tokio::select! {
                () = changed.notified() => {}
                () = tokio::time::sleep_until(at) => {}
            },
        }
    }
}
