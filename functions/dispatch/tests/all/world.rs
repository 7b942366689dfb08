//! Dispatch, its database, its queue and its GitHub, with a clock that the test turns.

use crate::queue::{Queue, Sent};
use aws_lambda_events::event::sqs::SqsEvent;
use dispatch::{github::GitHub, handler::Deps, settings::GitHubSettings};
use domain::{AgentId, Command, Fence, JobId, News, Timestamp};
use host::{Clock, Entropy, Nudge, Reader};
use http::Method;
use outbound::{Client, Dice, NetworkSettings, Secrets, Transport};
use serde_json::json;
use sim::{DelayRange, Effect, Fault, GithubConfig, Sim, SimConfig, Vendor};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{
    AcceptedReport, AgentStatus, AttemptStatus, CheckoutRecord, CommandOutcome, CommandRecord,
    ConnectConfig, EventRecord, JobStatus, MachineFacts, ReportOutcome, ReportRecord, ReportSaid,
    RunCancel, Store, migrate,
};
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) deps: Deps,
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) sim: Sim,
    token: String,
    config: ConnectConfig,
    seconds: Arc<AtomicI64>,
    ids: AtomicU64,
}

pub(crate) fn timer(job: JobId, due: Timestamp, delay_seconds: u64) -> Sent {
    Sent {
        nudge: Nudge::job(job, due),
        delay_seconds,
    }
}

pub(crate) fn after(start: Timestamp, seconds: u64) -> Timestamp {
    start.plus(Duration::from_secs(seconds))
}

/// The fake GitHub as the workflow of this repository names its runs.
pub(crate) fn github_config() -> GithubConfig {
    GithubConfig {
        run_name: "${{ inputs.operation }} ${{ inputs.job_id }} f${{ inputs.fence }}".to_owned(),
        run_start_delay: DelayRange::NONE,
        ..GithubConfig::default()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_token(&GithubConfig::default().token).await
    }

    pub(crate) async fn with_token(token: &str) -> Self {
        let postgres = localpg::shared().await.unwrap();
        let url = postgres.fresh_database("dispatch").await.unwrap();
        let config = ConnectConfig {
            url: url.into(),
            ca_pem: None,
        };
        migrate(&config).await.unwrap();
        Self::on(config, token).await
    }

    pub(crate) async fn on(config: ConnectConfig, token: &str) -> Self {
        let sim = Sim::start(SimConfig {
            github: github_config(),
            ..SimConfig::default()
        })
        .await
        .unwrap();
        let queue = Queue::start().await;
        let seconds = Arc::new(AtomicI64::new(sim.unix_seconds()));
        Self {
            deps: dispatcher(&config, (&sim, token), &queue, &seconds),
            store: Store::new(&config).unwrap(),
            token: token.to_owned(),
            config,
            queue,
            sim,
            seconds,
            ids: AtomicU64::new(1),
        }
    }

    /// Another dispatcher of the same installation.
    pub(crate) fn another(&self) -> Deps {
        let github = (&self.sim, &*self.token);
        dispatcher(&self.config, github, &self.queue, &self.seconds)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::SeqCst)))
    }

    /// What Stripe says when a fresh agent is paid.
    pub(crate) fn payment(&self) -> EventRecord {
        let agent_id = AgentId(self.id());
        EventRecord {
            event_id: format!("evt_{agent_id}").parse().unwrap(),
            kind: "checkout.session.completed".to_owned(),
            created: 1,
            livemode: false,
            payload: "{}".to_owned(),
            subscription_id: Some(format!("sub_{agent_id}").parse().unwrap()),
            references: Vec::new(),
            news: Some(News::Active),
            dispute: None,
            checkout: Some(CheckoutRecord {
                session_id: format!("cs_{agent_id}"),
                made_at: 1,
                binds: true,
                agent_id,
                other_agent_id: AgentId(self.id()),
                reference: None,
                region: "eu-west".to_owned(),
                name: "agent".to_owned(),
            }),
            reason: None,
            fresh_job_id: JobId(self.id()),
        }
    }

    /// A paid agent with a queued job.
    pub(crate) async fn paid(&self) -> (AgentId, JobId) {
        let payment = self.payment();
        let outcome = self.store.record_event(&payment, self.now()).await.unwrap();
        (outcome.agent_id.unwrap(), outcome.queued_job_id.unwrap())
    }

    /// Its owner deletes the agent.
    pub(crate) async fn delete(&self, agent_id: AgentId) {
        let command = CommandRecord {
            agent_id,
            command: Command::Delete,
            by: "operator",
            key: None,
            fresh_job_id: JobId(self.id()),
        };
        let outcome = self
            .store
            .command_agent(&command, self.now())
            .await
            .unwrap();
        assert!(
            matches!(outcome, CommandOutcome::Applied { .. }),
            "{outcome:?}"
        );
    }

    pub(crate) fn record(&self, job_id: JobId, run: u64, seq: i64) -> ReportRecord {
        ReportRecord {
            job_id,
            fence: Fence(1),
            workflow_run_id: run.to_string(),
            run_attempt: 1,
            seq,
            step: None,
            facts: MachineFacts::default(),
            said: ReportSaid::Progress,
            fresh_job_id: JobId(self.id()),
            installation: "default".to_owned(),
        }
    }

    /// The runner of the run reports; none when it is turned away.
    pub(crate) async fn report(&self, record: &ReportRecord) -> Option<AcceptedReport> {
        let applied = self.store.apply_report(record, self.now()).await.unwrap();
        match applied.outcome {
            ReportOutcome::Accepted(accepted) => Some(accepted),
            ReportOutcome::Fenced => None,
            ReportOutcome::Repeat | ReportOutcome::UnknownJob | ReportOutcome::ConflictingIds => {
                panic!("{:?}", applied.outcome)
            }
        }
    }

    /// Delivers nudges; answers the ids of those given back to the queue.
    pub(crate) async fn nudge(&self, bodies: &[String]) -> Vec<String> {
        let records: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(place, body)| json!({"messageId": format!("m{place}"), "body": body}))
            .collect();
        let event: SqsEvent = serde_json::from_value(json!({"Records": records})).unwrap();
        let response = Box::pin(self.deps.handle(event)).await;
        response
            .batch_item_failures
            .into_iter()
            .map(|item| item.item_identifier)
            .collect()
    }

    pub(crate) async fn look(&self) {
        assert_eq!(self.nudge(&["{}".to_owned()]).await, Vec::<String>::new());
    }

    /// Time passes until `end`; every nudge that was sent comes when it should, and nobody else
    /// calls.
    pub(crate) async fn nudges_until(&self, end: Timestamp) {
        let mut under_way: Vec<(Timestamp, Nudge)> = Vec::new();
        loop {
            let sent = self.queue.take().into_iter();
            under_way.extend(sent.map(|one| (after(self.now(), one.delay_seconds), one.nudge)));
            under_way.sort_by_key(|(at, _)| *at);
            if under_way.first().is_none_or(|(at, _)| *at > end) {
                break;
            }
            let (at, nudge) = under_way.remove(0);
            self.set(at);
            self.nudge(&[nudge.body()]).await;
        }
        self.set(end);
        for (at, nudge) in under_way {
            let delay = at.since(self.now());
            self.deps.nudges.send(&nudge, delay).await.unwrap();
        }
    }

    fn set(&self, now: Timestamp) {
        assert!(self.now() <= now, "time does not go back");
        self.seconds.store(now.unix_seconds(), Ordering::SeqCst);
    }

    pub(crate) async fn status(&self, agent: AgentId) -> AgentStatus {
        self.store
            .agent_status(agent, self.now())
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn job(&self, agent: AgentId) -> JobStatus {
        self.status(agent).await.job.unwrap()
    }

    pub(crate) async fn attempt(&self, agent: AgentId) -> AttemptStatus {
        self.job(agent).await.attempt.unwrap()
    }

    /// Runs that have to end, whenever they are looked at.
    pub(crate) async fn to_end(&self) -> Vec<RunCancel> {
        let far = after(self.now(), 100_000);
        self.store.due_run_cancels(far, 100).await.unwrap()
    }

    pub(crate) fn strike(&self, method: Method, path: &str, effect: Effect) {
        self.sim
            .add_fault(Fault::once(Vendor::Github, method, path, effect));
    }

    pub(crate) fn runs(&self) -> usize {
        self.sim.world().runs.len()
    }

    /// Calls to GitHub that stop a run: `cancel` and `force-cancel`.
    pub(crate) fn stops(&self) -> (usize, usize) {
        let world = self.sim.world();
        let count = |part| world.calls_to(Vendor::Github, &Method::POST, part).len();
        (count("/cancel"), count("/force-cancel"))
    }
}

fn dispatcher(
    config: &ConnectConfig,
    (sim, token): (&Sim, &str),
    queue: &Queue,
    seconds: &Arc<AtomicI64>,
) -> Deps {
    let clock = Arc::clone(seconds);
    let settings = GitHubSettings::read(Reader::new([
        ("GITHUB_TOKEN", token),
        ("GITHUB_REPOSITORY", "acme/agents"),
        ("GITHUB_API_URL", &sim.github_url()),
        ("CALLBACK_URL", "https://cb.test/callback"),
    ]));
    let network = Transport::network(&NetworkSettings::default()).unwrap();
    let http = Client::new(network, Secrets::new(), Dice::seeded(1));
    Deps {
        store: Store::new(config).unwrap(),
        nudges: queue.nudges(),
        github: GitHub::new(http, settings),
        clock: Clock::from_fn(move || Timestamp::from_unix_seconds(clock.load(Ordering::SeqCst))),
        entropy: Entropy::seeded(1),
    }
}
