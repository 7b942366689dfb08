//! The customers: each buys an agent, looks at it now and then, and does what fits its state;
//! who has left is followed by the next.

use std::time::Duration;

use devstack::{News, Order};
use futures_util::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;
use uuid::Uuid;

use super::Set;

/// Between a customer's coming and the one before it, at most.
const ARRIVAL_SECONDS: f64 = 15.0;
/// Between two looks of a customer.
const PAUSE_SECONDS: (f64, f64) = (2.0, 7.0);

const REGIONS: [&str; 4] = ["us-east", "eu-central", "us-west", "ap-southeast"];

/// All customers.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    set: &'a Set<'a>,
    customers: u32,
}

/// What a customer may do.
#[derive(Debug, Clone, Copy)]
enum Act {
    Tell(News),
    Order(Order),
}

use Act::{Order as Do, Tell};

/// What customers do in each state, and how likely at each look; else they do nothing.
const HABITS: [(&str, &[(f64, Act)]); 8] = [
    (
        "provisioning",
        &[
            (0.06, Tell(News::Canceled)),
            (0.06, Tell(News::PaymentFailed)),
            (0.05, Do(Order::Stop)),
        ],
    ),
    (
        "active",
        &[
            (0.18, Tell(News::PaymentFailed)),
            (0.18, Do(Order::Stop)),
            (0.10, Tell(News::Canceled)),
            (0.04, Do(Order::Delete)),
            (0.04, Tell(News::Disputed)),
            (0.02, Tell(News::Refunded)),
        ],
    ),
    (
        "stopping",
        &[
            (0.15, Do(Order::Start)),
            (0.15, Tell(News::PaidAgain)),
            (0.05, Tell(News::Canceled)),
        ],
    ),
    (
        "starting",
        &[
            (0.10, Do(Order::Stop)),
            (0.10, Tell(News::PaymentFailed)),
            (0.05, Tell(News::Canceled)),
        ],
    ),
    (
        "suspended",
        &[
            (0.40, Tell(News::PaidAgain)),
            (0.15, Tell(News::DisputeWon)),
            (0.10, Tell(News::Canceled)),
        ],
    ),
    (
        "paused",
        &[(0.55, Do(Order::Start)), (0.05, Tell(News::Canceled))],
    ),
    (
        "failed",
        &[(0.50, Do(Order::Retry)), (0.10, Tell(News::Canceled))],
    ),
    ("delete_failed", &[(0.50, Do(Order::Delete))]),
];

impl<'a> Fleet<'a> {
    pub(super) fn new(set: &'a Set<'a>, customers: u32) -> Self {
        Self { set, customers }
    }

    /// Lives until it is dropped.
    pub(super) async fn live(&self) {
        join_all((0..self.customers).map(|number| self.customer(number))).await;
    }

    async fn customer(&self, number: u32) {
        let mut random = StdRng::seed_from_u64(self.set.seed ^ (u64::from(number) << 32));
        for agent in 1_u32.. {
            // The first comes at once: without a payment there is nothing to see.
            if (number, agent) != (0, 1) {
                pause(&mut random, (0.0, ARRIVAL_SECONDS)).await;
            }
            let region = REGIONS.get(random.random_range(0..REGIONS.len()));
            let name = format!("customer {}, agent {agent}", number + 1);
            let region = region.copied().unwrap_or_default();
            let payment = self.set.customer.payment_for(&name, region);
            self.set.post.take(vec![payment.body], &mut random);
            self.set.tally.count("payments");
            self.own(payment.agent_id, &mut random).await;
        }
    }

    /// Returns when the agent is gone.
    async fn own(&self, agent: Uuid, random: &mut StdRng) {
        loop {
            pause(random, PAUSE_SECONDS).await;
            // Whoever gets no answer looks again later.
            let Ok(Some(view)) = self.set.customer.agent(agent).await else {
                continue;
            };
            if view.status == "deleted" {
                return;
            }
            if let Some(act) = habit(&view.status, random) {
                self.act(agent, act, random).await;
            }
        }
    }

    async fn act(&self, agent: Uuid, act: Act, random: &mut StdRng) {
        let (set, tally) = (self.set, &self.set.tally);
        match act {
            Tell(news) => {
                tally.count(match news {
                    News::PaymentFailed => "payments failed",
                    News::PaidAgain => "paid again",
                    News::Canceled => "cancels",
                    News::Refunded | News::Disputed | News::DisputeWon | News::DisputeLost => {
                        "refunds and disputes"
                    }
                });
                set.post.take(set.customer.events(agent, news), random);
            }
            Do(order) => {
                // An order without an answer may have been taken; its owner looks again.
                if let Ok(true) = set.customer.order(agent, order).await {
                    tally.count(match order {
                        Order::Retry => "retries",
                        Order::Stop => "stops",
                        Order::Start => "starts",
                        Order::Delete => "deletes",
                    });
                }
            }
        }
    }
}

fn habit(status: &str, random: &mut StdRng) -> Option<Act> {
    let drawn: f64 = random.random();
    let (_, habits) = HABITS.iter().find(|(state, _)| *state == status)?;
    let mut sum = 0.0;
    habits.iter().find_map(|(share, act)| {
        sum += share;
        (drawn < sum).then_some(*act)
    })
}

async fn pause(random: &mut StdRng, (min, max): (f64, f64)) {
    sleep(Duration::from_secs_f64(random.random_range(min..max))).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::AgentState;

    #[test]
    fn habits_are_of_states_and_leave_room_for_rest() {
        for (state, habits) in HABITS {
            assert!(state.parse::<AgentState>().is_ok(), "{state}");
            let sum: f64 = habits.iter().map(|(share, _)| share).sum();
            assert!(sum < 0.7, "{state} is never at rest: {sum}");
        }
    }
}
