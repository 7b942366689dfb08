//! Which agent a checkout is for, and what its owner wants it to be.
//! It must not know whether anything was paid.

use super::{
    Malformed,
    fields::{id, plain, seconds, text},
    malformed,
};
use domain::{AgentId, SubscriptionId};
use serde_json::Value;

/// Region of an agent whose payment names none, or none that could be one.
pub const DEFAULT_REGION: &str = "us-east";

/// `client_reference_id` has at most 200 characters, a metadata value at most 500.
const REFERENCE_CHARS_MAX: usize = 500;

const NAME_CHARS_MAX: usize = 200;
const REGION_CHARS_MAX: usize = 32;

/// The checkout an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// `cs_…`.
    pub session: SubscriptionId,
    /// Unix seconds at which the session was made, when it says.
    pub made_at: Option<i64>,
    /// It was completed: its agent and its subscription belong together from now on.
    pub binds: bool,
    /// The agent it is for, when the checkout named one. Whoever opens a payment link may set
    /// it, so it is looked up, never trusted.
    pub agent: Option<AgentId>,
    /// A reference that is no agent id, kept as it came.
    pub reference: Option<String>,
    /// Where the customer wants the machine.
    pub region: String,
    /// The agent's name for people.
    pub name: String,
}

impl Checkout {
    /// Reads a session.
    pub(super) fn read(session: &Value, binds: bool) -> Result<Self, Malformed> {
        let key: SubscriptionId =
            id(session, "id").ok_or_else(|| malformed("the checkout session has no id"))?;
        let metadata = |key| session.get("metadata").and_then(|all| text(all, key));
        let given = [text(session, "client_reference_id"), metadata("agent_id")];
        let given = || given.iter().flatten().map(|text| text.trim());
        let reference = given()
            .find(|text| agent_id(text).is_none())
            .and_then(|text| plain(text, REFERENCE_CHARS_MAX));
        let name = metadata("agent_name").and_then(|name| plain(name, NAME_CHARS_MAX));
        let region = metadata("region").and_then(region);
        let region = region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
        Ok(Self {
            made_at: seconds(session, "created"),
            binds,
            agent: given().find_map(agent_id),
            name: name
                .or_else(|| plain(reference.as_ref()?, NAME_CHARS_MAX))
                .unwrap_or_else(|| nameless(&region)),
            reference,
            region,
            session: key,
        })
    }
}

/// Only the hyphenated form is an agent id; any other text is somebody's own reference.
fn agent_id(text: &str) -> Option<AgentId> {
    text.parse().ok().filter(|AgentId(id)| !id.is_nil())
}

fn region(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (plain && !text.is_empty() && text.len() <= REGION_CHARS_MAX).then_some(text)
}

/// A name made of nothing that is an id: the customer has no use for one, and a session's opens
/// the customer's page.
fn nameless(region: &str) -> String {
    let place = match region {
        "us-east" => "US East",
        "us-west" => "US West",
        "eu-central" | "eu-west" => "Germany",
        "eu-north" => "Finland",
        "ap-southeast" => "Singapore",
        _ => return "Your agent".to_owned(),
    };
    format!("Agent in {place}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    const AGENT: &str = "0192f3a4-7b1c-7def-8a90-123456789abc";

    fn checkout(object: &Value) -> Checkout {
        Checkout::read(object, true).unwrap()
    }

    #[test]
    fn a_reference_is_an_agent_id_or_kept_as_it_is() {
        let simple = uuid::fmt::Simple::from_uuid(Uuid::max()).to_string();
        let nil = Uuid::nil().to_string();
        for (client, metadata, agent, kept) in [
            (json!(AGENT), json!({}), true, None),
            (json!(AGENT.to_uppercase()), json!({}), true, None),
            (Value::Null, json!({"agent_id": AGENT}), true, None),
            (
                json!("order 7"),
                json!({"agent_id": AGENT}),
                true,
                Some("order 7"),
            ),
            (json!("order 7"), Value::Null, false, Some("order 7")),
            (json!("a\u{0}b"), Value::Null, false, Some("ab")),
            (json!(simple), json!({}), false, Some(simple.as_str())),
            (json!(nil), json!({}), false, Some(nil.as_str())),
            (json!("  "), json!({"agent_id": 7}), false, None),
        ] {
            let object = json!({"id": "cs_1", "payment_status": "paid",
                "client_reference_id": client, "metadata": metadata});
            let checkout = checkout(&object);
            assert_eq!(checkout.agent.is_some(), agent, "{object}");
            assert_eq!(checkout.reference.as_deref(), kept, "{object}");
        }
    }

    #[test]
    fn a_name_is_given_or_made_of_what_is_known() {
        let long = "x".repeat(300);
        for (client, metadata, name) in [
            (
                json!(AGENT),
                json!({"agent_name": " Ada's\n agent "}),
                "Ada's agent",
            ),
            (json!("order 7"), json!({"agent_name": ""}), "order 7"),
            (json!(long), Value::Null, &"x".repeat(200)),
            (Value::Null, Value::Null, "Agent in US East"),
            (
                Value::Null,
                json!({"region": "eu-west"}),
                "Agent in Germany",
            ),
            (Value::Null, json!({"region": "mars-1"}), "Your agent"),
            (json!(AGENT), json!({"agent_name": " "}), "Agent in US East"),
            (Value::Null, json!({"agent_name": long}), &"x".repeat(200)),
        ] {
            let object = json!({"id": "cs_1", "payment_status": "paid", "subscription": "sub_1",
                "client_reference_id": client, "metadata": metadata});
            assert_eq!(checkout(&object).name, name, "{object}");
        }
    }

    #[test]
    fn a_region_is_short_and_plain_or_the_default() {
        for (given, region) in [
            (json!("ap-southeast"), "ap-southeast"),
            (json!(" EU-West "), "eu-west"),
            (json!("mars-1"), "mars-1"),
            (json!("$(reboot)"), DEFAULT_REGION),
            (json!("x".repeat(33)), DEFAULT_REGION),
            (json!(""), DEFAULT_REGION),
            (json!(1), DEFAULT_REGION),
        ] {
            let object =
                json!({"id": "cs_1", "payment_status": "paid", "metadata": {"region": given}});
            assert_eq!(checkout(&object).region, region, "{object}");
        }
    }
}
