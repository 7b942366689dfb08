//! Hetzner's actions: what is under way, how far it is, and what its end does to the server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::offset_form;
use crate::config::DelayRange;
use crate::draw;
use crate::hetzner::boot;
use crate::hetzner::servers::{self, Status};
use crate::hetzner::{invalid, no_such_endpoint, not_found, pages, refuse};
use crate::knob::Progress;
use crate::state::{Due, State};
use crate::wire::{Answer, Call, Reply, id_of};

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Create,
    Start,
    Stop,
    Shutdown,
    Reboot,
    Reset,
    Rebuild,
    Delete,
}

impl Command {
    /// Hetzner's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create_server",
            Self::Start => "start_server",
            Self::Stop => "stop_server",
            Self::Shutdown => "shutdown_server",
            Self::Reboot => "reboot_server",
            Self::Reset => "reset_server",
            Self::Rebuild => "rebuild_server",
            Self::Delete => "delete_server",
        }
    }

    /// The command behind `POST /servers/{id}/actions/{word}`.
    fn of_path(word: &str) -> Option<Self> {
        match word {
            "poweron" => Some(Self::Start),
            "poweroff" => Some(Self::Stop),
            "shutdown" => Some(Self::Shutdown),
            "reboot" => Some(Self::Reboot),
            "reset" => Some(Self::Reset),
            "rebuild" => Some(Self::Rebuild),
            _ => None,
        }
    }

    /// What the server shows while the action runs.
    fn meanwhile(self, before: Status) -> Status {
        match self {
            Self::Create => Status::Initializing,
            Self::Start => Status::Starting,
            Self::Stop | Self::Shutdown => Status::Stopping,
            Self::Reboot | Self::Reset => before,
            Self::Rebuild => Status::Rebuilding,
            Self::Delete => Status::Deleting,
        }
    }
}

/// One action.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) id: u64,
    pub(crate) command: Command,
    pub(crate) server: u64,
    started: Duration,
    ends: Duration,
    outcome: Option<Result<(), String>>,
}

impl Action {
    fn status(&self) -> &'static str {
        match &self.outcome {
            None => "running",
            Some(Ok(())) => "success",
            Some(Err(_)) => "error",
        }
    }

    /// The API's object.
    pub(crate) fn json(&self, state: &State) -> Value {
        let total = self.ends.saturating_sub(self.started).as_millis().max(1);
        let spent = state.now.saturating_sub(self.started).as_millis();
        let steady = (spent.saturating_mul(100) / total).min(99);
        let running = match state.knobs.action_progress {
            Progress::Steady => steady,
            Progress::Jumps => steady / 25 * 25,
            Progress::Stuck => 0,
        };
        let done = self.outcome.is_some();
        let progress = if done { 100 } else { running };
        let error = match &self.outcome {
            Some(Err(message)) => json!({"code": "action_failed", "message": message}),
            Some(Ok(())) | None => Value::Null,
        };
        json!({
            "id": self.id, "command": self.command.as_str(), "status": self.status(),
            "progress": u64::try_from(progress).unwrap_or(100),
            "started": offset_form(state.unix_at(self.started)),
            "finished": done.then(|| offset_form(state.unix_at(self.ends))),
            "resources": [{"id": self.server, "type": "server"}], "error": error,
        })
    }
}

/// Begins an action that ends `after` from now; gives its id.
pub(crate) fn begin(state: &mut State, server: u64, command: Command, after: Duration) -> u64 {
    let id = state.hetzner.new_id();
    let action = Action {
        id,
        command,
        server,
        started: state.now,
        ends: state.now + after,
        outcome: None,
    };
    state.hetzner.actions.insert(id, action);
    state.schedule(after, Due::ActionEnds(id));
    id
}

/// Whether an action holds the server.
pub(crate) fn busy(state: &State, server: u64) -> bool {
    let mut actions = state.hetzner.actions.values();
    actions.any(|action| action.server == server && action.outcome.is_none())
}

/// 423 `locked` when an action holds the server.
pub(crate) fn refuse_when_busy(state: &State, server: u64) -> Result<(), Reply> {
    if busy(state, server) {
        return Err(refuse(423, "locked", "server is locked"));
    }
    Ok(())
}

/// An action's time is over: it succeeds or fails, and the server changes.
pub(crate) fn end(state: &mut State, id: u64) {
    let Some(action) = state.hetzner.actions.get(&id).cloned() else {
        return;
    };
    if action.outcome.is_some() {
        return;
    }
    let word = action.command.as_str();
    let create_failed = action.command == Command::Start && servers::create_failed(state, &action);
    let outcome = if create_failed || state.knobs.action_fails(word) {
        Err(format!("{word} failed"))
    } else {
        Ok(())
    };
    let succeeded = outcome.is_ok();
    if let Some(action) = state.hetzner.actions.get_mut(&id) {
        action.outcome = Some(outcome);
    }
    if succeeded {
        succeed(state, &action);
    } else if action.command != Command::Create || !state.knobs.failed_create_initializes {
        servers::set_status(state, action.server, Status::Off);
    }
}

/// What a success does.
fn succeed(state: &mut State, action: &Action) {
    let server = action.server;
    match action.command {
        Command::Create => {
            let starts = busy(state, server);
            let next = if starts {
                Status::Starting
            } else {
                Status::Off
            };
            servers::set_status(state, server, next);
        }
        Command::Start => {
            if crate::knob::take_one(&mut state.knobs.start_leaves_off) {
                servers::set_status(state, server, Status::Off);
            } else {
                boot::power_on(state, server);
            }
        }
        Command::Shutdown if state.knobs.obeys_late.is_some() => boot::obeys(state, server),
        Command::Stop | Command::Shutdown => {
            servers::set_status(state, server, Status::Off);
            boot::power_lost(state, server);
        }
        Command::Reboot | Command::Reset => {
            boot::power_lost(state, server);
            boot::power_on(state, server);
        }
        Command::Rebuild => {
            boot::disk_wiped(state, server);
            boot::power_on(state, server);
        }
        Command::Delete => servers::vanish(state, server),
    }
}

/// Command and server of an action that has not ended.
pub(crate) fn under_way(state: &State, id: u64) -> Option<(&'static str, u64)> {
    let action = state.hetzner.actions.get(&id);
    let action = action.filter(|action| action.outcome.is_none())?;
    Some((action.command.as_str(), action.server))
}

/// Whether the create action of this server failed.
pub(crate) fn failed(state: &State, server: u64, command: Command) -> bool {
    let mut actions = state.hetzner.actions.values();
    actions.any(|action| {
        let same = action.server == server && action.command == command;
        same && matches!(action.outcome, Some(Err(_)))
    })
}

/// Ends what is under way for a server that vanishes by hand.
pub(crate) fn abandon(state: &mut State, server: u64) {
    let now = state.now;
    for action in state.hetzner.actions.values_mut() {
        if action.server == server && action.outcome.is_none() {
            action.ends = now;
            action.outcome = Some(Err("the server is gone".to_owned()));
        }
    }
}

/// `POST /servers/{id}/actions/{command}` → 201
pub(crate) fn order(state: &mut State, call: &Call, server: u64, word: &str) -> Answer {
    let command = Command::of_path(word).ok_or_else(|| no_such_endpoint(call))?;
    call.json()
        .ok_or_else(|| refuse(400, "json_error", "the body is not valid JSON"))?;
    refuse_when_busy(state, server)?;
    let before = servers::status(state, server);
    let range = state.config.hetzner.start_delay;
    let after = delay(state, server, command, range);
    servers::set_status(state, server, command.meanwhile(before));
    let id = begin(state, server, command, after);
    let mut body = json!({"action": json_of(state, id)});
    if let (Command::Rebuild, Some(object)) = (command, body.as_object_mut()) {
        object.insert("root_password".to_owned(), Value::Null);
    }
    Ok(Reply::json(201, body))
}

/// Begins `delete_server`; gives the action's id.
pub(crate) fn begin_delete(state: &mut State, server: u64) -> u64 {
    let range = state.config.hetzner.delete_delay;
    let after = delay(state, server, Command::Delete, range);
    servers::set_status(state, server, Status::Deleting);
    begin(state, server, Command::Delete, after)
}

fn delay(state: &State, server: u64, command: Command, range: DelayRange) -> Duration {
    let known = state.hetzner.servers.get(&server);
    let name = known.map(|server| server.name.as_str()).unwrap_or_default();
    draw::delay(state.config.seed, &[name, command.as_str()], range)
}

/// The API's object of an action; null when unknown.
pub(crate) fn json_of(state: &State, id: u64) -> Value {
    let action = state.hetzner.actions.get(&id);
    action.map_or(Value::Null, |action| action.json(state))
}

/// `GET /actions/{id}`
pub(crate) fn get(state: &State, id: &str) -> Answer {
    let known = id_of(id).filter(|_| !state.knobs.actions_vanish);
    let action = known.and_then(|id| state.hetzner.actions.get(&id));
    let action = action.ok_or_else(|| not_found("action", id))?;
    Ok(Reply::json(200, json!({"action": action.json(state)})))
}

/// `GET /actions?id=1&id=2`: only with ids since 2025.
pub(crate) fn list_by_id(state: &State, call: &Call) -> Answer {
    let wanted: Vec<u64> = call.params("id").filter_map(id_of).collect();
    if wanted.is_empty() {
        return Err(invalid("id", "listing actions without ids was removed"));
    }
    list(state, call, |action| wanted.contains(&action.id))
}

/// `GET /servers/{id}/actions`
pub(crate) fn list_of_server(state: &State, call: &Call, server: u64) -> Answer {
    list(state, call, |action| action.server == server)
}

/// `GET /servers/actions`
pub(crate) fn list_all(state: &State, call: &Call) -> Answer {
    list(state, call, |_| true)
}

fn list(state: &State, call: &Call, wanted: impl Fn(&Action) -> bool) -> Answer {
    let status: Vec<&str> = call.params("status").collect();
    let shown = |action: &&Action| {
        let fits = status.is_empty() || status.contains(&action.status());
        fits && wanted(action) && !state.knobs.actions_vanish
    };
    let actions = state.hetzner.actions.values().filter(shown);
    let mut actions: Vec<Value> = actions.map(|action| action.json(state)).collect();
    pages::sort(call, &mut actions);
    pages::page(state, call, "actions", actions)
}
