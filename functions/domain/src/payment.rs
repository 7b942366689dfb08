//! How Stripe's events about one subscription become one payment state, in whatever order
//! they arrive.

use crate::{EventId, words::words};

words! {
    /// What Stripe says about the money.
    Payment {
        /// Nothing paid yet.
        None => "none",
        /// Paid, or in trial.
        Active => "active",
        /// A payment is missing.
        PastDue => "past_due",
        /// Over for good.
        Canceled => "canceled",
    }
}

impl Payment {
    /// Decides between events of one second: canceled > active > `past_due` > none.
    pub const fn rank(self) -> i16 {
        match self {
            Self::None => 0,
            Self::PastDue => 1,
            Self::Active => 2,
            Self::Canceled => 3,
        }
    }

    /// Comes before time: a subscription is unpaid, then lives, then is over, and never goes
    /// back (Stripe: incomplete is only ever the first state, canceled the last).
    pub const fn age(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Active | Self::PastDue => 1,
            Self::Canceled => 2,
        }
    }
}

/// What one event says, with its place in the order of events. The greatest mark counts;
/// a cancellation absorbs everything, and `none` never takes back what was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentMark {
    /// Stripe's `created`, Unix seconds.
    pub created: i64,
    /// The event.
    pub event: EventId,
    /// What it says.
    pub payment: Payment,
}

impl PaymentMark {
    fn key(&self) -> (i16, i64, i16, &str) {
        (
            self.payment.age(),
            self.created,
            self.payment.rank(),
            self.event.as_str(),
        )
    }

    /// The mark that counts when both are known.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if other.key() > self.key() {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark() -> impl Strategy<Value = PaymentMark> {
        (0..4_i64, 0..4_usize, 0..5_u8).prop_map(|(created, payment, event)| PaymentMark {
            created,
            event: format!("evt_{event}{payment}").parse().unwrap(),
            payment: Payment::ALL[payment],
        })
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(a in mark(), b in mark(), c in mark()) {
            let left = a.clone().merge(b.clone()).merge(c.clone());
            prop_assert_eq!(&left, &c.clone().merge(b.clone()).merge(a.clone()));
            prop_assert_eq!(&left, &b.clone().merge(c.clone().merge(a.clone())));
            prop_assert_eq!(&left, &left.clone().merge(a).merge(b).merge(c));
        }

        #[test]
        fn canceled_absorbs(a in mark(), b in mark()) {
            let canceled = PaymentMark { payment: Payment::Canceled, ..a };
            prop_assert_eq!(canceled.merge(b).payment, Payment::Canceled);
        }
    }
}
