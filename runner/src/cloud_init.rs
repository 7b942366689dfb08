//! The user data of a new server: time first, then Tailscale, then the auth key is gone.
//! It must not hold any secret but the one-off key, nor any text that a customer wrote.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

/// Hetzner: user data holds up to 32 KiB.
pub(crate) const BYTES_MAX: usize = 32 * 1024;

/// Swap for small machines, in bytes.
const SWAP_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// What runs once at first boot. The network may not be up yet and apt may be locked, so
/// everything that reaches out is repeated. The clock comes first: Tailscale's control plane
/// refuses a machine whose clock is far off.
const ENROL: &str = r#"#!/bin/sh
set -u
trap 'rm -rf /run/slipway' EXIT
timedatectl set-ntp true
n=0
while [ "$(timedatectl show -p NTPSynchronized --value)" != yes ] && [ "$n" -lt 60 ]; do
  n=$((n + 1))
  sleep 1
done
n=0
until command -v tailscale >/dev/null 2>&1; do
  n=$((n + 1))
  [ "$n" -le 40 ] || exit 1
  curl -fsSL --retry 3 --max-time 60 -o /run/slipway/install.sh https://tailscale.com/install.sh \
    && timeout 300 sh /run/slipway/install.sh
  command -v tailscale >/dev/null 2>&1 || sleep 5
done
n=0
until tailscale up --auth-key=file:/run/slipway/auth-key --hostname=HOSTNAME --timeout=60s; do
  n=$((n + 1))
  [ "$n" -le 10 ] || exit 1
  sleep 5
done
"#;

/// User data that enrols the machine as `hostname` with `auth_key`: `#cloud-config` and JSON,
/// which is YAML as long as it is printable ASCII.
///
/// # Errors
/// When a part is not printable ASCII, or the whole is longer than Hetzner takes.
pub(crate) fn user_data(hostname: &str, auth_key: &SecretString) -> Result<String, String> {
    let key = auth_key.expose_secret();
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain(hostname) || !plain(key) {
        return Err("user data takes printable ASCII only".to_owned());
    }
    let config = json!({
        "ssh_pwauth": false,
        "swap": { "filename": "/swapfile", "size": SWAP_BYTES, "maxsize": SWAP_BYTES },
        "write_files": [
            { "path": "/run/slipway/auth-key", "permissions": "0600", "content": key },
            {
                "path": "/run/slipway/enrol",
                "permissions": "0700",
                "content": ENROL.replace("HOSTNAME", hostname),
            },
        ],
        "runcmd": [["sh", "/run/slipway/enrol"]],
    });
    let text = format!("#cloud-config\n{config}\n");
    if text.len() > BYTES_MAX {
        return Err(format!("user data is longer than {BYTES_MAX} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap()
    }

    #[test]
    fn the_machine_enrols_under_its_name_and_forgets_the_key() {
        let text = user_data("agent-1", &SecretString::from("tskey-auth-k1-x")).unwrap();
        let config = parsed(&text);
        assert_eq!(config["write_files"][0]["permissions"], "0600");
        assert_eq!(config["write_files"][0]["content"], "tskey-auth-k1-x");
        let script = config["write_files"][1]["content"].as_str().unwrap();
        assert!(script.contains("--auth-key=file:/run/slipway/auth-key --hostname=agent-1"));
        assert!(!script.contains("tskey"), "the key is in its file only");
        assert!(script.contains("trap 'rm -rf /run/slipway' EXIT"));
        let time = script.find("NTPSynchronized").unwrap();
        assert!(
            time < script.find("install.sh").unwrap(),
            "time before Tailscale"
        );
        assert_eq!(config["swap"]["size"], SWAP_BYTES);
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for (hostname, key) in [("agent 1", "k"), ("agent-\u{e9}", "k"), ("agent-1", "k\n")] {
            assert!(user_data(hostname, &SecretString::from(key)).is_err());
        }
        assert!(user_data("a", &SecretString::from("k".repeat(BYTES_MAX))).is_err());
    }

    proptest! {
        #[test]
        fn any_plain_text_survives_as_ascii(hostname in "[!-~]{1,60}", key in "[!-~]{1,200}") {
            let text = user_data(&hostname, &SecretString::from(key.as_str())).unwrap();
            prop_assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
            let config = parsed(&text);
            prop_assert_eq!(config["write_files"][0]["content"].as_str(), Some(key.as_str()));
            let named = format!("--hostname={hostname} ");
            let script = config["write_files"][1]["content"].as_str().unwrap();
            prop_assert!(script.contains(&named));
        }
    }
}
