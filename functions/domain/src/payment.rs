//! How Stripe's events about one subscription become one payment state, in whatever order
//! they arrive. It must not know what the events look like.

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

words! {
    /// What one event says about the money.
    News {
        /// Nothing is paid yet.
        None => "none",
        /// The first payment failed.
        Failed => "failed",
        /// Something was paid, or nothing was due.
        Active => "active",
        /// The subscription stands, by payment or in trial; no payment itself.
        Standing => "standing",
        /// A payment is missing.
        PastDue => "past_due",
        /// Over for good.
        Canceled => "canceled",
        /// A charge was given back in full.
        Refunded => "refunded",
        /// A dispute is open.
        Disputed => "disputed",
        /// A dispute was won.
        DisputeWon => "dispute_won",
        /// A dispute was lost.
        DisputeLost => "dispute_lost",
    }
}

/// One event's news, with its place in the order of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentMark {
    /// Stripe's `created`, Unix seconds.
    pub created: i64,
    /// The event.
    pub event: EventId,
    /// What it says.
    pub news: News,
    /// The dispute it is about (`dp_…`).
    pub dispute: Option<String>,
}

/// What is paid when these events are known, in whatever order they came and however often.
/// The greatest standing counts: canceled absorbs, `none` never takes back what was paid, else
/// the latest wins. An open dispute suspends; so does a charge given back or a dispute lost, until
/// something is paid later: that a subscription stands is no payment. A one-off payment that was
/// given back, or failed, is over.
pub fn payment_of(one_off: bool, marks: &[PaymentMark]) -> Payment {
    let standing = marks.iter().filter_map(|mark| {
        let payment = match mark.news {
            News::Refunded | News::Failed if one_off => Payment::Canceled,
            News::None | News::Failed => Payment::None,
            News::Active | News::Standing => Payment::Active,
            News::PastDue => Payment::PastDue,
            News::Canceled => Payment::Canceled,
            News::Refunded | News::Disputed | News::DisputeWon | News::DisputeLost => return None,
        };
        let (created, event) = mark.place();
        Some(((payment.age(), created, payment.rank(), event), payment))
    });
    let payment = standing.max().map_or(Payment::None, |(_, payment)| payment);
    if payment == Payment::Active && marks.iter().any(|mark| suspends(mark, marks)) {
        Payment::PastDue
    } else {
        payment
    }
}

/// Whether a mark takes away, among all the others, what was paid.
fn suspends(mark: &PaymentMark, all: &[PaymentMark]) -> bool {
    let paid_later = || {
        all.iter()
            .any(|other| other.news == News::Active && other.created > mark.created)
    };
    let closing = |other: &&PaymentMark| {
        matches!(other.news, News::DisputeWon | News::DisputeLost) && other.dispute == mark.dispute
    };
    let end = || all.iter().filter(closing).max_by_key(|other| other.place());
    match mark.news {
        News::Refunded => !paid_later(),
        News::DisputeLost => end() == Some(mark) && !paid_later(),
        // One that is open after its latest end was taken up again.
        News::Disputed => end().is_none_or(|end| end.created < mark.created),
        News::None
        | News::Failed
        | News::Active
        | News::Standing
        | News::PastDue
        | News::Canceled
        | News::DisputeWon => false,
    }
}

impl PaymentMark {
    fn place(&self) -> (i64, &str) {
        (self.created, self.event.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use News::{
        Active, Canceled, DisputeLost, DisputeWon, Disputed, Failed, PastDue, Refunded, Standing,
    };
    use proptest::prelude::*;

    fn mark() -> impl Strategy<Value = PaymentMark> {
        (0..4_i64, 0..10_usize, 0..5_u8, 0..2_u8).prop_map(|(created, news, event, dispute)| {
            let news = News::ALL[news];
            let about_one = matches!(news, Disputed | DisputeWon | DisputeLost);
            PaymentMark {
                created,
                event: format!("evt_{event}{created}{news}{dispute}")
                    .parse()
                    .unwrap(),
                news,
                dispute: about_one.then(|| format!("dp_{dispute}")),
            }
        })
    }

    fn said(news: &[News]) -> Vec<PaymentMark> {
        let mark = |(place, news): (usize, &News)| PaymentMark {
            created: i64::try_from(place).unwrap(),
            event: format!("evt_{place}").parse().unwrap(),
            news: *news,
            dispute: Some("dp_1".to_owned()),
        };
        news.iter().enumerate().map(mark).collect()
    }

    /// News one second after the other; what is paid then for a subscription, and for a one-off.
    const AFTER: &[(&[News], Payment, Payment)] = &[
        (&[], Payment::None, Payment::None),
        (&[News::None, Active], Payment::Active, Payment::Active),
        (&[Active, News::None], Payment::Active, Payment::Active),
        (&[Active, PastDue], Payment::PastDue, Payment::PastDue),
        (&[Active, PastDue, Active], Payment::Active, Payment::Active),
        (&[Active, Refunded], Payment::PastDue, Payment::Canceled),
        (
            &[Active, Refunded, Active],
            Payment::Active,
            Payment::Canceled,
        ),
        (&[Active, Disputed], Payment::PastDue, Payment::PastDue),
        (
            &[Active, Disputed, Active],
            Payment::PastDue,
            Payment::PastDue,
        ),
        (
            &[Active, Disputed, DisputeWon],
            Payment::Active,
            Payment::Active,
        ),
        (
            &[Active, Disputed, DisputeLost],
            Payment::PastDue,
            Payment::PastDue,
        ),
        (
            &[Active, Disputed, DisputeLost, DisputeWon],
            Payment::Active,
            Payment::Active,
        ),
        (
            &[Active, Disputed, DisputeWon, Disputed],
            Payment::PastDue,
            Payment::PastDue,
        ),
        (
            &[Active, Disputed, DisputeLost, Active],
            Payment::Active,
            Payment::Active,
        ),
        (&[Disputed, News::None], Payment::None, Payment::None),
        (&[DisputeLost, DisputeWon], Payment::None, Payment::None),
        (
            &[Active, Refunded, Standing],
            Payment::PastDue,
            Payment::Canceled,
        ),
        (
            &[Active, Disputed, DisputeLost, Standing],
            Payment::PastDue,
            Payment::PastDue,
        ),
        (
            &[Active, PastDue, Standing],
            Payment::Active,
            Payment::Active,
        ),
        (&[News::None, Failed], Payment::None, Payment::Canceled),
        (&[Failed, Active], Payment::Active, Payment::Canceled),
        (
            &[PastDue, DisputeLost, DisputeWon],
            Payment::PastDue,
            Payment::PastDue,
        ),
        (&[Canceled, Active], Payment::Canceled, Payment::Canceled),
    ];

    #[test]
    fn what_is_paid_follows_the_latest_news() {
        for (news, subscription, one_off) in AFTER {
            assert_eq!(payment_of(false, &said(news)), *subscription, "{news:?}");
            assert_eq!(payment_of(true, &said(news)), *one_off, "one-off {news:?}");
        }
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            marks in prop::collection::vec(mark(), 0..7), one_off: bool, turn in 0..7_usize,
        ) {
            let mut other = marks.clone();
            other.reverse();
            other.extend(marks.iter().take(turn).cloned());
            prop_assert_eq!(payment_of(one_off, &marks), payment_of(one_off, &other));
        }

        #[test]
        fn one_more_event_never_makes_a_payment_younger(
            marks in prop::collection::vec(mark(), 0..6), one in mark(), one_off: bool,
        ) {
            let before = payment_of(one_off, &marks);
            let all: Vec<_> = marks.into_iter().chain([one]).collect();
            prop_assert!(payment_of(one_off, &all).age() >= before.age());
        }

        #[test]
        fn canceled_absorbs(
            marks in prop::collection::vec(mark(), 0..6), end in mark(), one_off: bool,
        ) {
            let canceled = PaymentMark { news: Canceled, ..end };
            let all: Vec<_> = marks.into_iter().chain([canceled]).collect();
            prop_assert_eq!(payment_of(one_off, &all), Payment::Canceled);
        }
    }
}
