//! How long the reads behind the pages take with 10,000 agents: `cargo bench -p agents`.
//! Times are taken at the caller, one read after another on loopback, so they are a little more
//! than the database's own.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its numbers and ends at the first fault"
)]

#[expect(dead_code, reason = "the tests use the rest of it")]
#[path = "../../host/tests/support/queue.rs"]
mod queue;

use agents::{
    handler::{Deps, routes},
    link::{LINK_LIFE, make},
};
use axum::{Router, body::Body, http::Request};
use domain::{
    AgentId, AgentState, Command, ErrorClass, JobId, JobKind, News, Timestamp, retry_delays,
};
use futures_util::{StreamExt, stream};
use host::{Clock, Entropy};
use secrecy::SecretString;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use store::{
    AgentFilter, CheckoutRecord, CommandRecord, ConnectConfig, EventRecord, MachineFacts,
    OpenedAttempt, ReportRecord, ReportSaid, Store, migrate,
};
use tower::ServiceExt;
use uuid::Uuid;

const AGENTS: u32 = 10_000;
const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const READS: usize = 1000;
const STEPS: [&str; 5] = [
    "key_created",
    "vm_created",
    "enrolled",
    "ansible_complete",
    "healthy",
];

fn at(seconds: u32) -> Timestamp {
    START.plus(Duration::from_secs(seconds.into()))
}

fn agent(number: u32) -> AgentId {
    AgentId(Uuid::from_u128(u128::from(number) << 64))
}

/// A fresh id that sorts as random ids do.
fn fresh(entropy: &Entropy) -> JobId {
    JobId(entropy.uuid_v7(START))
}

#[derive(Debug)]
struct Fleet {
    stores: Vec<Store>,
    entropy: Entropy,
}

impl Fleet {
    fn store(&self, number: u32) -> &Store {
        let number = usize::try_from(number).unwrap();
        &self.stores[number % self.stores.len()]
    }

    async fn pay(&self, number: u32) {
        let event = EventRecord {
            event_id: format!("evt_{number}").parse().unwrap(),
            kind: "checkout.session.completed".to_owned(),
            created: 1,
            livemode: false,
            payload: "{}".to_owned(),
            subscription_id: Some(format!("sub_{number}").parse().unwrap()),
            references: vec![format!("in_{number}")],
            news: Some(News::Active),
            dispute: None,
            checkout: Some(CheckoutRecord {
                session_id: format!("cs_{number}"),
                made_at: 1,
                binds: true,
                agent_id: agent(number),
                other_agent_id: AgentId(self.entropy.uuid_v7(START)),
                reference: Some(format!("order {number}")),
                region: "eu-central".to_owned(),
                name: format!("agent number {number}"),
            }),
            reason: None,
            fresh_job_id: fresh(&self.entropy),
        };
        let now = at(number);
        self.store(number).record_event(&event, now).await.unwrap();
    }

    async fn report(&self, attempt: &OpenedAttempt, seq: u32, said: (Option<&str>, ReportSaid)) {
        let number = u32::try_from(attempt.agent_id.0.as_u128() >> 64).unwrap();
        let report = ReportRecord {
            job_id: attempt.job_id,
            fence: attempt.fence,
            workflow_run_id: number.to_string(),
            run_attempt: 1,
            seq: seq.into(),
            step: said.0.map(str::to_owned),
            facts: MachineFacts {
                server_id: Some(number.to_string()),
                server_ip: Some("203.0.113.7".to_owned()),
                tailscale_ip: Some("100.64.0.7".to_owned()),
                device_id: None,
                server_name: None,
            },
            said: said.1,
            fresh_job_id: fresh(&self.entropy),
            installation: "default".to_owned(),
        };
        let now = at(AGENTS + seq * 10);
        self.store(number).apply_report(&report, now).await.unwrap();
    }

    /// Most become active; 1 in 20 fails, 1 in 20 stops half-way.
    async fn work(&self, attempt: OpenedAttempt) {
        let number = u32::try_from(attempt.agent_id.0.as_u128() >> 64).unwrap();
        let steps: &[&str] = if attempt.kind == JobKind::Provision {
            &STEPS
        } else {
            &["stopped"]
        };
        let mut seq = 1;
        let progress = (None, ReportSaid::Progress);
        self.report(&attempt, seq, progress).await;
        for step in steps {
            seq += 1;
            if number % 20 == 7 && seq == 4 {
                return;
            }
            self.report(&attempt, seq, (Some(step), ReportSaid::Progress))
                .await;
        }
        let said = if number % 20 == 3 {
            ReportSaid::Failed {
                error: "no server to be had".to_owned(),
                class: ErrorClass::Capacity,
                step: None,
                retry_delays: retry_delays(ErrorClass::Capacity, || 1.0)
                    .into_iter()
                    .take(usize::from(number % 40 == 3))
                    .collect(),
            }
        } else {
            ReportSaid::Succeeded {
                awaiting_credentials: false,
            }
        };
        self.report(&attempt, seq + 1, (None, said)).await;
    }

    async fn work_off(&self, now: Timestamp) {
        loop {
            let call = self.entropy.uuid_v7(now);
            let opened = self.stores[0].open_due_attempts(now, 500, call).await;
            let opened = opened.unwrap();
            if opened.is_empty() {
                return;
            }
            stream::iter(opened)
                .for_each_concurrent(8, |attempt| self.work(attempt))
                .await;
        }
    }

    async fn stop(&self, number: u32) {
        let record = CommandRecord {
            agent_id: agent(number),
            command: Command::Stop,
            by: "customer",
            key: None,
            fresh_job_id: fresh(&self.entropy),
        };
        let now = at(AGENTS + 100);
        self.store(number)
            .command_agent(&record, now)
            .await
            .unwrap();
    }
}

/// Prints the median, the 95th of 100 and the longest of many reads.
async fn measure<F: Future>(name: &str, reads: usize, read: impl Fn(usize) -> F) {
    let mut times = Vec::new();
    for number in 0..reads {
        let begun = Instant::now();
        read(number).await;
        times.push(begun.elapsed());
    }
    times.sort();
    let share = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    println!(
        "{name:<44} median {:7.2} ms   p95 {:7.2} ms   longest {:7.2} ms",
        share(50),
        share(95),
        share(100)
    );
}

async fn status_reads(store: &Store) {
    for (state, name) in [
        (AgentState::Active, "status, at rest"),
        (AgentState::Provisioning, "status, provisioning"),
        (AgentState::Stopping, "status, stopping (a rare kind)"),
        (AgentState::Failed, "status, failed"),
    ] {
        let filter = AgentFilter {
            state: Some(state),
            limit: 200,
            ..AgentFilter::default()
        };
        let agents = store.agents_page(&filter).await.unwrap();
        assert!(!agents.is_empty(), "no agent is {state}");
        let now = at(AGENTS + 200);
        measure(name, READS, |read| {
            let id = agents[read % agents.len()].agent_id;
            async move { store.agent_status(id, now).await.unwrap().unwrap() }
        })
        .await;
    }
}

async fn list_reads(store: &Store) {
    let now = at(AGENTS + 200);
    let overview = || async { store.overview(now).await.unwrap() };
    measure("overview", READS / 10, |_| overview()).await;
    let filter = AgentFilter {
        limit: 51,
        ..AgentFilter::default()
    };
    let failed = AgentFilter {
        state: Some(AgentState::Failed),
        ..filter.clone()
    };
    let found = AgentFilter {
        text: Some("number 4711".to_owned()),
        ..filter.clone()
    };
    for (name, filter) in [
        ("list, newest", &filter),
        ("list, of one state", &failed),
        ("list, by text", &found),
    ] {
        let page = || async { store.agents_page(filter).await.unwrap() };
        measure(name, READS / 10, |_| page()).await;
    }
}

async fn pages(router: &Router, key: &SecretString) {
    let now = at(AGENTS + 200);
    let customer = format!("/s/{}/now", make(key, agent(1), now.plus(LINK_LIFE)));
    let agent = format!("/?agent={}", agent(1));
    for (name, path) in [
        ("customer's page, whole answer", customer.as_str()),
        ("operator's page, whole answer", "/"),
        ("operator's page, by text", "/?q=number+4711"),
        ("operator's page, one agent", &agent),
    ] {
        measure(name, READS / 10, |_| async {
            let request = Request::get(path)
                .header("authorization", "Bearer operator-token")
                .body(Body::empty())
                .unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert!(answer.status().is_success(), "{path}");
            axum::body::to_bytes(answer.into_body(), 1 << 24)
                .await
                .unwrap()
        })
        .await;
    }
}

#[tokio::main]
async fn main() {
    let postgres = localpg::shared().await.expect("PostgreSQL starts");
    let url = postgres.fresh_database("reads").await.unwrap();
    let config = ConnectConfig {
        url: url.into(),
        ca_pem: None,
    };
    migrate(&config).await.unwrap();
    let connect = || Store::new(&config).unwrap();
    let fleet = Fleet {
        stores: std::iter::repeat_with(connect).take(8).collect(),
        entropy: Entropy::seeded(1),
    };
    let begun = Instant::now();
    stream::iter(1..=AGENTS)
        .for_each_concurrent(8, |number| fleet.pay(number))
        .await;
    fleet.work_off(at(AGENTS)).await;
    // Few operations of another kind than nearly all, then some that are under way.
    for number in [1, 2, 4, 5, 6] {
        fleet.stop(number).await;
    }
    fleet.work_off(at(AGENTS + 110)).await;
    stream::iter((8..AGENTS).step_by(100))
        .for_each_concurrent(8, |number| fleet.stop(number))
        .await;
    println!("{AGENTS} agents in {:.0} s", begun.elapsed().as_secs_f64());
    let store = connect();
    status_reads(&store).await;
    list_reads(&store).await;
    let key = SecretString::from("0123456789abcdef0123456789abcdef");
    let deps = Deps {
        store,
        nudges: queue::Queue::start().await.nudges(),
        clock: Clock::from_fn(|| at(AGENTS + 200)),
        entropy: Entropy::seeded(2),
        api_token: "operator-token".to_owned().into(),
        link_key: key.clone(),
        public_url: None,
    };
    pages(&routes(Arc::new(deps)), &key).await;
}
