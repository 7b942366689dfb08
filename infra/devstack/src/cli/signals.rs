//! Ctrl-C and SIGTERM: the work is dropped, and what it held is torn down with it.

use std::future::Future;

use anyhow::Result;

use tokio::signal::unix::{SignalKind, signal};

use super::End;

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Does the work, unless a signal ends it.
pub(crate) async fn unless_stopped(work: impl Future<Output = Result<End>>) -> Result<End> {
    tokio::select! {
        ended = work => ended,
        signal = stopped() => Ok(End::Signal(signal)),
    }
}

/// Returns the number of the first signal that asks us to stop.
pub(crate) async fn stopped() -> u8 {
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        // Without handlers the signals keep their default effect.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => SIGINT,
        _ = terminate.recv() => SIGTERM,
    }
}
