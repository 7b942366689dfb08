//! What this attempt has made, kept where reports and undo both see it.
//! It must not know how things are made or removed.

use contract::ServerFacts;
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;

/// Everything made so far, and what may have been made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Made {
    /// What reports say; each fact is written once.
    facts: ServerFacts,
    /// Our server.
    pub(crate) server: Option<u64>,
    /// A create was sent and its answer is not known.
    pub(crate) server_in_doubt: bool,
    /// Hetzner said that the server's name is taken, and nobody knows yet by what.
    pub(crate) name_taken: bool,
    /// Our auth key's id.
    pub(crate) key: Option<String>,
    /// A key was asked for and the answer is not known.
    pub(crate) key_in_doubt: bool,
    /// When our key was made: no device of ours is older.
    pub(crate) key_created: Option<OffsetDateTime>,
    /// Our device.
    pub(crate) device: Option<String>,
    /// Devices that turned out to be another tailnet's: they cannot be removed, and need not be.
    pub(crate) foreign: Vec<String>,
    /// The step that is under way, or was the last.
    pub(crate) step: &'static str,
}

impl Made {
    /// Writes down what reports say from now on. A fact that is written stays: the callback
    /// takes a different one of the same attempt for a contradiction.
    pub(crate) fn tell(&mut self, facts: ServerFacts) {
        let own = &mut self.facts;
        for (kept, told) in [
            (&mut own.server_id, facts.server_id),
            (&mut own.server_ip, facts.server_ip),
            (&mut own.tailscale_ip, facts.tailscale_ip),
            (&mut own.device_id, facts.device_id),
            (&mut own.server_name, facts.server_name),
        ] {
            if kept.is_none() {
                *kept = told;
            }
        }
    }

    /// Whether there is nothing to undo.
    pub(crate) const fn is_empty(&self) -> bool {
        self.server.is_none()
            && !self.server_in_doubt
            && self.key.is_none()
            && !self.key_in_doubt
            && self.device.is_none()
    }

    /// One line that names everything here.
    pub(crate) fn names(&self) -> String {
        let mut names = Vec::new();
        if let Some(id) = self.server {
            names.push(format!("server {id}"));
        } else if self.server_in_doubt {
            names.push("a server in doubt".to_owned());
        }
        if let Some(id) = &self.device {
            names.push(format!("device {id}"));
        }
        if let Some(id) = &self.key {
            names.push(format!("auth key {id}"));
        } else if self.key_in_doubt {
            names.push("an auth key in doubt".to_owned());
        }
        names.join(", ")
    }
}

/// The shared record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Made>>);

impl Ledger {
    /// A copy of everything.
    pub(crate) fn all(&self) -> Made {
        self.change(|made| made.clone())
    }

    /// A copy of what reports say.
    pub(crate) fn facts(&self) -> ServerFacts {
        self.change(|made| made.facts.clone())
    }

    /// Changes the record.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Made) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_told_fact_stays_and_others_are_added() {
        let ledger = Ledger::default();
        let ip = |text: &str| ServerFacts {
            server_ip: Some(text.to_owned()),
            ..ServerFacts::default()
        };
        ledger.change(|made| made.tell(ip("2001:db8::1")));
        ledger.change(|made| {
            made.tell(ServerFacts {
                server_id: Some("7".to_owned()),
                ..ip("192.0.2.1")
            });
        });
        ledger.change(|made| made.tell(ServerFacts::default()));
        let facts = ledger.facts();
        assert_eq!(facts.server_ip.as_deref(), Some("2001:db8::1"));
        assert_eq!(facts.server_id.as_deref(), Some("7"));
    }
}
