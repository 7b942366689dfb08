//! Whose token goes with a call: the personal one, or one that a GitHub App is given for an hour.
//! It must not know what the call is for.
//!
//! App tokens (docs.github.com/apps): a JWT signed with the App's key names the installation and
//! buys a token; since 2026 tokens may be long, so no form is expected of them.

use super::answer::{Heard, Names, Refusal, refusal};
use super::heard;
use crate::settings::{Credential, GitHubSettings};
use domain::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use outbound::{Answer, Client, Request};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::Mutex;

/// GitHub refuses a JWT from the future; clocks differ.
const BACKDATED: Duration = Duration::from_mins(1);

/// Counted from now; GitHub takes at most 10 minutes after `iat`.
const JWT_LIFE: Duration = Duration::from_mins(8);

/// A token this near its end is not used any more.
const TOKEN_MARGIN: Duration = Duration::from_mins(5);

/// Calls that waited while a token could not be had share the refusal for this long, instead of
/// asking one after the other.
const REFUSAL_LIFE: Duration = Duration::from_secs(10);

/// The tokens of one process.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
enum Cached {
    #[default]
    Nothing,
    Token(Token),
    Refusal(Refusal, Timestamp),
}

impl Cached {
    /// What is still good at `now`.
    fn at(&self, now: Timestamp) -> Option<Result<SecretString, Refusal>> {
        match self {
            Self::Token(token) if now < token.until => Some(Ok(token.secret.clone())),
            Self::Refusal(refusal, until) if now < *until => Some(Err(refusal.clone())),
            Self::Nothing | Self::Token(_) | Self::Refusal(..) => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Token {
    secret: SecretString,
    until: Timestamp,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

#[derive(Deserialize)]
struct Granted {
    token: String,
    expires_at: String,
}

impl Tokens {
    /// A token that is good for the next call.
    pub(super) async fn token(
        &self,
        http: &Client,
        settings: &GitHubSettings,
        now: Timestamp,
    ) -> Result<SecretString, Refusal> {
        let (id, key) = match &settings.credential {
            Credential::Token(token) => return Ok(token.clone()),
            Credential::App { id, key } => (id, key),
        };
        let mut cached = self.cached.lock().await;
        if let Some(known) = cached.at(now) {
            return known;
        }
        match buy(http, settings, &jwt(id, key, now)?, now).await {
            Ok(token) => {
                http.secrets().add(&token.secret);
                let secret = token.secret.clone();
                *cached = Cached::Token(token);
                Ok(secret)
            }
            Err(refusal) => {
                *cached = Cached::Refusal(refusal.clone(), now.plus(REFUSAL_LIFE));
                Err(refusal)
            }
        }
    }

    /// Forgets the App's token, because GitHub refused it.
    pub(super) async fn forget(&self) {
        *self.cached.lock().await = Cached::Nothing;
    }
}

fn jwt(app: &str, key: &EncodingKey, now: Timestamp) -> Result<SecretString, Refusal> {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(0);
    let now = now.unix_seconds();
    let claims = Claims {
        iat: now.saturating_sub(seconds(BACKDATED)),
        exp: now.saturating_add(seconds(JWT_LIFE)),
        iss: app,
    };
    encode(&Header::new(Algorithm::RS256), &claims, key)
        .map(SecretString::from)
        .map_err(|error| Refusal::new(format!("GITHUB_APP_PRIVATE_KEY cannot sign: {error}")))
}

async fn buy(
    http: &Client,
    settings: &GitHubSettings,
    jwt: &SecretString,
    now: Timestamp,
) -> Result<Token, Refusal> {
    let GitHubSettings {
        api_url,
        repository,
        ..
    } = settings;
    let url = format!("{api_url}/repos/{repository}/installation");
    let call = super::headers(Request::get(&url)).bearer(jwt);
    let installation: Installation = ask(http, call, settings, now).await?;
    let url = format!(
        "{api_url}/app/installations/{}/access_tokens",
        installation.id
    );
    let wish = json!({ "repositories": [repository.name], "permissions": { "actions": "write" } });
    let call = super::headers(Request::post(&url)).bearer(jwt).json(&wish);
    let granted: Granted = ask(http, call, settings, now).await?;
    Ok(Token {
        until: good_until(&granted.expires_at, now),
        secret: SecretString::from(granted.token),
    })
}

/// A token whose end cannot be read is good for this call only.
fn good_until(expires_at: &str, now: Timestamp) -> Timestamp {
    let end = OffsetDateTime::parse(expires_at, &Rfc3339).map_or(now, |end| {
        Timestamp::from_unix_seconds(end.unix_timestamp())
    });
    let margin = i64::try_from(TOKEN_MARGIN.as_micros()).unwrap_or(0);
    Timestamp::from_micros(end.micros().saturating_sub(margin))
}

/// Whatever goes wrong here, no run was started.
async fn ask<T: DeserializeOwned>(
    http: &Client,
    call: Request,
    settings: &GitHubSettings,
    now: Timestamp,
) -> Result<T, Refusal> {
    let answer = http
        .send(call.deadline(super::CALL_MAX))
        .await
        .map_err(|failure| Refusal::new(format!("no token from GitHub: {failure}")))?;
    if !answer.is_success() {
        return Err(complaint(&answer, settings, now));
    }
    answer
        .json()
        .map_err(|error| Refusal::new(format!("no token from GitHub: {error}")))
}

fn complaint(answer: &Answer, settings: &GitHubSettings, now: Timestamp) -> Refusal {
    let said: Heard<'_> = heard(answer);
    let repository = settings.repository.to_string();
    let names = Names {
        credential: settings.credential.variables(),
        repository: &repository,
        workflow: super::WORKFLOW,
    };
    match said.status {
        404 | 422 => Refusal::new(format!(
            "the App of {} is not installed for {repository} with the permission Actions: write \
             ({}): {}",
            names.credential,
            said.status,
            said.message()
        )),
        _ => refusal(&said, names, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_five_minutes_before_its_end() {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let end = good_until("2027-01-15T09:00:00Z", now);
        assert_eq!(end.unix_seconds(), 1_800_003_600 - 300);
        assert!(good_until("tomorrow", now) < now);
    }
}
