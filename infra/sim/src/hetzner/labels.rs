//! Hetzner's labels: what they may contain, and the selector grammar.

use std::collections::BTreeMap;

/// Labels of one resource.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether a label key is allowed: an optional DNS prefix and a name.
fn key_allowed(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_allowed = prefix.is_none_or(|prefix| {
        let known = prefix
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
        known && !prefix.is_empty() && prefix.len() <= 253 && prefix != "hetzner.cloud"
    });
    prefix_allowed && !name.is_empty() && text_allowed(name)
}

/// Whether a value is allowed; the empty one is.
fn text_allowed(value: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    value.len() <= 63
        && value.chars().all(inside)
        && edge(value.chars().next())
        && edge(value.chars().next_back())
}

/// What is wrong with a set of labels, if anything.
pub(crate) fn fault_of(labels: &Labels) -> Option<String> {
    labels.iter().find_map(|(key, value)| {
        if !key_allowed(key) {
            return Some(format!("label key '{key}' is not correctly formatted"));
        }
        let wrong = !text_allowed(value);
        wrong.then(|| format!("label value '{value}' is not correctly formatted"))
    })
}

/// Whether the labels match a selector; `None` when the selector cannot be read.
pub(crate) fn matches(labels: &Labels, selector: &str) -> Option<bool> {
    let mut all = true;
    for term in terms(selector) {
        all &= term_matches(labels, term.trim())?;
    }
    Some(all)
}

/// The selector's terms: split at commas outside parentheses.
fn terms(selector: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut depth = 0_u32;
    for c in selector.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            terms.push(String::new());
        } else if let Some(last) = terms.last_mut() {
            last.push(c);
        }
    }
    terms
}

fn term_matches(labels: &Labels, term: &str) -> Option<bool> {
    if let Some((key, set)) = split_set(term, " notin ") {
        let has = |value: &String| set.contains(value);
        return Some(!labels.get(key).is_some_and(has));
    }
    if let Some((key, set)) = split_set(term, " in ") {
        let has = |value: &String| set.contains(value);
        return Some(labels.get(key).is_some_and(has));
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Some(labels.get(checked(key)?).map(String::as_str) != Some(value.trim()));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Some(labels.get(checked(key)?).map(String::as_str) == Some(value.trim()));
    }
    if let Some(key) = term.strip_prefix('!') {
        return Some(!labels.contains_key(checked(key)?));
    }
    Some(labels.contains_key(checked(term)?))
}

fn checked(key: &str) -> Option<&str> {
    let key = key.trim();
    key_allowed(key).then_some(key)
}

fn split_set<'a>(term: &'a str, word: &str) -> Option<(&'a str, Vec<String>)> {
    let (key, set) = term.split_once(word)?;
    let inner = set.trim().strip_prefix('(')?.strip_suffix(')')?;
    let values = inner.split(',').map(|value| value.trim().to_owned());
    Some((key.trim(), values.collect()))
}
