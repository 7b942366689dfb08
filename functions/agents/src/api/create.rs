//! Makes a draft: an agent that waits for a checkout to pay for it.
//! It must not know what a payment does to it.

use super::{
    body::{invalid, read_object, text},
    failed,
    operator::{Key, Operator, key_reused},
};
use crate::view::AgentView;
use axum::{
    Json,
    body::Body,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use domain::{AgentId, JobId};
use host::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{CreateOutcome, DraftAgent};
use url::Url;

/// Region of a draft that names none.
const REGION_DEFAULT: &str = "us-east";
const REGION_CHARS_MAX: usize = 32;
const NAME_CHARS_MAX: usize = 200;
const REFERENCE_CHARS_MAX: usize = 500;
const LINK_CHARS_MAX: usize = 2048;

/// The parameter of a payment link that comes back in its checkout (Stripe: Payment Links, URL
/// parameters).
const LINK_PARAMETER: &str = "client_reference_id";

/// A body as it came.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: Option<Value>,
    region: Option<Value>,
    reference: Option<Value>,
    payment_link: Option<Value>,
}

/// What is asked for. Its JSON is the same for every body that asks for the same.
#[derive(Debug, Serialize)]
struct Order {
    name: String,
    region: String,
    reference: Option<String>,
    payment_link: Option<Url>,
}

/// The draft, and what a checkout has to carry to pay for it.
#[derive(Debug, Serialize)]
pub(super) struct Made {
    #[serde(flatten)]
    agent: AgentView,
    checkout: Checkout,
}

#[derive(Debug, Serialize)]
struct Checkout {
    client_reference_id: AgentId,
    metadata: Metadata,
    /// The payment link for this agent, when one was given.
    url: Option<Url>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    agent_id: AgentId,
    agent_name: String,
    region: String,
}

/// `POST /agents`.
pub(super) async fn create(
    Operator(deps): Operator,
    key: Key,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Made>), ApiError> {
    let order = Order::read(read_object(&headers, body).await?)?;
    let now = deps.clock.now();
    let canonical = serde_json::to_string(&order)
        .map_err(|error| ApiError::internal(format!("the request cannot be kept: {error}")))?;
    let key = key.of("create", &canonical);
    let draft = DraftAgent {
        agent_id: AgentId(deps.entropy.uuid_v7(now)),
        name: order.name.clone(),
        region: order.region.clone(),
        reference: order.reference.clone(),
    };
    let job_id = JobId(deps.entropy.uuid_v7(now));
    let outcome = deps
        .store
        .create_agent(&draft, key.as_ref(), job_id, now)
        .await;
    let outcome = outcome.map_err(|error| failed("the agent could not be made", &error))?;
    let agent_id = match outcome {
        CreateOutcome::Created(agent_id) => {
            tracing::info!(%agent_id, "draft made");
            agent_id
        }
        CreateOutcome::KeyReused => return Err(key_reused()),
        CreateOutcome::Taken => {
            return Err(ApiError::internal("the new agent's id was taken"));
        }
    };
    let agent = AgentView::of(&deps.look(agent_id, now).await?, now);
    let location = (header::LOCATION, format!("/agents/{agent_id}"));
    let checkout = order.checkout(agent_id);
    Ok((
        StatusCode::CREATED,
        [location],
        Json(Made { agent, checkout }),
    ))
}

impl Order {
    fn read(wire: Wire) -> Result<Self, ApiError> {
        let name = text("name", wire.name, NAME_CHARS_MAX)?;
        let region = text("region", wire.region, REGION_CHARS_MAX)?;
        let reference = text("reference", wire.reference, REFERENCE_CHARS_MAX)?;
        let link = text("payment_link", wire.payment_link, LINK_CHARS_MAX)?;
        let name = name.ok_or_else(|| invalid("name", "is missing"))?;
        Ok(Self {
            name: name.trim().to_owned(),
            region: region.map_or_else(|| Ok(REGION_DEFAULT.to_owned()), plain_region)?,
            reference: reference.map(|text| text.trim().to_owned()),
            payment_link: link.as_deref().map(payment_link).transpose()?,
        })
    }

    fn checkout(self, agent_id: AgentId) -> Checkout {
        let url = self.payment_link.map(|link| of_agent(link, agent_id));
        Checkout {
            client_reference_id: agent_id,
            metadata: Metadata {
                agent_id,
                agent_name: self.name,
                region: self.region,
            },
            url,
        }
    }
}

fn plain_region(text: String) -> Result<String, ApiError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.bytes().all(plain) {
        return Ok(text);
    }
    Err(invalid(
        "region",
        "lower-case letters, digits and hyphens are needed",
    ))
}

fn payment_link(text: &str) -> Result<Url, ApiError> {
    let field = "payment_link";
    if !text.starts_with("https://") || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(field, "an https URL is needed"));
    }
    Url::parse(text).map_err(|error| invalid(field, &format!("is no URL: {error}")))
}

/// The payment link for one agent, whomever it was for before.
fn of_agent(mut link: Url, agent_id: AgentId) -> Url {
    let pairs = link.query_pairs().into_owned();
    let (ours, others): (Vec<_>, Vec<_>) = pairs.partition(|(name, _)| name == LINK_PARAMETER);
    if !ours.is_empty() {
        link.query_pairs_mut().clear().extend_pairs(others);
    }
    link.query_pairs_mut()
        .append_pair(LINK_PARAMETER, &agent_id.to_string());
    link
}
