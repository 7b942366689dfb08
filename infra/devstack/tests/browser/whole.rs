//! The whole product in the browser: real functions, queue and runner, fakes of what is outside.

use crate::chromium::play;
use devstack::{Binaries, Customer, Stack, StackConfig};
use secrecy::SecretString;
use serde_json::{Value, json};
use sim::DelayRange;
use std::path::PathBuf;
use store::ConnectConfig;

async fn stack() -> Stack {
    let cargo = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let here = std::env::current_exe().unwrap();
    let binaries = Binaries::build(&cargo, &here).await.unwrap();
    let postgres = localpg::shared().await.unwrap();
    let url = postgres.fresh_database("whole").await.unwrap();
    let config = ConnectConfig {
        url: SecretString::from(url.clone()),
        ca_pem: None,
    };
    store::migrate(&config).await.unwrap();
    let mut config = StackConfig::new(url, binaries);
    config.sim.github.run_start_delay = DelayRange::NONE;
    config.sim.hetzner.create_delay = DelayRange::NONE;
    config.sim.hetzner.boot_delay = DelayRange::NONE;
    config.sim.tailscale.enrol_delay = DelayRange::NONE;
    Stack::start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buyer_watches_from_checkout_to_agent_and_steers_it() {
    let stack = stack().await;
    let secrets = stack.secrets();
    let customer = Customer::new(stack.url(), &secrets.stripe_webhook, &secrets.api_token);
    let customer = customer.unwrap();
    let payment = customer.payment("eu-central");
    let event: Value = serde_json::from_str(&payment.body).unwrap();
    let session = event["data"]["object"]["id"].as_str().unwrap();
    let told = json!({
        "url": stack.url(),
        "welcome": format!("{}/welcome?session_id={session}", stack.url()),
    });
    let (_, paid) = tokio::join!(play("whole", &told), customer.pay(&payment));
    paid.unwrap();
    stack.stop();
}
