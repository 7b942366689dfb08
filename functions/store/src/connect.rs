//! The one connection of a process: made at first use, verified, made anew when it died.

use crate::{StoreError, statement::Statement};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use std::{str::FromStr, sync::Arc, time::Duration};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::{
    Client, Config, GenericClient, NoTls, Row,
    config::{Host, SslMode},
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

// A function has 10 s in all, and sends a nudge besides. A debug build, as tests run, bears a
// machine that stands still; in this room's own tests a statement may wait for another held up.
const CONNECT_LIMIT: Duration = limit(3);
const STATEMENT_LIMIT: Duration = limit(4);

const fn limit(release_secs: u64) -> Duration {
    Duration::from_secs(if cfg!(test) {
        60
    } else if cfg!(debug_assertions) {
        20
    } else {
        release_secs
    })
}

/// Where the database is and whom to trust.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// `postgres://…`
    pub url: SecretString,
    /// PEM certificates to trust instead of the platform's.
    pub ca_pem: Option<Vec<u8>>,
}

/// The database of one process. It connects when first asked, so that a cold start costs
/// nothing, and holds one connection: a function serves one request at a time.
#[derive(Debug)]
pub struct Store {
    config: Config,
    ca_pem: Option<Vec<u8>>,
    client: Mutex<Option<Client>>,
}

impl Store {
    /// Checks the settings; does not connect.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when the URL is not one of PostgreSQL. The text leaves it out,
    /// since it holds a password.
    pub fn new(config: &ConnectConfig) -> Result<Self, StoreError> {
        Ok(Self {
            config: parse(config.url.expose_secret())?,
            ca_pem: config.ca_pem.clone(),
            client: Mutex::new(None),
        })
    }

    async fn connected(&self) -> Result<MutexGuard<'_, Option<Client>>, StoreError> {
        let mut client = self.client.lock().await;
        if client.as_ref().is_none_or(Client::is_closed) {
            *client = Some(connect(&self.config, self.ca_pem.as_deref()).await?);
        }
        Ok(client)
    }

    /// Runs plain SQL on the store's own connection, to put a transaction around statements.
    #[cfg(test)]
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        let slot = self.connected().await?;
        let client = slot.as_ref().expect("connected() leaves a client");
        client
            .batch_execute(sql)
            .await
            .map_err(|e| StoreError::from_postgres("batch", &e))
    }

    async fn once(
        &self,
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let mut slot = self.connected().await?;
        let Some(client) = slot.as_ref() else {
            return Err(StoreError::Unavailable("no connection".to_owned()));
        };
        let answer = tokio::time::timeout(STATEMENT_LIMIT, run(client, statement, params)).await;
        let result = answer.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!(
                "{} did not answer in time",
                statement.name
            )))
        });
        if result.as_ref().is_err_and(StoreError::is_unavailable) {
            *slot = None;
        }
        result
    }

    /// Runs a statement; once more when another transaction came between, or when the
    /// connection turned out to be dead. Then it may have taken effect, so every statement can
    /// be repeated with the same parameters and answers what the first one would have.
    pub(crate) async fn query(
        &self,
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        match self.once(statement, params).await {
            Err(error) if error.is_worth_a_repeat() => {
                tracing::warn!(statement = statement.name, %error, "statement repeated");
                self.once(statement, params).await
            }
            result => result,
        }
    }

    /// Like [`Self::query`] for a statement that answers at most one row.
    pub(crate) async fn query_opt(
        &self,
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, StoreError> {
        let rows = self.query(statement, params).await?;
        assert!(
            rows.len() <= 1,
            "{} answers at most one row",
            statement.name
        );
        Ok(rows.into_iter().next())
    }

    /// Like [`Self::query`] for a statement that always answers one row.
    pub(crate) async fn query_one(
        &self,
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, StoreError> {
        let row = self.query_opt(statement, params).await?;
        row.ok_or_else(|| StoreError::Row {
            statement: statement.name,
            why: "no row came back".to_owned(),
        })
    }
}

/// Sends a statement as one Parse/Bind/Execute/Sync unit, which is one round trip and right
/// behind any pooler.
pub(crate) async fn run(
    client: &impl GenericClient,
    statement: &Statement,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    assert_eq!(
        params.len(),
        statement.types.len(),
        "{}: every parameter has a type",
        statement.name
    );
    let typed: Vec<(&(dyn ToSql + Sync), Type)> = params
        .iter()
        .copied()
        .zip(statement.types.iter().cloned())
        .collect();
    client
        .query_typed(statement.sql, &typed)
        .await
        .map_err(|error| StoreError::from_postgres(statement.name, &error))
}

fn parse(url: &str) -> Result<Config, StoreError> {
    let mut config = Config::from_str(url.trim()).map_err(|_hidden| {
        StoreError::Settings("DATABASE_URL is not a PostgreSQL URL (postgres://…)".to_owned())
    })?;
    let local = !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_local);
    if local && config.get_ssl_mode() == SslMode::Prefer {
        config.ssl_mode(SslMode::Disable);
    }
    if !local {
        config.ssl_mode(SslMode::Require);
    }
    config
        .connect_timeout(CONNECT_LIMIT)
        .application_name("slipway");
    Ok(config)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// Opens a connection and lets it work in the background of this runtime.
pub(crate) async fn connect(config: &Config, ca_pem: Option<&[u8]>) -> Result<Client, StoreError> {
    let failed = |error: &tokio_postgres::Error| {
        StoreError::Unavailable(StoreError::from_postgres("connect", error).to_string())
    };
    let attempt = async {
        if config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = config
                .connect(NoTls)
                .await
                .map_err(|error| failed(&error))?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let tls = MakeRustlsConnect::new(tls_config(ca_pem)?);
        let (client, connection) = config.connect(tls).await.map_err(|error| failed(&error))?;
        tokio::spawn(connection);
        Ok(client)
    };
    tokio::time::timeout(CONNECT_LIMIT, attempt)
        .await
        .unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!(
                "no connection within {} s",
                CONNECT_LIMIT.as_secs()
            )))
        })
}

pub(crate) fn parse_for_migration(url: &str) -> Result<Config, StoreError> {
    parse(url)
}

fn tls_config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, StoreError> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let added = certificate.ok().map(|certificate| roots.add(certificate));
                if !matches!(added, Some(Ok(()))) {
                    return Err(StoreError::Settings(
                        "DATABASE_CA holds something that is no certificate".to_owned(),
                    ));
                }
            }
        }
        None => {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // A certificate the platform has and rustls cannot read is not trusted.
                if let Err(error) = roots.add(certificate) {
                    tracing::debug!(%error, "platform certificate left out");
                }
            }
        }
    }
    if roots.is_empty() {
        return Err(StoreError::Settings(
            "there is no certificate to trust".to_owned(),
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Settings(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_tls() {
        let mode = |url: &str| parse(url).unwrap().get_ssl_mode();
        assert_eq!(mode("postgres://u:p@127.0.0.1/db"), SslMode::Disable);
        assert_eq!(
            mode("postgres://u:p@localhost/db?sslmode=require"),
            SslMode::Require
        );
        assert_eq!(mode("postgres://u:p@db.example.com/db"), SslMode::Require);
        assert_eq!(
            mode("postgres://u:p@db.example.com/db?sslmode=disable"),
            SslMode::Require
        );
    }

    #[test]
    fn a_bad_url_is_not_repeated_in_the_error() {
        let error = parse("mysql://root:hunter2@db/x").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
