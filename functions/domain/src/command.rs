//! What an owner may command, and when. It must not know who asks or how.

use crate::{Existing, Facts, JobKind, Payment, Wanted, Wish, reconcile, wanted, words::words};

words! {
    /// What an owner or operator commands.
    Command {
        /// Try again what was given up; the wish stays.
        Retry => "retry",
        /// Rest, data kept.
        Stop => "stop",
        /// Run again.
        Start => "start",
        /// Go, for good.
        Delete => "delete",
    }
}

words! {
    /// What a command meets.
    Permission {
        /// It changes something now.
        Allowed => "allowed",
        /// It is so already, or will be: nothing changes.
        Done => "done",
        /// A job is at work; there is nothing to try again.
        Busy => "busy",
        /// Payment is missing.
        Unpaid => "unpaid",
        /// There is nothing that could be tried again or stopped.
        Nothing => "nothing",
        /// The agent is gone, or going.
        Gone => "gone",
    }
}

/// Whether a command is allowed for an agent with these facts.
pub fn permit(facts: Facts, command: Command) -> Permission {
    let gave_up = |kind| facts.gave_up == Some(kind);
    let busy = facts.live.is_some() || reconcile(facts).is_some();
    match command {
        Command::Delete if facts.wish != Wish::Delete || gave_up(JobKind::Destroy) => {
            Permission::Allowed
        }
        Command::Delete => Permission::Done,
        Command::Retry if gave_up(JobKind::Destroy) => Permission::Allowed,
        Command::Retry | Command::Stop | Command::Start
            if facts.wish == Wish::Delete || facts.payment == Payment::Canceled =>
        {
            Permission::Gone
        }
        Command::Retry | Command::Stop | Command::Start if facts.payment == Payment::None => {
            Permission::Unpaid
        }
        Command::Retry if facts.gave_up.is_some() => Permission::Allowed,
        Command::Retry if busy => Permission::Busy,
        Command::Retry => Permission::Nothing,
        Command::Stop if facts.wish == Wish::Stop && !gave_up(JobKind::Stop) => Permission::Done,
        Command::Stop if !busy && facts.existing == Existing::Nothing => Permission::Nothing,
        Command::Start if facts.payment == Payment::PastDue => Permission::Unpaid,
        Command::Start if facts.wish == Wish::Run && !gave_up(JobKind::Start) => Permission::Done,
        Command::Stop | Command::Start => Permission::Allowed,
    }
}

/// Whether the operator's retry may have the agent's machine made anew, provided that the machine
/// was found missing. That is no fact: facts move an agent by themselves, and a machine that does
/// not show may only have lost its labels. The old data is gone with it, so the machine must be
/// wanted running, and nothing be at work that could still find it. What was given up comes first:
/// a retry means one thing at a time.
pub fn may_remake(facts: Facts) -> bool {
    let had_machine = match facts.existing {
        Existing::Unconfigured | Existing::Running | Existing::Stopped | Existing::Unsettled => {
            true
        }
        Existing::Nothing | Existing::Making | Existing::Doubt => false,
    };
    had_machine
        && wanted(facts.payment, facts.wish) == Wanted::Running
        && facts.live.is_none()
        && facts.gave_up.is_none()
        && reconcile(facts).is_none()
}

impl Command {
    /// The wish after the command.
    pub const fn wish(self, before: Wish) -> Wish {
        match self {
            Self::Retry => before,
            Self::Stop => Wish::Stop,
            Self::Start => Wish::Run,
            Self::Delete => Wish::Delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, decisions};
    use Permission::{Allowed, Done, Nothing, Unpaid};

    #[test]
    fn a_command_that_is_allowed_moves_the_facts_and_is_then_done_or_busy() {
        for (facts, _, _) in decisions() {
            for command in Command::ALL {
                if permit(facts, *command) != Allowed {
                    continue;
                }
                let after = facts.after(Change::Wish(command.wish(facts.wish)));
                let after = after.unwrap_or_else(|| panic!("{command} of {facts:?}"));
                assert_ne!(after, facts, "{command} of {facts:?} changes nothing");
                assert_ne!(permit(after, *command), Allowed, "{facts:?}");
            }
        }
    }

    #[test]
    fn deleting_is_always_possible_and_nothing_brings_back() {
        for (facts, _, _) in decisions() {
            let delete = permit(facts, Command::Delete);
            assert!(matches!(delete, Allowed | Done));
            if facts.wish == Wish::Delete {
                assert_ne!(permit(facts, Command::Start), Allowed);
                assert_ne!(permit(facts, Command::Stop), Allowed);
            }
        }
    }

    #[test]
    fn a_machine_is_made_anew_only_when_it_is_wanted_running_and_nothing_is_at_work() {
        let active = Facts {
            payment: Payment::Active,
            existing: Existing::Running,
            ..Facts::NEW
        };
        let gave_up = |existing, gave_up| Facts {
            existing,
            gave_up: Some(gave_up),
            ..active
        };
        let unconfigured = Facts {
            existing: Existing::Unconfigured,
            ..active
        };
        assert!(may_remake(active) && may_remake(unconfigured));
        for (facts, ..) in decisions().filter(|(facts, ..)| may_remake(*facts)) {
            let after = facts.after(Change::Remade).unwrap();
            assert_eq!(reconcile(after), Some(JobKind::Provision), "{facts:?}");
            assert_eq!(after.after(Change::Remade), None, "it is at work");
            let retry = permit(facts, Command::Retry);
            assert_eq!(retry, Nothing, "a retry would mean two things: {facts:?}");
        }
        for facts in [
            Facts::NEW,
            gave_up(Existing::Doubt, JobKind::Provision),
            gave_up(Existing::Nothing, JobKind::Provision),
            gave_up(Existing::Unsettled, JobKind::Start),
            gave_up(Existing::Running, JobKind::Configure),
            Facts {
                live: Some(JobKind::Stop),
                ..active
            },
            Facts {
                existing: Existing::Stopped,
                ..active
            },
            Facts {
                wish: Wish::Stop,
                ..gave_up(Existing::Unsettled, JobKind::Stop)
            },
            Facts {
                payment: Payment::PastDue,
                existing: Existing::Stopped,
                ..active
            },
        ] {
            assert!(!may_remake(facts), "{facts:?}");
        }
    }

    #[test]
    fn an_owner_may_do_what_the_state_offers() {
        let active = Facts {
            payment: Payment::Active,
            existing: Existing::Running,
            ..Facts::NEW
        };
        let failed = Facts {
            existing: Existing::Nothing,
            gave_up: Some(JobKind::Provision),
            ..active
        };
        let paused = Facts {
            existing: Existing::Stopped,
            wish: Wish::Stop,
            ..active
        };
        let suspended = Facts {
            existing: Existing::Stopped,
            payment: Payment::PastDue,
            ..active
        };
        for (facts, retry, stop, start) in [
            (active, Nothing, Allowed, Done),
            (failed, Allowed, Nothing, Done),
            (paused, Nothing, Done, Allowed),
            (suspended, Nothing, Allowed, Unpaid),
            (Facts::NEW, Unpaid, Unpaid, Unpaid),
        ] {
            let met = [Command::Retry, Command::Stop, Command::Start].map(|c| permit(facts, c));
            assert_eq!(met, [retry, stop, start], "{facts:?}");
        }
    }
}
