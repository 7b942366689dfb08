//! Real rows in every state meet every command and every word of Stripe's, and what the database
//! does is in the generated table of the domain.

use super::{
    walk::{Act, Walk},
    world::World,
};
use domain::{
    AgentState, Change, Command, ErrorClass, Facts, News, Permission, agent_state, permit,
    reconcile,
};
use std::collections::{BTreeSet, HashMap};

use Act::{
    Abort, Claim, Draft, Fail, Found, Miss, Open, Refuse, Succeed, SucceedWithoutCredentials,
};

const PAID: Act = Act::News(News::Active);
const OVERDUE: Act = Act::News(News::PastDue);
const CANCELED: Act = Act::News(News::Canceled);
const STOP: Act = Act::Command(Command::Stop);
const START: Act = Act::Command(Command::Start);
const DELETE: Act = Act::Command(Command::Delete);
const RETRY: Act = Act::Command(Command::Retry);
const BROKEN: Act = Fail(ErrorClass::Permanent);

/// Ways to each state, through real statements.
const WAYS: &[(AgentState, &[Act])] = &[
    (AgentState::Draft, &[Draft]),
    (AgentState::Draft, &[Act::News(News::None)]),
    (AgentState::Provisioning, &[Draft, PAID]),
    (AgentState::Provisioning, &[PAID, Open]),
    (AgentState::Provisioning, &[PAID, Open, Claim]),
    (AgentState::Provisioning, &[PAID, Open, Refuse]),
    (
        AgentState::Provisioning,
        &[PAID, Open, Fail(ErrorClass::Transient)],
    ),
    (AgentState::Provisioning, &[PAID, Open, BROKEN, RETRY]),
    (
        AgentState::Provisioning,
        &[PAID, Open, Succeed, Miss, RETRY],
    ),
    (AgentState::Active, &[PAID, Open, Succeed]),
    (AgentState::Active, &[PAID, Open, Succeed, Miss]),
    // A stop that failed.
    (
        AgentState::Active,
        &[PAID, Open, Succeed, STOP, Open, BROKEN],
    ),
    (
        AgentState::Active,
        &[PAID, Open, Succeed, OVERDUE, Open, BROKEN],
    ),
    (
        AgentState::AwaitingCredentials,
        &[PAID, Open, SucceedWithoutCredentials],
    ),
    (
        AgentState::AwaitingCredentials,
        &[PAID, Open, SucceedWithoutCredentials, Miss],
    ),
    (AgentState::Stopping, &[PAID, Open, Succeed, STOP]),
    (
        AgentState::Stopping,
        &[PAID, Open, Succeed, OVERDUE, Open, Claim],
    ),
    // A stop that will be tried again, and one after a start that was given up.
    (
        AgentState::Stopping,
        &[PAID, Open, Succeed, STOP, Open, Fail(ErrorClass::Transient)],
    ),
    (
        AgentState::Stopping,
        &[PAID, Open, Succeed, STOP, Open, START, BROKEN, STOP],
    ),
    (
        AgentState::Paused,
        &[PAID, Open, Succeed, STOP, Open, Succeed],
    ),
    // A start that failed.
    (
        AgentState::Paused,
        &[
            PAID, Open, Succeed, STOP, Open, Succeed, START, Open, BROKEN,
        ],
    ),
    (
        AgentState::Suspended,
        &[PAID, Open, Succeed, OVERDUE, Open, Succeed],
    ),
    (AgentState::Suspended, &[OVERDUE]),
    (
        AgentState::Starting,
        &[PAID, Open, Succeed, STOP, Open, Succeed, START],
    ),
    (
        AgentState::Starting,
        &[PAID, Open, Succeed, OVERDUE, Open, Succeed, PAID, Open],
    ),
    // Paid again, or wished for, while a stop was at work that failed.
    (
        AgentState::Starting,
        &[
            PAID,
            Open,
            Succeed,
            OVERDUE,
            Open,
            PAID,
            Fail(ErrorClass::Transient),
        ],
    ),
    (
        AgentState::Starting,
        &[PAID, Open, Succeed, STOP, Open, START, BROKEN, Open, Claim],
    ),
    (AgentState::Deleting, &[PAID, Open, Succeed, CANCELED]),
    (AgentState::Deleting, &[PAID, Open, DELETE]),
    (AgentState::Deleting, &[PAID, Open, Claim, CANCELED]),
    (
        AgentState::Deleting,
        &[PAID, Open, DELETE, Abort, Open, Claim],
    ),
    (
        AgentState::Deleted,
        &[PAID, Open, Succeed, CANCELED, Open, Succeed],
    ),
    (AgentState::Deleted, &[Act::News(News::None), DELETE]),
    (AgentState::Failed, &[PAID, Open, BROKEN]),
    (AgentState::Failed, &[PAID, Open, BROKEN, Open, Claim]),
    (AgentState::Failed, &[PAID, Open, BROKEN, Open, Succeed]),
    (AgentState::Failed, &[PAID, Open, BROKEN, Open, BROKEN]),
    (
        AgentState::DeleteFailed,
        &[PAID, Open, Succeed, DELETE, Open, BROKEN],
    ),
    (
        AgentState::DeleteFailed,
        &[PAID, Open, Succeed, CANCELED, Open, BROKEN],
    ),
];

/// The generated table: what may follow, by state and event.
fn table() -> HashMap<(String, String), BTreeSet<&'static str>> {
    let mut state = "";
    let mut cells = HashMap::new();
    for line in include_str!("../../../domain/STATES.md").lines() {
        if let Some(name) = line.strip_prefix("## ") {
            state = name;
        }
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", event, outcomes, ""] = columns[..] {
            let place = (state.to_owned(), event.to_owned());
            cells.insert(place, outcomes.split("<br>").collect());
        }
    }
    cells
}

/// How the table says it.
fn phrase(before: Facts, after: Facts) -> String {
    let state = agent_state(after);
    match (after.live, reconcile(after)) {
        _ if before == after => "nothing changes".to_owned(),
        (Some(live), Some(next)) => format!("{state}: {live} goes on, {next} follows"),
        (Some(live), None) => format!("{state}: {live} goes on"),
        (None, Some(next)) => format!("{state}: {next} is queued"),
        (None, None) => state.to_string(),
    }
}

/// The event in the words of the table, what the domain says follows, and how it is told.
fn expected(before: Facts, act: Act, changes: &[Change]) -> (String, Facts, String) {
    let after = changes.first().and_then(|change| before.after(*change));
    let after = after.unwrap_or(before);
    let told = phrase(before, after);
    match (act, changes) {
        (RETRY, [Change::Remade]) => {
            let event = "its missing machine is made anew".to_owned();
            (event, after, told)
        }
        (Act::Command(command), _) => {
            let told = match permit(before, command) {
                Permission::Allowed => told,
                Permission::Done => "nothing changes".to_owned(),
                why => format!("refused: {why}"),
            };
            (format!("command {command}"), after, told)
        }
        (Act::News(_), [Change::Confirmed]) => {
            let event = "another payment, or another cancel".to_owned();
            let told = if before == after {
                "cannot happen".to_owned()
            } else {
                told
            };
            (event, after, told)
        }
        (Act::News(_), [Change::Payment(payment)]) => {
            (format!("payment is {payment}"), after, told)
        }
        (Found, _) if before == after => {
            let event = "a server of it is found".to_owned();
            (event, after, "cannot happen".to_owned())
        }
        (Found, _) => ("a server of it is found".to_owned(), after, told),
        other => panic!("{other:?} is not asked here"),
    }
}

#[tokio::test]
async fn every_state_meets_every_command_and_every_word_of_stripes() {
    let world = World::new().await;
    let client = world.client().await;
    let table = table();
    let commands = Command::ALL.iter().map(|command| Act::Command(*command));
    let news = News::ALL.iter().map(|news| Act::News(*news));
    let acts: Vec<Act> = commands.chain(news).chain([Found]).collect();
    for (state, way) in WAYS {
        for act in &acts {
            world.clear().await;
            let mut walk = Walk::new(&world, &client);
            for step in *way {
                walk.act(*step).await;
            }
            let (before, reached, _) = walk.row().await;
            assert_eq!(reached, *state, "{way:?}");
            let changes = walk.act(*act).await;
            let (event, facts, told) = expected(before, *act, &changes);
            let (after, now, queued) = walk.row().await;
            let why = format!("{act:?} after {way:?}");
            assert_eq!(after, facts, "{why}");
            assert_eq!(
                (now, queued),
                (agent_state(after), reconcile(after)),
                "{why}"
            );
            let outcomes = &table[&(state.to_string(), event)];
            let odd = told == "cannot happen" && !outcomes.contains("cannot happen");
            assert!(
                odd || outcomes.contains(told.as_str()),
                "{why}: {told}, {outcomes:?}"
            );
            world.check().await;
        }
    }
    let reached: BTreeSet<AgentState> = WAYS.iter().map(|(state, _)| *state).collect();
    assert_eq!(reached.len(), AgentState::ALL.len());
}

#[tokio::test]
async fn a_repeat_of_an_event_changes_nothing_in_any_state() {
    let world = World::new().await;
    let client = world.client().await;
    let all = "SELECT jsonb_build_object('agents', (SELECT jsonb_agg(to_jsonb(a)) FROM agents a),
        'jobs', (SELECT jsonb_agg(to_jsonb(j) ORDER BY job_id) FROM jobs j),
        'subscriptions', (SELECT jsonb_agg(to_jsonb(s)) FROM subscriptions s),
        'timeline', (SELECT count(*) FROM timeline))";
    let mut repeated = 0;
    for (_, way) in WAYS {
        world.clear().await;
        let mut walk = Walk::new(&world, &client);
        for step in *way {
            walk.act(*step).await;
        }
        let before: serde_json::Value = client.query_one(all, &[]).await.unwrap().get(0);
        repeated += walk.hear_all_again().await;
        let after: serde_json::Value = client.query_one(all, &[]).await.unwrap().get(0);
        assert_eq!(after, before, "{way:?}");
    }
    assert!(repeated > WAYS.len());
}
