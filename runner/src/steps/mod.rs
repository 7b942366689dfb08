//! The steps of each operation, in order, those that make something with their undo.
//! It must not know how reports travel or what runs the plan.

pub(crate) mod choose;
pub(crate) mod create;
mod destroy;
pub(crate) mod device;
mod find;
pub(crate) mod key;
mod known;
mod look;
mod machine;
mod power;
#[cfg(test)]
mod proof;
pub(crate) mod remove;
pub(crate) mod tailnet;

use crate::plan::{Step, Tell};
use contract::Step as Told;

/// Makes an agent's machine.
pub(crate) const PROVISION: &[Step] = &[
    Step {
        name: "look",
        title: "Look for what earlier attempts left",
        act: |run| Box::pin(look::look(run)),
        // Last of all undos: only a server that is gone enrols no device any more.
        undo: Some(|run| Box::pin(device::delete(run))),
        tell: Tell::Nothing,
    },
    Step {
        name: "create_key",
        title: "Make a one-off Tailscale key",
        act: |run| Box::pin(key::create(run)),
        undo: Some(|run| Box::pin(key::revoke(run))),
        tell: Tell::Step(Told::KeyCreated),
    },
    Step {
        name: "choose",
        title: "Choose type and location",
        act: |run| Box::pin(choose::choose(run)),
        undo: None,
        tell: Tell::Nothing,
    },
    Step {
        name: "create_server",
        title: "Create the server",
        act: |run| Box::pin(create::create(run)),
        undo: Some(|run| Box::pin(create::delete(run))),
        tell: Tell::Ids,
    },
    Step {
        name: "await_server",
        title: "Wait for the server",
        act: |run| Box::pin(machine::await_server(run)),
        undo: None,
        tell: Tell::Step(Told::VmCreated),
    },
    Step {
        name: "await_device",
        title: "Wait for the device",
        act: |run| Box::pin(machine::await_device(run)),
        undo: None,
        tell: Tell::Step(Told::Enrolled),
    },
];

/// Finds the machine that `stop` and `start` are about.
const FIND: Step = Step {
    name: "find",
    title: "Find the agent's server",
    act: |run| Box::pin(find::find(run)),
    undo: None,
    tell: Tell::Nothing,
};

/// Powers an agent's machine off.
pub(crate) const STOP: &[Step] = &[
    FIND,
    Step {
        name: "stop",
        title: "Shut the machine down",
        act: |run| Box::pin(power::stop(run)),
        undo: None,
        tell: Tell::Step(Told::Stopped),
    },
];

/// Powers an agent's machine on again.
pub(crate) const START: &[Step] = &[
    FIND,
    Step {
        name: "start",
        title: "Power the machine on",
        act: |run| Box::pin(power::start(run)),
        undo: None,
        tell: Tell::Ids,
    },
    Step {
        name: "await_return",
        title: "Wait for the device",
        act: |run| Box::pin(power::await_return(run)),
        undo: None,
        tell: Tell::Step(Told::Started),
    },
];

/// Removes everything that belongs to an agent. What costs goes first, so that trouble in the
/// tailnet keeps no server.
pub(crate) const DESTROY: &[Step] = &[
    Step {
        name: "delete_servers",
        title: "Delete the servers",
        act: |run| Box::pin(destroy::servers(run)),
        undo: None,
        tell: Tell::Ids,
    },
    Step {
        name: "delete_addresses",
        title: "Delete addresses that stayed",
        act: |run| Box::pin(destroy::addresses(run)),
        undo: None,
        tell: Tell::Nothing,
    },
    Step {
        name: "revoke_keys",
        title: "Revoke unused keys",
        act: |run| Box::pin(destroy::keys(run)),
        undo: None,
        tell: Tell::Nothing,
    },
    Step {
        name: "delete_devices",
        title: "Delete the devices",
        act: |run| Box::pin(destroy::devices(run)),
        undo: None,
        tell: Tell::Nothing,
    },
    Step {
        name: "confirm",
        title: "Confirm that nothing is left",
        act: |run| Box::pin(destroy::confirm(run)),
        undo: None,
        tell: Tell::Step(Told::Deleted),
    },
];
