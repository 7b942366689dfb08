//! The generated table of all agent states and all events, `STATES.md`, is what the rules say.
#![cfg(test)]

use domain::{
    AgentState, Change, Command, Ending, Existing, Facts, Payment, Permission, agent_state, permit,
    reconcile,
};
use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fmt::Write,
    path::Path,
};

#[derive(Debug, Clone, Copy)]
enum Event {
    Payment(Payment),
    Command(Command),
    Of(Change),
}

/// Every event, in the words of the table.
fn events() -> Vec<(String, Event)> {
    let payments = Payment::ALL
        .iter()
        .map(|payment| (format!("payment is {payment}"), Event::Payment(*payment)));
    let commands = Command::ALL
        .iter()
        .map(|command| (format!("command {command}"), Event::Command(*command)));
    let others = [
        ("new configuration", Change::Configuration),
        ("the queued job gets an attempt", Change::Opened),
        ("success", Change::Ended(Ending::Ready)),
        (
            "success, credentials missing",
            Change::Ended(Ending::AwaitingCredentials),
        ),
        ("failure, tries left", Change::Ended(Ending::Failed)),
        ("failure, no tries left", Change::GaveUp(Ending::Failed)),
        ("refused by GitHub", Change::Ended(Ending::Refused)),
        (
            "success without a server (first version)",
            Change::GaveUp(Ending::Unreported),
        ),
        ("a server of it is found", Change::Found),
        ("its missing machine is made anew", Change::Remade),
        ("another payment, or another cancel", Change::Confirmed),
    ];
    let others = others.map(|(name, change)| (name.to_owned(), Event::Of(change)));
    payments.chain(commands).chain(others).collect()
}

/// All facts an agent can come to, from a draft.
fn reachable() -> Vec<Facts> {
    let mut seen = HashSet::from([Facts::NEW]);
    let mut queue = VecDeque::from([Facts::NEW]);
    let mut found = Vec::new();
    let events = events();
    while let Some(facts) = queue.pop_front() {
        found.push(facts);
        let followers = events
            .iter()
            .filter_map(|(_, event)| follow(facts, *event).ok());
        queue.extend(followers.filter(|next| seen.insert(*next)));
    }
    found
}

/// The facts after an event, or what is said instead.
fn follow(facts: Facts, event: Event) -> Result<Facts, String> {
    let after = match event {
        Event::Payment(payment) => facts
            .after(Change::Payment(payment))
            .ok_or("nothing changes"),
        Event::Command(command) => match permit(facts, command) {
            Permission::Allowed => facts
                .after(Change::Wish(command.wish(facts.wish)))
                .ok_or("cannot happen"),
            Permission::Done => Err("nothing changes"),
            why @ (Permission::Busy
            | Permission::Unpaid
            | Permission::Nothing
            | Permission::Gone) => return Err(format!("refused: {why}")),
        },
        Event::Of(change) => facts.after(change).ok_or("cannot happen"),
    };
    match after {
        Ok(after) if after == facts => Err("nothing changes".to_owned()),
        Ok(after) => Ok(after),
        Err(said) => Err(said.to_owned()),
    }
}

/// The state and what is done about it, in one phrase.
fn phrase(facts: Facts) -> String {
    let state = agent_state(facts);
    match (facts.live, reconcile(facts)) {
        (Some(live), Some(next)) => format!("{state}: {live} goes on, {next} follows"),
        (Some(live), None) => format!("{state}: {live} goes on"),
        (None, Some(next)) => format!("{state}: {next} is queued"),
        (None, None) => state.to_string(),
    }
}

/// What may follow; "cannot happen" only when that is all there is to say.
fn cell(all: &[Facts], event: Event) -> String {
    let mut outcomes: BTreeSet<String> = all
        .iter()
        .map(|facts| follow(*facts, event).map_or_else(|said| said, phrase))
        .collect();
    if outcomes.len() > 1 {
        outcomes.remove("cannot happen");
    }
    let outcomes: Vec<String> = outcomes.into_iter().collect();
    outcomes.join("<br>")
}

const HEAD: &str = "\
# What follows what

Generated from the rules of this crate by `tests/states.rs`; do not edit. For every state an
agent can show and everything that can happen to it: the states that may follow, with the job
that goes on or is queued, or how it is refused. Which of several outcomes it is depends on the
agent's facts: on what exists, on the attempt that is live, and on what was given up.
";

fn table() -> String {
    let all = reachable();
    let mut text = HEAD.to_owned();
    for state in AgentState::ALL {
        let here: Vec<Facts> = all
            .iter()
            .copied()
            .filter(|facts| agent_state(*facts) == *state)
            .collect();
        assert!(!here.is_empty(), "no agent ever is {state}");
        write!(
            text,
            "\n## {state}\n\n| event | what follows |\n|---|---|\n"
        )
        .unwrap();
        for (name, event) in events() {
            writeln!(text, "| {name} | {} |", cell(&here, event)).unwrap();
        }
    }
    text
}

#[test]
fn the_table_of_states_and_events_is_what_the_rules_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("STATES.md");
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = table
        .lines()
        .zip(kept.lines().chain(std::iter::repeat("")))
        .find(|(rules, kept)| rules != kept);
    assert!(
        kept == table,
        "{} is not what the rules say: {differs:?}. When the rules are right, write it anew \
         with `UPDATE=1 cargo test -p domain --test states` and read the difference",
        file.display()
    );
}

#[test]
fn every_state_meets_every_event() {
    let rows = table()
        .lines()
        .filter(|line| line.starts_with("| "))
        .count();
    // One more row per state is the head of its table.
    assert_eq!(rows, AgentState::ALL.len() * (events().len() + 1));
    assert_eq!(events().len(), 4 + 4 + 11);
}

#[test]
fn nothing_is_destroyed_by_a_command_to_stop_or_start_nor_by_a_late_payment() {
    for facts in reachable() {
        let has_data = matches!(
            facts.existing,
            Existing::Unconfigured | Existing::Running | Existing::Stopped | Existing::Unsettled
        );
        for event in [
            Event::Command(Command::Stop),
            Event::Command(Command::Start),
            Event::Payment(Payment::Active),
            Event::Payment(Payment::PastDue),
        ] {
            let Ok(after) = follow(facts, event) else {
                continue;
            };
            let doomed = reconcile(after) == Some(domain::JobKind::Destroy);
            let was = reconcile(facts) == Some(domain::JobKind::Destroy);
            assert!(!has_data || !doomed || was, "{event:?} of {facts:?}");
        }
    }
}
