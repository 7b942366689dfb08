//! Sends reports: signs each copy anew, repeats what got no answer, keeps the lease alive
//! between them. Runs as a task of its own, so that blocking work elsewhere cannot starve it.
//! It must not know what the runner is doing, only what it has made.

use crate::{
    clock::Clock,
    lease::{Halt, Lease},
    made::Ledger,
    settings::WireSettings,
};
use contract::{
    ErrorBody, ErrorClass, InventoryRow, Outcome, Reply, Report, SIGNATURE_HEADER, Said, Sender,
    Step, sign,
};
use outbound::{Answer, Client, Repeat, Request};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};

/// One copy of a report waits this long for its answer.
const TRY_MAX: Duration = Duration::from_secs(10);
/// First pause before a copy is sent again; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause before a copy is sent again.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Pause before a heartbeat that got no answer is made again.
const BEAT_AGAIN: Duration = Duration::from_secs(5);

/// An inventory is told so long after it was read: the callback judges by it what has not changed
/// for two minutes.
const INVENTORY_AGE_MAX: Duration = Duration::from_secs(100);

/// What was listed, and when.
#[derive(Debug, Clone)]
pub(crate) struct Inventory {
    pub(crate) at: Instant,
    pub(crate) rows: Vec<InventoryRow>,
}

/// What a report says, without who says it.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) said: Said,
    pub(crate) step: Option<Step>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) inventory: Option<Inventory>,
    pub(crate) error: Option<String>,
    pub(crate) error_class: Option<ErrorClass>,
    pub(crate) failed_step: Option<String>,
}

impl Draft {
    /// A draft that says `said` and nothing else yet.
    pub(crate) const fn new(said: Said) -> Self {
        Self {
            said,
            step: None,
            outcome: None,
            inventory: None,
            error: None,
            error_class: None,
            failed_step: None,
        }
    }

    /// A step that took effect.
    pub(crate) const fn step(step: Step) -> Self {
        let mut draft = Self::new(Said::Provisioning);
        draft.step = Some(step);
        draft
    }
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// 200.
    Acknowledged(Box<Reply>),
    /// 409.
    Fenced,
    /// Refused for good; says why.
    Refused(String),
    /// No answer that counts; it may have been stored.
    Unknown(String),
}

/// How reports are made and sent.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) client: Client,
    pub(crate) wire: WireSettings,
    pub(crate) clock: Clock,
    pub(crate) made: Ledger,
}

impl Post {
    /// Sends one copy, stamped and signed now.
    async fn once(&self, draft: &Draft, seq: i64, limit: Duration) -> Heard {
        let body = match self.report(draft, seq).to_body() {
            Ok(body) => body,
            Err(error) => return Heard::Refused(format!("it cannot be written: {error}")),
        };
        let secret = self.wire.callback_secret.expose_secret();
        let request = Request::post(&self.wire.inputs.callback_url)
            .header(SIGNATURE_HEADER, &sign(secret.as_bytes(), &body))
            .body("application/json", body)
            .repeat(Repeat::Never)
            .deadline(limit.min(TRY_MAX));
        match self.client.send(request).await {
            Ok(answer) => heard(&answer),
            Err(failure) => Heard::Unknown(failure.to_string()),
        }
    }

    /// Sends copies until one is answered or `until()` has come.
    pub(crate) async fn deliver(
        &self,
        draft: &Draft,
        seq: i64,
        until: impl Fn() -> Instant,
        acknowledged: impl Fn(Instant, &Reply),
    ) -> Heard {
        let mut pause = PAUSE_FIRST;
        loop {
            let sent_at = Instant::now();
            let limit = until().saturating_duration_since(sent_at);
            let heard = self.once(draft, seq, limit).await;
            match &heard {
                Heard::Acknowledged(reply) => acknowledged(sent_at, reply),
                Heard::Unknown(why) => {
                    tracing::debug!(why, seq, "a report got no answer that counts");
                    let wait = self.client.dice().around(pause);
                    if Instant::now() + wait < until() {
                        sleep(wait).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                        continue;
                    }
                }
                Heard::Fenced | Heard::Refused(_) => {}
            }
            return heard;
        }
    }

    fn report(&self, draft: &Draft, seq: i64) -> Report {
        let sender = Sender::Attempt {
            fence: self.wire.inputs.fence,
            run: self.wire.run.clone(),
            sent_at: self.clock.unix_seconds(),
        };
        let mut report = Report::new(self.wire.inputs.job_id.clone(), sender, seq, draft.said);
        let draft = draft.clone();
        report.step = draft.step;
        report.facts = self.made.facts();
        report.outcome = draft.outcome;
        let fresh = draft
            .inventory
            .filter(|list| list.at.elapsed() < INVENTORY_AGE_MAX);
        report.inventory = fresh.map(|list| list.rows);
        report.error = draft.error;
        report.error_class = draft.error_class;
        report.failed_step = draft.failed_step;
        report
    }
}

fn heard(answer: &Answer) -> Heard {
    match answer.status() {
        // What stands at the address answers, and it is not the callback.
        200..=299 if is_page(answer) => {
            Heard::Unknown(answer.complaint("it is a page").to_string())
        }
        // A bare 200 is a reply too: then inputs and defaults are used.
        200..=299 => Heard::Acknowledged(Box::new(answer.json().unwrap_or_default())),
        409 => Heard::Fenced,
        408 | 429 | 500..=599 => Heard::Unknown(complaint(answer)),
        // A gateway or a firewall on the way may say anything; only the callback's word counts.
        _ if said(answer).is_none() => Heard::Unknown(complaint(answer)),
        _ => Heard::Refused(complaint(answer)),
    }
}

fn is_page(answer: &Answer) -> bool {
    answer.body().trim_ascii_start().starts_with(b"<")
}

/// What the callback said is wrong.
fn said(answer: &Answer) -> Option<String> {
    let body = serde_json::from_slice::<ErrorBody>(answer.body());
    body.ok().map(|body| body.error.message)
}

fn complaint(answer: &Answer) -> String {
    let text = said(answer).unwrap_or_else(|| "no reason given".to_owned());
    answer.complaint(&text).to_string()
}

/// A report to be sent, until when, and who waits for the answer.
struct Message {
    draft: Draft,
    until: Option<Instant>,
    answer: oneshot::Sender<Heard>,
}

/// The handle to the reporting task; the task ends with it.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    messages: mpsc::Sender<Message>,
}

impl Reporter {
    /// Starts the task on `heart`, which must not be the runtime that blocking work runs on.
    pub(crate) fn start(post: Post, lease: Lease, heart: &Handle) -> Self {
        let (messages, inbox) = mpsc::channel(1);
        heart.spawn(
            Task {
                post,
                lease,
                inbox,
                seq: 0,
                next_beat: None,
            }
            .run(),
        );
        Self { messages }
    }

    /// Sends a report, repeating it until the lease runs out or the run must end.
    pub(crate) async fn send(&self, draft: Draft) -> Heard {
        self.ask(draft, None).await
    }

    /// Sends a report, repeating it until `until`.
    pub(crate) async fn send_until(&self, draft: Draft, until: Instant) -> Heard {
        self.ask(draft, Some(until)).await
    }

    async fn ask(&self, draft: Draft, until: Option<Instant>) -> Heard {
        let (answer, heard) = oneshot::channel();
        let gone = || Heard::Unknown("the reporting task ended".to_owned());
        if self
            .messages
            .send(Message {
                draft,
                until,
                answer,
            })
            .await
            .is_err()
        {
            return gone();
        }
        heard.await.unwrap_or_else(|_| gone())
    }
}

/// The reporting task.
struct Task {
    post: Post,
    lease: Lease,
    inbox: mpsc::Receiver<Message>,
    seq: i64,
    /// Heartbeats begin once the claim is acknowledged.
    next_beat: Option<Instant>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let next_beat = self.next_beat;
            let beat = async {
                match next_beat {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                message = self.inbox.recv() => match message {
                    Some(message) => self.deliver(message).await,
                    None => return,
                },
                () = beat => if let Some(message) = self.beat().await {
                    self.deliver(message).await;
                },
            }
        }
    }

    async fn deliver(&mut self, message: Message) {
        let Message {
            draft,
            until,
            mut answer,
        } = message;
        self.seq = self.seq.saturating_add(1);
        let lease = self.lease.clone();
        let heard = tokio::select! {
            heard = self.post.deliver(
                &draft,
                self.seq,
                || until.unwrap_or_else(|| lease.ends()),
                |sent_at, reply| lease.renew(sent_at, reply.lease_seconds),
            ) => heard,
            // Whoever asked has given up, as on a signal.
            () = answer.closed() => return,
        };
        self.note(&heard);
        // The asker may have gone in this very moment; then nobody needs the answer.
        drop(answer.send(heard));
    }

    /// One heartbeat. It gives way to a report: that renews the lease as well.
    async fn beat(&mut self) -> Option<Message> {
        self.seq = self.seq.saturating_add(1);
        let draft = Draft::new(Said::Heartbeat);
        let sent_at = Instant::now();
        let heard = tokio::select! {
            heard = self.post.once(&draft, self.seq, TRY_MAX) => heard,
            message = self.inbox.recv() => return message,
        };
        if let Heard::Acknowledged(reply) = &heard {
            self.lease.renew(sent_at, reply.lease_seconds);
        }
        self.note(&heard);
        None
    }

    /// Draws what follows for the lease and the next heartbeat.
    fn note(&mut self, heard: &Heard) {
        let now = Instant::now();
        let every = self.post.wire.heartbeat;
        match heard {
            Heard::Acknowledged(reply) => {
                self.next_beat = Some(now + every);
                if !reply.go_on {
                    self.lease.halt(Halt::Stopped);
                }
            }
            Heard::Unknown(_) => {
                let again = self.post.client.dice().around(BEAT_AGAIN.min(every));
                self.next_beat = self.next_beat.map(|_| now + again);
            }
            Heard::Fenced => self.halt(Halt::Fenced),
            Heard::Refused(why) => self.halt(Halt::Refused(why.clone())),
        }
    }

    fn halt(&mut self, why: Halt) {
        self.next_beat = None;
        self.lease.halt(why);
    }
}
