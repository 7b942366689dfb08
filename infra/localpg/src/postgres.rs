//! The handle that callers hold: a server, private or given, in which databases can be made.

use std::fmt;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::external;
use crate::settings::Options;
use crate::template::random_hex;

/// A PostgreSQL server. A private one is stopped and its data removed on drop.
pub struct LocalPg {
    server: Server,
}

enum Server {
    Private(Cluster),
    Given { url: String, source: String },
}

impl LocalPg {
    /// Takes the server of [`Options::database_url`], or starts a private one.
    ///
    /// Fails in one line when the given server cannot be reached, or when there are no
    /// binaries of a recent enough PostgreSQL and the bundle cannot be had.
    pub async fn start(options: Options) -> Result<Self> {
        if let Some(url) = options.database_url {
            let version = external::version(&url).await?;
            let source = format!("{version} from DATABASE_URL");
            return Ok(Self {
                server: Server::Given { url, source },
            });
        }
        tokio::task::spawn_blocking(move || Self::start_private(&options))
            .await
            .context("the start of PostgreSQL was broken off")?
    }

    pub(crate) fn start_private(options: &Options) -> Result<Self> {
        Ok(Self {
            server: Server::Private(Cluster::start(options)?),
        })
    }

    /// URL of the maintenance database; holds a password.
    pub fn url(&self) -> String {
        match &self.server {
            Server::Private(cluster) => cluster.url("postgres"),
            Server::Given { url, .. } => url.clone(),
        }
    }

    /// Which server this is, for people: `PostgreSQL 15.18 from /usr/lib/postgresql/15/bin`.
    pub fn source(&self) -> &str {
        match &self.server {
            Server::Private(cluster) => cluster.source(),
            Server::Given { source, .. } => source,
        }
    }

    /// Makes an empty database and returns its URL. The name consists of a-z, 0-9 and _.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        external::create_database(&self.url(), name).await
    }

    /// Makes an empty database whose name begins with `prefix` and is nobody else's: for tests
    /// that may share a server of `DATABASE_URL` with other processes.
    pub async fn fresh_database(&self, prefix: &str) -> Result<String> {
        self.create_database(&format!("{prefix}_{}", random_hex()?))
            .await
    }

    /// Removes a database, by the URL that its creation returned; its connections are cut.
    pub async fn drop_database(&self, url: &str) -> Result<()> {
        external::drop_database(&self.url(), url).await
    }

    /// Stops a private server and removes its data; a given one is left alone.
    pub fn stop(self) {
        drop(self);
    }
}

impl fmt::Debug for LocalPg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPg")
            .field("source", &self.source())
            .finish_non_exhaustive()
    }
}
