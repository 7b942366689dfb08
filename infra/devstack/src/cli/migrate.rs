//! `devstack migrate`.

use anyhow::Result;
use host::Reader;
use secrecy::SecretString;
use store::ConnectConfig;

use super::End;
use super::output::Output;

/// Migrates the database of `DATABASE_URL` and `DATABASE_CA`.
pub(crate) async fn run() -> Result<End> {
    let mut reader = Reader::environment();
    let settings = reader.database();
    let settings = reader.finish(settings)?;
    let config = ConnectConfig {
        url: settings.url,
        ca_pem: settings.ca_pem,
    };
    store::migrate(&config).await?;
    Output::new().line("the database has the current schema");
    Ok(End::Well)
}

/// Migrates a database on this machine.
pub(crate) async fn migrate(url: &str) -> Result<()> {
    Ok(store::migrate(&ConnectConfig {
        url: SecretString::from(url),
        ca_pem: None,
    })
    .await?)
}
