//! The OAuth client: whether it works, what it may do, and its one tag.
//! It must not make a key.

use super::Finding;
use crate::{
    settings::Told,
    tailscale::{Error, Grant, Kind, Tailscale},
};
use outbound::Client;

const CLIENT: &str = "TAILSCALE_OAUTH_CLIENT_ID, TAILSCALE_OAUTH_CLIENT_SECRET";
const URL: &str = "TAILSCALE_API_URL";
const SCOPES: &str = "scopes of the OAuth client";
const TAG: &str = "TAILSCALE_TAG";
/// Keys are made and revoked, devices listed and deleted.
const NEEDED: [&str; 2] = ["auth_keys", "devices:core"];

/// Every check at Tailscale.
pub(super) async fn check(told: &Told, client: Client) -> Vec<Finding> {
    let settings = &told.tailscale;
    let mut mistakes: Vec<Finding> = ["TAILSCALE_OAUTH_CLIENT_ID", "TAILSCALE_OAUTH_CLIENT_SECRET"]
        .iter()
        .filter_map(|name| Some(Finding::wrong(name, told.mistake(name)?)))
        .collect();
    if mistakes.is_empty() && told.mistake(URL).is_some() {
        mistakes.push(Finding::after(CLIENT, URL));
    }
    if !mistakes.is_empty() {
        return without_grant(told, mistakes);
    }
    let tailscale = Tailscale::new(
        client,
        &settings.url,
        &settings.client_id,
        &settings.client_secret,
    );
    match tailscale.grant().await {
        Ok(grant) => vec![
            Finding::ok(CLIENT, "Tailscale takes them"),
            scopes(&grant),
            tag(told, &grant),
        ],
        Err(error) => without_grant(told, vec![refused(&error)]),
    }
}

fn without_grant(told: &Told, mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.push(Finding::after(SCOPES, "the OAuth client"));
    findings.push(match told.mistake(TAG) {
        Some(why) => Finding::wrong(TAG, why),
        None => Finding::after(TAG, "the OAuth client"),
    });
    findings
}

fn refused(error: &Error) -> Finding {
    match error.kind {
        Kind::Denied | Kind::Refused | Kind::NotFound => Finding::wrong(CLIENT, error.to_string()),
        Kind::Foreign | Kind::TokenEnded | Kind::Later | Kind::Doubt => Finding::unknown(
            CLIENT,
            format!("{error}; check TAILSCALE_API_URL and the network, then try again"),
        ),
    }
}

fn scopes(grant: &Grant) -> Finding {
    let Some(scopes) = &grant.scopes else {
        return Finding::unknown(SCOPES, "Tailscale does not say them; see the admin console");
    };
    // `devices` is what `devices:core` was called before.
    let fits = |one: &str, needed: &str| {
        one == needed || one == "all" || needed.strip_suffix(":core") == Some(one)
    };
    let has = |needed: &&&str| scopes.iter().any(|one| fits(one, needed));
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|needed| !has(needed))
        .copied()
        .collect();
    if missing.is_empty() {
        return Finding::ok(SCOPES, format!("{}, both to write", NEEDED.join(" and ")));
    }
    Finding::wrong(
        SCOPES,
        format!(
            "{} to write is missing; make a client that has {}",
            missing.join(" and "),
            NEEDED.join(" and ")
        ),
    )
}

/// A key must carry exactly the tags of its client, so one tag each leaves nothing to go wrong.
fn tag(told: &Told, grant: &Grant) -> Finding {
    let wished = &told.tailscale.tag;
    if let Some(why) = told.mistake(TAG) {
        return Finding::wrong(TAG, why);
    }
    match grant.tags.as_deref() {
        None => Finding::unknown(
            TAG,
            "Tailscale does not say the client's tags; see the admin console",
        ),
        Some([one]) if one == wished => {
            Finding::ok(TAG, format!("{wished} is the OAuth client's only tag"))
        }
        Some(tags) => Finding::wrong(
            TAG,
            format!(
                "is {wished}, but the OAuth client's tags are: {}; make a client with exactly \
                 this one tag",
                if tags.is_empty() {
                    "none".to_owned()
                } else {
                    tags.join(", ")
                }
            ),
        ),
    }
}
