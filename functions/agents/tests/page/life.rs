//! One agent's life, told to the real store in short sentences: what Stripe, dispatch, GitHub
//! and the runner would have said. Used by the tests of the pages, here and in the browser.

use domain::{AgentId, Command, ErrorClass, Fence, JobId, News, Timestamp, retry_delays};
use host::Clock;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use store::{
    CheckoutRecord, CommandRecord, EventRecord, Expiry, MachineFacts, Refusal, ReportRecord,
    ReportSaid, Store,
};
use tokio::sync::Mutex;
use uuid::Uuid;

/// The attempt that was opened last.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    job_id: JobId,
    fence: Fence,
    seq: i64,
}

#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) agent_id: AgentId,
    pub(crate) store: Store,
    clock: Clock,
    /// Microseconds beyond the clock.
    later: AtomicU64,
    /// It is paid once, not by a subscription.
    once: AtomicBool,
    ids: AtomicU64,
    attempt: Mutex<Option<Attempt>>,
}

impl Life {
    /// Of the agent with this number.
    pub(crate) fn new(store: Store, clock: Clock, number: u64) -> Self {
        Self {
            agent_id: AgentId(Uuid::from_u128(u128::from(number) << 64)),
            store,
            clock,
            later: AtomicU64::new(0),
            once: AtomicBool::new(false),
            ids: AtomicU64::new(1),
            attempt: Mutex::new(None),
        }
    }

    fn now(&self) -> Timestamp {
        let later = Duration::from_micros(self.later.load(Ordering::SeqCst));
        self.clock.now().plus(later)
    }

    /// Lets time pass for this agent.
    pub(crate) fn be_later(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap();
        self.later.fetch_add(micros, Ordering::SeqCst);
    }

    /// From its first event on it is paid once, not by a subscription.
    pub(crate) fn pays_once(&self) {
        self.once.store(true, Ordering::SeqCst);
    }

    fn id(&self) -> Uuid {
        let number = self.ids.fetch_add(1, Ordering::SeqCst);
        Uuid::from_u128(self.agent_id.0.as_u128() + u128::from(number))
    }

    /// The checkout session of its payment.
    pub(crate) fn session(&self) -> String {
        format!("cs_test_{}", self.agent_id.0.simple())
    }

    fn event(&self, news: Option<News>) -> EventRecord {
        let id = self.id();
        let about_dispute = matches!(
            news,
            Some(News::Disputed | News::DisputeWon | News::DisputeLost)
        );
        let paid = if self.once.load(Ordering::SeqCst) {
            self.session()
        } else {
            format!("sub_{}", self.agent_id)
        };
        EventRecord {
            event_id: format!("evt_{id}").parse().unwrap(),
            kind: "test".to_owned(),
            created: self.now().unix_seconds(),
            livemode: false,
            payload: "{}".to_owned(),
            subscription_id: Some(paid.parse().unwrap()),
            references: Vec::new(),
            news,
            dispute: about_dispute.then(|| format!("dp_{}", self.agent_id)),
            checkout: None,
            reason: None,
            fresh_job_id: JobId(id),
        }
    }

    async fn checkout(&self, name: &str, news: Option<News>, reason: Option<&str>) {
        let mut event = self.event(news);
        event.reason = reason.map(str::to_owned);
        event.checkout = Some(CheckoutRecord {
            session_id: self.session(),
            made_at: event.created,
            binds: news.is_some(),
            agent_id: self.agent_id,
            other_agent_id: AgentId(self.id()),
            reference: None,
            region: "eu-central".to_owned(),
            name: name.to_owned(),
        });
        if news.is_none() {
            event.subscription_id = None;
        }
        self.store.record_event(&event, self.now()).await.unwrap();
    }

    /// An agent that nobody has paid for.
    pub(crate) async fn draft(&self, name: &str) {
        let draft = store::DraftAgent {
            agent_id: self.agent_id,
            name: name.to_owned(),
            region: "eu-central".to_owned(),
            reference: None,
        };
        let fresh = JobId(self.id());
        let made = self.store.create_agent(&draft, None, fresh, self.now());
        made.await.unwrap();
    }

    /// Nobody completed the checkout of a draft.
    pub(crate) async fn checkout_expired(&self) {
        self.checkout("", None, Some("the checkout expired")).await;
    }

    /// The checkout is completed, and its money comes later.
    pub(crate) async fn pay_later(&self, name: &str) {
        let reason = Some("the payment is on its way");
        self.checkout(name, Some(News::None), reason).await;
    }

    pub(crate) async fn pay(&self, name: &str) {
        self.checkout(name, Some(News::Active), None).await;
    }

    /// Something else that Stripe says about the subscription.
    pub(crate) async fn stripe_says(&self, news: News) {
        let event = self.event(Some(news));
        self.store.record_event(&event, self.now()).await.unwrap();
    }

    /// Dispatch opens what is due.
    pub(crate) async fn open(&self) {
        let opened = self
            .store
            .open_due_attempts(self.now(), 1, self.id())
            .await
            .unwrap();
        let opened = opened.first().expect("nothing was due");
        assert_eq!(opened.agent_id, self.agent_id);
        *self.attempt.lock().await = Some(Attempt {
            job_id: opened.job_id,
            fence: opened.fence,
            seq: 0,
        });
    }

    /// GitHub accepts the run.
    pub(crate) async fn accept(&self) {
        let fence = self.attempt.lock().await.unwrap().fence;
        let now = self.now();
        let run = Some(42 + fence.0.unsigned_abs());
        self.store
            .accept_attempt(self.agent_id, fence, run, now)
            .await
            .unwrap();
    }

    /// GitHub refuses it.
    pub(crate) async fn refuse(&self, reason: &str) {
        let fence = self.attempt.lock().await.unwrap().fence;
        let now = self.now();
        let refusal = Refusal {
            reason,
            not_before: now,
            fresh_job_id: JobId(self.id()),
        };
        let refused = self
            .store
            .refuse_attempt(self.agent_id, fence, refusal, now);
        refused.await.unwrap();
    }

    /// The runner was not heard of any more.
    pub(crate) async fn expire(&self) {
        let now = self.now();
        let overdue = self.store.overdue_attempts(now, 1).await.unwrap();
        let expiry = Expiry {
            abort: false,
            runs: &[],
            reason: "the runner was not heard of in time",
            retry_delays: &retry_delays(ErrorClass::Transient, || 1.0),
            fresh_job_id: JobId(self.id()),
        };
        let expired = self.store.expire_attempt(&overdue[0], expiry, now);
        assert!(expired.await.unwrap().is_some());
    }

    pub(crate) async fn claim(&self) {
        self.report(None, ReportSaid::Progress).await;
    }

    pub(crate) async fn step(&self, step: &str) {
        self.report(Some(step), ReportSaid::Progress).await;
    }

    pub(crate) async fn succeed(&self, awaiting_credentials: bool) {
        let said = ReportSaid::Succeeded {
            awaiting_credentials,
        };
        self.report(None, said).await;
    }

    /// The attempt fails; `retries` of the waits that its class allows are left.
    pub(crate) async fn fail(&self, class: ErrorClass, error: &str, retries: usize) {
        let mut delays: Vec<Duration> = retry_delays(class, || 1.0);
        delays.truncate(retries);
        let said = ReportSaid::Failed {
            error: error.to_owned(),
            class,
            step: Some("create_server".to_owned()),
            retry_delays: delays,
        };
        self.report(None, said).await;
    }

    async fn report(&self, step: Option<&str>, said: ReportSaid) {
        let mut attempt = self.attempt.lock().await;
        let attempt = attempt.as_mut().expect("no attempt was opened");
        attempt.seq += 1;
        let number = self.agent_id.0.as_u128() >> 64;
        let report = ReportRecord {
            job_id: attempt.job_id,
            fence: attempt.fence,
            workflow_run_id: (42 + attempt.fence.0).to_string(),
            run_attempt: 1,
            seq: attempt.seq,
            step: step.map(str::to_owned),
            facts: MachineFacts {
                server_id: Some(format!("77{number}")),
                server_ip: Some("203.0.113.7".to_owned()),
                tailscale_ip: Some("100.64.0.7".to_owned()),
                device_id: None,
                server_name: Some(format!("agent-{}", self.agent_id)),
            },
            said,
            fresh_job_id: JobId(self.id()),
            installation: "default".to_owned(),
        };
        let applied = self.store.apply_report(&report, self.now()).await;
        let outcome = applied.unwrap().outcome;
        assert!(
            matches!(outcome, store::ReportOutcome::Accepted(_)),
            "{outcome:?}"
        );
    }

    pub(crate) async fn command(&self, command: Command) {
        let record = CommandRecord {
            agent_id: self.agent_id,
            command,
            by: "operator",
            key: None,
            fresh_job_id: JobId(self.id()),
        };
        self.store.command_agent(&record, self.now()).await.unwrap();
    }

    /// A whole operation without a fault, as far as its last step.
    pub(crate) async fn work(&self, steps: &[&str]) {
        self.open().await;
        self.accept().await;
        self.claim().await;
        for step in steps {
            self.step(step).await;
        }
    }

    /// Paid and active.
    pub(crate) async fn activate(&self, name: &str) {
        self.pay(name).await;
        self.work(PROVISION).await;
        self.succeed(false).await;
    }
}

/// The steps that a provision reports.
pub(crate) const PROVISION: &[&str] = &[
    "key_created",
    "vm_created",
    "enrolled",
    "ansible_started",
    "ansible_complete",
    "healthy",
];
