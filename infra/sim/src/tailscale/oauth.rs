//! Tailscale's OAuth client credentials: tokens for an hour, scopes, and who may call.

use std::time::Duration;

use serde_json::json;

use crate::draw;
use crate::state::State;
use crate::tailscale::refuse;
use crate::wire::{Answer, Call, Reply};

/// An access token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) expires: Duration,
    scopes: Vec<String>,
    pub(crate) tags: Vec<String>,
}

impl Token {
    /// 403 unless the token has one of the scopes.
    pub(super) fn may(&self, any_of: &[&str]) -> Result<(), Reply> {
        let has = |scope: &String| scope == "all" || any_of.contains(&scope.as_str());
        if self.scopes.iter().any(has) {
            return Ok(());
        }
        let message = "calling actor does not have access to this operation";
        Err(refuse(403, message))
    }
}

/// `POST /oauth/token`
pub(super) fn token(state: &mut State, call: &Call) -> Answer {
    let form = call.form();
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let (id, secret) = call.basic().unwrap_or_else(|| {
        let of = |name| field(name).unwrap_or_default();
        (of("client_id"), of("client_secret"))
    });
    let config = &state.config.tailscale;
    if id != config.client_id || secret != config.client_secret {
        return Err(refuse(401, "API token invalid"));
    }
    if field("grant_type").is_some_and(|grant| grant != "client_credentials") {
        return Err(refuse(400, "unsupported grant type"));
    }
    let scopes = narrowed(&config.scopes, field("scope"), "scope")?;
    // Asking for fewer tags gives a token without the others: a known trap.
    let tags = narrowed(&config.tags, field("tags"), "tag")?;
    let life = config.token_life;
    let number = state.tailscale.new_number().to_string();
    let secret = draw::text(state.config.seed, &["token", &number], 32);
    let text = format!("tskey-api-{id}-{secret}");
    let body = json!({
        "access_token": text, "token_type": "Bearer", "expires_in": life.as_secs(),
        "scope": scopes.join(" "), "tags": tags.join(" "),
    });
    let token = Token {
        expires: state.now + life,
        scopes,
        tags,
    };
    state.tailscale.tokens.insert(text, token);
    Ok(Reply::json(200, body))
}

/// The wished subset of what the client has; all of it when nothing is wished.
fn narrowed(own: &[String], wish: Option<String>, what: &str) -> Result<Vec<String>, Reply> {
    let Some(wish) = wish.filter(|wish| !wish.trim().is_empty()) else {
        return Ok(own.to_vec());
    };
    let wanted: Vec<String> = wish.split_whitespace().map(str::to_owned).collect();
    let covers = |own: &String, wanted: &String| {
        own == wanted || own == "all" || wanted.strip_suffix(":read") == Some(own)
    };
    let foreign = wanted
        .iter()
        .find(|wanted| !own.iter().any(|own| covers(own, wanted)));
    match foreign {
        None => Ok(wanted),
        Some(foreign) => {
            let message = format!("the OAuth client does not have the {what} {foreign}");
            Err(refuse(403, &message))
        }
    }
}

/// The caller's token; 401 when it is unknown or over.
pub(super) fn admitted(state: &State, call: &Call) -> Result<Token, Reply> {
    let basic = call.basic().map(|(user, _)| user);
    let text = call.bearer().map(str::to_owned).or(basic);
    let token = text.and_then(|text| state.tailscale.tokens.get(&text));
    let token = token.filter(|token| token.expires > state.now).cloned();
    token.ok_or_else(|| refuse(401, "API token invalid"))
}
