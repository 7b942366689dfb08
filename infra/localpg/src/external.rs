//! SQL that concerns whole databases, over one short-lived connection.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use tokio_postgres::{Config, NoTls};

use crate::find::MAJOR_MIN;

/// Checks that the server answers and is new enough; returns its version.
pub(crate) async fn version(url: &str) -> Result<String> {
    let client = connect(url).await?;
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num'), version()",
            &[],
        )
        .await
        .context("the server of DATABASE_URL does not say its version")?;
    let number: u32 = row.get::<_, String>(0).parse()?;
    let text: String = row.get(1);
    let major = number / 10_000;
    ensure!(
        major >= MAJOR_MIN,
        "DATABASE_URL leads to {text}; {MAJOR_MIN} or later is needed"
    );
    Ok(text.split(" on ").next().unwrap_or(&text).to_owned())
}

/// Makes the database `name` on the server of `url` and returns the URL of the new one.
pub(crate) async fn create_database(url: &str, name: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let valid = !name.is_empty() && name.len() <= 63 && name.chars().all(plain);
    ensure!(
        valid,
        "{name:?} is no database name: use 1 to 63 of a-z, 0-9 and _"
    );
    let client = connect(url).await?;
    client
        .batch_execute(&format!("CREATE DATABASE \"{name}\""))
        .await
        .with_context(|| format!("cannot create the database {name}"))?;
    with_database(url, name)
}

/// Removes the database that `database_url` leads to, through a connection to `url`.
pub(crate) async fn drop_database(url: &str, database_url: &str) -> Result<()> {
    let config = Config::from_str(database_url).context("this is no PostgreSQL URL")?;
    let name = config.get_dbname().context("the URL names no database")?;
    check_name(name)?;
    connect(url)
        .await?
        .batch_execute(&format!("DROP DATABASE \"{name}\" WITH (FORCE)"))
        .await
        .with_context(|| format!("cannot remove the database {name}"))
}

/// Names go into SQL as they are, so only plain ones are taken.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let valid = !name.is_empty() && name.len() <= 63 && name.chars().all(plain);
    ensure!(
        valid,
        "{name:?} is no database name: use 1 to 63 of a-z, 0-9 and _"
    );
    Ok(())
}

async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let config = Config::from_str(url).context("DATABASE_URL is no PostgreSQL URL")?;
    let (client, connection) = config
        .connect(NoTls)
        .await
        .context("cannot connect to PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Replaces the path of the URL and keeps the rest.
fn with_database(url: &str, name: &str) -> Result<String> {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(b, q)| (b, Some(q)));
    let (scheme, rest) = base.split_once("://").context("DATABASE_URL is no URL")?;
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{scheme}://{host}/{name}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_is_replaced() {
        let cases = [
            (
                "postgres://u:p@h:5432/old?sslmode=disable",
                "postgres://u:p@h:5432/new?sslmode=disable",
            ),
            ("postgresql://h/old", "postgresql://h/new"),
            ("postgres://h", "postgres://h/new"),
        ];
        for (from, to) in cases {
            assert_eq!(with_database(from, "new").unwrap(), to);
        }
        assert!(with_database("host=h dbname=old", "new").is_err());
    }
}
