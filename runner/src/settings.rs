//! Everything a run is told, read from the environment once, every mistake named at once.
//! It must not reach for the environment itself: the lookup is handed in.

use contract::{Inputs, MIN_SECRET_BYTES, Operation, RunPair};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};
use url::Url;

/// Hetzner's address with its version path.
const HETZNER_URL: &str = "https://api.hetzner.cloud/v1";
/// Tailscale's address with its version path.
const TAILSCALE_URL: &str = "https://api.tailscale.com/api/v2";

/// Seconds between two heartbeats.
const HEARTBEAT_SECONDS: u64 = 60;
/// One that is lost must not cost the lease.
const HEARTBEAT_SECONDS_MAX: u64 = 85;

/// The variables that hold secrets.
const SECRETS: [&str; 3] = [
    "CALLBACK_SECRET",
    "HETZNER_API_TOKEN",
    "TAILSCALE_OAUTH_CLIENT_SECRET",
];

/// Every mistake in the environment, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings are wrong: {}", self.0.join("; "))
    }
}

impl std::error::Error for Mistakes {}

impl Mistakes {
    /// One mistake: the variable, and what is wrong with it. Never its value.
    pub fn of(name: &str, why: &str) -> Self {
        Self(vec![format!("{name} {why}")])
    }

    /// These, and those of `others`.
    #[must_use]
    pub fn and(mut self, others: Option<Self>) -> Self {
        self.0
            .extend(others.into_iter().flat_map(|others| others.0));
        self
    }
}

/// What is needed to report: who we are and where reports go.
#[derive(Debug, Clone)]
pub struct WireSettings {
    /// `JOB_ID`, `AGENT_ID`, `REGION`, `CALLBACK_URL`, `FENCE` and the operation.
    pub inputs: Inputs,
    /// `GITHUB_RUN_ID` and `GITHUB_RUN_ATTEMPT`.
    pub run: RunPair,
    /// `CALLBACK_SECRET`: key of the HMAC, at least 32 bytes.
    pub callback_secret: SecretString,
    /// `HEARTBEAT_SECONDS`, default 60, at most 85: a lease of 180 s outlives one that is lost.
    pub heartbeat: Duration,
    /// `JOB_STARTED_AT`, unix seconds: when the job began of which this run is a step.
    pub job_started_at: Option<i64>,
}

/// What is needed at Hetzner.
#[derive(Debug, Clone)]
pub struct HetznerSettings {
    /// `HETZNER_API_TOKEN`.
    pub token: SecretString,
    /// `HETZNER_API_URL`, version path included, no slash at the end.
    pub url: String,
    /// `HETZNER_SSH_KEY_ID`.
    pub ssh_key_id: u64,
    /// `HETZNER_SERVER_TYPE`, default `cpx11`.
    pub server_type: String,
    /// `HETZNER_IMAGE`, default `ubuntu-22.04`: a name, or the id of a snapshot.
    pub image: String,
    /// `HETZNER_FIREWALL_ID`; without it a firewall is ensured by name.
    pub firewall_id: Option<u64>,
    /// `INSTALLATION`, default `default`.
    pub installation: String,
}

/// What is needed at Tailscale.
#[derive(Debug, Clone)]
pub struct TailscaleSettings {
    /// `TAILSCALE_OAUTH_CLIENT_ID`.
    pub client_id: String,
    /// `TAILSCALE_OAUTH_CLIENT_SECRET`.
    pub client_secret: SecretString,
    /// `TAILSCALE_API_URL`, version path included, no slash at the end.
    pub url: String,
    /// `TAILSCALE_TAG`, default `tag:agent`.
    pub tag: String,
    /// `TAILSCALE_EPHEMERAL`, default false.
    pub ephemeral: bool,
}

/// What is needed to make a machine.
#[derive(Debug, Clone)]
pub struct CloudSettings {
    /// Servers.
    pub hetzner: HetznerSettings,
    /// Enrolment.
    pub tailscale: TailscaleSettings,
}

/// Every secret among the settings, whatever is wrong with the others: none of them may show.
pub fn secrets(lookup: &dyn Fn(&str) -> Option<String>) -> Vec<SecretString> {
    let reader = Reader {
        lookup,
        mistakes: Vec::new(),
    };
    let given = SECRETS.iter().filter_map(|name| reader.given(name));
    given.map(SecretString::from).collect()
}

/// Reads variables and collects what is wrong with them.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    /// The value, unless it is unset or empty: GitHub hands over empty text for what is not set.
    fn given(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn wrong(&mut self, name: &str, why: &str) {
        self.mistakes.push(format!("{name} {why}"));
    }

    fn needed(&mut self, name: &str) -> String {
        self.given(name).unwrap_or_else(|| {
            self.wrong(name, "is not set");
            String::new()
        })
    }

    fn secret(&mut self, name: &str) -> SecretString {
        SecretString::from(self.needed(name))
    }

    fn or(&self, name: &str, default: &str) -> String {
        self.given(name).unwrap_or_else(|| default.to_owned())
    }

    fn parsed<T: FromStr>(&mut self, name: &str, default: Option<T>, what: &str) -> Option<T> {
        let Some(text) = self.given(name) else {
            if default.is_none() {
                self.wrong(name, "is not set");
            }
            return default;
        };
        let value = text.parse().ok();
        if value.is_none() {
            self.wrong(name, &format!("is not {what}"));
        }
        value
    }

    fn uuid(&mut self, name: &str) -> String {
        let text = self.needed(name).to_ascii_lowercase();
        if !text.is_empty() && !is_uuid(&text) {
            self.wrong(name, "is not a UUID");
        }
        text
    }

    /// An address: https, or http on this machine.
    fn address(&mut self, name: &str, text: &str) -> Option<Url> {
        let Ok(url) = Url::parse(text) else {
            self.wrong(name, "is not an address");
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.wrong(name, "must not hold a user or password");
        }
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            self.wrong(
                name,
                "must begin with https:// unless it is on this machine",
            );
        }
        Some(url)
    }

    fn base(&mut self, name: &str, default: &str) -> String {
        let text = self.or(name, default);
        self.address(name, &text);
        text.trim_end_matches('/').to_owned()
    }

    fn done<T>(self, value: T) -> Result<T, Mistakes> {
        if self.mistakes.is_empty() {
            Ok(value)
        } else {
            Err(Mistakes(self.mistakes))
        }
    }
}

impl WireSettings {
    /// Reads what reporting needs.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn read(
        operation: Operation,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Mistakes> {
        let mut reader = Reader {
            lookup,
            mistakes: Vec::new(),
        };
        let job_id = reader.uuid("JOB_ID");
        let agent_id = reader.uuid("AGENT_ID");
        let callback_url = reader.callback_url();
        let fence = reader
            .parsed("FENCE", Some(1_i64), "a whole number")
            .unwrap_or(1);
        if fence < 1 {
            reader.wrong("FENCE", "counts from 1");
        }
        let callback_secret = reader.secret("CALLBACK_SECRET");
        let bytes = callback_secret.expose_secret().len();
        if bytes > 0 && bytes < MIN_SECRET_BYTES {
            reader.wrong(
                "CALLBACK_SECRET",
                &format!("has fewer than {MIN_SECRET_BYTES} bytes"),
            );
        }
        let heartbeat = reader.heartbeat();
        let job_started_at = reader
            .given("JOB_STARTED_AT")
            .and_then(|_| reader.parsed("JOB_STARTED_AT", None, "a time in unix seconds"));
        let workflow_run_id = reader.needed("GITHUB_RUN_ID");
        let run_attempt = reader
            .parsed("GITHUB_RUN_ATTEMPT", None, "a whole number")
            .unwrap_or(1);
        if run_attempt < 1 {
            reader.wrong("GITHUB_RUN_ATTEMPT", "counts from 1");
        }
        let region = reader.or("REGION", Inputs::DEFAULT_REGION);
        reader.done(Self {
            inputs: Inputs {
                job_id,
                agent_id,
                region,
                callback_url,
                fence,
                operation,
            },
            run: RunPair {
                workflow_run_id,
                run_attempt,
            },
            callback_secret,
            heartbeat,
            job_started_at,
        })
    }
}

impl Reader<'_> {
    fn heartbeat(&mut self) -> Duration {
        let what = "a number of seconds";
        let seconds = self.parsed("HEARTBEAT_SECONDS", Some(HEARTBEAT_SECONDS), what);
        let seconds = seconds.unwrap_or(HEARTBEAT_SECONDS);
        if !(1..=HEARTBEAT_SECONDS_MAX).contains(&seconds) {
            let why = format!(
                "must be 1 to {HEARTBEAT_SECONDS_MAX}, so that a lease outlives a lost one"
            );
            self.wrong("HEARTBEAT_SECONDS", &why);
        }
        Duration::from_secs(seconds)
    }

    /// `CALLBACK_URL`, held against `CALLBACK_ORIGIN` when that is set.
    fn callback_url(&mut self) -> String {
        let text = self.needed("CALLBACK_URL");
        if text.is_empty() {
            return text;
        }
        let Some(url) = self.address("CALLBACK_URL", &text) else {
            return text;
        };
        if let Some(pinned) = self.given("CALLBACK_ORIGIN") {
            match Url::parse(&pinned) {
                Ok(pinned) if pinned.origin() == url.origin() => {}
                Ok(_) => self.wrong("CALLBACK_URL", "is not at CALLBACK_ORIGIN"),
                Err(_) => self.wrong("CALLBACK_ORIGIN", "is not an address"),
            }
        }
        text
    }
}

impl CloudSettings {
    /// Reads what the providers need.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut reader = Reader {
            lookup,
            mistakes: Vec::new(),
        };
        let hetzner = reader.hetzner();
        let tailscale = reader.tailscale();
        reader.done(Self { hetzner, tailscale })
    }
}

impl Reader<'_> {
    fn hetzner(&mut self) -> HetznerSettings {
        let installation = self.or("INSTALLATION", "default");
        if !is_label_value(&installation) {
            self.wrong(
                "INSTALLATION",
                "must be up to 63 of A-Z a-z 0-9 . _ -, no mark at an end",
            );
        }
        let firewall_id = self
            .given("HETZNER_FIREWALL_ID")
            .and_then(|_| self.parsed("HETZNER_FIREWALL_ID", None, "an id (a whole number)"));
        HetznerSettings {
            token: self.secret("HETZNER_API_TOKEN"),
            url: self.base("HETZNER_API_URL", HETZNER_URL),
            ssh_key_id: self
                .parsed("HETZNER_SSH_KEY_ID", None, "an id (a whole number)")
                .unwrap_or_default(),
            server_type: self.or("HETZNER_SERVER_TYPE", "cpx11"),
            image: self.or("HETZNER_IMAGE", "ubuntu-22.04"),
            firewall_id,
            installation,
        }
    }

    fn tailscale(&mut self) -> TailscaleSettings {
        let tag = self.or("TAILSCALE_TAG", "tag:agent");
        if tag.strip_prefix("tag:").is_none_or(str::is_empty) {
            self.wrong("TAILSCALE_TAG", "must look like tag:name");
        }
        TailscaleSettings {
            client_id: self.needed("TAILSCALE_OAUTH_CLIENT_ID"),
            client_secret: self.secret("TAILSCALE_OAUTH_CLIENT_SECRET"),
            url: self.base("TAILSCALE_API_URL", TAILSCALE_URL),
            tag,
            ephemeral: self
                .parsed("TAILSCALE_EPHEMERAL", Some(false), "true or false")
                .unwrap_or(false),
        }
    }
}

/// The files GitHub Actions hands to a step; all optional, so that the runner works elsewhere.
#[derive(Debug, Clone, Default)]
pub struct ActionsSettings {
    /// `GITHUB_ACTIONS` is `true`: workflow commands are understood.
    pub commands: bool,
    /// `GITHUB_OUTPUT`.
    pub output: Option<PathBuf>,
    /// `GITHUB_STEP_SUMMARY`.
    pub summary: Option<PathBuf>,
    /// `RUNNER_MARKER`: written when nothing is left to say.
    pub marker: Option<PathBuf>,
}

impl ActionsSettings {
    /// Reads what Actions offers; nothing here can be wrong.
    pub fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let reader = Reader {
            lookup,
            mistakes: Vec::new(),
        };
        let path = |name| reader.given(name).map(PathBuf::from);
        Self {
            commands: reader
                .given("GITHUB_ACTIONS")
                .is_some_and(|value| value == "true"),
            output: path("GITHUB_OUTPUT"),
            summary: path("GITHUB_STEP_SUMMARY"),
            marker: path("RUNNER_MARKER"),
        }
    }
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

/// Hetzner: up to 63 letters, digits, dots, underscores and hyphens; letters or digits outside.
fn is_label_value(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes
            .iter()
            .all(|byte| plain(byte) || b"-_.".contains(byte))
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

mod told;
pub(crate) use told::{NOBODY, Told};

#[cfg(test)]
mod tests;
