//! What a running `devstack up` leaves for `devstack pay`: where it is and its secrets, readable
//! by its owner only.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use devstack::Stack;
use serde::{Deserialize, Serialize};

/// Contents of the file.
#[derive(Serialize, Deserialize)]
pub(crate) struct UpState {
    pub(crate) url: String,
    pub(crate) webhook_secret: String,
    pub(crate) api_token: String,
}

/// The file as long as the stack runs; removed on drop.
#[derive(Debug)]
pub(crate) struct StateFile(PathBuf);

/// `target/devstack/up.json`
pub(crate) fn default_path() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.unwrap_or(Path::new("."))
        .join("target/devstack/up.json")
}

impl StateFile {
    /// Writes it anew.
    pub(crate) fn write(path: PathBuf, stack: &Stack) -> Result<Self> {
        let state = UpState {
            url: stack.url().to_owned(),
            webhook_secret: stack.secrets().stripe_webhook.clone(),
            api_token: stack.secrets().api_token.clone(),
        };
        let text = serde_json::to_string_pretty(&state)?;
        let write = || -> std::io::Result<()> {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            // An old file would keep its mode.
            drop(fs::remove_file(&path));
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(text.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

impl UpState {
    /// Reads what a running stack wrote.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "no running stack: cannot read {}; start `devstack up` first",
                path.display()
            )
        })?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not of a running stack", path.display()))
    }
}
