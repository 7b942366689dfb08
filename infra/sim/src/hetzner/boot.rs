//! The machine inside a server: it boots, reads its user data and enrols in Tailscale.
//!
//! Reads cloud-config the way cloud-init would, but only its JSON form (JSON is YAML, and the rest
//! of YAML is not needed to judge whether a machine enrols). Runs nothing: it looks for the
//! command that would enrol, and for the key that the command would use.

use serde_json::Value;

use crate::hetzner::servers::{self, Status};
use crate::state::{Due, State};
use crate::tailscale::devices::{self, Enrolment};
use crate::wire::{base64_decode, text_of};

/// What a machine remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub(crate) boots: u32,
    /// Powered right now.
    pub(crate) powered: bool,
    /// cloud-init came to its end on this disk; it does not run twice.
    pub(crate) first_boot_done: bool,
    /// The device of its state file.
    pub(crate) device: Option<u64>,
    /// Why it did not enrol.
    pub(crate) note: Option<String>,
}

/// What `tailscale up` on this machine will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnrolPlan {
    pub(crate) key: String,
    pub(crate) hostname: String,
}

/// The hypervisor started the machine.
pub(crate) fn power_on(state: &mut State, server: u64) {
    servers::set_status(state, server, Status::Running);
    let Some(found) = state.hetzner.servers.get_mut(&server) else {
        return;
    };
    if found.machine.powered {
        return;
    }
    found.machine.powered = true;
    found.machine.boots += 1;
    let boot = found.machine.boots;
    let after = found.delays.boot;
    if !state.knobs.boot_hangs {
        state.schedule(after, Due::Boots { server, boot });
    }
}

/// The machine is off: its device goes quiet.
pub(crate) fn power_lost(state: &mut State, server: u64) {
    let Some(found) = state.hetzner.servers.get_mut(&server) else {
        return;
    };
    found.machine.powered = false;
    if let Some(device) = found.machine.device {
        devices::goes_quiet(state, device);
    }
}

/// The machine was told to shut down, and will.
pub(crate) fn obeys(state: &mut State, server: u64) {
    servers::set_status(state, server, Status::Running);
    let boot = state
        .hetzner
        .servers
        .get(&server)
        .map(|found| found.machine.boots);
    if let (Some(boot), Some(late)) = (boot, state.knobs.obeys_late) {
        state.schedule(late, Due::GoesOff { server, boot });
    }
}

/// The machine went off by itself, unless it was switched off or rebooted since.
pub(crate) fn goes_off(state: &mut State, server: u64, boot: u32) {
    if still_on(state, server, boot).is_some() {
        servers::set_status(state, server, Status::Off);
        power_lost(state, server);
    }
}

/// The disk was wiped: the machine knows nothing of its device any more.
pub(crate) fn disk_wiped(state: &mut State, server: u64) {
    power_lost(state, server);
    if let Some(found) = state.hetzner.servers.get_mut(&server) {
        found.machine.device = None;
        found.machine.first_boot_done = false;
    }
}

/// Whether the machine was neither switched off nor rebooted since this boot.
pub(crate) fn is_on(state: &State, server: u64, boot: u32) -> bool {
    let found = state.hetzner.servers.get(&server);
    found.is_some_and(|found| found.machine.powered && found.machine.boots == boot)
}

/// The machine of this boot, unless it was switched off or rebooted since.
fn still_on(state: &mut State, server: u64, boot: u32) -> Option<&mut servers::Server> {
    let on = is_on(state, server, boot);
    state.hetzner.servers.get_mut(&server).filter(|_| on)
}

/// Boot is over: the first time cloud-init runs, later tailscaled finds its state.
pub(crate) fn boots(state: &mut State, server: u64, boot: u32) {
    let Some(found) = still_on(state, server, boot) else {
        return;
    };
    if found.machine.first_boot_done {
        if let Some(device) = found.machine.device {
            let back = devices::comes_back(state, device);
            if let Some(found) = state.hetzner.servers.get_mut(&server) {
                found.machine.device = back;
            }
        }
        return;
    }
    match plan(&found.user_data) {
        Err(reason) => {
            found.machine.first_boot_done = true;
            found.machine.note = Some(reason);
        }
        Ok(plan) => {
            let after = found.delays.enrol;
            state.schedule(after, Due::Enrols { server, boot, plan });
        }
    }
}

/// `tailscale up` reached the control plane.
pub(crate) fn enrols(state: &mut State, server: u64, boot: u32, plan: &EnrolPlan) {
    if still_on(state, server, boot).is_none() {
        return;
    }
    let outcome = devices::enrol(
        state,
        &Enrolment {
            key: &plan.key,
            hostname: &plan.hostname,
        },
    );
    if let Some(found) = still_on(state, server, boot) {
        found.machine.first_boot_done = true;
        match outcome {
            Ok(device) => found.machine.device = Some(device),
            Err(reason) => found.machine.note = Some(reason),
        }
    }
}

/// What the user data makes the machine do; the reason when it does not enrol.
pub(crate) fn plan(user_data: &str) -> Result<EnrolPlan, String> {
    if user_data.is_empty() {
        return Err("there is no user data".to_owned());
    }
    let (first, rest) = user_data.split_once('\n').unwrap_or((user_data, ""));
    if first.trim_end() != "#cloud-config" {
        return Err("the first line of the user data is not #cloud-config".to_owned());
    }
    let config: Value = serde_json::from_str(rest)
        .map_err(|error| format!("the cloud-config is not JSON: {error}"))?;
    let texts = commands(&config)?;
    if !installs_tailscale(&config, &texts) {
        return Err("nothing in the cloud-config installs tailscale".to_owned());
    }
    let up = texts
        .iter()
        .find_map(|text| text.split_once("tailscale up"))
        .map(|(_, behind)| behind)
        .ok_or("no command runs `tailscale up`")?;
    let key = argument(up, &["--auth-key", "--authkey"])
        .ok_or("`tailscale up` is given no --auth-key")?;
    let hostname = argument(up, &["--hostname"]).ok_or("`tailscale up` is given no --hostname")?;
    let key = match key.strip_prefix("file:") {
        Some(path) => written_file(&config, path)
            .ok_or_else(|| format!("no write_files entry makes the key file {path}"))??,
        None => key,
    };
    Ok(EnrolPlan {
        key: key.trim().to_owned(),
        hostname,
    })
}

/// Everything that runs: the runcmd entries, and the written files that they name.
fn commands(config: &Value) -> Result<Vec<String>, String> {
    let entries = config.get("runcmd").and_then(Value::as_array);
    let entries = entries.ok_or("the cloud-config has no runcmd list")?;
    let mut texts = Vec::new();
    for entry in entries {
        match entry {
            Value::String(line) => texts.push(line.clone()),
            Value::Array(words) => {
                let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
                texts.push(words.join(" "));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return Err("a runcmd entry is neither a string nor a list".to_owned());
            }
        }
    }
    let files = config.get("write_files").and_then(Value::as_array);
    for file in files.into_iter().flatten() {
        let path = text_of(file, "path").unwrap_or_default();
        let runs = !path.is_empty() && texts.iter().any(|text| text.contains(path));
        if let (true, Some(Ok(content))) = (runs, written_file(config, path)) {
            // A script's comments run nothing.
            let lines = content
                .lines()
                .filter(|line| !line.trim_start().starts_with('#'));
            texts.push(lines.collect::<Vec<_>>().join("\n").replace("\\\n", " "));
        }
    }
    Ok(texts)
}

/// Whether something puts the tailscale package on the machine.
fn installs_tailscale(config: &Value, texts: &[String]) -> bool {
    let packages = config.get("packages").and_then(Value::as_array);
    let mut packages = packages.into_iter().flatten();
    let listed = packages.any(|package| package.as_str() == Some("tailscale"));
    let hosts = ["tailscale.com/install.sh", "pkgs.tailscale.com"];
    listed
        || texts
            .iter()
            .any(|text| hosts.iter().any(|host| text.contains(host)))
}

/// The value of a command line argument, as `--name=value` or `--name value`.
fn argument(line: &str, names: &[&str]) -> Option<String> {
    let line = line.lines().next().unwrap_or_default();
    let mut words = line.split_whitespace();
    while let Some(word) = words.next() {
        let word = word.trim_matches(['"', '\'']);
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if !names.contains(&name) {
            continue;
        }
        let value = if word.contains('=') {
            value
        } else {
            words.next()?
        };
        let bare = value.trim_matches(['"', '\'', ';', ')', '`']);
        return (!bare.is_empty()).then(|| bare.to_owned());
    }
    None
}

/// The content of a `write_files` entry; the reason when it cannot be read.
fn written_file(config: &Value, path: &str) -> Option<Result<String, String>> {
    let files = config.get("write_files").and_then(Value::as_array)?;
    let file = files
        .iter()
        .find(|file| text_of(file, "path") == Some(path))?;
    let content = text_of(file, "content").unwrap_or_default();
    Some(match text_of(file, "encoding") {
        None | Some("" | "text/plain") => Ok(content.to_owned()),
        Some("b64" | "base64") => base64_decode(content)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| format!("{path} is not base64 text")),
        Some(other) => Err(format!("{path} has the unreadable encoding {other}")),
    })
}
