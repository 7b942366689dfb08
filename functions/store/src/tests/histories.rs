//! Six-event histories of subscriptions and one-off payments, as Stripe tells them: in each of
//! their 720 orders, each event told twice, they end in the same state. Of histories that are
//! much like others only every seventh order is told.

use super::world::{World, at};
use crate::EventRecord;
use domain::{
    AgentId, EventId, News,
    News::{Active, Canceled, DisputeLost, DisputeWon, Disputed, PastDue, Refunded},
    Payment, PaymentMark, payment_of,
};
use std::collections::BTreeSet;

/// One event of a history.
#[derive(Debug, Clone, Copy)]
struct Said {
    created: i64,
    news: Option<News>,
    /// Charge, payment intent and invoice that it names.
    refs: &'static [&'static str],
    names_subscription: bool,
    completes_checkout: bool,
    dispute: Option<&'static str>,
    reason: Option<&'static str>,
}

type Refs = &'static [&'static str];

/// The checkout's session is completed, or its money came or failed to come.
const fn checkout(created: i64, news: News, refs: Refs) -> Said {
    Said {
        completes_checkout: true,
        ..about(created, news, refs)
    }
}

/// It names the subscription and says something about the money.
const fn about(created: i64, news: News, refs: Refs) -> Said {
    Said {
        news: Some(news),
        names_subscription: true,
        ..joins(created, refs)
    }
}

/// It says nothing about money, and joins what it names.
const fn joins(created: i64, refs: Refs) -> Said {
    Said {
        created,
        news: None,
        refs,
        names_subscription: false,
        completes_checkout: false,
        dispute: None,
        reason: None,
    }
}

/// It names no subscription and says something about the money.
const fn of_charge(created: i64, news: News, refs: Refs) -> Said {
    Said {
        news: Some(news),
        ..joins(created, refs)
    }
}

const fn dispute(created: i64, news: News) -> Said {
    Said {
        dispute: Some("dp_1"),
        ..of_charge(created, news, &["ch_1", "pi_1"])
    }
}

const fn waits(said: Said) -> Said {
    Said {
        reason: Some("the payment is on its way"),
        ..said
    }
}

struct History {
    name: &'static str,
    one_off: bool,
    said: [Said; 6],
    ends: Payment,
}

const LIVES: [History; 7] = [
    History {
        name: "a renewal fails and is paid after all",
        one_off: false,
        ends: Payment::Active,
        said: [
            checkout(100, Active, &["in_1"]),
            about(100, Active, &["in_1"]),
            about(101, Active, &["in_1", "pi_1", "ch_1"]),
            about(200, PastDue, &["in_2", "pi_2"]),
            about(200, PastDue, &["in_2"]),
            about(300, Active, &["in_2", "pi_2", "ch_2"]),
        ],
    },
    History {
        name: "a renewal fails and the subscription is deleted",
        one_off: false,
        ends: Payment::Canceled,
        said: [
            checkout(100, Active, &["in_1"]),
            about(100, Active, &["in_1"]),
            about(101, Active, &["in_1"]),
            about(200, PastDue, &["in_2"]),
            about(201, PastDue, &["in_2"]),
            about(300, Canceled, &["in_2"]),
        ],
    },
    History {
        name: "a trial is followed by a payment",
        one_off: false,
        ends: Payment::Active,
        said: [
            checkout(100, Active, &["in_1"]),
            about(100, Active, &["in_1"]),
            about(150, Active, &[]),
            about(200, Active, &["in_2"]),
            about(201, Active, &["in_2", "pi_2"]),
            about(250, Active, &["in_2"]),
        ],
    },
    History {
        name: "the first payment fails, then comes",
        one_off: false,
        ends: Payment::Active,
        said: [
            waits(checkout(100, News::None, &["in_1"])),
            waits(about(100, News::None, &["in_1"])),
            waits(about(101, News::None, &["in_1", "pi_1"])),
            joins(110, &["pi_1", "ch_2"]),
            about(110, Active, &["in_1", "pi_1", "ch_2"]),
            about(110, Active, &["in_1"]),
        ],
    },
    History {
        name: "paused and resumed",
        one_off: false,
        ends: Payment::Active,
        said: [
            checkout(100, Active, &["in_1"]),
            about(100, Active, &["in_1"]),
            about(200, PastDue, &["in_1"]),
            about(200, PastDue, &[]),
            about(300, Active, &["in_2"]),
            about(300, Active, &["in_2"]),
        ],
    },
    History {
        name: "a renewal is never paid",
        one_off: false,
        ends: Payment::PastDue,
        said: [
            checkout(100, Active, &["in_1"]),
            about(101, Active, &["in_1"]),
            about(200, PastDue, &["in_2", "pi_2"]),
            about(200, PastDue, &["in_2"]),
            about(300, PastDue, &["in_2"]),
            joins(300, &["in_2", "pi_2"]),
        ],
    },
    History {
        name: "everything in one second, and over in it",
        one_off: false,
        ends: Payment::Canceled,
        said: [
            waits(checkout(100, News::None, &["in_1"])),
            about(100, News::None, &["in_1"]),
            about(100, Active, &["in_1"]),
            about(100, PastDue, &["in_1"]),
            about(100, Canceled, &["in_1"]),
            about(100, Active, &[]),
        ],
    },
];

const MONEY_BACK: [History; 8] = [
    History {
        name: "a refund that is joined over three events",
        one_off: false,
        ends: Payment::PastDue,
        said: [
            checkout(100, Active, &[]),
            about(101, Active, &["in_1"]),
            joins(101, &["in_1", "pi_1"]),
            of_charge(200, Refunded, &["ch_1"]),
            joins(201, &["ch_1", "pi_1"]),
            about(150, Active, &[]),
        ],
    },
    History {
        name: "a dispute is won",
        one_off: false,
        ends: Payment::Active,
        said: [
            checkout(100, Active, &["in_1"]),
            about(101, Active, &["in_1"]),
            joins(101, &["in_1", "pi_1"]),
            dispute(200, Disputed),
            dispute(201, Disputed),
            dispute(300, DisputeWon),
        ],
    },
    History {
        name: "a dispute is lost",
        one_off: false,
        ends: Payment::PastDue,
        said: [
            checkout(100, Active, &["in_1"]),
            about(101, Active, &["in_1"]),
            joins(101, &["in_1", "pi_1"]),
            dispute(200, Disputed),
            dispute(300, DisputeLost),
            dispute(301, DisputeLost),
        ],
    },
    History {
        name: "a slow payment arrives",
        one_off: true,
        ends: Payment::Active,
        said: [
            waits(checkout(100, News::None, &["pi_1"])),
            joins(100, &["pi_1"]),
            joins(200, &["ch_1", "pi_1"]),
            joins(201, &["pi_1", "ch_1"]),
            checkout(202, Active, &["pi_1"]),
            joins(202, &["ch_1"]),
        ],
    },
    History {
        name: "a payment is given back",
        one_off: true,
        ends: Payment::Canceled,
        said: [
            checkout(100, Active, &["pi_1"]),
            joins(100, &["pi_1", "ch_1"]),
            joins(101, &["ch_1", "pi_1"]),
            joins(200, &["ch_1"]),
            of_charge(200, Refunded, &["ch_1", "pi_1"]),
            joins(201, &["ch_1", "pi_1"]),
        ],
    },
    History {
        name: "a refund that names its invoice",
        one_off: false,
        ends: Payment::PastDue,
        said: [
            checkout(100, Active, &["in_1"]),
            about(100, Active, &["in_1"]),
            about(101, Active, &["in_1", "ch_1", "pi_1"]),
            joins(101, &["ch_1", "pi_1", "in_1"]),
            of_charge(200, Refunded, &["ch_1", "pi_1", "in_1"]),
            joins(200, &["ch_1", "pi_1"]),
        ],
    },
    History {
        name: "a dispute is lost, won on appeal, and the subscription is paid on",
        one_off: false,
        ends: Payment::Active,
        said: [
            checkout(100, Active, &["in_1", "pi_1"]),
            dispute(200, Disputed),
            dispute(300, DisputeLost),
            dispute(350, Disputed),
            dispute(400, DisputeWon),
            about(500, Active, &["in_2"]),
        ],
    },
    History {
        name: "a slow payment fails",
        one_off: true,
        ends: Payment::Canceled,
        said: [
            waits(checkout(100, News::None, &["pi_1"])),
            joins(100, &["pi_1"]),
            joins(200, &["ch_1", "pi_1"]),
            joins(201, &["pi_1", "ch_1"]),
            waits(checkout(202, Canceled, &["pi_1"])),
            joins(203, &["pi_1"]),
        ],
    },
];

const ORDERS: usize = 720;

/// Of so many histories of a list every order is told.
const WHOLE: usize = 5;

/// Draws from 0 to below `limit` (splitmix64, so that every run draws the same).
fn draw(seed: &mut u64, limit: usize) -> usize {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
}

/// The order of this number, each event again at some later place.
fn doubled(order: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..6).collect();
    let mut rest = order;
    let mut told: Vec<usize> = (1..=6)
        .rev()
        .map(|many| {
            let next = left.remove(rest % many);
            rest /= many;
            next
        })
        .collect();
    let mut seed = u64::try_from(order).unwrap();
    for event in 0..6 {
        let first = told.iter().position(|told| *told == event).unwrap();
        let place = first + 1 + draw(&mut seed, told.len() - first);
        told.insert(place, event);
    }
    told
}

impl History {
    fn subscription(&self, order: usize) -> String {
        format!("{}_1_{order}", if self.one_off { "cs" } else { "sub" })
    }

    fn record(&self, world: &World, event: usize, order: usize, agent: AgentId) -> EventRecord {
        let said = &self.said[event];
        let subscription = self.subscription(order);
        let paid = world.payment(&format!("evt_{event}_{order}"), &subscription, agent);
        let references = said.refs.iter().map(|id| format!("{id}_{order}"));
        EventRecord {
            kind: "whatever".to_owned(),
            created: said.created,
            subscription_id: paid.subscription_id.filter(|_| said.names_subscription),
            references: references.collect(),
            news: said.news,
            dispute: said.dispute.map(|id| format!("{id}_{order}")),
            checkout: paid.checkout.filter(|_| said.completes_checkout),
            reason: said.reason.map(str::to_owned),
            ..paid
        }
    }

    /// What the domain makes of it, however it is ordered.
    fn word(&self) -> Payment {
        let marks: Vec<PaymentMark> = (0..6)
            .filter_map(|event: usize| {
                let said = &self.said[event];
                Some(PaymentMark {
                    created: said.created,
                    event: format!("evt_{event}").parse::<EventId>().unwrap(),
                    news: said.news?,
                    dispute: said.dispute.map(str::to_owned),
                })
            })
            .collect();
        payment_of(self.one_off, &marks)
    }
}

/// All that is known of every agent of a history, without what tells the orders apart; one line
/// when they all ended alike.
const ENDS: &str = r"
    WITH known AS (
        SELECT concat_ws(' ', a.payment, a.wish, a.existing, a.gave_up, a.live, a.config_pending,
            a.state, a.queued_kind, a.reason, j.state, s.payment, s.payment_created,
            regexp_replace(s.payment_event, '_[0-9]+$', ''), s.conflict_agent_id,
            (SELECT count(*) FROM checkouts c WHERE c.subscription_id = s.subscription_id),
            (SELECT count(*) FROM jobs o WHERE o.agent_id = a.agent_id AND o.finished_at IS NULL)
        ) AS line, (
            SELECT string_agg(regexp_replace(r.ref, '_[0-9]+$', ''), ' ' ORDER BY r.ref)
            FROM payment_refs own JOIN payment_refs r USING (grp)
            WHERE own.ref = s.subscription_id) AS refs,
            a.payment
        FROM agents a JOIN subscriptions s USING (agent_id)
        LEFT JOIN jobs j ON j.job_id = a.queued_job_id)
    SELECT line, refs, payment, count(*) FROM known GROUP BY line, refs, payment";

async fn every_order(histories: &[History]) {
    let world = World::new().await;
    let client = world.client().await;
    for (place, history) in histories.iter().enumerate() {
        let orders = (0..ORDERS).step_by(if place < WHOLE { 1 } else { 7 });
        let name = history.name;
        assert_eq!(history.word(), history.ends, "{name}");
        world.clear().await;
        let mut told = 0;
        for order in orders.clone() {
            let agent = AgentId(world.id());
            for event in doubled(order) {
                let record = history.record(&world, event, order, agent);
                let outcome = world.store.record_event(&record, at(0)).await;
                let outcome = outcome.unwrap_or_else(|e| panic!("{name}, order {order}: {e}"));
                told += usize::from(!outcome.duplicate);
            }
        }
        assert_eq!(told, orders.len() * 6, "{name}");
        let ends = client.query(ENDS, &[]).await.unwrap();
        let lines: Vec<String> = ends.iter().map(|end| end.get("line")).collect();
        assert_eq!(lines.len(), 1, "{name}: {lines:#?}");
        let alike = usize::try_from(ends[0].get::<_, i64>("count")).unwrap();
        assert_eq!(alike, orders.len(), "{name}");
        assert_eq!(ends[0].get::<_, &str>("payment"), history.ends.as_str());
        let named = history.said.iter().flat_map(|said| said.refs);
        let mut ids: BTreeSet<&str> = named.copied().collect();
        ids.insert(if history.one_off { "cs_1" } else { "sub_1" });
        let joined: BTreeSet<&str> = ends[0].get::<_, &str>("refs").split(' ').collect();
        assert_eq!(joined, ids, "{name}");
        world.check().await;
    }
}

#[test]
fn every_order_is_there_once_and_tells_each_event_twice() {
    let orders: BTreeSet<Vec<usize>> = (0..ORDERS)
        .map(|order| {
            let told = doubled(order);
            let mut heard = Vec::new();
            for event in &told {
                assert_eq!(told.iter().filter(|one| *one == event).count(), 2);
                if !heard.contains(event) {
                    heard.push(*event);
                }
            }
            heard
        })
        .collect();
    assert_eq!(orders.len(), ORDERS);
}

#[tokio::test]
async fn payments_come_in_any_order() {
    every_order(&LIVES).await;
}

#[tokio::test]
async fn money_is_given_or_taken_back_in_any_order() {
    every_order(&MONEY_BACK).await;
}
