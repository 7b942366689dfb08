//! Composes the agents function and runs it behind Lambda.

use agents::{
    handler::{Deps, routes},
    settings::Settings,
};
use host::{Clock, Nudges, Reader, StartError};
use std::{process::ExitCode, sync::Arc};
use store::{ConnectConfig, Store};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    host::main(run).await
}

async fn run(reader: Reader) -> Result<(), StartError> {
    let Settings {
        database,
        queue,
        api_token,
    } = Settings::read(reader)?;
    let config = ConnectConfig {
        url: database.url,
        ca_pem: database.ca_pem,
    };
    let store = Store::new(&config).map_err(StartError::other)?;
    let nudges = Nudges::new(queue);
    let deps = Deps {
        store,
        nudges,
        clock: Clock::system(),
        api_token,
    };
    host::serve(routes(Arc::new(deps))).await
}
