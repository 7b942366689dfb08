//! The distribution's own `cloud-init`, unpacked beside the other peers: what `apt` sells on
//! this machine, and on Debian 12 that of Debian 13 too, because Ubuntu 22.04 and 24.04 carry
//! versions between and beyond those two.
//!
//! Uses package lists of its own, so neither root nor an earlier `apt-get update` is needed.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::{install_python, patiently, prepared, run};

/// What the package needs of Python.
const MODULES: &str = include_str!("../../tests/peers/cloud-init.txt");

/// Where `apt` looks for its sources.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];

/// Releases whose `cloud-init` is wanted beside the machine's own, by the machine's release.
const BESIDE: [(&str, &str); 1] = [("bookworm", "trixie")];

/// Programs that behave as `cloud-init` of each release that can be had here, by release.
/// Blocks for half a minute when they are made for the first time.
pub fn cloud_init() -> Result<Vec<(String, PathBuf)>> {
    let own = codename()?;
    let also = BESIDE.iter().filter(|(machine, _)| *machine == own);
    let releases: Vec<String> = std::iter::once(own.clone())
        .chain(also.map(|(_, release)| (*release).to_owned()))
        .collect();
    let pins = format!("{MODULES}{releases:?}");
    let home = prepared("cloud-init", &pins, |home| {
        releases
            .iter()
            .try_for_each(|release| unpack(home, &own, release))?;
        install_python(home, MODULES)
    });
    let home = home.map_err(|error| in_short(&error))?;
    let program = |release: String| {
        let path = home.join(&release).join("run");
        (release, path)
    };
    Ok(releases.into_iter().map(program).collect())
}

/// The machine's release, as `/etc/os-release` names it.
fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = line.map(|name| name.trim_matches('"').to_owned());
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Error::other("cloud-init comes from apt: run this on Debian or Ubuntu (no codename here)")
    })
}

/// Downloads and unpacks the package of a release into `home/<release>`.
fn unpack(home: &Path, own: &str, release: &str) -> Result<()> {
    let folder = home.join(release);
    for part in ["sources", "lists/partial", "cache/archives/partial", "deb"] {
        fs::create_dir_all(folder.join(part))?;
    }
    copy_sources(own, release, &folder.join("sources"))?;
    let at = |part: &str| folder.join(part).display().to_string();
    let options = [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        format!("Dir::Etc::sourceparts={}", at("sources")),
        format!("Dir::State::lists={}", at("lists")),
        format!("Dir::Cache={}", at("cache")),
        // Else root would download as a user who may not write here.
        "APT::Sandbox::User=root".to_owned(),
    ];
    let with = |words: &[&str]| -> Vec<String> {
        let options = options
            .iter()
            .flat_map(|one| ["-o".to_owned(), one.clone()]);
        options
            .chain(words.iter().map(|word| (*word).to_owned()))
            .collect()
    };
    let apt = |words: &[&str], at: &Path| {
        let words = with(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run("apt-get", &words, at)
    };
    patiently(|| {
        apt(&["-qq", "update"], &folder)?;
        apt(&["-qq", "download", "cloud-init"], &folder.join("deb"))
    })?;
    let package = fs::read_dir(folder.join("deb"))?
        .next()
        .ok_or_else(|| Error::other(format!("apt-get gave no cloud-init for {release}")))??;
    let package = package.path().display().to_string();
    run("dpkg-deb", &["-x", &package, "root"], &folder)?;
    fs::remove_dir_all(folder.join("lists"))?;
    fs::remove_dir_all(folder.join("cache"))?;
    let script = "#!/bin/sh\n\
        here=$(dirname \"$0\")\n\
        export PYTHONPATH=\"$here/root/usr/lib/python3/dist-packages\"\n\
        exec \"$here/../venv/bin/python\" -m cloudinit.cmd.main \"$@\"\n";
    fs::write(folder.join("run"), script)?;
    run("chmod", &["+x", "run"], &folder)
}

/// One line of why, which is the last that a tool said, and what to see to.
fn in_short(error: &Error) -> Error {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    Error::other(format!(
        "cloud-init cannot be had here, apt and pip must reach their packages: {last}"
    ))
}

/// Copies those of the machine's sources that are of its own release, turned to `release`.
fn copy_sources(own: &str, release: &str, to: &Path) -> Result<()> {
    let mut copied = 0;
    for source in SOURCES.iter().flat_map(|place| files(Path::new(place))) {
        let text = fs::read_to_string(&source)?;
        let is_own = |word: &str| word == own || word.starts_with(&format!("{own}-"));
        if text.split_whitespace().any(is_own)
            && let Some(name) = source.file_name()
        {
            fs::write(to.join(name), text.replace(own, release))?;
            copied += 1;
        }
    }
    if copied > 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::NotFound,
        format!("none of the sources of apt is of {own}"),
    ))
}

/// A file, or the files of a folder; none when it does not exist.
fn files(place: &Path) -> Vec<PathBuf> {
    match fs::read_dir(place) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) if place.is_file() => vec![place.to_path_buf()],
        Err(_) => Vec::new(),
    }
}
