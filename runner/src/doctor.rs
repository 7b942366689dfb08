//! Checks every setting and credential against the live services, read-only, and says what to
//! fix. It must not change anything anywhere, and needs no job, agent or run.

mod callback;
mod hetzner;
mod tailscale;

use crate::{
    operate::{End, World},
    settings::Told,
};
use outbound::{Client, Secrets};
use std::{
    fmt,
    io::{self, Write},
};

/// Settings that need no service to be judged.
const BY_THEMSELVES: [&str; 6] = [
    "INSTALLATION",
    "CALLBACK_ORIGIN",
    "HEARTBEAT_SECONDS",
    "TAILSCALE_EPHEMERAL",
    "HETZNER_API_URL",
    "TAILSCALE_API_URL",
];

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Wrong,
    CouldNotTell,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Wrong => "wrong",
            Self::CouldNotTell => "could not tell",
        })
    }
}

/// One line: which setting, how it is, why, and what to fix.
#[derive(Debug, Clone)]
struct Finding {
    verdict: Verdict,
    setting: String,
    text: String,
}

impl Finding {
    fn new(verdict: Verdict, setting: &str, text: impl Into<String>) -> Self {
        Self {
            verdict,
            setting: setting.to_owned(),
            text: text.into(),
        }
    }

    fn ok(setting: &str, text: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, setting, text)
    }

    fn wrong(setting: &str, text: impl Into<String>) -> Self {
        Self::new(Verdict::Wrong, setting, text)
    }

    fn unknown(setting: &str, text: impl Into<String>) -> Self {
        Self::new(Verdict::CouldNotTell, setting, text)
    }

    /// A check that cannot be made before another setting is right.
    fn after(setting: &str, first: &str) -> Self {
        Self::unknown(setting, format!("{first} must be right first"))
    }
}

/// Prints one line per check on `out`, without secrets; [`End::Done`] only when all are well.
pub async fn doctor(
    world: World,
    lookup: &dyn Fn(&str) -> Option<String>,
    out: &mut (dyn Write + Send),
) -> End {
    let told = Told::read(lookup);
    for secret in [
        &told.hetzner.token,
        &told.tailscale.client_secret,
        &told.callback_secret,
    ] {
        world.secrets.add(secret);
    }
    let client = |transport: &outbound::Transport| {
        Client::new(transport.clone(), world.secrets.clone(), world.dice.clone())
    };
    let to_callback = client(&world.callback);
    let (servers, devices, reports) = tokio::join!(
        hetzner::check(&told, client(&world.providers)),
        tailscale::check(&told, client(&world.providers)),
        callback::check(&told, &to_callback, &world.clock),
    );
    let mut findings = by_themselves(&told);
    findings.push(region(&told));
    findings.extend(servers.into_iter().chain(devices).chain(reports));
    unclaimed(&told, &mut findings);
    match print(&findings, &world.secrets, out) {
        Ok(()) if findings.iter().all(|one| one.verdict == Verdict::Ok) => End::Done,
        Ok(()) | Err(_) => End::Failed,
    }
}

fn by_themselves(told: &Told) -> Vec<Finding> {
    let check = |name: &&str| match told.mistake(name) {
        Some(why) => Finding::wrong(name, why),
        None => Finding::ok(name, "can be used"),
    };
    BY_THEMSELVES.iter().map(check).collect()
}

/// A region nobody knows is no mistake of a run, but hardly what was meant.
fn region(told: &Told) -> Finding {
    let region = &told.region;
    match crate::region::location(region) {
        (location, true) => Finding::ok("REGION", format!("{region} is {location}")),
        (location, false) => Finding::wrong(
            "REGION",
            format!("{region:?} is unknown, {location} would be used; set a known one, or none"),
        ),
    }
}

/// Adds every mistake that no check has named.
fn unclaimed(told: &Told, findings: &mut Vec<Finding>) {
    for (name, why) in told.mistakes() {
        let named = |one: &Finding| one.verdict == Verdict::Wrong && one.setting.contains(name);
        if !findings.iter().any(named) {
            findings.push(Finding::wrong(name, why));
        }
    }
}

fn print(findings: &[Finding], secrets: &Secrets, out: &mut dyn Write) -> io::Result<()> {
    for Finding {
        verdict,
        setting,
        text,
    } in findings
    {
        // What a service said may hold anything; a line stays a line.
        let line = secrets.redact(&format!("{verdict:<14} {setting}: {text}"));
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        writeln!(out, "{line}")?;
    }
    let count = |verdict| findings.iter().filter(|one| one.verdict == verdict).count();
    writeln!(
        out,
        "{} ok, {} wrong, {} could not be told",
        count(Verdict::Ok),
        count(Verdict::Wrong),
        count(Verdict::CouldNotTell)
    )?;
    out.flush()
}
