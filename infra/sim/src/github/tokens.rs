//! Who may call GitHub: a personal token, or an App's installation token made from a JWT.
//!
//! A JWT is accepted by its shape and claims; its signature is not checked, because the fake does
//! not know the App's key.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::zulu;
use crate::draw;
use crate::github::{not_found, refuse};
use crate::state::State;
use crate::wire::{Answer, Call, Reply, base64url_decode, base64url_encode, text_of};

/// Life of an installation token.
const LIFE: Duration = Duration::from_hours(1);
/// Longest life of an App's JWT, seconds.
const JWT_LIFE: i64 = 600;

/// What an installation token may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    expires: Duration,
    writes: bool,
}

fn bad_credentials() -> Reply {
    refuse(401, "Bad credentials", "")
}

/// 401 without a valid token, 404 for a repository or right the token has not.
pub(super) fn admit(
    state: &State,
    call: &Call,
    (repository, writes): (&str, bool),
) -> Result<(), Reply> {
    let may_write = admit_anywhere(state, call)?;
    let same = repository.eq_ignore_ascii_case(&state.config.github.repository);
    if same && (may_write || !writes) && !state.knobs.workflow_hidden {
        return Ok(());
    }
    Err(not_found())
}

/// 401 without a valid token; whether it may write.
pub(super) fn admit_anywhere(state: &State, call: &Call) -> Result<bool, Reply> {
    let basic = call.basic().map(|(_, password)| password);
    let token = call.bearer().map(str::to_owned).or(basic);
    let token = token.ok_or_else(bad_credentials)?;
    if token == state.config.github.token {
        return Ok(true);
    }
    let grant = state.github.tokens.get(&token);
    let grant = grant.filter(|grant| grant.expires > state.now);
    grant.map(|grant| grant.writes).ok_or_else(bad_credentials)
}

/// 401 unless the caller presents a JWT of the App.
fn admit_app(state: &State, call: &Call) -> Result<(), Reply> {
    let page = "/apps/creating-github-apps/authenticating-with-a-github-app";
    let refuse = |message: &str| refuse(401, message, page);
    let undecodable = || refuse("A JSON web token could not be decoded");
    let claims = call.bearer().and_then(claims).ok_or_else(undecodable)?;
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    let app = match claims.get("iss") {
        Some(Value::Number(id)) => id.to_string(),
        other => other.and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    if app != state.config.github.app_id {
        return Err(refuse(
            "'Issuer' claim ('iss') must be an Integer or the client ID",
        ));
    }
    let now = state.unix_now();
    let (Some(issued), Some(expires)) = (number("iat"), number("exp")) else {
        return Err(refuse(
            "Missing 'issued at' ('iat') or 'expiration time' ('exp') claim",
        ));
    };
    if issued > now {
        return Err(refuse(
            "'Issued at' claim ('iat') must be an Integer in the past",
        ));
    }
    if expires <= now {
        return Err(refuse(
            "'Expiration time' claim ('exp') must be in the future",
        ));
    }
    if expires > now.saturating_add(JWT_LIFE) {
        return Err(refuse(
            "'Expiration time' claim ('exp') is too far in the future",
        ));
    }
    Ok(())
}

/// The claims of an RS256 token with three parts.
fn claims(token: &str) -> Option<Value> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = *parts else {
        return None;
    };
    let header: Value = serde_json::from_slice(&base64url_decode(header)?).ok()?;
    let signed = text_of(&header, "alg") == Some("RS256");
    let signature = base64url_decode(signature)?;
    let claims = serde_json::from_slice(&base64url_decode(claims)?).ok()?;
    // An RSA signature of the smallest key GitHub makes has 256 bytes.
    (signed && signature.len() >= 256).then_some(claims)
}

/// `GET /repos/{o}/{r}/installation`
pub(super) fn installation(state: &State, call: &Call, repository: &str) -> Answer {
    admit_app(state, call)?;
    if !repository.eq_ignore_ascii_case(&state.config.github.repository) {
        return Err(not_found());
    }
    let config = &state.config.github;
    Ok(Reply::json(
        200,
        json!({
            "id": config.installation_id, "app_id": config.app_id.parse::<u64>().unwrap_or(1),
            "target_type": "Organization", "repository_selection": "selected",
            "permissions": {"actions": "write", "metadata": "read"}, "events": [],
            "suspended_at": null,
        }),
    ))
}

/// `POST /app/installations/{id}/access_tokens` → 201
pub(super) fn access_token(state: &mut State, call: &Call, id: &str) -> Answer {
    admit_app(state, call)?;
    if id != state.config.github.installation_id.to_string() {
        return Err(not_found());
    }
    let page = "/apps/apps#create-an-installation-access-token-for-an-app";
    let body = call.json().filter(Value::is_object);
    let body = body.ok_or_else(|| refuse(400, "Problems parsing JSON", page))?;
    let name = state.config.github.repository.split('/').nth(1);
    let wanted = body.get("repositories").and_then(Value::as_array);
    let mut wanted = wanted.into_iter().flatten();
    if !wanted.all(|repository| repository.as_str() == name) {
        let message = "There is at least one repository that does not exist or is not accessible";
        return Err(refuse(422, message, page));
    }
    let writes = permissions(&body).map_err(|message| refuse(422, message, page))?;
    let text = long_token(state);
    let grant = Grant {
        expires: state.now + LIFE,
        writes,
    };
    let expires_at = zulu(state.unix_at(grant.expires));
    state.github.tokens.insert(text.clone(), grant);
    let level = if writes { "write" } else { "read" };
    Ok(Reply::json(
        201,
        json!({
            "token": text, "expires_at": expires_at, "repository_selection": "selected",
            "permissions": {"actions": level, "metadata": "read"},
        }),
    ))
}

/// Whether the token may write; an error when more is asked than was granted.
fn permissions(body: &Value) -> Result<bool, &'static str> {
    let Some(wanted) = body.get("permissions").and_then(Value::as_object) else {
        return Ok(true);
    };
    let granted = |(name, level): (&String, &Value)| match (name.as_str(), level.as_str()) {
        ("actions", Some("read" | "write")) | ("metadata", Some("read")) => true,
        (_, Some(_) | None) => false,
    };
    if !wanted.iter().all(granted) {
        return Err("The permissions requested are not granted to this installation.");
    }
    Ok(wanted.get("actions").and_then(Value::as_str) == Some("write"))
}

/// A token of the stateless kind: far longer than 40 characters, with dots and underscores.
fn long_token(state: &mut State) -> String {
    state.github.made += 1;
    let number = state.github.made.to_string();
    let part = |name: &str| {
        let text = draw::text(state.config.seed, &["ghs", name, &number], 64);
        base64url_encode(text.as_bytes())
    };
    let app = &state.config.github.app_id;
    format!(
        "ghs_{app}_{}.{}_{}.{}",
        part("a"),
        part("b"),
        part("c"),
        part("d")
    )
}
