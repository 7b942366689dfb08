//! Counts what goes wrong, and passes on what is worth a line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

/// Counts by name. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    counts: Arc<Mutex<BTreeMap<&'static str, u32>>>,
    complaints: Arc<Mutex<Vec<String>>>,
    say: UnboundedSender<String>,
}

impl Tally {
    pub(super) fn new(say: UnboundedSender<String>) -> Self {
        Self {
            counts: Arc::default(),
            complaints: Arc::default(),
            say,
        }
    }

    /// One more of these.
    pub(super) fn count(&self, what: &'static str) {
        *lock(&self.counts).entry(what).or_default() += 1;
    }

    /// A line for people. Nobody may be there any more to read it.
    pub(super) fn say(&self, line: String) {
        drop(self.say.send(line));
    }

    /// Something that must not be, whatever fails.
    pub(super) fn complain(&self, what: String) {
        self.say(format!("WRONG: {what}"));
        lock(&self.complaints).push(what);
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).clone()
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u32> {
        lock(&self.counts).clone()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
