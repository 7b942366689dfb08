//! Tailscale: an access token, auth keys, devices.
//! It must not know agents or attempts; of the lease only that waiting ends with it.

mod error;
mod grant;
mod pace;
mod wire;

pub(crate) use error::{Error, Kind};
pub(crate) use grant::Grant;

use crate::lease::Lease;
use outbound::{Answer, Client, Request};
use pace::Pace;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use time::OffsetDateTime;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

/// So many keys that the list does not describe are looked at one by one.
const KEY_LOOKS_MAX: usize = 100;
/// So often a read that was refused for as long as a call may last is made again.
const REFUSED_READS_MAX: u32 = 2;
/// A token is renewed when it has less than this left (it lives an hour).
const TOKEN_SPARE: Duration = Duration::from_mins(5);

/// A one-off auth key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: SecretString,
    /// When it was made, by Tailscale's clock.
    pub(crate) created: OffsetDateTime,
}

/// A key without its secret, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedKey {
    pub(crate) id: String,
    pub(crate) description: String,
    /// When it was made, by Tailscale's clock.
    pub(crate) created: Option<OffsetDateTime>,
    /// It can still enrol a device.
    pub(crate) valid: bool,
}

/// A device as far as we care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) node_id: String,
    pub(crate) hostname: String,
    pub(crate) tags: Vec<String>,
    /// By Tailscale's clock; external devices have none.
    pub(crate) created: Option<OffsetDateTime>,
    pub(crate) authorized: bool,
    /// `Some(false)`: it went quiet.
    pub(crate) connected: Option<bool>,
    pub(crate) addresses: Vec<String>,
    /// Not empty: the tailnet's lock has not signed it.
    pub(crate) lock_error: String,
    /// Its node key ends some day (Tailscale: after 180 days), and its way into the tailnet too.
    pub(crate) expires: bool,
}

/// A key to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewKey<'a> {
    pub(crate) description: &'a str,
    pub(crate) tag: &'a str,
    pub(crate) ephemeral: bool,
    pub(crate) life: Duration,
}

/// A token and when to renew it.
#[derive(Clone)]
struct Token {
    secret: SecretString,
    renew_at: Instant,
}

/// The client for the credential's own tailnet.
#[derive(Clone)]
pub(crate) struct Tailscale {
    client: Client,
    url: String,
    client_id: String,
    client_secret: SecretString,
    token: Arc<Mutex<Option<Token>>>,
    pace: Pace,
    lease: Option<Lease>,
    /// Whether a refused call is given back instead of being made again at once.
    gives_back: bool,
}

impl std::fmt::Debug for Tailscale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tailscale({})", self.url)
    }
}

impl Tailscale {
    pub(crate) fn new(client: Client, url: &str, id: &str, secret: &SecretString) -> Self {
        Self {
            pace: Pace::new(client.dice().clone()),
            client,
            url: url.to_owned(),
            client_id: id.to_owned(),
            client_secret: secret.clone(),
            token: Arc::new(Mutex::new(None)),
            lease: None,
            gives_back: false,
        }
    }

    /// Ends waits when the lease says that work must stop: from then on nothing is waited out.
    pub(crate) fn while_held(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// The same client for whoever makes refused calls again at the pace of [`Self::until_look`].
    pub(crate) fn giving_refusals_back(&self) -> Self {
        Self {
            gives_back: true,
            ..self.clone()
        }
    }

    /// Whether this error is a refusal that makes the next look wait.
    pub(crate) fn refused(&self, error: &Error) -> bool {
        error.kind == Kind::Later && !self.until_look().is_zero()
    }

    /// Sees to it that there is an access token, so that the next call is the change itself.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        self.token().await.map(drop)
    }

    /// Makes a one-off, preauthorized key. Not idempotent: an error of kind [`Kind::Doubt`] says
    /// it may exist.
    pub(crate) async fn create_key(&self, new: &NewKey<'_>) -> Result<Key, Error> {
        let body = json!({
            "capabilities": { "devices": { "create": {
                "reusable": false,
                "ephemeral": new.ephemeral,
                "preauthorized": true,
                "tags": [new.tag],
            } } },
            "expirySeconds": new.life.as_secs(),
            "description": new.description,
        });
        let request = Request::post(&format!("{}/tailnet/-/keys", self.url)).json(&body);
        let answer = self.send(request).await?;
        let key: wire::KeyBody = answer
            .json()
            .map_err(|complaint| Error::odd(complaint.to_string()))?;
        let key = Key::try_from(key).map_err(Error::odd)?;
        self.client.secrets().add(&key.secret);
        Ok(key)
    }

    /// Auth keys of the tailnet, without their secrets. All must be asked for, else an OAuth
    /// client sees none; what ended may be missing (Tailscale: "List tailnet keys").
    pub(crate) async fn keys(&self) -> Result<Vec<ListedKey>, Error> {
        let request = Request::get(&format!("{}/tailnet/-/keys", self.url));
        let list: wire::Keys = self.read(request.query("all", "true")).await?;
        let auth = list.keys.into_iter().filter(wire::KeyRow::is_auth);
        let (described, bare): (Vec<_>, Vec<_>) = auth.partition(wire::KeyRow::is_described);
        let mut keys: Vec<ListedKey> = described.into_iter().map(ListedKey::from).collect();
        for row in bare.into_iter().take(KEY_LOOKS_MAX) {
            let row = self.key_row(row.id()).await?;
            keys.extend(row.filter(wire::KeyRow::is_auth).map(ListedKey::from));
        }
        Ok(keys)
    }

    /// One key, of which the list may show no more than the id. One that the client may not read
    /// is not one that it made.
    async fn key_row(&self, id: &str) -> Result<Option<wire::KeyRow>, Error> {
        let request = Request::get(&format!("{}/tailnet/-/keys/{id}", self.url));
        match self.read(request).await {
            Ok(row) => Ok(Some(row)),
            Err(error) => match error.kind {
                Kind::NotFound | Kind::Denied | Kind::Refused | Kind::Foreign => Ok(None),
                Kind::TokenEnded | Kind::Later | Kind::Doubt => Err(error),
            },
        }
    }

    /// Revokes a key; one that does not exist is as good.
    pub(crate) async fn delete_key(&self, id: &str, deadline: Duration) -> Result<(), Error> {
        let request = Request::delete(&format!("{}/tailnet/-/keys/{id}", self.url));
        gone(self.send(request.deadline(deadline)).await)
    }

    /// Devices of this hostname.
    pub(crate) async fn devices(&self, hostname: &str) -> Result<Vec<Device>, Error> {
        let list = self.read(self.device_list(hostname)).await?;
        Ok(of_name(list, hostname))
    }

    /// The same as a look that comes again anyway, after [`Self::until_look`]: a refusal is given
    /// back, for to repeat it would be more of what was too much.
    pub(crate) async fn look_for(&self, hostname: &str) -> Result<Vec<Device>, Error> {
        let list = self.read_once(self.device_list(hostname).keep(&[429]));
        Ok(of_name(list.await?, hostname))
    }

    /// How long the next look has to wait, since calls were refused.
    pub(crate) fn until_look(&self) -> Duration {
        self.pace.until_look()
    }

    fn device_list(&self, hostname: &str) -> Request {
        Request::get(&format!("{}/tailnet/-/devices", self.url)).query("hostname", hostname)
    }

    /// The device of this id, if it is in the tailnet.
    pub(crate) async fn device(&self, id: &str) -> Result<Option<Device>, Error> {
        let request = Request::get(&format!("{}/device/{id}", self.url));
        match self.read::<wire::DeviceBody>(request).await {
            Ok(body) => Ok(Some(body.into())),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a device; one that does not exist is as good.
    pub(crate) async fn delete_device(&self, id: &str, deadline: Duration) -> Result<(), Error> {
        let request = Request::delete(&format!("{}/device/{id}", self.url));
        gone(self.send(request.deadline(deadline)).await)
    }

    /// A read, which is made again a few times while Tailscale refuses.
    async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        for _ in 0..REFUSED_READS_MAX {
            match self.read_once(request.clone()).await {
                Err(error) if self.refused(&error) => {
                    if !self.wait_to_look().await {
                        return Err(error);
                    }
                }
                read => return read,
            }
        }
        self.read_once(request).await
    }

    /// Whether work may go on after it.
    async fn wait_to_look(&self) -> bool {
        let rest = self.until_look();
        let Some(lease) = &self.lease else {
            sleep(rest).await;
            return true;
        };
        lease.pause(rest).await.is_ok()
    }

    /// A read: once more with a new token when the old one has ended.
    async fn read_once<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let answer = match self.send(request.clone()).await {
            Err(error) if error.kind == Kind::TokenEnded => {
                self.send(request).await.map_err(Error::lasting)?
            }
            sent => sent?,
        };
        answer
            .json()
            .map_err(|complaint| Error::odd(complaint.to_string()))
    }

    /// Sends with a token; one that is refused is forgotten. A change is never made again here:
    /// time has passed, and whoever asked for it has to say anew that it may be made.
    async fn send(&self, request: Request) -> Result<Answer, Error> {
        let token = self.token().await?;
        let request = request.bearer(&token);
        let request = if self.gives_back {
            request.keep(&[429])
        } else {
            request
        };
        let answer = self.client.send(request).await?;
        self.pace.learn(&answer);
        let sent = success(answer);
        if sent
            .as_ref()
            .is_err_and(|error| error.kind == Kind::TokenEnded)
        {
            *self.token.lock().await = None;
        }
        sent
    }

    /// The cached token, or a new one. Neither tags nor scope are asked for: a narrowed token
    /// loses the tags, and keys cannot be made with it.
    async fn token(&self) -> Result<SecretString, Error> {
        let mut cached = self.token.lock().await;
        if let Some(token) = cached
            .as_ref()
            .filter(|token| Instant::now() < token.renew_at)
        {
            return Ok(token.secret.clone());
        }
        let asked_at = Instant::now();
        // Asking again for a token only makes another one, so silence may be repeated.
        let request = Request::post(&format!("{}/oauth/token", self.url))
            .repeat(outbound::Repeat::Idempotent)
            .form(&[
                ("client_id", &self.client_id),
                ("client_secret", self.client_secret.expose_secret()),
                ("grant_type", "client_credentials"),
            ]);
        let answer = self.client.send(request).await?;
        self.pace.learn(&answer);
        let answer = success(answer).map_err(Error::of_token)?;
        let body: wire::TokenBody = answer
            .json()
            .map_err(|complaint| Error::odd(complaint.to_string()))?;
        let life = Duration::from_secs(body.expires_in.unwrap_or(0));
        let secret = SecretString::from(body.access_token);
        self.client.secrets().add(&secret);
        *cached = Some(Token {
            secret: secret.clone(),
            renew_at: asked_at + life.saturating_sub(TOKEN_SPARE),
        });
        Ok(secret)
    }
}

/// The filter was asked for and is applied again: a server may ignore it.
fn of_name(list: wire::Devices, hostname: &str) -> Vec<Device> {
    let devices = list.devices.into_iter().map(Device::from);
    devices
        .filter(|device| device.hostname.eq_ignore_ascii_case(hostname))
        .collect()
}

fn success(answer: Answer) -> Result<Answer, Error> {
    if answer.is_success() {
        Ok(answer)
    } else {
        Err(Error::of_answer(&answer))
    }
}

/// Turns "not found" into success.
fn gone(sent: Result<Answer, Error>) -> Result<(), Error> {
    match sent {
        Ok(_) => Ok(()),
        Err(error) if error.kind == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
