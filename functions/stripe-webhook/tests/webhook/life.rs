//! Whole lives of payments: step by step, and in every order.

use crate::{
    story::{SHAPES, Shape, Story},
    world::{Stand, World, orders},
};
use domain::{
    AgentState::{Active, Deleted, Deleting, Provisioning, Starting, Stopping, Suspended},
    JobKind, Payment,
};
use serde_json::Value;

/// Six events of one payment, and how its agent stands when all were heard and no runner worked.
pub(crate) type History = ([Value; 6], Stand);

const RUNS: Stand = (Provisioning, Payment::Active, Some(JobKind::Provision));
const RESTS: Stand = (Suspended, Payment::PastDue, None);
const GONE: Stand = (Deleted, Payment::Canceled, None);

const FIRST: &str = "subscription_create";
const CYCLE: &str = "subscription_cycle";

/// A renewal that is never paid.
fn history(s: Story) -> History {
    let events = [
        s.subscription(0, "created", "incomplete"),
        s.checkout(1),
        s.invoice(1, "paid", FIRST),
        s.invoice(10, "payment_failed", CYCLE),
        s.subscription(11, "updated", "past_due"),
        s.subscription(20, "deleted", "canceled"),
    ];
    (events, GONE)
}

fn renewals(s: Story) -> Vec<History> {
    let first = s.subscription(0, "created", "incomplete");
    let paid = s.invoice(1, "paid", FIRST);
    let failed = s.invoice(10, "payment_failed", CYCLE);
    let renewed = [
        first.clone(),
        s.checkout(1),
        failed.clone(),
        s.subscription(11, "updated", "past_due"),
        s.invoice(20, "paid", CYCLE),
        s.subscription(20, "updated", "active"),
    ];
    let unpaid = [
        first,
        s.checkout(1),
        paid,
        failed,
        s.subscription(11, "updated", "past_due"),
        s.subscription(30, "updated", "unpaid"),
    ];
    let resumed = [
        s.checkout(1),
        s.subscription(0, "created", "trialing"),
        s.subscription(5, "trial_will_end", "trialing"),
        s.subscription(10, "paused", "paused"),
        s.subscription(20, "resumed", "active"),
        s.subscription(21, "pending_update_expired", "active"),
    ];
    vec![
        history(s),
        (renewed, RUNS),
        (unpaid, RESTS),
        (resumed, RUNS),
    ]
}

fn delayed_payments(s: Story) -> Vec<History> {
    let incomplete = s.subscription(0, "created", "incomplete");
    let never = [
        s.unpaid_checkout(1),
        incomplete.clone(),
        s.invoice(1, "payment_action_required", FIRST),
        s.invoice(2, "payment_failed", FIRST),
        s.delayed(2, false),
        s.subscription(20, "updated", "incomplete_expired"),
    ];
    let late = [
        s.unpaid_checkout(1),
        incomplete,
        s.invoice(1, "payment_action_required", FIRST),
        s.delayed(10, true),
        s.invoice(10, "paid", FIRST),
        s.subscription(10, "updated", "active"),
    ];
    vec![(never, GONE), (late, RUNS)]
}

fn money_back(s: Story) -> Vec<History> {
    let (checkout, joining) = (s.checkout(1), s.joining(1));
    let paid = s.invoice(1, "paid", FIRST);
    let opened = s.dispute(10, "created", "needs_response");
    let with = |three: [Value; 3]| {
        let [a, b, c] = three;
        [checkout.clone(), joining.clone(), paid.clone(), a, b, c]
    };
    vec![
        (
            with([
                s.charge(5, "refunded", 500),
                s.charge(10, "refunded", 2000),
                s.refund(10, "created"),
            ]),
            RESTS,
        ),
        (
            with([
                s.charge(10, "refunded", 2000),
                s.invoice(30, "payment_succeeded", CYCLE),
                s.invoice(30, "paid", CYCLE),
            ]),
            RUNS,
        ),
        (
            with([
                s.charge(10, "refunded", 2000),
                s.subscription(11, "deleted", "canceled"),
                s.refund(12, "failed"),
            ]),
            GONE,
        ),
        (
            with([
                opened.clone(),
                s.dispute(11, "updated", "under_review"),
                s.dispute(20, "closed", "won"),
            ]),
            RUNS,
        ),
        (
            with([
                opened,
                s.dispute(11, "funds_withdrawn", "needs_response"),
                s.dispute(20, "closed", "lost"),
            ]),
            RESTS,
        ),
        (
            with([
                s.warning(5),
                s.dispute(6, "created", "warning_needs_response"),
                s.dispute(20, "closed", "warning_closed"),
            ]),
            RUNS,
        ),
    ]
}

fn paid_once(s: Story) -> Vec<History> {
    let refunded = [
        s.checkout(1),
        s.intent(1),
        s.charge(1, "succeeded", 0),
        s.charge(5, "refunded", 500),
        s.charge(10, "refunded", 2000),
        s.refund(10, "updated"),
    ];
    let disputed = [
        s.unpaid_checkout(1),
        s.delayed(2, true),
        s.intent(2),
        s.warning(5),
        s.dispute(10, "created", "needs_response"),
        s.dispute(11, "funds_withdrawn", "under_review"),
    ];
    vec![(refunded, GONE), (disputed, RESTS)]
}

/// All of them.
pub(crate) fn histories(number: u128, shape: Shape) -> Vec<History> {
    let subscribed = Story::subscribed(number, shape);
    [
        renewals(subscribed),
        delayed_payments(subscribed),
        money_back(subscribed),
        paid_once(Story::one_off(number, shape)),
    ]
    .concat()
}

/// Tells a history in some orders, each time about another payment, and each event twice.
async fn in_orders(
    world: &World,
    numbers: &mut impl Iterator<Item = u128>,
    orders: impl Iterator<Item = &Vec<usize>>,
    pick: impl Fn(u128) -> History,
) {
    for (order, number) in orders.zip(numbers) {
        let (events, stand) = pick(number);
        let twice = order.iter().chain(order.iter().rev());
        world.hear(twice.map(|place| &events[*place])).await;
        let agent = Story::subscribed(number, Shape::New).agent();
        assert_eq!(world.stand(&agent).await, stand, "{order:?} of {events:#?}");
    }
}

#[tokio::test]
async fn histories_end_alike_in_whatever_order_they_are_heard() {
    let world = World::new().await;
    let mut numbers = 1..;
    let orders = orders(&(0..6).collect::<Vec<_>>());
    let pick = |number| history(Story::subscribed(number, Shape::New));
    in_orders(&world, &mut numbers, orders.iter().step_by(13), pick).await;
    for shape in SHAPES {
        for which in 0..histories(0, shape).len() {
            let some = orders.iter().skip(which).step_by(149);
            let pick = |number| histories(number, shape).swap_remove(which);
            in_orders(&world, &mut numbers, some, pick).await;
        }
    }
    assert_eq!(world.store.contradictions().await.unwrap(), [""; 0]);
}

/// What happens, how the agent stands then, and how after the runners did what was due.
type Turn = (Value, Stand, Stand);

fn a_whole_life(s: Story) -> Vec<Turn> {
    let rest = |state, payment| (state, payment, None);
    let runs = rest(Active, Payment::Active);
    let rests = rest(Suspended, Payment::PastDue);
    let stops = (Stopping, Payment::PastDue, Some(JobKind::Stop));
    let starts = (Starting, Payment::Active, Some(JobKind::Start));
    let ends = (Deleting, Payment::Canceled, Some(JobKind::Destroy));
    vec![
        (s.checkout(1), RUNS, runs),
        (s.invoice(1, "paid", FIRST), runs, runs),
        (s.subscription(1, "updated", "active"), runs, runs),
        (s.invoice(100, "payment_failed", CYCLE), stops, rests),
        (s.subscription(101, "updated", "past_due"), rests, rests),
        (s.invoice(200, "paid", CYCLE), starts, runs),
        (s.subscription(201, "updated", "active"), runs, runs),
        (s.subscription(300, "paused", "paused"), stops, rests),
        (s.subscription(400, "resumed", "active"), starts, runs),
        (s.subscription(500, "deleted", "canceled"), ends, GONE),
        (s.subscription(501, "updated", "active"), GONE, GONE),
        (s.invoice(502, "paid", CYCLE), GONE, GONE),
    ]
}

#[tokio::test]
async fn an_agent_follows_its_subscription_through_its_whole_life() {
    for shape in SHAPES {
        let world = World::new().await;
        let story = Story::subscribed(1, shape);
        let mut heard = vec![story.subscription(0, "created", "incomplete")];
        world.hear(&heard).await;
        assert!(world.status(&story.agent()).await.is_none());
        for (event, before, after) in a_whole_life(story) {
            world.hear([&event, &event]).await;
            let stand = world.stand(&story.agent()).await;
            assert_eq!(stand, before, "{event:#}");
            let nudges = world.queue.take().len();
            let expected = if before.2.is_some() { 2 } else { 0 };
            assert_eq!(nudges, expected, "{event:#}");
            world.work().await;
            assert_eq!(world.stand(&story.agent()).await, after, "{event:#}");
            // What was heard before changes nothing any more, however late it comes again.
            heard.push(event);
            world.hear(&heard).await;
            assert_eq!(world.stand(&story.agent()).await, after);
        }
        assert_eq!(world.queue.take(), []);
    }
}
