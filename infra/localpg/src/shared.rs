//! One server per process, for tests: each `#[tokio::test]` has a runtime of its own, so the
//! start is blocking and belongs to none of them.

use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};

use crate::postgres::LocalPg;
use crate::settings::Options;

static SHARED: OnceLock<Result<LocalPg, String>> = OnceLock::new();

/// The server of this process, started at the first call with [`Options::from_env`]. It ends
/// with the process; nothing has to be called.
pub async fn shared() -> Result<&'static LocalPg> {
    let started = tokio::task::spawn_blocking(|| SHARED.get_or_init(start))
        .await
        .context("the start of PostgreSQL was broken off")?;
    started.as_ref().map_err(|reason| anyhow!("{reason}"))
}

fn start() -> Result<LocalPg, String> {
    let options = Options::from_env();
    if options.database_url.is_none() {
        return LocalPg::start_private(&options).map_err(|error| format!("{error:#}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))?;
    runtime
        .block_on(LocalPg::start(options))
        .map_err(|error| format!("{error:#}"))
}
