//! What carries a call: the network, or a service in this process.
//! It must not know about repeats, deadlines of whole calls or what is in a body.

use crate::BODY_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use std::{error::Error, fmt, time::Duration};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

/// Any error of an in-process service.
pub type BoxError = Box<dyn Error + Send + Sync>;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Error of an in-process service that means: the call was surely not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSent;

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection could not be made")
    }
}

impl Error for NotSent {}

/// Settings of the network transport.
#[derive(Debug, Clone, Default)]
pub struct NetworkSettings {
    /// Certificates to trust instead of the platform's, as PEM.
    pub roots_pem: Option<Vec<u8>>,
}

/// One try that brought no whole answer.
#[derive(Debug)]
pub(crate) enum Broken {
    Refused(String),
    Unknown(String),
}

type InProcess = BoxCloneSyncService<http::Request<Bytes>, http::Response<Bytes>, BoxError>;

#[derive(Clone)]
enum Kind {
    Network(reqwest::Client),
    Service(InProcess),
}

/// What carries calls. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Transport(Kind);

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Network(_) => "Transport(network)",
            Kind::Service(_) => "Transport(service)",
        })
    }
}

impl Transport {
    /// The network: redirects are never followed, nothing is repeated unseen, connecting takes
    /// at most 5 s.
    ///
    /// # Errors
    /// When the roots are not PEM certificates, or the platform has none.
    pub fn network(settings: &NetworkSettings) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .tcp_nodelay(true);
        if let Some(pem) = &settings.roots_pem {
            let roots = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| format!("the roots are not PEM certificates: {error}"))?;
            if roots.is_empty() {
                return Err("the roots hold no certificate".to_owned());
            }
            builder = builder.tls_certs_only(roots);
        }
        let client = builder
            .build()
            .map_err(|error| format!("no HTTP client: {}", chain(&error)))?;
        Ok(Self(Kind::Network(client)))
    }

    /// A service in this process, for virtual time. Its error [`NotSent`] means the call was
    /// surely not processed, any other that it may have been.
    pub fn service<S>(service: S) -> Self
    where
        S: Service<http::Request<Bytes>, Response = http::Response<Bytes>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
    {
        Self(Kind::Service(BoxCloneSyncService::new(
            service.map_err(Into::into),
        )))
    }

    pub(crate) async fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Broken> {
        match &self.0 {
            Kind::Network(client) => over_network(client, request).await,
            Kind::Service(service) => in_process(service.clone(), request).await,
        }
    }
}

async fn over_network(
    client: &reqwest::Client,
    request: http::Request<Bytes>,
) -> Result<http::Response<Bytes>, Broken> {
    let request =
        reqwest::Request::try_from(request).map_err(|error| Broken::Refused(chain(&error)))?;
    let mut response = client.execute(request).await.map_err(broken)?;
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len().saturating_add(piece.len()) > BODY_BYTES_MAX {
            return Err(too_long());
        }
        body.extend_from_slice(&piece);
    }
    let mut answer = http::Response::new(body.freeze());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    Ok(answer)
}

async fn in_process(
    service: InProcess,
    request: http::Request<Bytes>,
) -> Result<http::Response<Bytes>, Broken> {
    let answer = service.oneshot(request).await.map_err(|error| {
        if error.is::<NotSent>() {
            Broken::Refused(error.to_string())
        } else {
            Broken::Unknown(error.to_string())
        }
    })?;
    if answer.body().len() > BODY_BYTES_MAX {
        Err(too_long())
    } else {
        Ok(answer)
    }
}

fn too_long() -> Broken {
    Broken::Unknown(format!("the answer is longer than {BODY_BYTES_MAX} bytes"))
}

fn broken(error: reqwest::Error) -> Broken {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        Broken::Refused(chain(&error))
    } else {
        Broken::Unknown(chain(&error))
    }
}

/// The whole chain of causes in one line; the outermost text alone says little.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
