//! The event-source mapping: takes messages from the queue in batches and hands them to a
//! function; what it does not report as failed is deleted.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::queue::Queue;
use crate::sqs_wire;

/// How messages become invocations.
#[derive(Debug, Clone, Copy)]
pub struct MappingConfig {
    /// Most messages of one invocation.
    pub batch_messages_max: usize,
    /// How long more messages are waited for after the first.
    pub window: Duration,
    /// Most invocations at once.
    pub concurrency_max: usize,
}

impl Default for MappingConfig {
    fn default() -> Self {
        Self {
            batch_messages_max: 5,
            window: Duration::from_millis(5),
            concurrency_max: 2,
        }
    }
}

/// A running mapping. Stopped on drop.
#[derive(Debug)]
pub(crate) struct Mapping(AbortHandle);

impl Mapping {
    /// `invoke` hands an event to the function; an error fails the whole batch, whose messages
    /// come back when their visibility ends.
    pub(crate) fn start<I, F>(queue: Queue, config: MappingConfig, invoke: I) -> Self
    where
        I: Fn(Bytes) -> F + Clone + Send + 'static,
        F: Future<Output = Option<Bytes>> + Send + 'static,
    {
        Self(tokio::spawn(run(queue, config, invoke)).abort_handle())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run<I, F>(queue: Queue, config: MappingConfig, invoke: I)
where
    I: Fn(Bytes) -> F + Clone + Send + 'static,
    F: Future<Output = Option<Bytes>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(config.concurrency_max));
    let mut invocations = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while invocations.try_join_next().is_some() {}
        let mut records = queue.receive(config.batch_messages_max).await;
        if records.len() < config.batch_messages_max {
            sleep(config.window).await;
            records.extend(queue.receive_now(config.batch_messages_max - records.len()));
        }
        let (queue, invoke) = (queue.clone(), invoke.clone());
        invocations.spawn(async move {
            let ids: Vec<String> = records.iter().map(|r| r.message_id.clone()).collect();
            if let Some(answer) = invoke(sqs_wire::event(&records)).await {
                let failed = sqs_wire::failures(&answer, &ids);
                for id in ids.iter().filter(|id| !failed.contains(id)) {
                    queue.delete(id);
                }
            }
            queue.give_back(&ids);
            drop(slot);
        });
    }
}
