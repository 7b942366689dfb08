//! What child processes print: one file per process, and the last lines kept for errors.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

const TAIL_LINES_MAX: usize = 20;

/// The last lines that one process printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The last line that says something.
    pub(crate) fn last(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lines.iter().rfind(|line| !line.trim().is_empty());
        last.cloned()
            .unwrap_or_else(|| "it printed nothing".to_owned())
    }
}

/// Copies a stream line by line into `file` and the tail, until its end.
pub(crate) fn collect(
    stream: impl AsyncRead + Send + Unpin + 'static,
    file: PathBuf,
    tail: Tail,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(file)
            .await
            .ok();
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .await
            .is_ok_and(|read| read > 0)
        {
            // The state folder may be gone at the very end; the tail still tells.
            if let Some(file) = &mut file {
                drop(file.write_all(&line).await);
                drop(file.flush().await);
            }
            tail.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    })
}
