//! The outside's view of a stack: pays as Stripe tells it, and asks how an agent is. Uses the
//! public paths only, so it works against any Slipway whose secrets it has.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sim::stripe::events::checkout_session_completed;
use sim::stripe::{CheckoutSession, EventHead, Signer};
use tokio::time::sleep;
use uuid::Uuid;

use crate::agent_view::AgentView;
use crate::clock::Clock;
use crate::entropy;

const CALL_LIMIT: Duration = Duration::from_mins(1);
/// How often a delivery is tried, as Stripe would, only faster.
const DELIVERIES_MAX: u32 = 6;
const DELIVERY_PAUSE: Duration = Duration::from_millis(500);
const MESSAGE_CHARS_MAX: usize = 200;

/// Sends payments and asks for agents.
#[derive(Clone)]
pub struct Customer {
    url: String,
    signer: Signer,
    api_token: SecretString,
    http: reqwest::Client,
    clock: Clock,
}

/// One payment to be sent: a new subscription for a new agent.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The agent it is for.
    pub agent_id: Uuid,
    /// `evt_…`
    pub event_id: String,
    /// When it was made, unix milliseconds.
    pub made_unix_ms: u64,
    /// The event, as Stripe would send it.
    pub body: String,
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Customer")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Customer {
    /// `url` is the front's, without a slash at its end.
    pub fn new(url: &str, webhook_secret: &str, api_token: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(CALL_LIMIT)
            .no_proxy()
            .build()?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            signer: Signer::new(webhook_secret),
            api_token: SecretString::from(api_token),
            http,
            clock: Clock::system(),
        })
    }

    /// A paid checkout session of a new subscription, for a new agent.
    pub fn payment(&self, region: &str) -> Payment {
        let (agent_id, made_unix_ms) = (entropy::uuid(), self.clock.unix_ms());
        let (name, created) = (agent_id.simple(), self.clock.unix_seconds());
        let head = EventHead::new(&format!("evt_{name}"), created);
        let session_id = format!("cs_test_{name}");
        let mut session =
            CheckoutSession::subscription(&session_id, &format!("sub_{name}"), created);
        session.client_reference_id = Some(agent_id.to_string());
        session
            .metadata
            .insert("agent_id".to_owned(), agent_id.to_string());
        session
            .metadata
            .insert("region".to_owned(), region.to_owned());
        let body = checkout_session_completed(&head, &session).to_string();
        Payment {
            agent_id,
            event_id: head.id,
            made_unix_ms,
            body,
        }
    }

    /// Delivers an event, signed now; again on an answer of 5xx, as Stripe does.
    pub async fn pay(&self, payment: &Payment) -> Result<()> {
        let mut reason = String::new();
        for delivery in 1..=DELIVERIES_MAX {
            match self.deliver(&payment.body).await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if answer.status().is_client_error() => {
                    bail!("the webhook refused the payment: {}", told(answer).await)
                }
                Ok(answer) => reason = told(answer).await,
                Err(error) => reason = format!("{:#}", anyhow::Error::from(error.without_url())),
            }
            sleep(DELIVERY_PAUSE * delivery).await;
        }
        bail!("the webhook did not take the payment: {reason}")
    }

    /// One delivery of a body, signed now.
    pub async fn deliver(&self, body: &str) -> reqwest::Result<Response> {
        let signature = self.signer.sign(body.as_bytes(), self.clock.unix_seconds());
        let request = self.http.post(format!("{}/webhooks/stripe", self.url));
        let request = request.header("stripe-signature", signature);
        let json = "application/json; charset=utf-8";
        request
            .header("content-type", json)
            .body(body.to_owned())
            .send()
            .await
    }

    /// How an agent is; none when it is not known (yet).
    pub async fn agent(&self, agent_id: Uuid) -> Result<Option<AgentView>> {
        let request = self.http.get(format!("{}/agents/{agent_id}", self.url));
        let request = request.bearer_auth(self.api_token.expose_secret());
        let answer = request
            .send()
            .await
            .context("the agents API cannot be reached")?;
        match answer.status() {
            StatusCode::OK => {
                let body: Value = answer.json().await.context("the agents API sent no JSON")?;
                AgentView::read(body).map(Some)
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => bail!("the agents API failed: {}", told(answer).await),
        }
    }
}

/// Status and beginning of an answer, for an error.
async fn told(answer: Response) -> String {
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    let body: String = body.chars().take(MESSAGE_CHARS_MAX).collect();
    format!("{status} {}", body.replace('\n', " "))
}
