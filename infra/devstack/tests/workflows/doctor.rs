//! The doctor and the real callback agree about what a heartbeat of nobody's job gets.

use std::process::Output;

use devstack::{Stack, StackConfig};
use secrecy::SecretString;
use sim::SimConfig;
use store::ConnectConfig;
use tokio::process::Command;

use crate::stage::{binaries, runner};

async fn stack() -> (Stack, SimConfig) {
    let binaries = binaries().await;
    let postgres = localpg::shared().await.unwrap();
    let url = postgres.fresh_database("doctor").await.unwrap();
    let database = ConnectConfig {
        url: SecretString::from(url.clone()),
        ca_pem: None,
    };
    store::migrate(&database).await.unwrap();
    let config = StackConfig::new(url, binaries);
    let sim = config.sim.clone();
    (Stack::start(config).await.unwrap(), sim)
}

async fn doctor(stack: &Stack, config: &SimConfig, secret: &str) -> Output {
    let (hetzner, tailscale) = (&config.hetzner, &config.tailscale);
    let mut doctor = Command::new(runner().await);
    doctor
        .arg("doctor")
        .env_clear()
        .env("CALLBACK_URL", format!("{}/callback", stack.url()))
        .env("CALLBACK_SECRET", secret)
        .env("HETZNER_API_TOKEN", &hetzner.token)
        .env("HETZNER_API_URL", stack.sim().hetzner_url())
        .env("HETZNER_SSH_KEY_ID", "1")
        .env("TAILSCALE_OAUTH_CLIENT_ID", &tailscale.client_id)
        .env("TAILSCALE_OAUTH_CLIENT_SECRET", &tailscale.client_secret)
        .env("TAILSCALE_API_URL", stack.sim().tailscale_url());
    doctor.output().await.unwrap()
}

#[tokio::test]
async fn a_working_installation_is_called_well_and_a_wrong_secret_is_found() {
    let (stack, config) = stack().await;
    let said = doctor(&stack, &config, &stack.secrets().callback).await;
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}");
    assert!(text.contains(" 0 wrong, 0 could not be told"), "{text}");

    let said = doctor(&stack, &config, "another-secret-0123456789-abcdefgh").await;
    let text = String::from_utf8_lossy(&said.stdout);
    assert_eq!(said.status.code(), Some(1), "{text}");
    let line = "wrong          CALLBACK_SECRET: is not the callback's";
    assert!(text.contains(line), "{text}");
    assert!(text.contains(" 1 wrong, 0 could not be told"), "{text}");
}
