//! A gate on a wire: whatever comes to it stands still until it is opened.

use std::sync::Arc;

use tokio::sync::watch;

/// Clones are handles to the same gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<watch::Sender<Phase>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Awaited,
    Reached,
    Open,
}

impl Gate {
    /// A closed gate.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Awaited)))
    }

    /// Comes to the gate and waits until it is open.
    pub(crate) async fn stand(&self) {
        self.0.send_if_modified(|phase| {
            let first = *phase == Phase::Awaited;
            if first {
                *phase = Phase::Reached;
            }
            first
        });
        self.wait_for(Phase::Open).await;
    }

    /// Returns when somebody stands before the gate; never, when nobody comes.
    pub(crate) async fn reached(&self) {
        self.wait_for(Phase::Reached).await;
    }

    /// Opens it for good.
    pub(crate) fn open(&self) {
        self.0.send_replace(Phase::Open);
    }

    async fn wait_for(&self, wanted: Phase) {
        let mut phase = self.0.subscribe();
        // We hold the sender, so the channel stays.
        drop(phase.wait_for(|phase| *phase == wanted).await);
    }
}
