//! Builds the product's binaries with the profile of our own and finds them beside us.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

/// Named with the others so that cargo picks the same features as when it built us alone, and
/// compiles no crate a second time.
const OURSELVES: &str = "devstack";

/// The binaries that a stack runs; each is named like its package.
const PACKAGES: [&str; 5] = ["stripe-webhook", "dispatch", "callback", "agents", "runner"];

/// The folder in which the product's binaries lie.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// Builds the binaries with `cargo`, showing its progress on stderr. `executable` is our own
    /// path (or that of a test): its folder tells profile and target folder.
    pub async fn build(cargo: &Path, executable: &Path) -> Result<Self> {
        let dir = folder(executable)?;
        let profile = match dir.file_name().and_then(|name| name.to_str()) {
            Some("debug") => "dev",
            Some(other) => other,
            None => bail!("{} is in no profile's folder", executable.display()),
        };
        let target = dir.parent().context("the profile's folder has no parent")?;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        let mut command = Command::new(cargo);
        command.args([
            "build",
            "--locked",
            "--bins",
            "--profile",
            profile,
            "--manifest-path",
        ]);
        command.arg(manifest).arg("--target-dir").arg(target);
        for package in PACKAGES.iter().chain([&OURSELVES]) {
            command.args(["--package", package]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let status = command.status().await.with_context(|| {
            format!(
                "cannot start {} to build the functions and the runner",
                cargo.display()
            )
        })?;
        ensure!(
            status.success(),
            "the functions and the runner do not build; see above"
        );
        Self::beside(&dir)
    }

    /// Takes binaries already built.
    pub fn beside(dir: &Path) -> Result<Self> {
        for package in PACKAGES {
            let path = dir.join(package);
            ensure!(
                path.is_file(),
                "{} is missing; build it first",
                path.display()
            );
        }
        Ok(Self {
            dir: dir.to_path_buf(),
        })
    }

    /// Path of one binary.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The profile's folder: test binaries lie one deeper, in `deps`.
fn folder(executable: &Path) -> Result<PathBuf> {
    let dir = executable.parent().context("our own path has no folder")?;
    let deps = dir.file_name().is_some_and(|name| name == "deps");
    let dir = if deps {
        dir.parent().unwrap_or(dir)
    } else {
        dir
    };
    Ok(dir.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_and_tests_find_the_same_folder() {
        for path in [
            "/w/target/debug/devstack",
            "/w/target/debug/deps/journey-0123",
        ] {
            assert_eq!(
                folder(Path::new(path)).unwrap(),
                Path::new("/w/target/debug")
            );
        }
    }

    #[test]
    fn a_missing_binary_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Binaries::beside(dir.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("stripe-webhook is missing; build it first"),
            "{error}"
        );
    }
}
