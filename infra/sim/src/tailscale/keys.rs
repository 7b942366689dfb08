//! Tailscale's auth keys: the tag rule, one-off keys, revoking, and how a key ends.
//!
//! The list (Tailscale's API description, "List tailnet keys") holds active keys only. Without
//! `all=true` it holds those of the caller's user, and an OAuth client is none.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::{YEAR_ONE, zulu};
use crate::draw;
use crate::state::State;
use crate::tailscale::oauth::Token;
use crate::tailscale::{Tailscale, refuse};
use crate::wire::{Answer, Call, Reply, text_of};
use crate::world::KeyView;

/// Longest life of a key, and the default: 90 days.
const LONGEST: u64 = 7_776_000;
/// How long a dead key can still be looked at.
const REMEMBERED: Duration = Duration::from_hours(24);
/// Longest description.
const DESCRIPTION_LIMIT: usize = 50;

/// One auth key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    id: String,
    secret: String,
    description: String,
    created: Duration,
    life: Duration,
    revoked: Option<Duration>,
    used: Option<Duration>,
    reusable: bool,
    pub(super) ephemeral: bool,
    pub(super) preauthorized: bool,
    pub(super) tags: Vec<String>,
}

impl Key {
    fn expires(&self) -> Duration {
        self.created + self.life
    }

    /// When the key ended, and why.
    fn ended(&self, now: Duration) -> Option<(Duration, &'static str)> {
        let revoked = self.revoked.map(|at| (at, "was revoked"));
        let used = self.used.filter(|_| !self.reusable);
        let used = used.map(|at| (at, "is a one-off key and was used"));
        let expired = (self.expires() <= now).then(|| (self.expires(), "has expired"));
        revoked.or(used).or(expired)
    }

    /// Whether anything about the key can still be looked at.
    fn remembered(&self, now: Duration) -> bool {
        let ended = self.ended(now);
        ended.is_none_or(|(at, _)| now < at + REMEMBERED)
    }

    fn json(&self, state: &State, secret: bool) -> Value {
        let revoked = self.revoked.map(|at| zulu(state.unix_at(at)));
        let mut object = json!({
            "id": self.id, "keyType": "auth", "created": zulu(state.unix_at(self.created)),
            "expires": zulu(state.unix_at(self.expires())),
            "expirySeconds": self.life.as_secs(),
            "revoked": revoked.unwrap_or_else(|| YEAR_ONE.to_owned()),
            "capabilities": {"devices": {"create": {
                "reusable": self.reusable, "ephemeral": self.ephemeral,
                "preauthorized": self.preauthorized, "tags": self.tags,
            }}},
            "invalid": self.ended(state.now).is_some(),
            "userId": "uSimCNTRL",
        });
        if let Some(fields) = object.as_object_mut() {
            if !self.description.is_empty() {
                fields.insert("description".to_owned(), json!(self.description));
            }
            if secret {
                fields.insert("key".to_owned(), json!(self.secret));
            }
        }
        object
    }
}

/// `POST /tailnet/-/keys` → 200
pub(super) fn create(state: &mut State, call: &Call, token: &Token) -> Answer {
    token.may(&["auth_keys"])?;
    let body = call.json().filter(Value::is_object);
    let body = body.ok_or_else(|| refuse(400, "invalid JSON"))?;
    if text_of(&body, "keyType").is_some_and(|kind| kind != "auth") {
        return Err(refuse(400, "this credential can only make auth keys"));
    }
    let wish = body.pointer("/capabilities/devices/create");
    let wish = wish.ok_or_else(|| refuse(400, "capabilities.devices.create is missing"))?;
    let tags = tags(wish, token)?;
    let life = life(&body)?;
    let description = description(&body)?;
    let flag = |name: &str| wish.get(name).and_then(Value::as_bool).unwrap_or(false);
    let number = state.tailscale.new_number().to_string();
    let id = draw::text(state.config.seed, &["key id", &number], 10);
    let id = format!("k{id}CNTRL");
    let secret = draw::text(state.config.seed, &["key", &number], 32);
    let key = Key {
        secret: format!("tskey-auth-{id}-{secret}"),
        id: id.clone(),
        description,
        created: state.now,
        life,
        revoked: None,
        used: None,
        reusable: flag("reusable"),
        ephemeral: flag("ephemeral"),
        preauthorized: flag("preauthorized"),
        tags,
    };
    let reply = Reply::json(200, key.json(state, true));
    state.tailscale.keys.insert(id, key);
    Ok(reply)
}

/// The tags of a key: exactly the whole set of the client's.
fn tags(wish: &Value, token: &Token) -> Result<Vec<String>, Reply> {
    let wanted = wish.get("tags").and_then(Value::as_array);
    let wanted = wanted.into_iter().flatten().filter_map(Value::as_str);
    let wanted: Vec<String> = wanted.map(str::to_owned).collect();
    if wanted.is_empty() {
        return Err(refuse(
            400,
            "tags are required for keys made by an OAuth client",
        ));
    }
    let same = wanted.len() == token.tags.len() && wanted.iter().all(|t| token.tags.contains(t));
    if same {
        return Ok(wanted);
    }
    let list = wanted.join(" ");
    let message = format!("requested tags [{list}] are invalid or not permitted");
    Err(refuse(400, &message))
}

fn life(body: &Value) -> Result<Duration, Reply> {
    let seconds = match body.get("expirySeconds") {
        None | Some(Value::Null) => Some(LONGEST),
        Some(value) => value.as_u64(),
    };
    let allowed = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
    allowed
        .map(Duration::from_secs)
        .ok_or_else(|| refuse(400, "expirySeconds must be between 1 and 7776000"))
}

fn description(body: &Value) -> Result<String, Reply> {
    let text = text_of(body, "description").unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "- _".contains(c);
    if text.chars().count() > DESCRIPTION_LIMIT {
        return Err(refuse(400, "description must be 50 characters or less"));
    }
    if !text.chars().all(allowed) {
        let message = "description may only contain letters, digits, hyphens and spaces";
        return Err(refuse(400, message));
    }
    Ok(text.to_owned())
}

/// `GET /tailnet/-/keys`
pub(super) fn list(state: &State, call: &Call, token: &Token) -> Answer {
    token.may(&["auth_keys", "auth_keys:read"])?;
    if call.param("all") != Some("true") {
        return Ok(Reply::json(200, json!({"keys": []})));
    }
    let keys = state.tailscale.keys.values();
    let active = keys.filter(|key| key.ended(state.now).is_none());
    let shown: Vec<Value> = active.map(|key| key.json(state, false)).collect();
    Ok(Reply::json(200, json!({"keys": shown})))
}

/// `GET /tailnet/-/keys/{id}`
pub(super) fn get(state: &State, token: &Token, id: &str) -> Answer {
    token.may(&["auth_keys", "auth_keys:read"])?;
    let key = state.tailscale.keys.get(id);
    let key = key.filter(|key| key.remembered(state.now));
    let key = key.ok_or_else(|| refuse(404, "key not found"))?;
    Ok(Reply::json(200, key.json(state, false)))
}

/// `DELETE /tailnet/-/keys/{id}`: no touch to devices that joined with it.
pub(super) fn delete(state: &mut State, token: &Token, id: &str) -> Answer {
    token.may(&["auth_keys"])?;
    let now = state.now;
    let key = state.tailscale.keys.get_mut(id);
    let key = key.filter(|key| key.revoked.is_none());
    let key = key.ok_or_else(|| refuse(404, "key not found"))?;
    key.revoked = Some(now);
    Ok(Reply::empty(200))
}

/// A machine presents a key: the key, now used, or the reason why not.
pub(super) fn redeem(state: &mut State, secret: &str) -> Result<(String, Key), String> {
    let now = state.now;
    let mut keys = state.tailscale.keys.values_mut();
    let key = keys.find(|key| key.secret == secret);
    let key = key.ok_or("the auth key is unknown to Tailscale")?;
    if let Some((_, reason)) = key.ended(now) {
        return Err(format!("the auth key {reason}"));
    }
    key.used = Some(now);
    Ok((key.id.clone(), key.clone()))
}

impl Tailscale {
    /// Every one-off key counts as used.
    pub(crate) fn spend_keys(&mut self, now: Duration) {
        for key in self.keys.values_mut().filter(|key| !key.reusable) {
            key.used.get_or_insert(now);
        }
    }

    /// Keys for a snapshot.
    pub(crate) fn key_views(&self, state: &State) -> Vec<KeyView> {
        let view = |key: &Key| KeyView {
            id: key.id.clone(),
            description: key.description.clone(),
            created: state.unix_at(key.created),
            expires: state.unix_at(key.expires()),
            used: key.used.is_some(),
            revoked: key.revoked.is_some(),
            reusable: key.reusable,
            ephemeral: key.ephemeral,
            preauthorized: key.preauthorized,
            tags: key.tags.clone(),
            usable: key.ended(state.now).is_none(),
        };
        self.keys.values().map(view).collect()
    }
}
