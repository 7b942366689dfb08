//! Composes the agents function and runs it behind Lambda.

use agents::{
    handler::{Deps, routes},
    settings::Settings,
};
use host::{Clock, Entropy, Nudges, Reader, StartError};
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
        link_key,
        public_url,
    } = Settings::read(reader)?;
    let config = ConnectConfig {
        url: database.url,
        ca_pem: database.ca_pem,
    };
    let store = Store::new(&config).map_err(StartError::other)?;
    let deps = Deps {
        store,
        nudges: Nudges::new(queue),
        clock: Clock::system(),
        entropy: Entropy::system(),
        api_token,
        link_key,
        public_url,
    };
    host::serve(routes(Arc::new(deps))).await
}
