//! The outside's view of a stack: pays and cancels as Stripe tells it, commands, and asks how an
//! agent is. Uses the public paths only, so it works against any Slipway whose secrets it has.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sim::stripe::Signer;
use tokio::time::sleep;
use uuid::Uuid;

use crate::agent_view::{AgentView, read_list};
use crate::clock::Clock;
use crate::entropy;
use crate::purchase::{News, Payment, Teller, session_id};

const CALL_LIMIT: Duration = Duration::from_mins(1);
/// How often a delivery is tried, as Stripe would, only faster.
const DELIVERIES_MAX: u32 = 6;
const DELIVERY_PAUSE: Duration = Duration::from_millis(500);
const MESSAGE_CHARS_MAX: usize = 200;

/// Sends payments and asks for agents. Clones share one order of events.
#[derive(Clone)]
pub struct Customer {
    url: String,
    signer: Signer,
    api_token: SecretString,
    http: reqwest::Client,
    clock: Clock,
    teller: Arc<Teller>,
}

/// What an owner orders through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Try again what was given up.
    Retry,
    /// Stop the agent.
    Stop,
    /// Start it again.
    Start,
    /// Remove it.
    Delete,
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
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        let clock = Clock::system();
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            signer: Signer::new(webhook_secret),
            api_token: SecretString::from(api_token),
            http,
            clock,
            teller: Arc::new(Teller::new(clock)),
        })
    }

    /// A paid checkout session of a new subscription, for a new agent.
    pub fn payment(&self, region: &str) -> Payment {
        self.teller.payment(region, None)
    }

    /// The same, for an agent of this name.
    pub fn payment_for(&self, name: &str, region: &str) -> Payment {
        self.teller.payment(region, Some(name))
    }

    /// Delivers a payment, again on an answer of 5xx, as Stripe does.
    pub async fn pay(&self, payment: &Payment) -> Result<()> {
        self.deliver_again(&payment.body).await
    }

    /// The events by which Stripe tells it, in order.
    pub fn events(&self, agent_id: Uuid, news: News) -> Vec<String> {
        self.teller.tell(agent_id, news)
    }

    /// Tells it, each event again on an answer of 5xx.
    pub async fn tell(&self, agent_id: Uuid, news: News) -> Result<()> {
        for event in self.events(agent_id, news) {
            self.deliver_again(&event).await?;
        }
        Ok(())
    }

    async fn deliver_again(&self, body: &str) -> Result<()> {
        let mut reason = String::new();
        for delivery in 1..=DELIVERIES_MAX {
            match self.deliver(body).await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if answer.status().is_client_error() => {
                    bail!("the webhook refused the event: {}", told(answer).await)
                }
                Ok(answer) => reason = told(answer).await,
                Err(error) => reason = format!("{:#}", anyhow::Error::from(error.without_url())),
            }
            sleep(DELIVERY_PAUSE * delivery).await;
        }
        bail!("the webhook did not take the event: {reason}")
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
        let answer = self.api(Method::GET, &format!("/{agent_id}")).send().await;
        let answer = answer.context("the agents API cannot be reached")?;
        match answer.status() {
            StatusCode::OK => {
                let body: Value = answer.json().await.context("the agents API sent no JSON")?;
                AgentView::read(body).map(Some)
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => bail!("the agents API failed: {}", told(answer).await),
        }
    }

    /// States of the agents that were made last, in the words of the API, by as few calls as
    /// there are: pages are read until all of these are seen.
    pub async fn states(&self, agents: &HashSet<Uuid>) -> Result<HashMap<Uuid, String>> {
        let mut states = HashMap::new();
        let mut page = String::new();
        loop {
            let answer = self.api(Method::GET, &format!("?limit=100{page}")).send();
            let answer = answer.await.context("the agents API cannot be reached")?;
            if !answer.status().is_success() {
                bail!("the agents API failed: {}", told(answer).await);
            }
            let body: Value = answer.json().await.context("the agents API sent no JSON")?;
            let (seen, next) = read_list(body)?;
            states.extend(seen);
            match next {
                Some(next) if agents.iter().any(|agent| !states.contains_key(agent)) => {
                    page = format!("&after={next}");
                }
                Some(_) | None => return Ok(states),
            }
        }
    }

    /// Orders something through the API; answers whether it was taken. Refused (409) is no
    /// error: what was asked may not fit the agent's state any more.
    pub async fn order(&self, agent_id: Uuid, order: Order) -> Result<bool> {
        self.order_as(agent_id, order, entropy::uuid()).await
    }

    /// The same under an idempotency key: under the same one, a repeat is no further order.
    pub async fn order_as(&self, agent_id: Uuid, order: Order, key: Uuid) -> Result<bool> {
        let (method, tail) = match order {
            Order::Retry => (Method::POST, "/provision"),
            Order::Stop => (Method::POST, "/stop"),
            Order::Start => (Method::POST, "/start"),
            Order::Delete => (Method::DELETE, ""),
        };
        let request = self.api(method, &format!("/{agent_id}{tail}"));
        let request = request.header("idempotency-key", key.to_string());
        let answer = request.send().await;
        let answer = answer.context("the agents API cannot be reached")?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            StatusCode::CONFLICT => Ok(false),
            _ => bail!("the agents API failed: {}", told(answer).await),
        }
    }

    /// Where the buyer comes to after the checkout: the agent's status page, or none as long as
    /// the payment's event was not heard.
    pub async fn status_page(&self, agent_id: Uuid) -> Result<Option<String>> {
        let session = session_id(agent_id);
        let welcome = format!("{}/welcome?session_id={session}", self.url);
        let answer = self.http.get(welcome).send().await;
        let answer = answer.context("the welcome page cannot be reached")?;
        let status = answer.status();
        if status.is_redirection() {
            let location = answer.headers().get(LOCATION);
            let path = location.and_then(|location| location.to_str().ok());
            let path = path.context("the welcome page leads nowhere")?;
            return Ok(Some(format!("{}{path}", self.url)));
        }
        if status == StatusCode::OK {
            return Ok(None);
        }
        bail!("the welcome page failed: {}", told(answer).await)
    }

    /// The operator's page, as text.
    pub async fn operator_page(&self) -> Result<String> {
        let request = self.http.get(format!("{}/", self.url));
        let request = request.basic_auth("operator", Some(self.api_token.expose_secret()));
        let answer = request.send().await;
        let answer = answer.context("the operator page cannot be reached")?;
        if !answer.status().is_success() {
            bail!("the operator page failed: {}", told(answer).await);
        }
        Ok(answer.text().await?)
    }

    fn api(&self, method: Method, tail: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/agents{tail}", self.url));
        request.bearer_auth(self.api_token.expose_secret())
    }
}

/// Status and beginning of an answer, for an error.
async fn told(answer: Response) -> String {
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    let body: String = body.chars().take(MESSAGE_CHARS_MAX).collect();
    format!("{status} {}", body.replace('\n', " "))
}
