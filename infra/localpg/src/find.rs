//! Finds PostgreSQL's binaries: on the search path, in the usual folders, else the bundle.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bundle;
use crate::identity::{self, RunAs};
use crate::settings::Options;

/// The oldest release that Slipway's SQL runs on.
pub(crate) const MAJOR_MIN: u32 = 15;

/// One installation: the folder that holds `initdb` and `postgres`, and its version.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) bin: PathBuf,
    pub(crate) version: String,
}

impl Installation {
    /// Reads the version of the binaries in `bin`, or says why they cannot be used.
    pub(crate) fn at(bin: &Path, run_as: &RunAs) -> Result<Self> {
        for tool in ["initdb", "postgres"] {
            if !bin.join(tool).is_file() {
                bail!("{} has no {tool}", bin.display());
            }
        }
        if let RunAs::Account { name, .. } = run_as
            && !identity::reachable_by_all(bin)
        {
            bail!("{} cannot be read by the account {name}", bin.display());
        }
        let output = Command::new(bin.join("postgres"))
            .arg("--version")
            .output()
            .with_context(|| format!("{} does not start", bin.join("postgres").display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (version, major) = parse_version(&text)
            .with_context(|| format!("{} names no version: {text:?}", bin.display()))?;
        if major < MAJOR_MIN {
            bail!(
                "{} holds PostgreSQL {version}, {MAJOR_MIN} or later is needed",
                bin.display()
            );
        }
        Ok(Self {
            bin: bin.to_path_buf(),
            version,
        })
    }

    /// For people: version and place.
    pub(crate) fn describe(&self) -> String {
        format!("PostgreSQL {} from {}", self.version, self.bin.display())
    }
}

/// The first usable installation in the order that [`Options`] documents.
pub(crate) fn installation(options: &Options, run_as: &RunAs) -> Result<Installation> {
    let mut refused = Vec::new();
    for bin in candidates(options) {
        match Installation::at(&bin, run_as) {
            Ok(found) => return Ok(found),
            Err(reason) => refused.push(format!("{reason:#}")),
        }
    }
    bundle::installation(options, run_as).map_err(|reason| {
        let seen = if refused.is_empty() {
            String::new()
        } else {
            refused.join("; ") + "; "
        };
        anyhow::anyhow!(
            "no PostgreSQL {MAJOR_MIN} or later was found ({seen}bundle: {reason:#}); install \
             one with `apt-get install -y postgresql`, or set DATABASE_URL"
        )
    })
}

/// An executable file of that name on the search path.
pub(crate) fn on_path(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

fn candidates(options: &Options) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(pg_ctl) = on_path(&options.path, "pg_ctl")
        && let Ok(real) = fs::canonicalize(&pg_ctl)
        && let Some(bin) = real.parent()
    {
        found.push(bin.to_path_buf());
    }
    let mut installed: Vec<(u32, PathBuf)> = options
        .installation_parents
        .iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let major = major_of_folder(&entry.file_name().to_string_lossy())?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    installed.sort_by(|a, b| b.cmp(a));
    found.extend(installed.into_iter().map(|(_, bin)| bin));
    found
}

/// `15`, `pgsql-15` and `postgresql@15` are folders of PostgreSQL 15.
fn major_of_folder(name: &str) -> Option<u32> {
    let digits = name
        .strip_prefix("pgsql-")
        .or_else(|| name.strip_prefix("postgresql@"))
        .unwrap_or(name);
    digits.parse().ok()
}

/// Takes `postgres (PostgreSQL) 15.18 (Debian …)` apart.
fn parse_version(text: &str) -> Option<(String, u32)> {
    let version = text.split_whitespace().nth(2)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((version.to_owned(), digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some(("15.18".to_owned(), 15)));
        assert_eq!(
            parse_version("postgres (PostgreSQL) 19beta1"),
            Some(("19beta1".into(), 19))
        );
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn folders_of_three_makers_are_known() {
        assert_eq!(major_of_folder("16"), Some(16));
        assert_eq!(major_of_folder("pgsql-17"), Some(17));
        assert_eq!(major_of_folder("postgresql@18"), Some(18));
        assert_eq!(major_of_folder("share"), None);
    }
}
