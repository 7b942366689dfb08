//! The settings as `doctor` wants them: every value as far as it can be read, each mistake under
//! the name of its variable, and nothing that belongs to one run.
//! It must not judge a value anew: the mistakes are those that a run would be told.

use super::{CloudSettings, HetznerSettings, Mistakes, Reader, TailscaleSettings, WireSettings};
use contract::{Inputs, Operation};
use secrecy::SecretString;

/// A job and an agent that nobody has.
pub(crate) const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// What the environment tells, mistakes included.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) hetzner: HetznerSettings,
    pub(crate) tailscale: TailscaleSettings,
    /// `CALLBACK_URL`, empty when it is not set.
    pub(crate) callback_url: String,
    pub(crate) callback_secret: SecretString,
    /// `REGION`: decides whose zone is asked for types.
    pub(crate) region: String,
    /// `HETZNER_SERVER_TYPE` is set: a person wants this type and no default.
    pub(crate) type_is_wished: bool,
    mistakes: Vec<String>,
}

impl Told {
    /// Reads everything that a run reads, but for what dispatch and GitHub hand to each run.
    pub(crate) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let of_no_run = |name: &str| match name {
            "JOB_ID" | "AGENT_ID" => Some(NOBODY.to_owned()),
            "FENCE" | "GITHUB_RUN_ID" | "GITHUB_RUN_ATTEMPT" => Some("1".to_owned()),
            _ => lookup(name),
        };
        let wire = WireSettings::read(Operation::Provision, &of_no_run).err();
        let cloud = CloudSettings::read(&of_no_run).err();
        let mistakes = wire.into_iter().chain(cloud);
        let mut reader = Reader {
            lookup,
            mistakes: Vec::new(),
        };
        Self {
            hetzner: reader.hetzner(),
            tailscale: reader.tailscale(),
            callback_url: reader.or("CALLBACK_URL", ""),
            callback_secret: SecretString::from(reader.or("CALLBACK_SECRET", "")),
            region: reader.or("REGION", Inputs::DEFAULT_REGION),
            type_is_wished: reader.given("HETZNER_SERVER_TYPE").is_some(),
            mistakes: mistakes.flat_map(|Mistakes(list)| list).collect(),
        }
    }

    /// What is wrong with a variable by itself.
    pub(crate) fn mistake(&self, name: &str) -> Option<&str> {
        self.mistakes()
            .find(|(of, _)| *of == name)
            .map(|(_, why)| why)
    }

    /// Every mistake: the variable and what is wrong with it.
    pub(crate) fn mistakes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mistakes.iter().filter_map(|one| one.split_once(' '))
    }
}
