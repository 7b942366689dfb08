//! The template data folder: `initdb` runs once, every cluster starts from a copy.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::bundle;
use crate::find::Installation;
use crate::identity::RunAs;

/// A data folder that no server runs on, and the password of its superuser.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) data: PathBuf,
    pub(crate) password_file: PathBuf,
}

impl Template {
    /// The cached template of this installation and account, made if there is none.
    pub(crate) fn get(found: &Installation, run_as: &RunAs, cache: &Path) -> Result<Self> {
        let home = cache.join(format!("template-{}-{}", found.version, run_as.uid()));
        if !home.is_dir() {
            let lock = File::create(cache.join("template.lock"))?;
            lock.lock().context("cannot lock the cache folder")?;
            if !home.is_dir() {
                make(found, run_as, &home)?;
            }
        }
        Ok(Self {
            data: home.join("data"),
            password_file: home.join("password"),
        })
    }

    /// Copies the data folder to `to`, owners and modes included.
    pub(crate) fn copy(&self, to: &Path) -> Result<()> {
        bundle::run(Command::new("cp").arg("-a").arg(&self.data).arg(to))
    }

    /// The superuser's password.
    pub(crate) fn password(&self) -> Result<String> {
        fs::read_to_string(&self.password_file)
            .with_context(|| format!("cannot read {}", self.password_file.display()))
    }
}

fn make(found: &Installation, run_as: &RunAs, home: &Path) -> Result<()> {
    let parent = home.parent().context("the cache folder has no parent")?;
    let work = tempfile::tempdir_in(parent)?;
    fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755))?;
    let data = work.path().join("data");
    fs::create_dir(&data)?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
    run_as.own(&data)?;
    let password_file = work.path().join("password");
    write_secret(&password_file, &random_hex()?)?;
    run_as.own(&password_file)?;

    // md5 rather than scram: scram hashes 4096 times at every connect, which an unoptimised
    // test binary feels, and the password never leaves this machine.
    let mut initdb = Command::new(found.bin.join("initdb"));
    initdb
        .args([
            "--username=postgres",
            "--auth=md5",
            "--encoding=UTF8",
            "--locale=C",
        ])
        .args([
            "--no-sync",
            "--no-instructions",
            "--wal-segsize=4",
            "--pwfile",
        ])
        .arg(&password_file)
        .arg("--pgdata")
        .arg(&data)
        .current_dir(work.path());
    run_as.apply(&mut initdb);
    bundle::run(&mut initdb)?;
    fs::rename(work.path(), home).context("cannot move the template into the cache")
}

fn write_secret(path: &Path, secret: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(secret.as_bytes())?)
}

/// 128 random bits.
pub(crate) fn random_hex() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?
        .read_exact(&mut bytes)
        .context("cannot read /dev/urandom")?;
    Ok(hex::encode(bytes))
}
