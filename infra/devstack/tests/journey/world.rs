//! A stack for one test: a database of its own, fakes without delays, everything tapped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use devstack::{AgentView, Binaries, Customer, Payment, Stack, StackConfig, Taps};
use secrecy::SecretString;
use sim::{DelayRange, SimConfig};
use store::ConnectConfig;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Longest that any journey may take on a busy machine.
const JOURNEY_MAX: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);

static BINARIES: OnceCell<Binaries> = OnceCell::const_new();

/// A stack, its customer, and what went over its wires.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) customer: Customer,
    pub(crate) taps: Taps,
    pub(crate) database_url: String,
}

/// Fakes that take no time of their own.
pub(crate) fn prompt() -> SimConfig {
    let mut sim = SimConfig::default();
    sim.github.run_start_delay = DelayRange::NONE;
    sim.hetzner.create_delay = DelayRange::NONE;
    sim.hetzner.start_delay = DelayRange::NONE;
    sim.hetzner.boot_delay = DelayRange::NONE;
    sim.hetzner.delete_delay = DelayRange::NONE;
    sim.tailscale.enrol_delay = DelayRange::NONE;
    sim
}

async fn binaries() -> Binaries {
    let build = || async {
        let cargo = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        Binaries::build(&cargo, &std::env::current_exe().unwrap())
            .await
            .unwrap()
    };
    BINARIES.get_or_init(build).await.clone()
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A stack whose configuration was changed before its start.
    pub(crate) async fn start_with(change: impl FnOnce(&mut StackConfig)) -> Self {
        let binaries = binaries().await;
        let url = localpg::shared()
            .await
            .unwrap()
            .fresh_database("journey")
            .await
            .unwrap();
        let config = ConnectConfig {
            url: SecretString::from(url.clone()),
            ca_pem: None,
        };
        store::migrate(&config).await.unwrap();
        let taps = Taps::new();
        let mut config = StackConfig::new(url.clone(), binaries);
        config.sim = prompt();
        config.taps = Some(taps.clone());
        change(&mut config);
        let stack = Stack::start(config).await.unwrap();
        let secrets = stack.secrets();
        let customer =
            Customer::new(stack.url(), &secrets.stripe_webhook, &secrets.api_token).unwrap();
        Self {
            stack,
            customer,
            taps,
            database_url: url,
        }
    }

    /// A connection of the test's own.
    pub(crate) async fn database(&self) -> tokio_postgres::Client {
        let connected = tokio_postgres::connect(&self.database_url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Pays for a new agent.
    pub(crate) async fn pay(&self) -> Payment {
        let payment = self.customer.payment("us-east");
        self.customer.pay(&payment).await.unwrap();
        payment
    }

    /// Waits until the agent is ready; panics with what is known when it fails or takes too long.
    pub(crate) async fn ready(&self, agent_id: Uuid) -> AgentView {
        let started = Instant::now();
        let mut last = Ok(None);
        while started.elapsed() < JOURNEY_MAX {
            last = self.customer.agent(agent_id).await;
            match &last {
                Ok(Some(view)) if view.ready_unix_ms().is_some() => return view.clone(),
                Ok(Some(view)) if view.has_failed() => panic!("the agent failed: {view:?}"),
                // On a busy machine there may be no answer at first.
                Ok(Some(_) | None) | Err(_) => sleep(POLL).await,
            }
        }
        panic!("not ready in time: {last:?}\n{}", self.logs());
    }

    /// Waits until every run has ended.
    pub(crate) async fn runs_finished(&self) {
        let started = Instant::now();
        while self
            .stack
            .sim()
            .world()
            .runs
            .iter()
            .any(|run| run.conclusion.is_none())
        {
            assert!(
                started.elapsed() < JOURNEY_MAX,
                "a run does not end\n{}",
                self.logs()
            );
            sleep(POLL).await;
        }
    }

    /// Everything that any process printed.
    pub(crate) fn logs(&self) -> String {
        let mut files = files(&self.stack.state_dir().join("logs"));
        files.sort();
        let text = files.iter().map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            format!("--- {}\n{text}", file.file_name().unwrap().display())
        });
        text.collect()
    }
}

/// Files of a folder.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}
