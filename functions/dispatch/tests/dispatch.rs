//! Nudges into dispatch, with a real database, and queue and GitHub on the other side of sockets.

#![cfg(test)]

#[path = "../../host/tests/support/queue.rs"]
mod queue;

use aws_lambda_events::event::sqs::SqsEvent;
use dispatch::{github::GitHub, handler::Deps, settings::GitHubSettings};
use domain::{AgentId, Fence, JobId, JobState, Payment, Timestamp};
use host::{Clock, Entropy, Nudge, Reader};
use http::Method;
use outbound::{Client, Dice, NetworkSettings, Secrets, Transport};
use queue::{Queue, Sent};
use serde_json::json;
use sim::{Conclusion, DelayRange, Effect, Fault, FaultBody, GithubConfig, Sim, SimConfig, Vendor};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{
    AgentStatus, ConnectConfig, EventRecord, JobStatus, MachineFacts, PaymentRecord, ReportRecord,
    ReportSaid, Store, migrate,
};
use uuid::Uuid;

struct World {
    deps: Deps,
    store: Store,
    queue: Queue,
    sim: Sim,
    seconds: Arc<AtomicI64>,
    ids: AtomicU64,
}

impl World {
    async fn new() -> Self {
        Self::with_token(&GithubConfig::default().token).await
    }

    async fn with_token(token: &str) -> Self {
        let postgres = localpg::shared().await.unwrap();
        let url = postgres.fresh_database("dispatch").await.unwrap();
        let config = ConnectConfig {
            url: url.into(),
            ca_pem: None,
        };
        migrate(&config).await.unwrap();
        Self::on(&config, token).await
    }

    async fn on(config: &ConnectConfig, token: &str) -> Self {
        let github = GithubConfig {
            run_name: "${{ inputs.operation }} ${{ inputs.job_id }} f${{ inputs.fence }}"
                .to_owned(),
            run_start_delay: DelayRange::NONE,
            ..GithubConfig::default()
        };
        let sim = Sim::start(SimConfig {
            github,
            ..SimConfig::default()
        })
        .await
        .unwrap();
        let queue = Queue::start().await;
        let seconds = Arc::new(AtomicI64::new(sim.unix_seconds()));
        let clock = Arc::clone(&seconds);
        let api = sim.github_url();
        let settings = GitHubSettings::read(Reader::new([
            ("GITHUB_TOKEN", token),
            ("GITHUB_REPOSITORY", "acme/agents"),
            ("GITHUB_API_URL", &api),
            ("CALLBACK_URL", "https://cb.test/callback"),
        ]));
        let network = Transport::network(&NetworkSettings::default()).unwrap();
        let http = Client::new(network, Secrets::new(), Dice::seeded(1));
        let deps = Deps {
            store: Store::new(config).unwrap(),
            nudges: queue.nudges(),
            github: GitHub::new(http, settings),
            clock: Clock::from_fn(move || {
                Timestamp::from_unix_seconds(clock.load(Ordering::SeqCst))
            }),
            entropy: Entropy::seeded(1),
        };
        let store = Store::new(config).unwrap();
        Self {
            deps,
            store,
            queue,
            sim,
            seconds,
            ids: AtomicU64::new(1),
        }
    }

    fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    fn id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::SeqCst)))
    }

    /// A paid agent with a queued job.
    async fn paid(&self) -> (AgentId, JobId) {
        let agent_id = AgentId(self.id());
        let payment = PaymentRecord {
            event: EventRecord {
                event_id: format!("evt_{agent_id}").parse().unwrap(),
                kind: "checkout.session.completed".to_owned(),
                created: 1,
                livemode: false,
                subscription_id: None,
                payload: "{}".to_owned(),
            },
            subscription_id: format!("sub_{agent_id}").parse().unwrap(),
            payment: Payment::Active,
            agent_id,
            other_agent_id: AgentId(self.id()),
            reference: None,
            region: "eu-west".to_owned(),
            name: "agent".to_owned(),
            job_id: JobId(self.id()),
        };
        let outcome = self
            .store
            .record_payment(&payment, self.now())
            .await
            .unwrap();
        (agent_id, outcome.queued_job_id.unwrap())
    }

    /// Delivers nudges; answers the ids of those given back to the queue.
    async fn nudge(&self, bodies: &[String]) -> Vec<String> {
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

    async fn look(&self) {
        assert_eq!(self.nudge(&["{}".to_owned()]).await, Vec::<String>::new());
    }

    async fn status(&self, agent: AgentId) -> AgentStatus {
        self.store
            .agent_status(agent, self.now())
            .await
            .unwrap()
            .unwrap()
    }

    async fn job(&self, agent: AgentId) -> JobStatus {
        self.status(agent).await.job.unwrap()
    }

    fn strike(&self, method: Method, path: &str, effect: Effect) {
        self.sim
            .add_fault(Fault::once(Vendor::Github, method, path, effect));
    }

    fn runs(&self) -> usize {
        self.sim.world().runs.len()
    }
}

fn timer(job: JobId, due: Timestamp, delay_seconds: u64) -> Sent {
    Sent {
        nudge: Nudge::job(job, due),
        delay_seconds,
    }
}

fn after(start: Timestamp, seconds: u64) -> Timestamp {
    start.plus(Duration::from_secs(seconds))
}

#[tokio::test]
async fn a_nudge_starts_a_run_and_leaves_a_timer() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    let nudge = Nudge::job(job, world.now()).body();
    assert_eq!(
        world
            .nudge(&[nudge.clone(), nudge, "garbage".to_owned()])
            .await,
        [""; 0]
    );
    let runs = world.sim.world().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].inputs["agent_id"], agent.to_string());
    assert_eq!(runs[0].inputs["fence"], "1");
    assert_eq!(
        world.queue.take(),
        [timer(job, after(world.now(), 300), 302)]
    );
    assert_eq!(world.job(agent).await.state, JobState::Dispatched);
    world.look().await;
    assert_eq!(world.runs(), 1);
    assert_eq!(world.queue.take(), []);
}

#[tokio::test]
async fn a_refusal_leaves_the_job_queued_with_its_reason_and_is_repeated() {
    let world = World::with_token("ghp_wrong").await;
    let (agent, job) = world.paid().await;
    let start = world.now();
    world.look().await;
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(
        status
            .reason
            .unwrap()
            .starts_with("GITHUB_TOKEN was refused (401)")
    );
    let retry = timer(job, after(start, 30), 32);
    assert_eq!(
        world.queue.take(),
        [timer(job, after(start, 300), 302), retry]
    );
    world.pass(32);
    world.look().await;
    assert_eq!(
        world.queue.take().pop(),
        Some(timer(job, after(start, 92), 62))
    );
}

#[tokio::test]
async fn a_wait_longer_than_the_queue_can_hold_is_handed_from_nudge_to_nudge() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    let start = world.now();
    let limit = Effect::github_secondary_limit(403, Some(3600));
    world.strike(Method::POST, "/dispatches", limit);
    world.look().await;
    let due = after(start, 3600);
    assert_eq!(world.job(agent).await.due, Some(due));
    for _ in 0..4 {
        assert_eq!(world.runs(), 0);
        // Nobody but the newest nudge says anything.
        let newest = world.queue.take().pop().expect("a nudge is under way");
        assert!(newest.delay_seconds <= 900, "the queue holds no longer");
        world.pass(i64::try_from(newest.delay_seconds).unwrap());
        world.nudge(&[Nudge::job(job, due).body()]).await;
    }
    assert_eq!(world.runs(), 1);
    assert!(world.now() < after(due, 10), "it is not late");
}

#[tokio::test]
async fn settings_that_are_missing_are_the_reason_and_lose_nothing() {
    let world = World::with_token("").await;
    let (agent, _) = world.paid().await;
    world.look().await;
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("GITHUB_TOKEN: is missing"));
    assert_eq!(world.sim.world().calls, []);
}

#[tokio::test]
async fn a_run_whose_acceptance_was_lost_is_found_and_waited_for() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    world.strike(Method::POST, "/dispatches", Effect::CutAfter);
    world.look().await;
    assert_eq!(world.job(agent).await.state, JobState::Queued);
    world.queue.take();
    world.pass(302);
    world.look().await;
    assert_eq!(world.runs(), 1, "nothing was dispatched again");
    assert_eq!(
        world.queue.take(),
        [timer(job, after(world.now(), 300), 302)]
    );
}

#[tokio::test]
async fn a_dispatch_that_surely_made_no_run_is_repeated_once() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    let start = world.now();
    let gone = || Effect::Status {
        status: 500,
        body: FaultBody::Empty,
    };
    world.strike(Method::POST, "/dispatches", gone());
    world.look().await;
    assert_eq!(world.runs(), 0);
    world.pass(302);
    world.strike(Method::POST, "/dispatches", gone());
    world.look().await;
    assert_eq!(world.runs(), 0);
    world.pass(302);
    world.look().await;
    assert_eq!(world.runs(), 0, "it is repeated only once");
    world.queue.take();
    world.pass(302);
    world.look().await;
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("no runner took the run"));
    let sent = world.queue.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].nudge.job, Some(job));
    assert!(sent[0].delay_seconds <= 32 && world.now() > after(start, 900));
}

#[tokio::test]
async fn the_same_attempt_is_dispatched_again_when_github_shows_no_run() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.strike(Method::POST, "/dispatches", Effect::CutBefore);
    world.look().await;
    world.pass(302);
    world.look().await;
    let runs = world.sim.world().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].inputs["fence"], "1");
    assert_eq!(world.job(agent).await.state, JobState::Dispatched);
}

#[tokio::test]
async fn a_run_that_ended_unclaimed_expires_its_attempt() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.look().await;
    let run = world.sim.world().runs[0].id;
    world.sim.run_finished(run, Conclusion::StartupFailure);
    world.pass(302);
    world.look().await;
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("the run ended at GitHub"));
    world.pass(40);
    world.look().await;
    assert_eq!(world.sim.world().runs[1].inputs["fence"], "2");
}

#[tokio::test]
async fn a_run_that_never_starts_is_stopped_after_15_minutes() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.look().await;
    for _ in 0..3 {
        world.pass(302);
        world.look().await;
    }
    assert!(world.sim.world().runs[0].cancel_requested);
    assert_eq!(world.job(agent).await.state, JobState::Queued);
}

fn claim(job_id: JobId, fresh: Uuid, run: u64) -> ReportRecord {
    ReportRecord {
        job_id,
        fence: Fence(1),
        workflow_run_id: run.to_string(),
        run_attempt: 1,
        seq: 1,
        step: None,
        facts: MachineFacts::default(),
        said: ReportSaid::Progress,
        fresh_job_id: JobId(fresh),
    }
}

#[tokio::test]
async fn a_claimed_attempt_is_watched_until_its_lease_is_over() {
    let world = World::new().await;
    let (agent, job) = world.paid().await;
    world.look().await;
    world.queue.take();
    let run = world.sim.world().runs[0].id;
    world.pass(10);
    let claimed = world.now();
    world
        .store
        .apply_report(&claim(job, world.id(), run), claimed)
        .await
        .unwrap();
    world.pass(100);
    let beat = ReportRecord {
        seq: 2,
        ..claim(job, world.id(), run)
    };
    world.store.apply_report(&beat, world.now()).await.unwrap();
    let due = after(world.now(), 180);
    world.pass(82);
    let early = Nudge::job(job, after(claimed, 180)).body();
    world.nudge(&[early.clone(), early.clone()]).await;
    assert_eq!(world.queue.take(), [timer(job, due, 100)]);
    world.nudge(&[early]).await;
    assert_eq!(world.queue.take(), [], "one timer is enough");
    world.pass(100);
    world.look().await;
    assert!(world.sim.world().runs[0].cancel_requested);
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("not heard of in time"));
}

#[tokio::test]
async fn more_than_a_batch_is_worked_off_by_further_nudges() {
    let world = World::new().await;
    for _ in 0..9 {
        world.paid().await;
    }
    world.look().await;
    assert_eq!(world.runs(), 8);
    let more = Sent {
        nudge: Nudge::EMPTY,
        delay_seconds: 0,
    };
    assert_eq!(world.queue.take().pop(), Some(more));
    world.look().await;
    assert_eq!(world.runs(), 9);
}

#[tokio::test]
async fn while_the_database_is_away_nudges_are_sent_anew() {
    let url = "postgres://127.0.0.1:9/nowhere".to_owned();
    let world = World::on(
        &ConnectConfig {
            url: url.into(),
            ca_pem: None,
        },
        "t",
    )
    .await;
    let job = Nudge::job(JobId(world.id()), world.now());
    let bodies = [job.body(), "garbage".to_owned()];
    assert_eq!(world.nudge(&bodies).await, [""; 0]);
    let anew = |nudge| Sent {
        nudge,
        delay_seconds: 60,
    };
    assert_eq!(world.queue.take(), [anew(job), anew(Nudge::EMPTY)]);
    world.queue.be_away(true);
    assert_eq!(world.nudge(&bodies).await, ["m0", "m1"]);
}

#[tokio::test]
async fn without_its_timer_no_run_is_started() {
    let world = World::new().await;
    let (agent, _) = world.paid().await;
    world.queue.be_away(true);
    assert_eq!(world.nudge(&["{}".to_owned()]).await, ["m0"]);
    assert_eq!(world.runs(), 0);
    let status = world.job(agent).await;
    assert_eq!(status.state, JobState::Queued);
    assert!(status.reason.unwrap().contains("JOB_QUEUE_URL"));
    world.queue.be_away(false);
    world.pass(30);
    world.look().await;
    assert_eq!(world.runs(), 1);
}
