//! House rules that no lint knows: what every file says first, how long it may be, what must
//! not be left behind, and that settings and README agree.

#![cfg(test)]

use std::{fs, path::PathBuf, process::Command};

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;
/// Endings of what people write here.
const SOURCES: [&str; 9] = [
    ".rs", ".sql", ".yml", ".py", ".mjs", ".sh", ".html", ".css", ".js",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every text file that belongs to the project, with its path from the root.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(
        listed.status.success(),
        "git knows the files of the project"
    );
    String::from_utf8(listed.stdout)
        .expect("paths are text")
        .lines()
        .filter(|path| endings.iter().any(|ending| path.ends_with(ending)))
        .filter_map(|path| Some((path.to_owned(), fs::read_to_string(root().join(path)).ok()?)))
        .collect()
}

#[test]
fn every_source_file_says_what_it_is_for_and_is_short() {
    let sources = files(&[".rs"]);
    assert!(sources.len() > 50, "only {} sources found", sources.len());
    for (path, text) in sources {
        assert!(text.starts_with("//! "), "{path} does not open with `//!`");
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines");
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(
                columns <= COLUMNS_MAX,
                "{path}:{} has {columns} columns",
                number + 1
            );
        }
    }
}

#[test]
fn nothing_is_left_behind() {
    // Put together here, so that this file does not find itself.
    let forbidden = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["#[ig", "nore"].concat(),
        ["#[should", "_panic"].concat(),
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["db", "g!("].concat(),
        ["allow(dead", "_code"].concat(),
    ];
    for (path, text) in files(&SOURCES) {
        for word in &forbidden {
            assert!(!text.contains(word.as_str()), "{path} holds {word}");
        }
    }
}

#[test]
fn every_room_follows_the_workspace() {
    for (path, text) in files(&["/Cargo.toml"]) {
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{path} sets its own lints"
        );
        assert!(
            text.contains("publish.workspace = true"),
            "{path} could be published"
        );
    }
}

/// Names in a text that look like settings: at least two words of capitals.
fn settings(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .filter(|word| {
            word.contains('_') && word.len() > 5 && word.starts_with(|c: char| c.is_alphabetic())
        })
}

#[test]
fn every_setting_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let mut seen = 0;
    for (path, text) in files(&["src/settings.rs"]) {
        if path.starts_with("infra/") || path.starts_with("functions/host/") {
            continue;
        }
        let quoted = text.split('"').skip(1).step_by(2);
        for name in quoted.filter(|quoted| settings(quoted).any(|name| name == *quoted)) {
            seen += 1;
            assert!(
                readme.contains(&format!("`{name}`")),
                "{path}: {name} is not in README.md"
            );
        }
    }
    assert!(seen > 20, "only {seen} settings found");
}
