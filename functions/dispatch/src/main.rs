//! Composes dispatch and runs it behind Lambda, fed by the queue.

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use dispatch::{github::GitHub, handler::Deps, settings::Settings};
use host::{Clock, Entropy, Nudges, Reader, StartError};
use lambda_runtime::{LambdaEvent, service_fn};
use outbound::{Client, Dice, NetworkSettings, Secrets, Transport};
use std::{convert::Infallible, process::ExitCode};
use store::{ConnectConfig, Store};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    host::main(run).await
}

async fn run(reader: Reader) -> Result<(), StartError> {
    let Settings {
        database,
        queue,
        github,
    } = Settings::read(reader)?;
    let config = ConnectConfig {
        url: database.url,
        ca_pem: database.ca_pem,
    };
    let store = Store::new(&config).map_err(StartError::other)?;
    let network = Transport::network(&NetworkSettings::default()).map_err(StartError::other)?;
    let http = Client::new(network, Secrets::new(), Dice::system());
    let deps = Deps {
        store,
        nudges: Nudges::new(queue),
        github: GitHub::new(http, github),
        clock: Clock::system(),
        entropy: Entropy::system(),
    };
    let deps = &deps;
    let handle = async |event: LambdaEvent<SqsEvent>| {
        Ok::<SqsBatchResponse, Infallible>(Box::pin(deps.handle(event.payload)).await)
    };
    Ok(lambda_runtime::run(service_fn(handle)).await?)
}
