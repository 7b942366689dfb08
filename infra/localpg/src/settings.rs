//! What a caller decides: which server to use and where to look for one.
//!
//! The one place of this crate that may read the environment.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Folders whose children hold one PostgreSQL installation each, as `<child>/bin`:
/// Debian and Ubuntu, Red Hat, Homebrew.
const INSTALLATION_PARENTS: [&str; 4] = [
    "/usr/lib/postgresql",
    "/usr",
    "/opt/homebrew/opt",
    "/usr/local/opt",
];

/// Where a PostgreSQL may come from, in the order tried: the URL, `PATH`, the installation
/// folders, the pinned bundle.
#[derive(Clone)]
pub struct Options {
    /// A running server to use instead of a private one (`DATABASE_URL`).
    pub database_url: Option<String>,
    /// The search path in which `pg_ctl`, `python3` and `pip` are looked for.
    pub path: OsString,
    /// Folders whose children are looked at for `bin/postgres`.
    pub installation_parents: Vec<PathBuf>,
    /// Where the bundle and the template data folder are kept between runs.
    pub cache_dir: PathBuf,
    /// Where the throw-away data folders are made.
    pub temp_dir: PathBuf,
}

impl Options {
    /// Looks nowhere but in `path`, the usual installation folders and the bundle.
    pub fn private(path: OsString, cache_dir: PathBuf) -> Self {
        Self {
            database_url: None,
            path,
            installation_parents: INSTALLATION_PARENTS.iter().map(PathBuf::from).collect(),
            cache_dir,
            temp_dir: env::temp_dir(),
        }
    }

    /// Reads `DATABASE_URL`, `PATH` and `CARGO_TARGET_DIR`; the cache lies in the target folder.
    pub fn from_env() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let database_url = env::var_os("DATABASE_URL")
            .map(|url| url.to_string_lossy().into_owned())
            .filter(|url| !url.is_empty());
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
            || {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
                root.unwrap_or(Path::new(".")).join("target")
            },
            PathBuf::from,
        );
        Self {
            database_url,
            ..Self::private(path, target.join("localpg"))
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field(
                "database_url",
                &self.database_url.as_ref().map(|_| "[redacted]"),
            )
            .field("path", &self.path)
            .field("installation_parents", &self.installation_parents)
            .field("cache_dir", &self.cache_dir)
            .field("temp_dir", &self.temp_dir)
            .finish()
    }
}
