//! The user data of a new server: time first, then Tailscale, then the auth key is gone.
//! It must not hold any secret but the one-off key, nor any text that a customer wrote.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

/// Hetzner: user data holds up to 32 KiB.
pub(crate) const BYTES_MAX: usize = 32 * 1024;

/// Swap for small machines, in bytes.
const SWAP_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// What runs once at first boot. The network may not be up yet, apt may be locked, and an
/// installation may have been cut off half-way, so everything that reaches out is repeated, until
/// the runner has surely given up. That is counted by uptime: the clock may be set meanwhile. The
/// clock comes first, for Tailscale's control plane refuses a machine whose clock is far off. Its
/// service is woken, for it asks ever more rarely after a lost packet; not often, for it asks its
/// servers one after another, ten seconds each, and begins anew when woken.
///
/// A machine that is restarted meanwhile does not go on: its key is gone, and it is replaced
/// like any other that does not enrol. Stopping `cloud-final` alone stops nothing: systemd
/// leaves the script alone. A signal to the script itself counts once its current command ends.
/// Copies of the user data stay in cloud-init's folders, which root reads, and in Hetzner's
/// metadata service, which any process on the machine reads, so the key is one-off and
/// short-lived.
const ENROL: &str = r#"#!/bin/sh
set -u
trap 'rm -rf /run/slipway' EXIT
trap 'exit 1' HUP INT TERM
uptime() {
  cut -d . -f 1 /proc/uptime
}
woken=$(uptime)
clock_is_set() {
  [ "$(timeout 5 timedatectl show -p NTPSynchronized --value)" != yes ] || return 0
  [ $(($(uptime) - woken)) -ge 120 ] || return 1
  woken=$(uptime)
  systemctl try-restart systemd-timesyncd
  return 1
}
rest() {
  [ "$(uptime)" -lt 900 ] || exit 1
  clock_is_set
  sleep 5
}
timeout 30 timedatectl set-ntp true
n=0
until clock_is_set || [ "$n" -ge 60 ]; do
  n=$((n + 1))
  sleep 1
done
echo 'DPkg::Lock::Timeout "120";' >/etc/apt/apt.conf.d/90slipway
tried=no
until command -v tailscale >/dev/null 2>&1 && systemctl enable --now tailscaled; do
  if [ "$tried" = yes ]; then
    rest
    DEBIAN_FRONTEND=noninteractive timeout 120 dpkg --configure -a </dev/null
  fi
  tried=yes
  curl -fsSL --max-time 30 -o /run/slipway/install.sh https://tailscale.com/install.sh \
    && timeout 300 sh /run/slipway/install.sh
done
until tailscale up --auth-key=file:/run/slipway/auth-key --hostname=HOSTNAME --timeout=60s; do
  rest
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
    use std::{
        process::Stdio,
        sync::{Mutex, MutexGuard, PoisonError},
    };

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

    /// Nothing is started while a program is being written: it would for a moment hold it open too,
    /// and what is open for writing cannot be run.
    static ONE: Mutex<()> = Mutex::new(());

    fn alone() -> MutexGuard<'static, ()> {
        ONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine of which only the script is real: what it calls is recorded and may fail first.
    struct Machine {
        folder: tempfile::TempDir,
        script: String,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            for name in ["bin", "run", "apt"] {
                std::fs::create_dir(at(name)).unwrap();
            }
            let path = |name: &str| at(name).display().to_string();
            let script = ENROL
                .replace("HOSTNAME", "agent-1")
                .replace("/run/slipway", &path("run"))
                .replace("/proc/uptime", &path("uptime"))
                .replace("/etc/apt/apt.conf.d", &path("apt"));
            std::fs::write(at("run/auth-key"), "tskey-auth-k1-x").unwrap();
            std::fs::write(at("uptime"), "20.53 18.01\n").unwrap();
            Self { folder, script }
        }

        fn text(&self, name: &str) -> String {
            std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
        }

        /// Puts a program on the machine; `$calls` is the record.
        fn has(&self, name: &str, does: &str) {
            use std::os::unix::fs::PermissionsExt;
            let path = self.folder.path().join("bin").join(name);
            let folder = self.folder.path().display();
            let body = format!(
                "#!/bin/sh\nfolder={folder}\ncalls={folder}/calls\n\
                 echo \"{name} $*\" >>\"$calls\"\n{does}\n"
            );
            let alone = alone();
            std::fs::write(&path, body).unwrap();
            drop(alone);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }

        /// Boots with `sh`, which is dash on Ubuntu as on Debian; gives the exit code.
        fn boot(&self) -> Option<i32> {
            let bin = self.folder.path().join("bin");
            let mut sh = std::process::Command::new("/bin/sh");
            sh.arg("-c").arg(&self.script).env_clear();
            sh.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
            sh.stdin(Stdio::null());
            sh.stdout(Stdio::null()).stderr(Stdio::null());
            let alone = alone();
            let mut running = sh.spawn().unwrap();
            drop(alone);
            running.wait().unwrap().code()
        }

        /// The place of the first call that begins so.
        fn first(&self, start: &str) -> usize {
            let calls = self.calls();
            let begins = |call: &String| call.starts_with(start);
            calls.iter().position(begins).unwrap()
        }

        /// Whole seconds.
        fn uptime(&self) -> u64 {
            let text = self.text("uptime");
            text.split('.').next().unwrap().parse().unwrap()
        }

        fn has_forgotten_the_key(&self) -> bool {
            !self.folder.path().join("run").exists()
        }

        fn calls(&self) -> Vec<String> {
            self.text("calls").lines().map(str::to_owned).collect()
        }
    }

    /// Fails as often as told, then works; counts in a file.
    fn works_after(failures: u32, then: &str) -> String {
        format!(
            "n=$(cat \"$folder/$(basename \"$0\")-n\" 2>/dev/null || echo 0)\n\
             echo $((n + 1)) >\"$folder/$(basename \"$0\")-n\"\n\
             [ \"$n\" -ge {failures} ] || exit 1\n{then}"
        )
    }

    /// The installer as `curl` brings it: it puts tailscale on the machine.
    fn brings_tailscale(machine: &Machine) -> String {
        machine.has(
            "tailscale",
            &works_after(2, "cat \"${2#--auth-key=file:}\" >>\"$calls\""),
        );
        let bin = machine.folder.path().join("bin");
        let (own, kept) = (bin.join("tailscale"), bin.join("kept"));
        std::fs::rename(&own, &kept).unwrap();
        let install = format!("mv {} {}", kept.display(), own.display());
        works_after(
            3,
            &format!("while [ \"$1\" != -o ]; do shift; done; echo '{install}' >\"$2\""),
        )
    }

    fn machine() -> Machine {
        let machine = Machine::new();
        for name in ["dpkg", "systemctl"] {
            machine.has(name, "");
        }
        let slept = "s=$(cut -d . -f 1 \"$folder/uptime\")\n\
                     echo \"$((s + $1)).00 1.00\" >\"$folder/uptime\"";
        machine.has("sleep", slept);
        machine.has("timedatectl", "[ \"$1\" != show ] || echo yes");
        machine
    }

    #[test]
    fn the_script_enrols_a_machine_although_everything_fails_at_first() {
        let machine = machine();
        let curl = brings_tailscale(&machine);
        machine.has("curl", &curl);
        assert_eq!(machine.boot(), Some(0), "{:#?}", machine.calls());
        let calls = machine.calls();
        let count = |start: &str| calls.iter().filter(|call| call.starts_with(start)).count();
        assert_eq!((count("curl"), count("dpkg --configure -a")), (4, 3));
        assert_eq!(count("systemctl enable --now tailscaled"), 1);
        assert_eq!(count("tailscale up"), 3);
        assert!(
            machine.first("timedatectl") < machine.first("curl")
                && machine.first("curl") < machine.first("systemctl")
        );
        assert!(machine.first("systemctl") < machine.first("tailscale up"));
        assert_eq!(
            calls.last().unwrap(),
            "tskey-auth-k1-x",
            "it was given the key's file"
        );
        assert!(machine.text("apt/90slipway").contains("Lock::Timeout"));
        assert!(machine.has_forgotten_the_key());
    }

    #[test]
    fn the_key_is_removed_from_a_machine_that_never_enrols() {
        for installs in [false, true] {
            let machine = machine();
            let mut curl = "exit 22".to_owned();
            if installs {
                curl = brings_tailscale(&machine);
                machine.has("kept", "exit 1");
            }
            machine.has("curl", &curl);
            assert_eq!(machine.boot(), Some(1));
            let calls = machine.calls();
            let start = if installs { "kept up" } else { "curl" };
            let tries = calls.iter().filter(|call| call.starts_with(start)).count();
            assert!(tries > 150, "{start}: {tries}");
            let uptime = machine.uptime();
            assert!((900..910).contains(&uptime), "{uptime} s");
            assert!(machine.has_forgotten_the_key());
        }
    }

    #[test]
    fn a_clock_that_nobody_sets_is_asked_for_again_and_holds_nothing_up_for_long() {
        let machine = machine();
        machine.has("timedatectl", "[ \"$1\" != show ] || echo no");
        machine.has("curl", "exit 22");
        assert_eq!(machine.boot(), Some(1), "{:#?}", machine.calls());
        let calls = machine.calls();
        let slept = calls.iter().take(machine.first("curl"));
        assert_eq!(slept.filter(|call| *call == "sleep 1").count(), 60);
        let wakes = "systemctl try-restart systemd-timesyncd";
        let wakes = calls.iter().filter(|call| *call == wakes).count();
        assert!((6..=7).contains(&wakes), "every two minutes: {wakes}");
    }

    #[test]
    fn the_key_is_removed_when_the_script_is_stopped() {
        let machine = machine();
        machine.has("curl", "kill -TERM \"$PPID\"");
        assert_eq!(machine.boot(), Some(1), "{:#?}", machine.calls());
        assert!(machine.has_forgotten_the_key());
    }
}
