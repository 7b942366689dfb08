//! Under which account the server runs: PostgreSQL refuses to run as root.
//!
//! Knows Unix accounts and file modes, nothing of PostgreSQL's files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// The account of the server process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// The one we run under ourselves.
    Myself { uid: u32 },
    /// Another one, because we are root. It must be in the account list: `initdb` looks its
    /// name up.
    Account { name: String, uid: u32, gid: u32 },
}

impl RunAs {
    /// Decides by the owner of a file just made in `probe_dir`.
    pub(crate) fn detect(probe_dir: &Path) -> Result<Self> {
        let probe = tempfile::tempdir_in(probe_dir)
            .with_context(|| format!("cannot write to {}", probe_dir.display()))?;
        let uid = fs::metadata(probe.path())?.uid();
        if uid != 0 {
            return Ok(Self::Myself { uid });
        }
        let accounts = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        unprivileged(&accounts)
            .context("running as root, and there is no account postgres or nobody to run under")
    }

    /// The user id of the server process.
    pub(crate) fn uid(&self) -> u32 {
        match self {
            Self::Myself { uid } | Self::Account { uid, .. } => *uid,
        }
    }

    /// Makes `command` run under this account, out of reach of the terminal's Ctrl-C.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.process_group(0);
        match self {
            Self::Myself { .. } => {}
            Self::Account { uid, gid, .. } => {
                command.uid(*uid).gid(*gid);
            }
        }
    }

    /// Gives `path` to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        match self {
            Self::Myself { .. } => Ok(()),
            Self::Account { uid, gid, .. } => chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("cannot give {} away", path.display())),
        }
    }
}

/// Whether every account may read `path` and pass all folders above it.
pub(crate) fn reachable_by_all(path: &Path) -> bool {
    let Ok(real) = fs::canonicalize(path) else {
        return false;
    };
    real.ancestors().all(|dir| {
        fs::metadata(dir).is_ok_and(|meta| {
            let needed = if dir == real { 0o005 } else { 0o001 };
            meta.permissions().mode() & needed == needed
        })
    })
}

fn unprivileged(accounts: &str) -> Option<RunAs> {
    ["postgres", "nobody"].iter().find_map(|wanted| {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| name == wanted)?;
            let uid = fields.nth(1)?.parse().ok().filter(|uid| *uid != 0)?;
            let gid = fields.next()?.parse().ok()?;
            Some(RunAs::Account {
                name: name.to_owned(),
                uid,
                gid,
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_preferred_to_nobody_and_root_is_never_taken() {
        let both = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/x\npostgres:x:101:104::/:/x\n";
        let postgres = RunAs::Account {
            name: "postgres".to_owned(),
            uid: 101,
            gid: 104,
        };
        assert_eq!(unprivileged(both), Some(postgres));
        let nobody = RunAs::Account {
            name: "nobody".to_owned(),
            uid: 65534,
            gid: 65534,
        };
        assert_eq!(
            unprivileged("root:x:0:0\nnobody:x:65534:65534::\n"),
            Some(nobody)
        );
        assert_eq!(unprivileged("postgres:x:0:0::\n"), None);
    }

    #[test]
    fn a_private_folder_is_out_of_reach() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!reachable_by_all(dir.path()));
        assert!(reachable_by_all(Path::new("/usr")));
    }
}
