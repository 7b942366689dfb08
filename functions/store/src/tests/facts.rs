//! The statements move an agent's facts exactly as the domain says, whatever happens to it, and
//! its timeline alone tells how it came to be what it is.

use super::{
    walk::{Act, Walk, replay},
    world::World,
};
use domain::{Change, Command, ErrorClass, Facts, News, agent_state, reconcile};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        1 => Just(Act::Draft),
        2 => (0..8_usize).prop_map(|news| Act::News(News::ALL[news])),
        2 => Just(Act::News(News::Active)),
        2 => (0..4_usize).prop_map(|command| Act::Command(Command::ALL[command])),
        6 => Just(Act::Open),
        1 => Just(Act::Claim),
        1 => Just(Act::Refuse),
        3 => Just(Act::Succeed),
        1 => Just(Act::SucceedWithoutCredentials),
        1 => Just(Act::Unreported),
        3 => (0..3_usize).prop_map(|class| Act::Fail(ErrorClass::ALL[class])),
        1 => Just(Act::Expire),
        1 => Just(Act::Abort),
        1 => Just(Act::Found),
        2 => Just(Act::Miss),
        2 => Just(Act::Command(Command::Retry)),
    ];
    prop::collection::vec(act, 1..28)
}

/// The facts that the domain allows after these changes.
fn allowed(before: Facts, changes: &[Change]) -> Vec<Facts> {
    let after: Vec<Facts> = changes
        .iter()
        .filter_map(|change| before.after(*change))
        .collect();
    if after.is_empty() {
        vec![before]
    } else {
        after
    }
}

async fn walked(walk: &mut Walk<'_>, act: Act) -> Result<(), TestCaseError> {
    let (before, ..) = walk.row().await;
    let changes = walk.act(act).await;
    let (after, state, queued) = walk.row().await;
    let may = allowed(before, &changes);
    prop_assert!(may.contains(&after), "{act:?}: {before:?} became {after:?}");
    prop_assert_eq!(state, agent_state(after));
    prop_assert_eq!(queued, reconcile(after));
    let timeline = walk.timeline().await;
    prop_assert_eq!(replay(&timeline), (after, state));
    let without = timeline.iter().find(|entry| entry.cause.is_none());
    prop_assert_eq!(without, None, "an entry without a cause");
    Ok(())
}

/// Changes of power that fail while what is wanted changes; chance seldom comes there.
#[tokio::test]
async fn half_done_changes_of_power_move_the_facts_as_the_domain_says() {
    let world = World::new().await;
    let client = world.client().await;
    let paid = Act::News(News::Active);
    let [overdue, stop, start] = [
        Act::News(News::PastDue),
        Act::Command(Command::Stop),
        Act::Command(Command::Start),
    ];
    let failures = [
        Act::Fail(ErrorClass::Transient),
        Act::Fail(ErrorClass::Permanent),
        Act::Expire,
        Act::Refuse,
    ];
    for (rest, run) in [(stop, start), (overdue, paid)] {
        for failure in failures {
            for last in [Act::Succeed, Act::Fail(ErrorClass::Permanent)] {
                world.clear().await;
                let mut walk = Walk::new(&world, &client);
                let stopping = [paid, Act::Open, Act::Succeed, rest, Act::Open, run, failure];
                let starting = [
                    Act::Open,
                    last,
                    rest,
                    Act::Open,
                    Act::Succeed,
                    run,
                    Act::Open,
                ];
                let stopped = [rest, failure, Act::Open, last, run, Act::Open, Act::Succeed];
                for act in [&stopping[..], &starting, &stopped].concat() {
                    walked(&mut walk, act).await.unwrap();
                    world.check().await;
                }
            }
        }
    }
}

#[test]
fn every_statement_moves_the_facts_as_the_domain_says() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new());
    let client = runtime.block_on(world.client());
    let mut runner = TestRunner::new(Config {
        cases: 150,
        ..Config::default()
    });
    runner
        .run(&acts(), |acts| {
            runtime.block_on(async {
                world.clear().await;
                let mut walk = Walk::new(&world, &client);
                for act in acts {
                    walked(&mut walk, act).await?;
                    world.check().await;
                }
                Ok(())
            })
        })
        .unwrap();
}
