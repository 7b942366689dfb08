//! The environment of every process of a stack: the settings of DESIGN §6, and what AWS and
//! GitHub set themselves. Nothing is inherited.

use sim::{Sim, SimConfig};

use crate::process::Value;
use crate::secrets::Secrets;

/// Everything that settings point at.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) database_url: &'a str,
    pub(crate) queue_endpoint: &'a str,
    pub(crate) queue_url: &'a str,
    pub(crate) public_url: &'a str,
    /// The front is reached from this machine only.
    pub(crate) listens_here: bool,
    pub(crate) sim: &'a Sim,
    pub(crate) sim_config: &'a SimConfig,
    pub(crate) secrets: &'a Secrets,
}

/// The functions behind the front and the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    StripeWebhook,
    Dispatch,
    Callback,
    Agents,
}

impl Name {
    /// Name of the binary.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::StripeWebhook => "stripe-webhook",
            Self::Dispatch => "dispatch",
            Self::Callback => "callback",
            Self::Agents => "agents",
        }
    }
}

type Env = Vec<(String, Value)>;

impl Places<'_> {
    /// Settings of one function.
    pub(crate) fn function(&self, name: Name) -> Env {
        let mut env = self.every_function();
        let secrets = self.secrets;
        let own = match name {
            Name::StripeWebhook => {
                vec![(
                    "STRIPE_WEBHOOK_SECRET",
                    Value::plain(&secrets.stripe_webhook),
                )]
            }
            Name::Dispatch => vec![
                ("GITHUB_TOKEN", Value::plain(&self.sim_config.github.token)),
                (
                    "GITHUB_REPOSITORY",
                    Value::plain(&self.sim_config.github.repository),
                ),
                (
                    "GITHUB_API_URL",
                    Value::upstream("github", self.sim.github_url()),
                ),
                (
                    "CALLBACK_URL",
                    Value::plain(format!("{}/callback", self.public_url)),
                ),
            ],
            Name::Callback => vec![
                ("CALLBACK_SECRET", Value::plain(&secrets.callback)),
                ("SPEC_KEY", Value::plain(&secrets.spec_key)),
            ],
            Name::Agents => vec![
                ("API_TOKEN", Value::plain(&secrets.api_token)),
                ("STATUS_LINK_SECRET", Value::plain(&secrets.status_link)),
                ("SPEC_KEY", Value::plain(&secrets.spec_key)),
            ],
        };
        env.extend(named(own));
        // Over the network the front speaks plain HTTP, which the agents function takes for no
        // origin of links; it makes paths then.
        if name == Name::Agents && self.listens_here {
            env.extend(named(vec![("PUBLIC_URL", Value::plain(self.public_url))]));
        }
        env
    }

    fn every_function(&self) -> Env {
        named(vec![
            (
                "DATABASE_URL",
                Value::upstream("postgres", self.database_url),
            ),
            ("JOB_QUEUE_URL", Value::plain(self.queue_url)),
            (
                "AWS_ENDPOINT_URL_SQS",
                Value::upstream("sqs", self.queue_endpoint),
            ),
            ("AWS_REGION", Value::plain("us-east-1")),
            ("AWS_ACCESS_KEY_ID", Value::plain("devstack")),
            ("AWS_SECRET_ACCESS_KEY", Value::plain("devstack")),
            ("AWS_SESSION_TOKEN", Value::plain("devstack")),
            ("INSTALLATION", Value::plain("default")),
        ])
    }

    /// Secrets and variables that the repository gives to its workflow, and what GitHub sets in
    /// every step.
    pub(crate) fn runner(&self) -> Env {
        let config = self.sim_config;
        let ssh_key = config.hetzner.catalog.ssh_keys.first();
        let ssh_key = ssh_key.map(|key| key.id.to_string()).unwrap_or_default();
        let tag = config.tailscale.tags.first().cloned().unwrap_or_default();
        named(vec![
            ("CALLBACK_SECRET", Value::plain(&self.secrets.callback)),
            ("HETZNER_API_TOKEN", Value::plain(&config.hetzner.token)),
            (
                "HETZNER_API_URL",
                Value::upstream("hetzner", self.sim.hetzner_url()),
            ),
            ("HETZNER_SSH_KEY_ID", Value::plain(ssh_key)),
            (
                "TAILSCALE_OAUTH_CLIENT_ID",
                Value::plain(&config.tailscale.client_id),
            ),
            (
                "TAILSCALE_OAUTH_CLIENT_SECRET",
                Value::plain(&config.tailscale.client_secret),
            ),
            (
                "TAILSCALE_API_URL",
                Value::upstream("tailscale", self.sim.tailscale_url()),
            ),
            ("TAILSCALE_TAG", Value::plain(tag)),
            ("INSTALLATION", Value::plain("default")),
            ("GITHUB_REPOSITORY", Value::plain(&config.github.repository)),
            ("GITHUB_ACTIONS", Value::plain("true")),
            ("CI", Value::plain("true")),
        ])
    }
}

fn named(pairs: Vec<(&str, Value)>) -> Env {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
