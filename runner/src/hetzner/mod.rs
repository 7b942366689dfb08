//! Hetzner Cloud: typed calls for exactly what the runner does.
//! It must not know agents or attempts; of the lease only that waiting ends with it.

mod budget;
mod error;
mod look;
mod wire;

pub(crate) use budget::Pace;
pub(crate) use error::{Error, Kind};

use crate::lease::Lease;
use budget::Budget;
use outbound::{Answer, Client, Request};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Hetzner: pages hold up to 50 rows.
const PAGE_ROWS: usize = 50;
/// Answers that refuse a call for now: how long to wait is the budget's matter.
const PACED: &[u16] = &[429, 503];
/// So often a read is refused for now before the attempt fails.
const REFUSALS_MAX: u32 = 8;
/// No project of ours has more pages.
const PAGES_MAX: u32 = 40;

/// A server as far as we care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// Hetzner's word; the list is open.
    pub(crate) status: String,
    pub(crate) created: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) ipv4: Option<String>,
    pub(crate) ipv6: Option<String>,
    /// Ids of its primary IPs.
    pub(crate) addresses: Vec<u64>,
}

/// Something Hetzner is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) id: u64,
    pub(crate) command: String,
    pub(crate) state: ActionState,
    /// Percent; may jump or stay at 0.
    pub(crate) progress: u64,
    /// Unix seconds.
    pub(crate) started: Option<i64>,
}

/// How far an action is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ActionState {
    Running,
    Success,
    Failed(String),
}

/// What can be bought.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServerType {
    pub(crate) name: String,
    pub(crate) cores: u32,
    pub(crate) memory_gb: f64,
    /// `x86` or `arm`; the list is open.
    pub(crate) architecture: String,
    pub(crate) shared_x86: bool,
    pub(crate) locations: Vec<Location>,
}

/// One location of a server type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Location {
    pub(crate) name: String,
    pub(crate) available: bool,
    /// RFC 3339, when it will not be sold any more.
    pub(crate) leaves: Option<String>,
    /// Net, in the account's currency; infinite when unknown.
    pub(crate) price_monthly: f64,
}

/// A firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Firewall {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// `port/protocol` of each inbound rule, whatever its sources.
    pub(crate) lets_in: Vec<String>,
}

impl Firewall {
    /// What it lets in beside this UDP port.
    pub(crate) fn opens_beside(&self, udp_port: u16) -> Vec<&str> {
        let wanted = format!("{udp_port}/udp");
        let others = self.lets_in.iter().filter(|one| **one != wanted);
        others.map(String::as_str).collect()
    }
}

/// A server to be made. An SSH key is always given, so no root password comes to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewServer<'a> {
    pub(crate) name: &'a str,
    pub(crate) server_type: &'a str,
    pub(crate) location: &'a str,
    pub(crate) image: &'a str,
    pub(crate) ssh_key: u64,
    pub(crate) firewall: u64,
    pub(crate) user_data: &'a str,
    pub(crate) labels: &'a BTreeMap<&'static str, String>,
}

/// What a create brought: the server and every action to wait for.
#[derive(Debug, Clone)]
pub(crate) struct Created {
    pub(crate) server: Server,
    pub(crate) actions: Vec<u64>,
}

/// The client for one project.
#[derive(Debug, Clone)]
pub(crate) struct Hetzner {
    client: Client,
    url: String,
    token: SecretString,
    budget: Budget,
}

impl Hetzner {
    pub(crate) fn new(client: Client, url: &str, token: &SecretString) -> Self {
        let budget = Budget::new(client.dice().clone());
        Self {
            client,
            url: url.to_owned(),
            token: token.clone(),
            budget,
        }
    }

    /// Ends waits for the budget when the lease says that work must stop.
    #[must_use]
    pub(crate) fn while_held(mut self, lease: Lease) -> Self {
        self.budget = self.budget.while_held(lease);
        self
    }

    /// From now on calls are made at this pace.
    pub(crate) fn set_pace(&self, pace: Pace) {
        self.budget.set_pace(pace);
    }

    /// Every server that `selector` chooses.
    pub(crate) async fn servers(&self, selector: &str) -> Result<Vec<Server>, Error> {
        let first = self.get("/servers").query("label_selector", selector);
        let pages = self.pages::<wire::Servers>(&first, PAGES_MAX).await?;
        Ok(servers(pages.rows))
    }

    /// The newest servers that `selector` chooses, but no more pages than `rows_max` rows need;
    /// and when the first page came.
    pub(crate) async fn newest_servers(
        &self,
        selector: &str,
        rows_max: usize,
    ) -> Result<(Instant, Vec<Server>), Error> {
        let pages = rows_max.div_ceil(PAGE_ROWS);
        let pages = u32::try_from(pages).map_or(PAGES_MAX, |pages| pages.min(PAGES_MAX));
        let first = self.get("/servers").query("label_selector", selector);
        let first = first.query("sort", "created:desc");
        let pages = self.pages::<wire::Servers>(&first, pages).await?;
        Ok((pages.first_at, servers(pages.rows)))
    }

    /// The server of this name, if any.
    pub(crate) async fn server_named(&self, name: &str) -> Result<Option<Server>, Error> {
        let page: wire::Servers = self
            .read_patiently(self.get("/servers").query("name", name))
            .await?;
        Ok(page
            .servers
            .into_iter()
            .map(Server::from)
            .find(|server| server.name == name))
    }

    /// The server of this id, if it exists.
    pub(crate) async fn server(&self, id: u64) -> Result<Option<Server>, Error> {
        let read = self.read_patiently(self.get(&format!("/servers/{id}")));
        existing(read.await).map(of_one)
    }

    /// The same as a look that comes again anyway, after [`Self::until_poll`]: it waits for
    /// nothing.
    pub(crate) async fn look_at(&self, id: u64) -> Result<Option<Server>, Error> {
        let read = self.read(self.get(&format!("/servers/{id}")));
        existing(read.await).map(of_one)
    }

    /// Makes a server. Not idempotent: [`Error::may_be_done`] says whether it may exist.
    pub(crate) async fn create_server(&self, new: &NewServer<'_>) -> Result<Created, Error> {
        let request = self.post("/servers").json(&wire::CreateBody::from(new));
        let body: wire::Created = self.read(request).await?;
        let actions = std::iter::once(body.action).chain(body.next_actions);
        Ok(Created {
            server: body.server.into(),
            actions: actions.map(|action| Action::from(action).id).collect(),
        })
    }

    /// Begins to delete a server. `None`: it does not exist. It goes before everything else, so
    /// want of room is waited out by drawn pauses here; whoever asks paces other refusals.
    pub(crate) async fn delete_server(
        &self,
        id: u64,
        deadline: Duration,
    ) -> Result<Option<Action>, Error> {
        let request = Request::delete(&format!("{}/servers/{id}", self.url))
            .bearer(&self.token)
            .deadline(deadline)
            .keep(&[503]);
        let Some(body) = existing(self.read::<wire::OneAction>(request).await)? else {
            return Ok(None);
        };
        // Without an action nothing is known: asking again tells.
        let action = body.action.ok_or_else(|| Error::nameless("a delete"))?;
        Ok(Some(action.into()))
    }

    /// The primary IPs that `selector` chooses.
    pub(crate) async fn addresses(&self, selector: &str) -> Result<Vec<u64>, Error> {
        let first = self.get("/primary_ips").query("label_selector", selector);
        let pages = self.pages::<wire::PrimaryIps>(&first, PAGES_MAX).await?;
        let rows = pages.rows.into_iter().flat_map(|page| page.primary_ips);
        Ok(rows.map(|row| row.id).collect())
    }

    /// Whether this primary IP exists.
    pub(crate) async fn has_address(&self, id: u64) -> Result<bool, Error> {
        let request = self.get(&format!("/primary_ips/{id}"));
        let found = self.read_patiently::<wire::OnePrimaryIp>(request).await;
        Ok(existing(found)?.is_some_and(|body| body.primary_ip.id == id))
    }

    /// Has a primary IP go when its server goes; one that does not exist is as good.
    pub(crate) async fn bind_address(&self, id: u64, deadline: Duration) -> Result<(), Error> {
        let request = Request::put(&format!("{}/primary_ips/{id}", self.url))
            .bearer(&self.token)
            .deadline(deadline)
            .json(&json!({"auto_delete": true}));
        existing(self.send(request).await).map(drop)
    }

    /// Removes a primary IP that is not assigned; one that does not exist is as good.
    pub(crate) async fn delete_address(&self, id: u64, deadline: Duration) -> Result<(), Error> {
        let request = Request::delete(&format!("{}/primary_ips/{id}", self.url))
            .bearer(&self.token)
            .deadline(deadline);
        existing(self.send(request).await).map(drop)
    }

    /// The newest actions of a server, the last one first.
    pub(crate) async fn newest_actions(&self, server: u64) -> Result<Vec<Action>, Error> {
        let request = self.get(&format!("/servers/{server}/actions"));
        let body: wire::Actions = self
            .read_patiently(request.query("sort", "id:desc"))
            .await?;
        Ok(body.actions.into_iter().map(Action::from).collect())
    }

    /// Powers a server: `poweron`, `poweroff` or `shutdown`.
    pub(crate) async fn power(&self, id: u64, command: &str) -> Result<Option<Action>, Error> {
        let request = self
            .post(&format!("/servers/{id}/actions/{command}"))
            .json(&json!({}));
        let body: wire::OneAction = self.read(request).await?;
        Ok(body.action.map(Action::from))
    }

    /// The actions of these ids (at most 25); one that is not in the answer has vanished.
    pub(crate) async fn actions(&self, ids: &[u64]) -> Result<Vec<Action>, Error> {
        self.read_patiently(self.action_list(ids)).await.map(of_all)
    }

    /// The same as a look that comes again anyway, after [`Self::until_poll`]: it waits for
    /// nothing.
    pub(crate) async fn look_at_actions(&self, ids: &[u64]) -> Result<Vec<Action>, Error> {
        self.read(self.action_list(ids)).await.map(of_all)
    }

    fn action_list(&self, ids: &[u64]) -> Request {
        let list = self.get("/actions");
        ids.iter()
            .fold(list, |list, id| list.query("id", &id.to_string()))
    }

    /// Everything on the price list.
    pub(crate) async fn server_types(&self) -> Result<Vec<ServerType>, Error> {
        let pages = self
            .pages::<wire::ServerTypes>(&self.get("/server_types"), PAGES_MAX)
            .await?;
        Ok(pages
            .rows
            .into_iter()
            .flat_map(|page| page.server_types)
            .map(ServerType::from)
            .collect())
    }

    /// The firewall of this name, if any.
    pub(crate) async fn firewall_named(&self, name: &str) -> Result<Option<Firewall>, Error> {
        let page: wire::Firewalls = self
            .read_patiently(self.get("/firewalls").query("name", name))
            .await?;
        Ok(page
            .firewalls
            .into_iter()
            .map(Firewall::from)
            .find(|found| found.name == name))
    }

    /// Makes a firewall that lets in nothing but one UDP port.
    pub(crate) async fn create_firewall(
        &self,
        name: &str,
        labels: &BTreeMap<&'static str, String>,
        udp_port: u16,
    ) -> Result<Firewall, Error> {
        let request = self.post("/firewalls").json(&json!({
            "name": name,
            "labels": labels,
            "rules": [{
                "direction": "in",
                "protocol": "udp",
                "port": udp_port.to_string(),
                "source_ips": ["0.0.0.0/0", "::/0"],
                "description": "direct connections of the tailnet",
            }],
        }));
        let body: wire::OneFirewall = self.read(request).await?;
        Ok(body.firewall.into())
    }

    /// How long a poll had to wait for the rate budget if it were made now.
    pub(crate) fn until_poll(&self) -> Duration {
        self.budget.until_poll()
    }

    /// Waits until the rate budget has room for a create; deletes never wait.
    pub(crate) async fn wait_to_create(&self) {
        self.budget.wait_to_create().await;
    }

    fn get(&self, path: &str) -> Request {
        Request::get(&format!("{}{path}", self.url))
            .bearer(&self.token)
            .keep(PACED)
    }

    fn post(&self, path: &str) -> Request {
        Request::post(&format!("{}{path}", self.url))
            .bearer(&self.token)
            .keep(PACED)
    }

    async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let answer = self.send(request).await?;
        answer
            .json()
            .map_err(|complaint| Error::unreadable(&complaint))
    }

    async fn send(&self, request: Request) -> Result<Answer, Error> {
        let answer = self.client.send(request).await?;
        let error = (!answer.is_success()).then(|| Error::of_answer(&answer));
        let refused = error.as_ref().is_some_and(|error| error.refused);
        self.budget
            .learn(refused, answer.header("ratelimit-remaining"));
        error.map_or(Ok(answer), Err)
    }

    /// A read: it waits for room in the budget, and a refusal for a while is waited out.
    async fn read_patiently<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        self.budget.wait_to_read().await;
        self.read_unless_refused(request).await
    }

    /// Reads at once; a refusal for a while is waited out, unless work must stop.
    async fn read_unless_refused<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let mut refusals = 0;
        loop {
            let read = self.read(request.clone()).await;
            let refused = read.as_ref().is_err_and(|error: &Error| error.refused);
            if !refused || refusals >= REFUSALS_MAX || !self.budget.may_go_on() {
                return read;
            }
            refusals += 1;
            self.budget.wait_to_read().await;
        }
    }

    /// The pages of a list, `pages_max` at most; the number of the last page may be unknown. The
    /// pages that follow wait little: what has begun is soon to be over, or it is stale.
    async fn pages<T: DeserializeOwned>(
        &self,
        first: &Request,
        pages_max: u32,
    ) -> Result<Pages<T>, Error> {
        let mut rows = Vec::new();
        let mut first_at = None;
        let mut next = Some(1);
        for _ in 0..pages_max {
            let Some(number) = next else { break };
            let request = first
                .clone()
                .query("page", &number.to_string())
                .query("per_page", &PAGE_ROWS.to_string());
            let page: wire::Page<T> = if first_at.is_none() {
                self.read_patiently(request).await?
            } else {
                self.budget.wait_to_create().await;
                self.read_unless_refused(request).await?
            };
            first_at.get_or_insert_with(Instant::now);
            rows.push(page.rows);
            next = page.meta.and_then(|meta| meta.pagination?.next_page);
        }
        let first_at = first_at.unwrap_or_else(Instant::now);
        Ok(Pages { first_at, rows })
    }
}

fn of_one(body: Option<wire::OneServer>) -> Option<Server> {
    body.map(|body| body.server.into())
}

fn of_all(body: wire::Actions) -> Vec<Action> {
    body.actions.into_iter().map(Action::from).collect()
}

/// The pages of a list, and when the first of them came.
struct Pages<T> {
    first_at: Instant,
    rows: Vec<T>,
}

fn servers(pages: Vec<wire::Servers>) -> Vec<Server> {
    let rows = pages.into_iter().flat_map(|page| page.servers);
    rows.map(Server::from).collect()
}

/// Turns "not found" into `None`.
fn existing<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
