//! The few calls dispatch makes to GitHub: start a run, find it again, stop it.
//! It must not know jobs' states, the database or the queue.

mod answer;
mod auth;
mod runs;

pub use answer::{Refusal, Started};
pub use runs::{Asked, Seen};

use crate::settings::{Credential, GitHubSettings};
use answer::{Heard, Names};
use auth::Tokens;
use contract::Inputs;
use domain::Timestamp;
use outbound::{Answer, Client, Failure, Lost, Repeat, Request};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// The workflow that every run is one of.
pub const WORKFLOW: &str = "provision-agent.yml";

/// The branch it runs from.
const REF: &str = "main";

/// Under this version `return_run_details` makes GitHub answer with the run's id.
const API_VERSION: &str = "2022-11-28";

/// Longest a call may take.
const CALL_MAX: Duration = Duration::from_secs(10);

/// Calls GitHub. Holds the connection, and an App's token while it is good.
#[derive(Debug)]
pub struct GitHub {
    http: Client,
    settings: Result<GitHubSettings, String>,
    tokens: Tokens,
    /// False once a server said that it does not know `return_run_details`.
    details: AtomicBool,
}

impl GitHub {
    /// A client over `http`. Settings that are wrong refuse every call with their text.
    pub fn new(http: Client, settings: Result<GitHubSettings, String>) -> Self {
        if let Ok(GitHubSettings {
            credential: Credential::Token(token),
            ..
        }) = &settings
        {
            http.secrets().add(token);
        }
        Self {
            http,
            settings,
            tokens: Tokens::default(),
            details: AtomicBool::new(true),
        }
    }

    /// Where runs report to.
    ///
    /// # Errors
    /// The line that names all settings missing or wrong.
    pub fn callback_url(&self) -> Result<&str, Refusal> {
        Ok(&self.settings()?.callback_url)
    }

    /// Starts a run, once. GitHub knows no idempotency key: every call that it accepts starts
    /// another run, so nothing is repeated here once it was sent.
    pub async fn start(&self, inputs: &Inputs, now: Timestamp) -> Started {
        let token = match self.token(now).await {
            Ok(token) => token,
            Err(refusal) => return Started::Refused(refusal),
        };
        let details = self.details.load(Ordering::Relaxed);
        let answer = match self.dispatch(inputs, &token, details).await {
            Err(started) => return started,
            Ok(answer) if details && heard(&answer).knows_no_details() => {
                self.details.store(false, Ordering::Relaxed);
                match self.dispatch(inputs, &token, false).await {
                    Ok(answer) => answer,
                    Err(started) => return started,
                }
            }
            Ok(answer) => answer,
        };
        self.mind(&answer).await;
        self.judge(&answer, now)
    }

    async fn dispatch(
        &self,
        inputs: &Inputs,
        token: &SecretString,
        details: bool,
    ) -> Result<Answer, Started> {
        let settings = self.settings().map_err(Started::Refused)?;
        let pairs = inputs.pairs().into_iter();
        let pairs: Map<String, Value> = pairs
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect();
        let mut body = json!({ "ref": REF, "inputs": pairs });
        if let (true, Some(fields)) = (details, body.as_object_mut()) {
            fields.insert("return_run_details".to_owned(), Value::Bool(true));
        }
        let url = format!(
            "{}/repos/{}/actions/workflows/{WORKFLOW}/dispatches",
            settings.api_url, settings.repository
        );
        let call = headers(Request::post(&url)).bearer(token).json(&body);
        let call = call.repeat(Repeat::Never).deadline(CALL_MAX);
        self.http.send(call).await.map_err(|failure| lost(&failure))
    }

    fn judge(&self, answer: &Answer, now: Timestamp) -> Started {
        let settings = match self.settings() {
            Ok(settings) => settings,
            Err(refusal) => return Started::Refused(refusal),
        };
        let repository = settings.repository.to_string();
        let names = Names {
            credential: settings.credential.variables(),
            repository: &repository,
            workflow: WORKFLOW,
        };
        answer::started(&heard(answer), names, now)
    }

    /// A token that was refused is not used again.
    async fn mind(&self, answer: &Answer) {
        if answer.status() == 401 {
            self.tokens.forget().await;
        }
    }

    async fn token(&self, now: Timestamp) -> Result<SecretString, Refusal> {
        self.tokens.token(&self.http, self.settings()?, now).await
    }

    fn settings(&self) -> Result<&GitHubSettings, Refusal> {
        self.settings
            .as_ref()
            .map_err(|wrong| Refusal::new(format!("settings of dispatch: {wrong}")))
    }
}

fn lost(failure: &Failure) -> Started {
    match failure.lost() {
        Lost::Refused => Started::Refused(Refusal::new(format!(
            "GITHUB_API_URL cannot be reached: {failure}"
        ))),
        Lost::Unknown => Started::Unknown {
            why: failure.to_string(),
        },
    }
}

fn headers(request: Request) -> Request {
    request
        .header("Accept", "application/vnd.github+json")
        .header("X-GitHub-Api-Version", API_VERSION)
}

fn heard(answer: &Answer) -> Heard<'_> {
    Heard {
        status: answer.status(),
        retry_after: answer.header("retry-after"),
        remaining: answer.header("x-ratelimit-remaining"),
        reset: answer.header("x-ratelimit-reset"),
        body: answer.body(),
    }
}
