//! Cancels a subscription at every moment of a provision: whenever any process is about to ask
//! anybody anything, and whenever it is about to be answered. In the end nothing remains.

use std::time::Duration;

use devstack::{News, Side};
use domain::AgentState;
use tokio::time::{sleep, timeout};

use crate::points::{Point, visit_all};
use crate::scene::{SOON, Scene};

const POLL: Duration = Duration::from_millis(20);

/// Answers whether the point was met.
async fn cancel_at(point: Point) -> bool {
    let scene = Scene::new().await;
    let taps = &scene.world.taps;
    let held = taps.hold(&point.program, point.start, point.place);
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
            passed_by = timeout(SOON, passed_by) => {
                assert!(passed_by.is_ok(), "neither held nor active\n{}", scene.world.logs());
                false
            }
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
    met && point.process(taps.record()).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_any_moment_of_a_provision_leaves_nothing() {
    let sides = [Side::Before, Side::After];
    let is_question = |point: &Point| point.place.turn > 0;
    visit_all(&sides, is_question, cancel_at).await;
}
