//! Stripe's deliveries: some late, some twice, and every one again until it is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use devstack::Customer;
use rand::{RngExt as _, rngs::StdRng};
use tokio::time::sleep;

use super::tally::Tally;

const DOUBLED: f64 = 0.1;
const LATE: f64 = 0.15;
const LATE_SECONDS_MAX: f64 = 6.0;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Events under way. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Post {
    customer: Customer,
    tally: Tally,
    open: Arc<AtomicUsize>,
}

impl Post {
    pub(super) fn new(customer: Customer, tally: Tally) -> Self {
        Self {
            customer,
            tally,
            open: Arc::default(),
        }
    }

    /// Takes events; each goes its own way, so they may arrive in any order.
    pub(super) fn take(&self, events: Vec<String>, random: &mut StdRng) {
        for event in events {
            let copies = if random.random_bool(DOUBLED) { 2 } else { 1 };
            for _ in 0..copies {
                let mut late = Duration::ZERO;
                if random.random_bool(LATE) {
                    late = Duration::from_secs_f64(random.random_range(0.0..LATE_SECONDS_MAX));
                }
                self.open.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(self.clone().bring(event.clone(), late));
            }
            if copies > 1 {
                self.tally.count("events doubled");
            }
        }
    }

    /// Events that nobody has taken yet.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    async fn bring(self, event: String, late: Duration) {
        if !late.is_zero() {
            self.tally.count("events late");
            sleep(late).await;
        }
        loop {
            match self.customer.deliver(&event).await {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) if answer.status().is_client_error() => {
                    let status = answer.status();
                    self.tally
                        .complain(format!("the webhook refused an event of Stripe: {status}"));
                    break;
                }
                Ok(_) | Err(_) => {
                    self.tally.count("events repeated");
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
