//! Nudges through an SQS that is not ours: `moto`, which speaks Amazon's own protocol.

#![cfg(test)]

use aws_sdk_sqs::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
};
use domain::Timestamp;
use host::{AwsKeys, Nudge, Nudges, QueueSettings};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const MOTO: &str = "moto[server]==5.2.5";
const DOWNLOADS_MAX: u32 = 3;

/// A Python that has moto, made once and kept in the target folder.
fn python() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/moto");
    fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let (venv, stamp) = (home.join("venv"), home.join("pins"));
    if fs::read_to_string(&stamp).is_ok_and(|made| made == MOTO) {
        return venv.join("bin/python");
    }
    let run = |command: &mut Command| {
        let status = command
            .status()
            .expect("python3 with venv and pip is needed");
        assert!(status.success(), "{command:?} ended with {status}");
    };
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv));
    let mut pip = Command::new(venv.join("bin/pip"));
    // What comes over the network may fail once, and pip itself gives a network time to come back.
    pip.args(["install", "--quiet", "--retries", "8", MOTO]);
    let mut tries = (0..DOWNLOADS_MAX).map(|_| pip.status().expect("pip is there"));
    assert!(tries.any(|status| status.success()), "{pip:?} fails");
    fs::write(&stamp, MOTO).unwrap();
    venv.join("bin/python")
}

/// The server; it ends with this process, whose end closes its input.
struct Moto {
    child: Child,
    url: String,
}

impl Moto {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sqs_server.py");
        let mut child = Command::new(python())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn a_nudge_comes_out_as_it_went_in_and_not_before_its_time() {
    let moto = Moto::start();
    let client = client(&moto.url);
    let queue = client
        .create_queue()
        .queue_name("jobs")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    let test = || "test".to_owned().into();
    let nudges = Nudges::new(QueueSettings {
        url: queue.clone(),
        endpoint: Some(moto.url.clone()),
        region: "eu-central-1".to_owned(),
        keys: AwsKeys {
            id: test(),
            secret: test(),
            session: None,
        },
    });
    let receive = async |seconds| {
        let call = client
            .receive_message()
            .queue_url(&queue)
            .wait_time_seconds(seconds);
        let messages = call.send().await.unwrap().messages.unwrap_or_default();
        messages
            .into_iter()
            .filter_map(|message| message.body)
            .collect::<Vec<_>>()
    };
    let job = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5".parse().unwrap();
    let nudge = Nudge::job(job, Timestamp::from_unix_seconds(1_800_000_000));
    nudges.send(&nudge, Duration::ZERO).await.unwrap();
    assert_eq!(receive(0).await, [nudge.body()]);
    // Longer than a busy machine takes for the next two calls.
    nudges
        .send(&Nudge::EMPTY, Duration::from_secs(8))
        .await
        .unwrap();
    assert_eq!(receive(0).await, Vec::<String>::new());
    assert_eq!(receive(20).await, ["{}"]);
}
