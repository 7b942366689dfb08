//! Defaults, and every mistake by name.

use super::*;
use std::collections::HashMap;

const JOB: &str = "0191b2c4-0000-7000-8000-00000000000a";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn good() -> HashMap<&'static str, &'static str> {
    HashMap::from([
        ("JOB_ID", JOB),
        ("AGENT_ID", "0191B2C4-0000-7000-8000-00000000000B"),
        ("CALLBACK_URL", "https://example.test/callback"),
        ("CALLBACK_SECRET", SECRET),
        ("GITHUB_RUN_ID", "7"),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("HETZNER_API_TOKEN", "token"),
        ("HETZNER_SSH_KEY_ID", "12"),
        ("TAILSCALE_OAUTH_CLIENT_ID", "id"),
        ("TAILSCALE_OAUTH_CLIENT_SECRET", "tskey-client-x"),
    ])
}

fn wire(vars: &HashMap<&'static str, &'static str>) -> Result<WireSettings, Mistakes> {
    WireSettings::read(Operation::Provision, &|name| {
        vars.get(name).map(|value| (*value).to_owned())
    })
}

fn cloud(vars: &HashMap<&'static str, &'static str>) -> Result<CloudSettings, Mistakes> {
    CloudSettings::read(&|name| vars.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn defaults_are_those_of_the_readme() {
    let (wire, cloud) = (wire(&good()).unwrap(), cloud(&good()).unwrap());
    assert_eq!(wire.inputs.region, "us-east");
    assert_eq!(wire.inputs.fence, 1);
    assert_eq!(wire.inputs.agent_id, "0191b2c4-0000-7000-8000-00000000000b");
    assert_eq!(wire.heartbeat, Duration::from_mins(1));
    assert_eq!(cloud.hetzner.url, HETZNER_URL);
    assert_eq!(cloud.hetzner.server_type, "cpx11");
    assert_eq!(cloud.hetzner.image, "ubuntu-22.04");
    assert_eq!(cloud.hetzner.installation, "default");
    assert_eq!(cloud.tailscale.url, TAILSCALE_URL);
    assert_eq!(cloud.tailscale.tag, "tag:agent");
    assert!(!cloud.tailscale.ephemeral);
}

#[test]
fn all_mistakes_are_named_together() {
    let text = wire(&HashMap::new()).unwrap_err().to_string();
    for name in [
        "JOB_ID",
        "AGENT_ID",
        "CALLBACK_URL",
        "CALLBACK_SECRET",
        "GITHUB_RUN_ID",
    ] {
        assert!(
            text.contains(&format!("{name} is not set")),
            "{name}: {text}"
        );
    }
    let text = cloud(&HashMap::new()).unwrap_err().to_string();
    for name in [
        "HETZNER_API_TOKEN",
        "HETZNER_SSH_KEY_ID",
        "TAILSCALE_OAUTH_CLIENT_ID",
    ] {
        assert!(
            text.contains(&format!("{name} is not set")),
            "{name}: {text}"
        );
    }
}

#[test]
fn each_bad_value_is_refused_by_name() {
    for (name, value) in [
        ("JOB_ID", "job-1"),
        ("AGENT_ID", "0191b2c4-0000-7000-8000-00000000000g"),
        ("CALLBACK_URL", "http://example.test/callback"),
        ("CALLBACK_URL", "https://user@example.test/callback"),
        ("CALLBACK_URL", "nowhere"),
        ("CALLBACK_ORIGIN", "https://other.test"),
        ("CALLBACK_SECRET", "short"),
        ("FENCE", "0"),
        ("FENCE", "x"),
        ("GITHUB_RUN_ATTEMPT", "0"),
        ("HEARTBEAT_SECONDS", "soon"),
        ("HEARTBEAT_SECONDS", "0"),
        ("HEARTBEAT_SECONDS", "86"),
        ("JOB_STARTED_AT", "yesterday"),
    ] {
        let mut vars = good();
        vars.insert(name, value);
        let named = if name == "CALLBACK_ORIGIN" {
            "CALLBACK_URL"
        } else {
            name
        };
        let text = wire(&vars).unwrap_err().to_string();
        assert!(text.contains(named), "{name}={value}: {text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    for (name, value) in [
        ("HETZNER_SSH_KEY_ID", "my-key"),
        ("HETZNER_FIREWALL_ID", "fw"),
        ("HETZNER_API_URL", "http://example.test"),
        ("INSTALLATION", "-x"),
        ("TAILSCALE_TAG", "agent"),
        ("TAILSCALE_EPHEMERAL", "yes"),
    ] {
        let mut vars = good();
        vars.insert(name, value);
        let text = cloud(&vars).unwrap_err().to_string();
        assert!(text.contains(name), "{name}={value}: {text}");
    }
}

#[test]
fn this_machine_may_be_plain_and_empty_means_unset() {
    let mut vars = good();
    vars.insert("CALLBACK_URL", "http://127.0.0.1:9/callback");
    vars.insert("CALLBACK_ORIGIN", "http://127.0.0.1:9");
    vars.insert("REGION", "");
    vars.insert("HETZNER_FIREWALL_ID", " ");
    assert_eq!(wire(&vars).unwrap().inputs.region, "us-east");
    assert_eq!(cloud(&vars).unwrap().hetzner.firewall_id, None);
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?} {:?}", wire(&good()), cloud(&good()));
    assert!(
        !shown.contains(SECRET) && !shown.contains("tskey-client-x"),
        "{shown}"
    );
}
