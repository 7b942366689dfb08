//! Vendors' own client libraries and tools for tests: Python environments, a Node folder and an
//! unpacked package under `target/peers/`, each made once and shared by every test of the
//! workspace.
//!
//! Tests only. Needs `python3` with `venv` and `pip`, and `node` with `npm`; when one is missing
//! the error says in one line what to install.

mod cloud_init;

pub use cloud_init::cloud_init;

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Pinned Python peers.
const REQUIREMENTS: &str = include_str!("../tests/peers/requirements.txt");
/// Pinned tools for workflows.
const WORKFLOW_TOOLS: &str = include_str!("../tests/peers/workflow-tools.txt");
/// Pinned Node peers.
const PACKAGE: &str = include_str!("../tests/peers/package.json");

const DOWNLOADS_MAX: u32 = 3;
/// Time for a network to come back.
const BETWEEN_DOWNLOADS: Duration = Duration::from_secs(3);

/// The Python interpreter of an environment that has `hcloud`, `stripe` and `tailscale`.
/// Blocks for a minute when it is made for the first time.
pub fn python() -> Result<PathBuf> {
    let home = prepared("python", REQUIREMENTS, |home| {
        install_python(home, REQUIREMENTS)
    })?;
    Ok(home.join("venv/bin/python"))
}

/// A folder with `act`, `actionlint`, `shellcheck` and `zizmor`.
/// Blocks for some seconds when it is made for the first time.
pub fn workflow_tools() -> Result<PathBuf> {
    let home = prepared("workflow-tools", WORKFLOW_TOOLS, |home| {
        install_python(home, WORKFLOW_TOOLS)
    })?;
    Ok(home.join("venv/bin"))
}

/// Makes `home/venv` with what `requirements` lists.
fn install_python(home: &Path, requirements: &str) -> Result<()> {
    run("python3", &["-m", "venv", "--clear", "venv"], home)?;
    fs::write(home.join("requirements.txt"), requirements)?;
    let pip = home.join("venv/bin/pip");
    let install = ["install", "--quiet", "--requirement", "requirements.txt"];
    patiently(|| run(&pip.to_string_lossy(), &install, home))
}

/// A folder whose `node_modules` has `@octokit/rest` and `stripe`.
/// Blocks for some seconds when it is made for the first time.
pub fn node_dir() -> Result<PathBuf> {
    prepared("node", PACKAGE, |home| {
        fs::write(home.join("package.json"), PACKAGE)?;
        let install = ["install", "--silent", "--no-audit", "--no-fund"];
        patiently(|| run("npm", &install, home))
    })
}

/// Puts a script into [`node_dir`], where its `import`s are found (Node looks for modules beside
/// the script and nowhere else); gives its path, to be run with `node`.
pub fn node_script(name: &str, source: &str) -> Result<PathBuf> {
    let path = node_dir()?.join(name);
    // Written aside and renamed: another test may run the same script just now.
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    fs::write(&draft, source)?;
    fs::rename(&draft, &path)?;
    Ok(path)
}

/// `target/peers/<name>`, made when its pinned list differs from what is there. A lock file keeps
/// tests that run at the same time, in any process, from making it twice.
fn prepared(name: &str, pins: &str, make: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers");
    fs::create_dir_all(&root)?;
    let lock = File::create(root.join(format!("{name}.lock")))?;
    lock.lock()?;
    let home = root.canonicalize()?.join(name);
    let stamp = home.join("pins");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == pins) {
        return Ok(home);
    }
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(&home)?;
    make(&home)?;
    fs::write(stamp, pins)?;
    Ok(home)
}

/// Tries a download again when it fails: one failure of a network is no failure of a test. The
/// error is that of the last try.
pub fn patiently(mut download: impl FnMut() -> Result<()>) -> Result<()> {
    let mut done = download();
    for _ in 1..DOWNLOADS_MAX {
        match &done {
            Err(error) if error.kind() != ErrorKind::NotFound => {}
            Ok(()) | Err(_) => break,
        }
        thread::sleep(BETWEEN_DOWNLOADS);
        done = download();
    }
    done
}

/// Runs a tool in a folder; its own words are in the error.
fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            let what = match program {
                "npm" => "Node.js 20 with npm",
                "apt-get" | "dpkg-deb" => "apt (Debian or Ubuntu)",
                _ => "Python 3.11 with venv and pip",
            };
            let words = format!("cannot run {program}: install {what} ({error})");
            Error::new(ErrorKind::NotFound, words)
        })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let line = arguments.join(" ");
    Err(Error::other(format!(
        "`{program} {line}` failed: {}",
        words.trim()
    )))
}
