//! A stranger reads the document, tries over HTTP whatever comes to its mind, and holds every
//! answer to what the document promises.

use crate::world::{DOCUMENT, World, at};
use domain::AgentId;
use std::{path::Path, process::Stdio};
use tokio::{net::TcpListener, process::Command, task::spawn_blocking};
use uuid::Uuid;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api");

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_finds_nothing() {
    let world = World::new().await;
    world.activate().await;
    // The agent of the document's example is among them.
    let example = &DOCUMENT["components"]["parameters"]["AgentId"]["example"];
    let ids = [0x10, 0x20, 0x30].map(|number| AgentId(Uuid::from_u128(number)));
    for agent_id in ids.into_iter().chain(example.as_str().unwrap().parse()) {
        let subscription = format!("sub_{agent_id}");
        world.pay_for(agent_id, &subscription, at(9)).await;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.process();
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });

    let python = spawn_blocking(sim::peers::python).await.unwrap().unwrap();
    let output = Command::new(python.with_file_name("st"))
        .args(["--config-file", &format!("{HERE}/schemathesis.toml")])
        .args(["--no-color", "run", "--checks", "all"])
        // A deleted agent is still shown: that is how one knows that it is gone.
        .args(["--exclude-checks", "use_after_free"])
        .arg(format!("http://{address}/agents/openapi.json"))
        .current_dir(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .env("PYTHONPATH", HERE)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    println!("{told}");
    assert!(told.contains("9 selected / 9 total"), "{told}");
    let wrong = world.store.contradictions().await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
}
