//! A private cluster starts, serves, and leaves nothing behind, whatever ends its owner.

#![cfg(test)]

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use localpg::{LocalPg, Options};
use tokio_postgres::NoTls;

async fn query(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn options(temp: &Path) -> Options {
    let database_url = None;
    Options {
        database_url,
        temp_dir: temp.to_path_buf(),
        ..Options::from_env()
    }
}

fn open_temp_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[tokio::test]
async fn a_cluster_serves_databases_and_is_removed() {
    let temp = open_temp_dir();
    let pg = LocalPg::start(options(temp.path())).await.unwrap();
    assert!(pg.source().starts_with("PostgreSQL "), "{}", pg.source());
    let url = pg.create_database("one").await.unwrap();
    assert_eq!(query(&url, "SELECT current_database()::text").await, "one");
    assert_eq!(query(&url, "SHOW fsync").await, "off");
    assert!(
        !format!("{pg:?}").contains(&pg.url()),
        "the URL holds a password"
    );

    let twice = pg.create_database("one").await.unwrap_err();
    assert!(
        format!("{twice:#}").contains("cannot create the database one"),
        "{twice:#}"
    );
    let odd = pg.create_database("a\"; DROP").await.unwrap_err();
    assert!(
        format!("{odd:#}").contains("is no database name"),
        "{odd:#}"
    );

    pg.stop();
    assert!(is_empty(temp.path()), "the data folder is left");
    assert!(
        tokio_postgres::connect(&url, NoTls).await.is_err(),
        "the server still answers"
    );
}

#[tokio::test]
async fn the_password_is_needed() {
    let temp = open_temp_dir();
    let pg = LocalPg::start(options(temp.path())).await.unwrap();
    let (_, address) = pg
        .url()
        .split_once('@')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let guess = format!("postgres://postgres:guess@{address}");
    assert!(tokio_postgres::connect(&guess, NoTls).await.is_err());
}

#[tokio::test]
async fn a_given_server_is_used_and_left_running() {
    let temp = open_temp_dir();
    let pg = LocalPg::start(options(temp.path())).await.unwrap();
    let given = Options {
        database_url: Some(pg.url()),
        ..options(temp.path())
    };
    let second = LocalPg::start(given).await.unwrap();
    assert!(
        second.source().ends_with("from DATABASE_URL"),
        "{}",
        second.source()
    );
    let url = second.fresh_database("given").await.unwrap();
    second.stop();
    assert!(
        query(&url, "SELECT current_database()::text")
            .await
            .starts_with("given_")
    );
}

#[tokio::test]
async fn no_postgresql_and_no_pip_is_one_clear_line() {
    let temp = open_temp_dir();
    let nowhere = Options {
        path: OsString::from("/nonexistent"),
        installation_parents: vec![PathBuf::from("/nonexistent")],
        cache_dir: temp.path().join("cache"),
        ..options(temp.path())
    };
    let text = format!("{:#}", LocalPg::start(nowhere).await.unwrap_err());
    assert!(text.contains("apt-get install -y postgresql"), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[tokio::test]
async fn a_dead_server_is_named() {
    let temp = open_temp_dir();
    let dead = "postgres://postgres@127.0.0.1:1/postgres".to_owned();
    let given = Options {
        database_url: Some(dead),
        ..options(temp.path())
    };
    let text = format!("{:#}", LocalPg::start(given).await.unwrap_err());
    assert!(text.contains("cannot connect to PostgreSQL"), "{text}");
}

#[tokio::test]
async fn shared_is_one_server_for_all() {
    let one = localpg::shared().await.unwrap();
    let two = localpg::shared().await.unwrap();
    assert_eq!(one.url(), two.url());
    let a = one.fresh_database("shared").await.unwrap();
    let b = two.fresh_database("shared").await.unwrap();
    assert_ne!(a, b);
}

/// The test below starts itself once more, to have a process that it can kill.
async fn be_the_owner(temp: &Path) {
    let pg = LocalPg::start(options(temp)).await.unwrap();
    // A database of no other cluster: another may take the port of this one when it is gone.
    eprintln!("url {}", pg.create_database("owned").await.unwrap());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() {
    if let Some(temp) = std::env::var_os("LOCALPG_TEST_OWNER") {
        return be_the_owner(Path::new(&temp)).await;
    }
    let temp = open_temp_dir();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_owner_leaves_nothing", "--nocapture"])
        .env("LOCALPG_TEST_OWNER", temp.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stderr.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("url "))
        .unwrap();
    let url = line.strip_prefix("url ").unwrap().to_owned();
    assert_eq!(query(&url, "SELECT 'alive'").await, "alive");

    owner.kill().unwrap();
    owner.wait().unwrap();
    let gone = async {
        while !is_empty(temp.path()) || tokio_postgres::connect(&url, NoTls).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_mins(1), gone).await;
    let left = !is_empty(temp.path());
    assert!(
        gone.is_ok(),
        "the data folder is left: {left}; else the server answers"
    );
}
