//! A database of its own for each test, and the short sentences that tests are made of.

use crate::{
    AcceptedReport, CheckoutRecord, ConnectConfig, EventOutcome, EventRecord, MachineFacts,
    OpenedAttempt, ReportOutcome, ReportRecord, ReportSaid, Store, connect, migrate,
};
use domain::{AgentId, ErrorClass, JobId, News, Timestamp};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio_postgres::Client;
use uuid::Uuid;

pub(super) struct World {
    pub(super) store: Store,
    pub(super) url: String,
    next_id: AtomicU64,
}

pub(super) const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

pub(super) fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

impl World {
    pub(super) async fn new() -> Self {
        let url = localpg::shared()
            .await
            .unwrap()
            .fresh_database("store")
            .await
            .unwrap();
        let config = ConnectConfig {
            url: url.clone().into(),
            ca_pem: None,
        };
        migrate(&config).await.unwrap();
        Self {
            store: Store::new(&config).unwrap(),
            url,
            next_id: AtomicU64::new(1),
        }
    }

    /// A connection of the test's own, to look at tables.
    pub(super) async fn client(&self) -> Client {
        connect::connect(&self.url.parse().unwrap(), None)
            .await
            .unwrap()
    }

    /// Empties the tables, and begins the ids anew.
    pub(super) async fn clear(&self) {
        self.next_id.store(1, Ordering::Relaxed);
        // Of tables this small rows are gone quicker than files.
        let everything = "DELETE FROM timeline; DELETE FROM instances; DELETE FROM attempts;
            DELETE FROM jobs; DELETE FROM checkouts; DELETE FROM payment_marks;
            DELETE FROM payment_refs; DELETE FROM subscriptions; DELETE FROM agents;
            DELETE FROM stripe_events; DELETE FROM commands; DELETE FROM run_cancels;
            DELETE FROM inventory_turns; DELETE FROM strays";
        self.store.batch(everything).await.unwrap();
    }

    /// Fails when the data contradicts itself.
    pub(super) async fn check(&self) {
        assert_eq!(
            self.store.contradictions().await.unwrap(),
            Vec::<String>::new()
        );
    }

    /// Ids in the order asked for.
    pub(super) fn id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.next_id.fetch_add(1, Ordering::Relaxed)))
    }

    /// A paid checkout.
    pub(super) fn payment(&self, event: &str, subscription: &str, agent: AgentId) -> EventRecord {
        EventRecord {
            event_id: event.parse().unwrap(),
            kind: "checkout.session.completed".to_owned(),
            created: 100,
            livemode: false,
            payload: "{}".to_owned(),
            subscription_id: Some(subscription.parse().unwrap()),
            references: Vec::new(),
            news: Some(News::Active),
            dispute: None,
            checkout: Some(CheckoutRecord {
                session_id: format!("cs_{subscription}"),
                made_at: 90,
                binds: true,
                agent_id: agent,
                other_agent_id: AgentId(self.id()),
                reference: None,
                region: "us-east".to_owned(),
                name: "agent".to_owned(),
            }),
            reason: None,
            fresh_job_id: JobId(self.id()),
        }
    }

    /// News of a subscription, at a time of its own.
    pub(super) fn news(
        &self,
        event: &str,
        subscription: &str,
        created: i64,
        news: News,
    ) -> EventRecord {
        EventRecord {
            kind: "customer.subscription.updated".to_owned(),
            created,
            news: Some(news),
            checkout: None,
            ..self.payment(event, subscription, AgentId(Uuid::nil()))
        }
    }

    pub(super) async fn pay(
        &self,
        event: &str,
        subscription: &str,
        agent: AgentId,
    ) -> EventOutcome {
        self.store
            .record_event(&self.payment(event, subscription, agent), at(0))
            .await
            .unwrap()
    }

    /// A paid agent whose provision has its first attempt open.
    pub(super) async fn opened(&self) -> OpenedAttempt {
        let agent = AgentId(self.id());
        self.pay(&format!("evt_{agent}"), &format!("sub_{agent}"), agent)
            .await;
        let mut opened = self
            .store
            .open_due_attempts(at(1), 100, self.id())
            .await
            .unwrap();
        assert_eq!(opened.len(), 1);
        opened.remove(0)
    }

    pub(super) fn report(
        &self,
        attempt: &OpenedAttempt,
        seq: i64,
        said: ReportSaid,
    ) -> ReportRecord {
        ReportRecord {
            job_id: attempt.job_id,
            fence: attempt.fence,
            workflow_run_id: "7001".to_owned(),
            run_attempt: 1,
            seq,
            step: None,
            facts: MachineFacts::default(),
            said,
            fresh_job_id: JobId(self.id()),
            installation: "default".to_owned(),
        }
    }

    pub(super) fn success(&self, attempt: &OpenedAttempt) -> ReportRecord {
        let said = ReportSaid::Succeeded {
            awaiting_credentials: false,
        };
        ReportRecord {
            facts: machine(),
            ..self.report(attempt, 9, said)
        }
    }

    pub(super) fn failure(&self, attempt: &OpenedAttempt, class: ErrorClass) -> ReportRecord {
        let said = ReportSaid::Failed {
            error: "it broke".to_owned(),
            class,
            step: Some("vm_created".to_owned()),
            retry_delays: domain::retry_delays(class, || 1.0),
        };
        self.report(attempt, 8, said)
    }

    pub(super) async fn tell(&self, report: &ReportRecord, now: Timestamp) -> ReportOutcome {
        self.store.apply_report(report, now).await.unwrap().outcome
    }

    pub(super) async fn accepted(&self, report: &ReportRecord, now: Timestamp) -> AcceptedReport {
        match self.tell(report, now).await {
            ReportOutcome::Accepted(accepted) => accepted,
            other => panic!("{report:?} was not accepted: {other:?}"),
        }
    }

    pub(super) async fn state(&self, agent: AgentId) -> String {
        let status = self
            .store
            .agent_status(agent, at(0))
            .await
            .unwrap()
            .unwrap();
        let job = status.job.map_or("none".to_owned(), |job| {
            let attempt = job.attempt.map_or("none", |attempt| attempt.state.as_str());
            format!("{} {} {attempt}", job.kind, job.state)
        });
        format!("{}: {job}", status.state)
    }
}

pub(super) fn machine() -> MachineFacts {
    MachineFacts {
        server_id: Some("42".to_owned()),
        server_ip: Some("203.0.113.5".to_owned()),
        tailscale_ip: Some("100.64.0.5".to_owned()),
        device_id: Some("n1".to_owned()),
        server_name: Some("agent-1".to_owned()),
    }
}
