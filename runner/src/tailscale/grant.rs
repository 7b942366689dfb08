//! What Tailscale says an OAuth client may do.
//! It must not change anything: a token ends by itself after an hour.

use super::{Error, Tailscale, success};
use outbound::Request;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Scopes and tags of a client; `None` where Tailscale did not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct GrantBody {
    access_token: String,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    tags: Option<String>,
}

impl Tailscale {
    /// Asks for a token of everything the client has, and reads what that is.
    pub(crate) async fn grant(&self) -> Result<Grant, Error> {
        let request = Request::post(&format!("{}/oauth/token", self.url))
            .repeat(outbound::Repeat::Idempotent)
            .form(&[
                ("client_id", &self.client_id),
                ("client_secret", self.client_secret.expose_secret()),
                ("grant_type", "client_credentials"),
            ]);
        let answer = success(self.client.send(request).await?).map_err(Error::of_token)?;
        let body: GrantBody = answer
            .json()
            .map_err(|complaint| Error::odd(complaint.to_string()))?;
        self.client
            .secrets()
            .add(&SecretString::from(body.access_token));
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
        Ok(Grant {
            scopes: body.scope.map(words),
            tags: body.tags.map(words),
        })
    }
}
