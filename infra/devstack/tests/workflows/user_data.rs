//! A new machine's user data, judged by `cloud-init` itself.

use std::path::Path;
use std::process::{Command, Output};

use sim::peers;

use crate::stage::{NAME, Stage, quick};

fn judge(cloud_init: &Path, file: &Path) -> Output {
    let mut command = Command::new(cloud_init);
    command.args(["schema", "-c"]).arg(file);
    command.output().unwrap()
}

/// Everything a judgement says, on both streams.
fn words(said: &Output) -> String {
    let all = [said.stdout.as_slice(), said.stderr.as_slice()].concat();
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn cloud_init_takes_it_without_a_warning() {
    let installed = tokio::task::spawn_blocking(peers::cloud_init);
    let releases = installed
        .await
        .unwrap()
        .unwrap_or_else(|why| panic!("{why}"));
    let stage = Stage::new(quick()).await;
    let ran = stage.run().await;
    assert!(ran.good, "{}", ran.log);
    let world = stage.sim.world();
    let good = &world.server(NAME).expect("a server was made").user_data;
    let file = stage.path("user-data");
    for (release, program) in releases {
        std::fs::write(&file, good).unwrap();
        let said = judge(&program, &file);
        let text = words(&said);
        assert!(said.status.success(), "{release}: {text}");
        assert_eq!(
            text.lines().count(),
            1,
            "{release} says more than yes: {text}"
        );
        assert!(text.starts_with("Valid "), "{release}: {text}");

        // The judge does warn where there is something to warn of.
        let old = good.replacen('{', "{\"apt_update\": true, ", 1);
        std::fs::write(&file, old).unwrap();
        let text = words(&judge(&program, &file));
        assert!(
            text.to_lowercase().contains("deprecat"),
            "{release}: {text}"
        );
    }
}
