//! Token, SSH key, server type, image and firewall.
//! It must not know how servers are made.

use super::Finding;
use crate::{
    choice::choice,
    hetzner::{Error, Firewall, Hetzner, Kind, ServerType},
    region,
    settings::Told,
    steps::choose,
};
use outbound::Client;

const TOKEN: &str = "HETZNER_API_TOKEN";
const SSH_KEY: &str = "HETZNER_SSH_KEY_ID";
const SERVER_TYPE: &str = "HETZNER_SERVER_TYPE";
const IMAGE: &str = "HETZNER_IMAGE";
const FIREWALL: &str = "HETZNER_FIREWALL_ID";

/// Every check at Hetzner, in the order of the README.
pub(super) async fn check(told: &Told, client: Client) -> Vec<Finding> {
    let settings = &told.hetzner;
    let token = match told.mistake(TOKEN) {
        Some(why) => Err(Finding::wrong(TOKEN, why)),
        None if told.mistake("HETZNER_API_URL").is_some() => {
            Err(Finding::after(TOKEN, "HETZNER_API_URL"))
        }
        None => Ok(Hetzner::new(client, &settings.url, &settings.token)),
    };
    let asked = match token {
        Err(finding) => Err(finding),
        Ok(hetzner) => match types(&hetzner).await {
            Ok(types) => Ok((hetzner, types)),
            Err(error) => Err(refused(TOKEN, &error)),
        },
    };
    match asked {
        Err(finding) => {
            let others = [SSH_KEY, SERVER_TYPE, IMAGE, FIREWALL];
            let after = others.map(|name| match told.mistake(name) {
                Some(why) => Finding::wrong(name, why),
                None => Finding::after(name, TOKEN),
            });
            std::iter::once(finding).chain(after).collect()
        }
        Ok((hetzner, types)) => vec![
            Finding::ok(
                TOKEN,
                "Hetzner takes it; no read can prove that it may write, so see to it that it \
                 was made with Read & Write",
            ),
            ssh_key(told, &hetzner).await,
            server_type(told, &types),
            image(told, &types, &hetzner).await,
            firewall(told, &hetzner).await,
        ],
    }
}

/// What is sold: calls that any working token may make.
async fn types(hetzner: &Hetzner) -> Result<Vec<ServerType>, Error> {
    hetzner.probe().await?;
    hetzner.server_types().await
}

/// A call that failed: a refusal says that the setting is wrong, silence says nothing.
fn refused(setting: &str, error: &Error) -> Finding {
    match error.kind {
        Kind::Denied | Kind::Refused | Kind::NotFound => Finding::wrong(setting, error.to_string()),
        Kind::NameTaken
        | Kind::Busy
        | Kind::Unavailable
        | Kind::Limit
        | Kind::Later
        | Kind::Doubt => Finding::unknown(
            setting,
            format!("{error}; check HETZNER_API_URL and the network, then try again"),
        ),
    }
}

async fn ssh_key(told: &Told, hetzner: &Hetzner) -> Finding {
    if let Some(why) = told.mistake(SSH_KEY) {
        return Finding::wrong(SSH_KEY, why);
    }
    let id = told.hetzner.ssh_key_id;
    match hetzner.ssh_key_name(id).await {
        Ok(Some(name)) => Finding::ok(SSH_KEY, format!("{id} is the key {name:?}")),
        Ok(None) => Finding::wrong(
            SSH_KEY,
            format!("the token's project has no SSH key {id}; add one there and set its id"),
        ),
        Err(error) => refused(SSH_KEY, &error),
    }
}

fn server_type(told: &Told, types: &[ServerType]) -> Finding {
    let wished = &told.hetzner.server_type;
    let (location, _) = region::location(&told.region);
    let zone = region::zone(location);
    let places = zone.join(", ");
    if told.type_is_wished && !types.iter().any(|kind| &kind.name == wished) {
        let text = format!("Hetzner knows no server type {wished}; set another, or none");
        return Finding::wrong(SERVER_TYPE, text);
    }
    let list = choice(types, wished, &zone).candidates;
    if let Some(one) = list.iter().find(|one| &one.server_type == wished) {
        let text = format!("{wished} is sold at {}", one.location);
        return Finding::ok(SERVER_TYPE, text);
    }
    match list.first() {
        None => Finding::wrong(
            SERVER_TYPE,
            format!("nothing that fits is sold at {places} just now; set another REGION"),
        ),
        Some(one) if told.type_is_wished => Finding::wrong(
            SERVER_TYPE,
            format!(
                "{wished} is not sold at {places} just now, {} would be taken; set that, or none",
                one.server_type
            ),
        ),
        Some(one) => Finding::ok(
            SERVER_TYPE,
            format!(
                "{wished} is not sold at {places} just now, {} at {} is taken instead",
                one.server_type, one.location
            ),
        ),
    }
}

async fn image(told: &Told, types: &[ServerType], hetzner: &Hetzner) -> Finding {
    let wished = &told.hetzner.image;
    let (location, _) = region::location(&told.region);
    let list = choice(types, &told.hetzner.server_type, &region::zone(location)).candidates;
    let first = list.first();
    let kind = first.and_then(|one| types.iter().find(|kind| kind.name == one.server_type));
    match hetzner.image(wished).await {
        Ok(found) if found.is_empty() => Finding::wrong(
            IMAGE,
            format!(
                "there is no image {wished} that can be used; set the name of a system image \
                 or the id of a snapshot of this project"
            ),
        ),
        Ok(found) => match kind.filter(|kind| !found.contains(&kind.architecture)) {
            Some(kind) => Finding::wrong(
                IMAGE,
                format!(
                    "{wished} is for {}, and {} is {}; set an image that fits the server type",
                    found.join(", "),
                    kind.name,
                    kind.architecture
                ),
            ),
            None => Finding::ok(IMAGE, format!("{wished} can be used")),
        },
        Err(error) => refused(IMAGE, &error),
    }
}

async fn firewall(told: &Told, hetzner: &Hetzner) -> Finding {
    if let Some(why) = told.mistake(FIREWALL) {
        return Finding::wrong(FIREWALL, why);
    }
    let found = if let Some(id) = told.hetzner.firewall_id {
        hetzner.firewall(id).await
    } else {
        let name = choose::firewall_name(&told.hetzner.installation);
        hetzner.firewall_named(&name).await
    };
    match (found, told.hetzner.firewall_id) {
        (Ok(Some(found)), _) => open_ports(&found),
        (Ok(None), None) => Finding::ok(
            FIREWALL,
            "is not set: the first provision makes a firewall, the others find it",
        ),
        (Ok(None), Some(id)) => Finding::wrong(
            FIREWALL,
            format!("the token's project has no firewall {id}; set another id, or none"),
        ),
        (Err(error), _) => refused(FIREWALL, &error),
    }
}

fn open_ports(found: &Firewall) -> Finding {
    let Firewall { id, name, .. } = found;
    let port = choose::TAILSCALE_PORT;
    let open = found.opens_beside(port);
    if open.is_empty() {
        return Finding::ok(FIREWALL, format!("{id} is the firewall {name:?}"));
    }
    Finding::wrong(
        FIREWALL,
        format!(
            "{id}, {name:?}, lets in {} as well; agents need nothing but {port}/udp, so remove \
             those rules",
            open.join(", ")
        ),
    )
}
