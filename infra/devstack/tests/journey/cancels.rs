//! Cancels a subscription at every moment of a provision: whenever any process is about to ask
//! anybody anything, and whenever it is about to be answered. In the end nothing remains.

use std::collections::BTreeSet;
use std::time::Duration;

use devstack::{KillPoint, News, Side};
use domain::AgentState;
use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use crate::scene::{SCENES_AT_ONCE, Scene};

const POLL: Duration = Duration::from_millis(20);

/// Which process stands still: the how-manieth start of which program, and where.
type Point = (String, u32, KillPoint);

/// Everything that is said on the way of one payment, from a run in which nothing goes wrong and no
/// time passes.
async fn points() -> Vec<Point> {
    let scene = Scene::new().await;
    let agent = scene.pay().await.agent_id;
    scene.comes_to(agent, AgentState::Active).await;
    scene.comes_to_rest(&[agent]).await;
    let mut points = Vec::new();
    for process in scene.world.taps.record() {
        for turn in &process.turns {
            for side in [Side::Before, Side::After] {
                let turn = turn.ordinal;
                let point = KillPoint { turn, side };
                points.push((process.program.clone(), process.start, point));
            }
        }
    }
    points
}

/// Answers whether the point was met.
async fn cancel_at((program, start, point): Point) -> bool {
    let scene = Scene::new().await;
    let held = scene.world.taps.hold(&program, start, point);
    let payment = scene.world.customer.payment("us-east");
    let agent = payment.agent_id;
    let paying = scene.deliver(&payment.body);
    // A point that does not come must not hang the test.
    let passed_by = async {
        let active = || async {
            let seen = scene.seen(agent).await;
            seen.is_some_and(|status| status.state == AgentState::Active)
        };
        while !(active().await && scene.runs_are_over()) {
            sleep(POLL).await;
        }
    };
    let canceling = async {
        let met = tokio::select! {
            () = held.reached() => true,
            () = passed_by => false,
        };
        let canceled = scene.world.customer.tell(agent, News::Canceled).await;
        held.release();
        canceled.unwrap();
        met
    };
    let ((), met) = tokio::join!(paying, canceling);
    scene.settle(&[agent]).await;
    scene.check_outside(&[agent]).await;
    assert_eq!(scene.status(agent).await.state, AgentState::Deleted);
    assert_eq!(
        scene.world.stack.queue().dead_letters(),
        Vec::<String>::new()
    );
    met
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_any_moment_of_a_provision_leaves_nothing() {
    let points = points().await;
    let programs: BTreeSet<_> = points.iter().map(|(program, ..)| program.clone()).collect();
    assert_eq!(
        programs.iter().map(String::as_str).collect::<Vec<_>>(),
        ["callback", "dispatch", "runner", "stripe-webhook"]
    );
    let count = points.len();
    let missed: Vec<String> = stream::iter(points)
        .map(|point| async move {
            let name = format!("{} {} {:?}", point.0, point.1, point.2);
            let scene = tokio::spawn(cancel_at(point)).await;
            let met = scene.unwrap_or_else(|error| panic!("canceled at {name}: {error}"));
            (!met).then_some(name)
        })
        .buffer_unordered(SCENES_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    println!("canceled at {} of {count} points", count - missed.len());
    assert!(missed.is_empty(), "listed and never met: {missed:#?}");
}
