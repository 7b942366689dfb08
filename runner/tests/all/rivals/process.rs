//! Attempts as functions of what they heard: given the answers to its calls so far, an attempt
//! stands at its next call or has ended. Each lives on a clock of its own, which stands still
//! while its call waits; so nothing but those answers decides what it does.
//! It must not know the world or the other attempt.

use super::past::Past;
use crate::lab::Attempt;
use bytes::Bytes;
use http::{Request, Response};
use outbound::{BoxError, Transport};
use runner::{Clock, End, operate};
use sim::Sim;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, oneshot},
    task::{JoinHandle, yield_now},
};
use tower::service_fn;

/// Where an attempt stands.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// Its call waits to go through.
    Call(Arc<Request<Bytes>>),
    /// It came to its end.
    Ended(End),
}

/// A call that waits for its answer.
struct Asked {
    request: Request<Bytes>,
    answer: oneshot::Sender<Response<Bytes>>,
}

/// The calls of one attempt that wait, the oldest first: a heartbeat may come to stand behind
/// another call. Its end is news as well.
#[derive(Default)]
struct Calls {
    waiting: Mutex<VecDeque<Asked>>,
    came: Notify,
}

/// A running attempt.
struct Process {
    runtime: Runtime,
    calls: Arc<Calls>,
    work: JoinHandle<End>,
}

/// Whatever is ready to run has run after so many turns of the others.
const TURNS: usize = 16;

impl Process {
    fn start(attempt: &Attempt, sim: &Sim) -> Self {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let calls = Arc::new(Calls::default());
        let asked = Arc::clone(&calls);
        let transport = Transport::service(service_fn(move |request| {
            let (answer, heard) = oneshot::channel();
            asked
                .waiting
                .lock()
                .unwrap()
                .push_back(Asked { request, answer });
            asked.came.notify_one();
            async move { heard.await.map_err(BoxError::from) }
        }));
        let (wire, cloud) = attempt.settings(sim);
        let inside = runtime.enter();
        let world = attempt.world(transport, Clock::new(|| 0));
        drop(inside);
        let over = Arc::clone(&calls);
        let work = runtime.spawn(async move {
            let end = operate(world, wire, Ok(cloud)).await;
            over.came.notify_one();
            end
        });
        let process = Self {
            runtime,
            calls,
            work,
        };
        process.go_on();
        process
    }

    /// Lets it run until a call of it waits or it has ended. Its clock moves on by itself while
    /// only its sleeps are left.
    fn go_on(&self) {
        self.runtime.block_on(async {
            loop {
                for _ in 0..TURNS {
                    yield_now().await;
                }
                if self.work.is_finished() || !self.calls.waiting.lock().unwrap().is_empty() {
                    return;
                }
                self.calls.came.notified().await;
            }
        });
    }

    fn hear(&self, request: &Request<Bytes>, answer: Response<Bytes>) {
        let asked = self.calls.waiting.lock().unwrap().pop_front().unwrap();
        let same = asked.request.method() == request.method()
            && asked.request.uri() == request.uri()
            && asked.request.body() == request.body();
        assert!(
            same,
            "the same answers led to other calls: {request:?}, {:?}",
            asked.request
        );
        // A caller that does not wait any more has given up; on its own clock none does.
        asked.answer.send(answer).expect("the caller waits");
        self.go_on();
    }

    fn next(&mut self) -> Next {
        if let Some(asked) = self.calls.waiting.lock().unwrap().front() {
            return Next::Call(Arc::new(asked.request.clone()));
        }
        let end = self.runtime.block_on(&mut self.work);
        Next::Ended(end.unwrap())
    }
}

/// So many attempts are kept alive, in case they are asked to go on.
const LIVE_MAX: usize = 64;

/// All that is known of how one attempt goes on.
pub(super) struct Processes {
    attempt: Attempt,
    /// Only its addresses are used.
    sim: Sim,
    known: HashMap<u64, Next>,
    live: HashMap<u64, Process>,
    /// How many had to be started.
    pub(super) started: usize,
}

impl Processes {
    pub(super) fn of(attempt: Attempt, sim: Sim) -> Self {
        Self {
            attempt,
            sim,
            known: HashMap::new(),
            live: HashMap::new(),
            started: 0,
        }
    }

    /// How the attempt goes on after its past.
    pub(super) fn next(&mut self, past: &Past) -> Next {
        if let Some(next) = self.known.get(&past.hash()) {
            return next.clone();
        }
        let before = past
            .last()
            .and_then(|last| self.live.remove(&last.before.hash()));
        let mut process = match (before, past.last()) {
            (Some(process), Some(last)) => {
                process.hear(&last.request, last.answer.clone());
                process
            }
            _ => self.replay(past),
        };
        let next = process.next();
        if self.live.len() >= LIVE_MAX {
            self.live.clear();
        }
        self.live.insert(past.hash(), process);
        self.known.insert(past.hash(), next.clone());
        next
    }

    fn replay(&mut self, past: &Past) -> Process {
        self.started += 1;
        let process = Process::start(&self.attempt, &self.sim);
        for heard in past.all() {
            process.hear(&heard.request, heard.answer.clone());
        }
        process
    }
}
