//! GitHub as `release.yml` meets it: a repository with a tag that takes pushes from one token,
//! releases and pull requests, the actions and programs that stand where GitHub's are; and
//! `act`, which runs the workflow.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command as Blocking;

use serde_json::json;
use tempfile::TempDir;

use super::git_http;
use crate::stage::write_pairs;
use crate::stage::{RELEASE, REPOSITORY, Ran, act, finish, root, runner, sha256, tools};

pub(crate) const ASSET: &str = "runner-x86_64-linux";
pub(crate) const PIN_BRANCH: &str = "pin-runner-v9.9.9";
const GITHUB_TOKEN: &str = "canary-github-token-0123456789";
pub(crate) const PIN_TOKEN: &str = "canary-pin-token-0123456789";

/// A repository whose tag was pushed.
pub(crate) struct Forge {
    pub(crate) secrets: BTreeMap<&'static str, String>,
    pub(crate) visibility: &'static str,
    tag: &'static str,
    folder: TempDir,
    act: PathBuf,
}

/// This test's own folder of stand-ins.
fn stand_ins(kind: &str) -> PathBuf {
    root()
        .join("infra/devstack/tests/workflows/release")
        .join(kind)
}

impl Forge {
    pub(crate) async fn new() -> Self {
        Self::with_tag(RELEASE).await
    }

    pub(crate) async fn with_tag(tag: &'static str) -> Self {
        let forge = Self {
            secrets: BTreeMap::from([
                ("GITHUB_TOKEN", GITHUB_TOKEN.to_owned()),
                ("PIN_TOKEN", PIN_TOKEN.to_owned()),
            ]),
            visibility: "public",
            tag,
            folder: tempfile::tempdir().unwrap(),
            act: tools().await.join("act"),
        };
        let address = git_http::serve(forge.path("github"), PIN_TOKEN).await;
        forge.lay(&address, &runner().await);
        forge
    }

    /// Lays the repository here and at GitHub, and the programs.
    fn lay(&self, address: &str, runner: &Path) {
        for folder in ["repo", "bin", "home", "github", "shelf"] {
            fs::create_dir(self.path(folder)).unwrap();
        }
        for folder in ["releases", "pulls"] {
            fs::create_dir(self.shelf(folder)).unwrap();
        }
        fs::write(self.shelf("github-token"), GITHUB_TOKEN).unwrap();
        fs::write(self.shelf("pin-token"), PIN_TOKEN).unwrap();
        symlink(runner, self.shelf("runner")).unwrap();
        for program in ["bash", "cargo", "gh", "git"] {
            let source = stand_ins("programs").join(program).canonicalize();
            symlink(source.unwrap(), self.path("bin").join(program)).unwrap();
        }
        let instead = format!("[url \"{address}\"]\n\tinsteadOf = https://github.com/\n");
        fs::write(self.path("home/.gitconfig"), instead).unwrap();
        let copied = Blocking::new("cp")
            .arg("--recursive")
            .arg(root().join(".github"))
            .arg(self.path("repo"))
            .status();
        assert!(copied.unwrap().success());
        let origin = format!("https://github.com/{REPOSITORY}");
        let github = self.github().display().to_string();
        fs::write(self.path("repo/README.md"), "what is released\n").unwrap();
        self.git(&[
            "init",
            "--quiet",
            "--bare",
            "--initial-branch",
            "main",
            &github,
        ]);
        self.git(&["init", "--quiet", "--initial-branch", "main"]);
        self.git(&["remote", "add", "origin", &origin]);
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message", "what is released"]);
        self.git(&["tag", self.tag]);
        fs::write(self.path("repo/README.md"), "and what came later\n").unwrap();
        self.git(&["commit", "--quiet", "--all", "--message", "later"]);
        self.git(&["push", "--quiet", &github, "main", self.tag]);
    }

    /// Runs Git in the repository here; gives what it says.
    fn git(&self, words: &[&str]) -> String {
        git_in(&self.path("repo"), words)
    }

    /// Runs Git in the repository at GitHub; gives what it says.
    pub(crate) fn at_github(&self, words: &[&str]) -> String {
        git_in(&self.github(), words)
    }

    fn github(&self) -> PathBuf {
        self.path("github").join(REPOSITORY)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the stand-ins.
    pub(crate) fn shelf(&self, name: &str) -> PathBuf {
        self.path("shelf").join(name)
    }

    /// What stand-ins wrote down; nothing when they were not called.
    pub(crate) fn written(&self, name: &str) -> String {
        fs::read_to_string(self.shelf(name)).unwrap_or_default()
    }

    /// A file of the release.
    pub(crate) fn released(&self, name: &str) -> PathBuf {
        self.shelf("releases").join(RELEASE).join(name)
    }

    /// The digest of what a build gives.
    pub(crate) fn built(&self) -> String {
        sha256(&self.shelf("runner"))
    }

    /// Whether the branch of the pin is at GitHub.
    pub(crate) fn pin_is_pushed(&self) -> bool {
        let branches = self.at_github(&["branch", "--list", PIN_BRANCH]);
        !branches.is_empty()
    }

    /// Runs the workflow for the tag. Secrets are not masked: none may show anyway.
    pub(crate) async fn run(&self) -> Ran {
        let artifacts = self.shelf("artifacts");
        if artifacts.exists() {
            fs::remove_dir_all(&artifacts).unwrap();
        }
        fs::create_dir(&artifacts).unwrap();
        let event = json!({
            "ref": format!("refs/tags/{}", self.tag),
            "after": self.git(&["rev-parse", self.tag]).trim(),
            "deleted": false,
            "repository": { "default_branch": "main", "visibility": self.visibility },
        });
        fs::write(self.path("event"), event.to_string()).unwrap();
        write_pairs(&self.path("secrets"), &self.secrets);
        write_pairs(&self.path("vars"), &BTreeMap::new());
        let mut act = act(&self.act, self.folder.path(), "release.yml");
        act.args(["push", "--no-skip-checkout", "--insecure-secrets"])
            .arg("--eventpath")
            .arg(self.path("event"))
            .env("SHELF", self.path("shelf"))
            // `act` gives a step a terminal, where GitHub has none to ask at.
            .env("GIT_TERMINAL_PROMPT", "0");
        for action in actions() {
            act.args(["--local-repository", &action]);
        }
        let ran = finish(act.spawn().unwrap(), &self.path("log")).await;
        self.assert_no_secret(&ran);
        ran
    }

    /// No token is in the log, in a step's words, in an argument, or in the configuration of a
    /// repository.
    fn assert_no_secret(&self, ran: &Ran) {
        let (said, calls) = (self.written("said"), self.written("calls"));
        let configs = self.written("configs");
        assert!(configs.contains("remote.origin.url="), "{configs}");
        assert!(said.contains("runner "), "it said its version: {said}");
        for token in [GITHUB_TOKEN, PIN_TOKEN] {
            for text in [&ran.log, &said, &calls, &configs] {
                assert!(!text.contains(token), "{token} shows: {text}");
            }
        }
    }
}

/// `owner/name@commit=folder` of each action that the workflow uses.
fn actions() -> Vec<String> {
    let text = fs::read_to_string(root().join(".github/workflows/release.yml")).unwrap();
    let uses = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("uses: "));
    let local = uses.map(|action| {
        let action = action.split(' ').next().unwrap_or_default();
        let (name, _) = action.split_once('@').expect("an action has a version");
        let folder = stand_ins("actions").join(name.trim_start_matches("actions/"));
        format!("{action}={}", folder.canonicalize().unwrap().display())
    });
    local.collect()
}

fn git_in(folder: &Path, words: &[&str]) -> String {
    let mut git = Blocking::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = git.args(words).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "git {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
