//! A repository with the workflow, a release with the runner, the fake world, a receiver of
//! reports; and `act`, which runs the workflow's steps on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};
use std::time::Duration;

use devstack::Binaries;
use sim::{DelayRange, Sim, SimConfig, peers};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use crate::receiver::{Receiver, SECRET};

pub(crate) const JOB: &str = "0191b2c4-0000-7000-8000-00000000000a";
pub(crate) const AGENT: &str = "0191b2c4-0000-7000-8000-00000000000b";
pub(crate) const NAME: &str = "agent-0191b2c4-0000-7000-8000-00000000000b";
pub(crate) const REPOSITORY: &str = "acme/agents";
pub(crate) const RELEASE: &str = "runner-v9.9.9";

/// `act` knows every key of a workflow but this one: it came to GitHub in May 2026.
const UNKNOWN_TO_ACT: &str = "  queue: max\n";
/// A workflow run may take so long on a busy machine.
const RUN_MAX: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(20);
pub(crate) const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

static BINARIES: OnceCell<Binaries> = OnceCell::const_new();

/// The project's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A workflow that `act` can read.
fn known_to_act(workflow: &str) -> String {
    assert_eq!(workflow.matches(UNKNOWN_TO_ACT).count(), 1);
    workflow.replace(UNKNOWN_TO_ACT, "")
}

/// Builds the product once.
pub(crate) async fn binaries() -> Binaries {
    let own = std::env::current_exe().unwrap();
    let build = || async {
        let cargo = Path::new(env!("CARGO"));
        Binaries::build(cargo, &own).await.unwrap()
    };
    BINARIES.get_or_init(build).await.clone()
}

/// Builds the runner once; gives its path.
pub(crate) async fn runner() -> PathBuf {
    binaries().await;
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("runner")
}

/// Where the tools for workflows are; installs them the first time.
pub(crate) async fn tools() -> PathBuf {
    let installed = tokio::task::spawn_blocking(peers::workflow_tools);
    installed.await.unwrap().unwrap()
}

/// One machine for everything.
pub(crate) struct Stage {
    pub(crate) sim: Sim,
    pub(crate) receiver: Receiver,
    pub(crate) secrets: BTreeMap<&'static str, String>,
    pub(crate) vars: BTreeMap<&'static str, String>,
    folder: TempDir,
    act: PathBuf,
}

/// How a workflow run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) good: bool,
    pub(crate) log: String,
}

/// Fakes that take next to no time.
pub(crate) fn quick() -> SimConfig {
    let mut sim = SimConfig::default();
    sim.hetzner.create_delay = DelayRange::millis(50, 100);
    sim.hetzner.start_delay = DelayRange::millis(20, 40);
    sim.hetzner.boot_delay = DelayRange::millis(50, 100);
    sim.hetzner.delete_delay = DelayRange::millis(20, 50);
    sim.tailscale.enrol_delay = DelayRange::millis(10, 20);
    sim
}

/// Fakes whose machines never enrol while a test waits: the runner is in the middle.
pub(crate) fn slow_to_boot() -> SimConfig {
    let mut sim = quick();
    sim.hetzner.boot_delay = DelayRange::millis(600_000, 600_000);
    sim
}

impl Stage {
    /// The workflow as it is in the project, with the runner's release pinned.
    pub(crate) async fn new(config: SimConfig) -> Self {
        let stage = Self::unpinned(config).await;
        let digest = sha256(&stage.path("asset"));
        stage.pin(&digest);
        stage
    }

    /// The workflow and the asset that a release left.
    pub(crate) async fn released(config: SimConfig, workflow: &str, asset: &Path) -> Self {
        let stage = Self::unpinned(config).await;
        fs::write(stage.workflow(), known_to_act(workflow)).unwrap();
        fs::remove_file(stage.path("asset")).unwrap();
        symlink(asset, stage.path("asset")).unwrap();
        stage
    }

    /// The workflow as it is in the project; what is released is the runner.
    pub(crate) async fn unpinned(config: SimConfig) -> Self {
        let secrets = BTreeMap::from([
            ("CALLBACK_SECRET", SECRET.to_owned()),
            // GitHub makes one for each run; `act` would ask `gh` for one.
            ("GITHUB_TOKEN", "canary-github-token-0123456789".to_owned()),
            ("HETZNER_API_TOKEN", config.hetzner.token.clone()),
            (
                "TAILSCALE_OAUTH_CLIENT_SECRET",
                config.tailscale.client_secret.clone(),
            ),
        ]);
        let client = config.tailscale.client_id.clone();
        let sim = Sim::start(config).await.unwrap();
        let vars = BTreeMap::from([
            ("HETZNER_API_URL", sim.hetzner_url()),
            ("HETZNER_SSH_KEY_ID", "1".to_owned()),
            ("TAILSCALE_API_URL", sim.tailscale_url()),
            ("TAILSCALE_OAUTH_CLIENT_ID", client),
        ]);
        let stage = Self {
            sim,
            receiver: Receiver::start().await,
            secrets,
            vars,
            folder: tempfile::tempdir().unwrap(),
            act: tools().await.join("act"),
        };
        stage.lay(&runner().await);
        stage
    }

    /// Lays the repository and the programs that stand where GitHub's are.
    fn lay(&self, runner: &Path) {
        for folder in ["repo/.github/workflows", "bin", "home"] {
            fs::create_dir_all(self.path(folder)).unwrap();
        }
        let text = fs::read_to_string(root().join(".github/workflows/provision-agent.yml"));
        fs::write(self.workflow(), known_to_act(&text.unwrap())).unwrap();
        symlink(runner, self.path("asset")).unwrap();
        let asset = self.path("asset").display().to_string();
        let calls = self.path("calls").display().to_string();
        let doubts = self.path("doubts").display().to_string();
        // `gh release download … --output FILE` gives the asset, `gh attestation` its consent
        // unless there are doubts.
        self.program(
            "gh",
            &format!(
                "echo \"gh $*\" >> {calls}\n\
                 [ \"$1\" = release ] || {{ [ ! -e {doubts} ]; exit; }}\n\
                 [ -e {asset} ] || {{ echo 'release not found' >&2; exit 1; }}\n\
                 while [ \"$1\" != --output ]; do shift; done\n\
                 cp {asset} \"$2\"\n"
            ),
        );
        let runner = runner.display();
        self.program(
            "cargo",
            &format!(
                "echo \"cargo $*\" >> {calls}\n\
                 mkdir -p target/release && cp {runner} target/release/runner\n"
            ),
        );
        let repo = self.path("repo");
        let git = |words: &[&str]| {
            let mut git = Blocking::new("git");
            git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]);
            assert!(
                git.args(words)
                    .current_dir(&repo)
                    .status()
                    .unwrap()
                    .success()
            );
        };
        git(&["init", "--quiet", "--initial-branch", "main"]);
        let address = format!("https://github.com/{REPOSITORY}.git");
        git(&["remote", "add", "origin", &address]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "the workflow"]);
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nset -eu\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn workflow(&self) -> PathBuf {
        self.path("repo/.github/workflows/provision-agent.yml")
    }

    /// Writes the pin the way a release does.
    pub(crate) fn pin(&self, sha256: &str) {
        let pinned = write_pin(RELEASE, sha256, &self.workflow());
        assert!(pinned, "the pin is written");
    }

    /// What was called instead of GitHub's own programs.
    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    /// Starts the workflow.
    pub(crate) fn start(&self) -> Child {
        let callback = format!("callback_url={}", self.receiver.url);
        let inputs = [
            format!("job_id={JOB}"),
            format!("agent_id={AGENT}"),
            callback,
            "fence=1".to_owned(),
        ];
        let mut act = act(&self.act, self.folder.path(), "provision-agent.yml");
        act.arg("workflow_dispatch");
        write_pairs(&self.path("secrets"), &self.secrets);
        write_pairs(&self.path("vars"), &self.vars);
        for input in &inputs {
            act.args(["--input", input]);
        }
        act.spawn().unwrap()
    }

    /// Waits for a started workflow.
    pub(crate) async fn finish(&self, act: Child) -> Ran {
        finish(act, &self.path("log")).await
    }

    /// Runs the workflow to its end.
    pub(crate) async fn run(&self) -> Ran {
        self.finish(self.start()).await
    }

    /// The process id of the running runner: the one whose file lies in this stage's folder.
    pub(crate) async fn runner_process(&self) -> u32 {
        let until = Instant::now() + RUN_MAX;
        while Instant::now() < until {
            let own = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
                let exe = fs::read_link(entry.path().join("exe")).ok()?;
                let ours = exe.starts_with(self.folder.path()) && exe.ends_with("slipway/runner");
                let id: u32 = entry.file_name().to_str()?.parse().ok()?;
                ours.then_some(id)
            });
            if let Some(id) = own {
                return id;
            }
            sleep(POLL).await;
        }
        panic!("the runner does not start");
    }
}

/// `act` for one workflow of `repo` in a folder, which also holds `bin`, `home`, `secrets`,
/// `vars` and `log`. Nothing of this process's environment reaches it.
pub(crate) fn act(program: &Path, folder: &Path, workflow: &str) -> Command {
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut act = Command::new(program);
    act.arg("--action-offline-mode")
        .args(["--platform", "ubuntu-24.04=-self-hosted"])
        .args(["--workflows", &format!(".github/workflows/{workflow}")])
        .arg("--secret-file")
        .arg(folder.join("secrets"))
        .arg("--var-file")
        .arg(folder.join("vars"))
        .current_dir(folder.join("repo"))
        .env_clear()
        .env("HOME", folder.join("home"))
        .env("XDG_CACHE_HOME", folder.join("home"))
        .env(
            "PATH",
            format!("{}:{SYSTEM_PATH}", folder.join("bin").display()),
        )
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true);
    act
}

/// Waits for a workflow that was started.
pub(crate) async fn finish(mut act: Child, log: &Path) -> Ran {
    let status = timeout(RUN_MAX, act.wait()).await;
    let log = fs::read_to_string(log).unwrap();
    let Ok(status) = status else {
        panic!("the workflow does not end:\n{log}");
    };
    Ran {
        good: status.unwrap().success(),
        log,
    }
}

/// Writes secrets or variables the way `act` reads them.
pub(crate) fn write_pairs(file: &Path, pairs: &BTreeMap<&'static str, String>) {
    let lines = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"));
    fs::write(file, lines.collect::<String>()).unwrap();
}

/// Runs `.github/pin`.
pub(crate) fn write_pin(release: &str, sha256: &str, workflow: &Path) -> bool {
    let mut pin = Blocking::new("bash");
    pin.arg(root().join(".github/pin"))
        .args([release, sha256])
        .arg(workflow)
        .stderr(Stdio::null());
    pin.status().unwrap().success()
}

/// Sends a signal to one process.
pub(crate) fn signal(name: &str, process: u32) {
    let sent = Blocking::new("kill")
        .args([name, &process.to_string()])
        .status();
    assert!(sent.unwrap().success(), "{process} takes {name}");
}

/// The digest of a file, by the same program that the workflow uses.
pub(crate) fn sha256(file: &Path) -> String {
    let output = Blocking::new("sha256sum").arg(file).output().unwrap();
    assert!(
        output.status.success(),
        "sha256sum reads {}",
        file.display()
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}
