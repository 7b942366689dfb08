//! A stack whose time can be made to pass, and what must hold of it at any time and in the end.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use devstack::{Ageing, AgentView, Order, Payment, StackConfig};
use domain::{AgentId, AgentState, Timestamp};
use store::{AgentStatus, ConnectConfig, Store};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::world::World;

/// Scenes at once, on a machine of two cores.
pub(crate) const SCENES_AT_ONCE: usize = 3;

/// So many looks in a row must find that nothing goes on: what was just then between two places
/// where it can be seen has come to one of them. Looks and no span of time, because a process that
/// was held up for that span has seen nothing of it.
const STILL_LOOKS: u32 = 10;
const POLL: Duration = Duration::from_millis(20);
/// How much older the world becomes at once; shorter than every deadline in it.
const AGE: Duration = Duration::from_secs(30);
/// Two hours: four attempts with their waits and a clean-up fit several times.
const ROUNDS_MAX: u32 = 240;
/// What is to come by itself comes within this, on a busy machine: dispatch sends what it could
/// not handle to itself again, to come a minute later.
pub(crate) const SOON: Duration = Duration::from_mins(3);
/// A runner that gets no answer asks again for a while before it gives up.
const WORK_MAX: Duration = Duration::from_mins(2);

/// The stack and its data.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) store: Store,
    pub(crate) ageing: Ageing,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A scene whose configuration was changed before its start.
    pub(crate) async fn with(change: impl FnOnce(&mut StackConfig)) -> Self {
        let world = World::start_with(change).await;
        let config = ConnectConfig {
            url: world.database_url.clone().into(),
            ca_pem: None,
        };
        let queue = world.stack.queue();
        let ageing = Ageing::connect(&world.database_url, queue).await.unwrap();
        Self {
            world,
            store: Store::new(&config).unwrap(),
            ageing,
        }
    }

    /// Pays for a new agent. Delivers as Stripe does: again, until somebody says that it was
    /// taken.
    pub(crate) async fn pay(&self) -> Payment {
        let payment = self.world.customer.payment("us-east");
        self.deliver(&payment.body).await;
        payment
    }

    pub(crate) async fn deliver(&self, event: &str) {
        for _ in 0..20 {
            let answer = self.world.customer.deliver(event).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
        }
        panic!("the event is never taken\n{}", self.world.logs());
    }

    /// The agent as its owner sees it.
    pub(crate) async fn page(&self, agent_id: Uuid) -> AgentView {
        let page = patiently(|| self.world.customer.agent(agent_id)).await;
        page.expect("the agent is known")
    }

    /// Orders something until there is an answer; answers whether it was taken.
    pub(crate) async fn order(&self, agent_id: Uuid, order: Order) -> bool {
        let key = Uuid::from_u128(rand::random());
        patiently(|| self.world.customer.order_as(agent_id, order, key)).await
    }

    /// Read past the functions: they would nudge when they see something overdue.
    pub(crate) async fn status(&self, agent_id: Uuid) -> AgentStatus {
        let status = self.seen(agent_id).await;
        status.expect("what was taken has an agent")
    }

    pub(crate) async fn seen(&self, agent_id: Uuid) -> Option<AgentStatus> {
        let epoch = Timestamp::from_unix_seconds(0);
        patiently(|| self.store.agent_status(AgentId(agent_id), epoch)).await
    }

    /// Waits, without letting time pass, until the agent's status is so.
    pub(crate) async fn until(
        &self,
        agent_id: Uuid,
        what: &str,
        is_so: impl Fn(&AgentStatus) -> bool,
    ) -> AgentStatus {
        let started = Instant::now();
        loop {
            let status = self.status(agent_id).await;
            if is_so(&status) {
                return status;
            }
            let logs = || self.world.logs();
            assert!(
                started.elapsed() < SOON,
                "not {what}: {status:?}\n{}",
                logs()
            );
            sleep(POLL).await;
        }
    }

    /// Waits until the agent is in this state and no job of it is open.
    pub(crate) async fn comes_to(&self, agent_id: Uuid, state: AgentState) -> AgentStatus {
        let resting = |status: &AgentStatus| status.state == state && !is_working(status);
        self.until(agent_id, state.as_str(), resting).await
    }

    async fn are_settled(&self, agents: &[Uuid]) -> bool {
        for agent in agents {
            if self
                .seen(*agent)
                .await
                .is_some_and(|status| !is_at_rest(&status))
            {
                return false;
            }
        }
        self.runs_are_over()
    }

    pub(crate) fn runs_are_over(&self) -> bool {
        let world = self.world.stack.sim().world();
        world.runs.iter().all(|run| run.conclusion.is_some())
    }

    fn said(&self) -> usize {
        let record = self.world.taps.record();
        record.iter().map(|process| process.turns.len()).sum()
    }

    /// Waits until nobody works on anything and nobody says anything: whatever happens next,
    /// happens later.
    pub(crate) async fn silence(&self) {
        let started = Instant::now();
        let (mut said, mut still) = (self.said(), 0);
        while still < STILL_LOOKS {
            let logs = || self.world.logs();
            assert!(started.elapsed() < WORK_MAX, "no silence\n{}", logs());
            sleep(POLL).await;
            let before = std::mem::replace(&mut said, self.said());
            let goes_on = said != before || self.world.stack.is_at_work();
            still = if goes_on { 0 } else { still + 1 };
        }
    }

    /// Waits until everything is at rest, without letting time pass.
    pub(crate) async fn comes_to_rest(&self, agents: &[Uuid]) {
        let started = Instant::now();
        while !self.are_settled(agents).await {
            let logs = || self.world.logs();
            assert!(started.elapsed() < SOON, "no rest\n{}", logs());
            sleep(POLL).await;
        }
        self.silence().await;
    }

    /// Lets time pass at once.
    pub(crate) async fn pass(&self, time: Duration) {
        self.ageing.pass(time).await.unwrap();
    }

    pub(crate) async fn check_data(&self) {
        let contradictions = patiently(|| self.store.contradictions()).await;
        assert_eq!(contradictions, Vec::<String>::new());
    }

    /// Lets time pass until everything is at rest. Checks each time that the data is in order
    /// and that somebody will look again.
    pub(crate) async fn settle(&self, agents: &[Uuid]) {
        for _ in 0..ROUNDS_MAX {
            self.silence().await;
            self.check_data().await;
            if self.are_settled(agents).await {
                return;
            }
            let stuck = self.world.stack.queue().depth() == 0 && self.runs_are_over();
            assert!(
                !stuck,
                "nothing will ever happen again\n{}",
                self.world.logs()
            );
            self.pass(AGE).await;
        }
        panic!("it does not settle\n{}", self.world.logs());
    }

    /// What must be outside once everything is settled: a server and a device for each agent
    /// that works or rests with its data, and no other; nor a key that could still be used.
    pub(crate) async fn check_outside(&self, agents: &[Uuid]) {
        let mut wanted = BTreeSet::new();
        for agent in agents {
            let Some(status) = self.seen(*agent).await else {
                continue;
            };
            match status.state {
                AgentState::Failed => assert!(status.reason.is_some(), "{agent} says why"),
                AgentState::Active | AgentState::Paused | AgentState::Suspended => {
                    let instance = status.instance.expect("it has an instance");
                    wanted.insert((format!("agent-{agent}"), instance.server_id));
                }
                AgentState::Draft
                | AgentState::Provisioning
                | AgentState::AwaitingCredentials
                | AgentState::Stopping
                | AgentState::Starting
                | AgentState::Deleting
                | AgentState::Deleted
                | AgentState::DeleteFailed => {}
            }
        }
        let world = self.world.stack.sim().world();
        let servers = world.servers.iter();
        let servers: BTreeSet<_> = servers
            .map(|server| (server.name.clone(), server.id.to_string()))
            .collect();
        assert_eq!(servers, wanted, "{}", self.world.logs());
        let mut devices: Vec<_> = world.devices.iter().map(|d| d.hostname.clone()).collect();
        devices.sort();
        let names: Vec<_> = wanted.into_iter().map(|(name, _)| name).collect();
        assert_eq!(devices, names, "{}", self.world.logs());
        let usable = world.keys.iter().filter(|key| key.usable).count();
        assert_eq!(usable, 0, "usable keys are left\n{}", self.world.logs());
    }
}

/// What the store or a function answers. On a busy machine it may fail to at first.
pub(crate) async fn patiently<F, T, E>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: Debug,
{
    let started = Instant::now();
    loop {
        match ask().await {
            Err(_) if started.elapsed() < SOON => sleep(POLL).await,
            answer => return answer.unwrap(),
        }
    }
}

/// Whether a job of it is open.
pub(crate) fn is_working(status: &AgentStatus) -> bool {
    status.job.as_ref().is_some_and(|job| job.state.is_open())
}

/// Whether nothing is left to do for an agent.
fn is_at_rest(status: &AgentStatus) -> bool {
    let moving = match status.state {
        AgentState::Provisioning
        | AgentState::Stopping
        | AgentState::Starting
        | AgentState::Deleting => true,
        AgentState::Draft
        | AgentState::Active
        | AgentState::AwaitingCredentials
        | AgentState::Paused
        | AgentState::Suspended
        | AgentState::Deleted
        | AgentState::Failed
        | AgentState::DeleteFailed => false,
    };
    !moving && !is_working(status)
}
