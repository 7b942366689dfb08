//! What a customer is told about the money where it decides how the agent is.
//! It must not know Stripe, or what else there is to say about an agent.

use super::words::{Headline, Tone, say};
use domain::{AgentState, Existing, News, Wish};
use store::AgentStatus;

/// Why an agent rests although its owner wants it to run.
#[derive(Debug, Clone, Copy)]
struct Missing {
    /// Completes "Paused: ".
    what: &'static str,
    /// When it goes on.
    until: &'static str,
    /// What can be done.
    advice: &'static str,
}

const UNPAID: Missing = Missing {
    what: "a payment is missing",
    until: "once the payment arrives",
    advice: "Please check your payment method.",
};
const DISPUTED: Missing = Missing {
    what: "the payment is disputed",
    until: "once the dispute is settled in the seller's favour",
    advice: "If the dispute is a mistake, whoever paid can ask the bank to withdraw it.",
};
const REFUNDED: Missing = Missing {
    what: "the payment was refunded",
    until: "with the next payment",
    advice: "Ask whoever sold you the agent how to pay again.",
};
const TAKEN_BACK: Missing = Missing {
    what: "the payment was refunded by the bank after a dispute",
    ..REFUNDED
};

const fn missing(status: &AgentStatus) -> Missing {
    match status.payment_news {
        Some(News::Disputed) => DISPUTED,
        Some(News::Refunded) => REFUNDED,
        Some(News::DisputeLost) => TAKEN_BACK,
        Some(
            News::None
            | News::Failed
            | News::Active
            | News::Standing
            | News::PastDue
            | News::Canceled
            | News::DisputeWon,
        )
        | None => UNPAID,
    }
}

/// Nothing was paid yet.
pub(super) fn draft(status: &AgentStatus) -> Headline {
    match (status.payment_news, &status.reason) {
        (Some(News::Failed), _) => say(
            Tone::Trouble,
            "Your payment did not go through",
            "So your agent is not set up yet. Please go through the checkout again, or ask whoever \
             sold you the agent.",
        ),
        (Some(News::None), _) => say(
            Tone::Waiting,
            "Your payment is on its way",
            "You have nothing to do, and need not pay again. Some ways of paying, like a bank \
             debit, take a few days; as soon as the payment arrives we set up your agent, and you \
             can watch every step here.",
        ),
        (None, Some(_)) => say(
            Tone::Trouble,
            "Your checkout has expired",
            "Nothing was paid, so your agent is not set up yet. To start again, open the order \
             page that you came from once more, or ask whoever sold you the agent for a new \
             checkout.",
        ),
        (Some(_) | None, _) => say(
            Tone::Waiting,
            "Waiting for your payment",
            "As soon as it is confirmed we set up your agent, and you can watch every step here.",
        ),
    }
}

/// On the way to rest because of the money.
pub(super) fn stopping(status: &AgentStatus) -> Headline {
    let what = upper(missing(status).what);
    let text = format!("{what}. Your agent's data is kept.");
    say(Tone::Working, "Pausing your agent", text)
}

/// At rest because of the money.
pub(super) fn suspended(status: &AgentStatus) -> Headline {
    let Missing {
        what,
        until,
        advice,
    } = missing(status);
    let is_made = match status.facts.existing {
        Existing::Unconfigured | Existing::Running | Existing::Stopped | Existing::Unsettled => {
            true
        }
        Existing::Nothing | Existing::Making | Existing::Doubt => false,
    };
    let (how, starts) = if is_made {
        ("Your agent rests and its data is kept.", "It starts again")
    } else {
        ("Your agent is not set up yet.", "That begins")
    };
    let then = match status.wish {
        Wish::Run => format!("{starts} by itself {until}."),
        Wish::Stop | Wish::Delete => {
            "It stays stopped when that is settled, until you start it.".to_owned()
        }
    };
    let text = format!("{how} {then} {advice}");
    say(Tone::Waiting, format!("Paused: {what}"), text)
}

/// It is over. What was never begun was not removed either.
pub(super) fn deleted(status: &AgentStatus) -> Headline {
    let begun = AgentState::Provisioning.as_str();
    let mut passed = status.passed.iter();
    let is_built = passed.any(|entry| !entry.is_step && entry.what == begun);
    let (line, text) = match (status.payment_news, is_built) {
        (Some(News::Failed), false) => (
            "Your payment did not go through",
            "Nothing was paid, so no agent was set up. To have an agent, order again.",
        ),
        (Some(News::Refunded), true) => (
            "Your payment was refunded, and your agent was removed",
            "Nothing of it is left. To have an agent again, order a new one.",
        ),
        (Some(News::Refunded), false) => (
            "Your payment was refunded",
            "No agent was set up. To have an agent, order again.",
        ),
        (_, true) => (
            "Your agent was removed",
            "Nothing of it is left. To have an agent again, order a new one.",
        ),
        (_, false) => (
            "Your order has ended",
            "No agent was set up. To have an agent, order again.",
        ),
    };
    say(Tone::Gone, line, text)
}

/// Why a command that costs money is refused.
pub(super) fn unpaid(status: &AgentStatus) -> String {
    let Missing { what, until, .. } = missing(status);
    let what = upper(what);
    match status.wish {
        Wish::Run => format!("{what}. It goes on by itself {until}."),
        Wish::Stop | Wish::Delete => format!("{what}. It can be started {until}."),
    }
}

fn upper(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}
