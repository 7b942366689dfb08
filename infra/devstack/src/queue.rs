//! The queue: delays, visibility, redelivery, and a dead-letter list.
//!
//! Standard-queue rules: at least once, no order. Takes its time from tokio, so that delays of
//! minutes pass at once in virtual time. Who consumes is unknown here: see [`crate::mapping`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::entropy;
use crate::mischief::{Mischief, Mishaps, Trickster};
use crate::sqs_wire::Record;

/// How a queue treats its messages.
#[derive(Debug, Clone, Copy)]
pub struct QueueConfig {
    /// How long a received message stays hidden unless it is deleted.
    pub visibility: Duration,
    /// A message received this often without success goes to the dead letters.
    pub receives_max: u32,
}

impl Default for QueueConfig {
    /// AWS's advice: six times dispatch's time-out of 30 s, five receives.
    fn default() -> Self {
        Self {
            visibility: Duration::from_mins(3),
            receives_max: 5,
        }
    }
}

/// A queue. Clones share it.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: QueueConfig,
    clock: Clock,
    state: Mutex<State>,
    /// Told whenever a message is put in or given back.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    dead: Vec<String>,
    trickster: Option<Trickster>,
    mishaps: Mishaps,
}

#[derive(Debug, Clone)]
struct Message {
    record: Record,
    visible_at: Instant,
    /// With whoever received it, until it is deleted or given back.
    in_hand: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(config: QueueConfig, clock: Clock) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared {
            config,
            clock,
            state,
            changed,
        }))
    }

    /// Puts a message in and returns its id.
    pub fn send(&self, body: &str, delay: Duration) -> String {
        let message_id = entropy::uuid().to_string();
        let record = Record {
            message_id: message_id.clone(),
            receipt_handle: String::new(),
            body: body.to_owned(),
            receive_count: 0,
            sent_unix_ms: self.0.clock.unix_ms(),
            first_received_unix_ms: 0,
        };
        let now = Instant::now();
        let mut state = self.state();
        let State {
            messages,
            trickster,
            mishaps,
            ..
        } = &mut *state;
        let delays = match trickster {
            Some(trickster) => trickster.delays(delay, mishaps),
            None => vec![delay],
        };
        messages.extend(delays.into_iter().enumerate().map(|(copy, delay)| {
            let mut record = record.clone();
            if copy > 0 {
                record.message_id = entropy::uuid().to_string();
            }
            Message {
                record,
                visible_at: now + delay,
                in_hand: false,
            }
        }));
        drop(state);
        self.0.changed.notify_one();
        message_id
    }

    /// From now on messages are lost, doubled and delayed so, as drawn by `seed`; with nothing,
    /// all goes well again.
    pub fn disturb(&self, mischief: Option<Mischief>, seed: u64) {
        self.state().trickster = mischief.map(|mischief| Trickster::new(mischief, seed));
    }

    /// What messages suffered so far.
    pub fn mishaps(&self) -> Mishaps {
        self.state().mishaps
    }

    /// Loses every message that is in it now, and answers how many.
    pub fn lose_all(&self) -> usize {
        self.state().messages.drain(..).count()
    }

    /// Messages waiting, delayed or being handled.
    pub fn depth(&self) -> usize {
        self.state().messages.len()
    }

    /// Whether a message could be received now, or is being handled.
    pub fn is_at_work(&self) -> bool {
        let now = Instant::now();
        let at_work = |message: &Message| message.visible_at <= now || message.in_hand;
        self.state().messages.iter().any(at_work)
    }

    /// Lets every message be as much older as if that time had passed.
    pub fn age(&self, time: Duration) {
        let now = Instant::now();
        for message in &mut self.state().messages {
            message.visible_at = message.visible_at.checked_sub(time).unwrap_or(now);
        }
        self.0.changed.notify_one();
    }

    /// Bodies of the messages that failed too often.
    pub fn dead_letters(&self) -> Vec<String> {
        self.state().dead.clone()
    }

    /// Up to `count` visible messages, hidden from now on; waits until there is one.
    pub(crate) async fn receive(&self, count: usize) -> Vec<Record> {
        loop {
            let changed = self.0.changed.notified();
            let records = self.receive_now(count);
            if !records.is_empty() {
                return records;
            }
            let next = self
                .state()
                .messages
                .iter()
                .map(|message| message.visible_at)
                .min();
            match next {
                Some(at) => tokio::select! { () = changed => {}, () = sleep_until(at) => {} },
                None => changed.await,
            }
        }
    }

    pub(crate) fn receive_now(&self, count: usize) -> Vec<Record> {
        let (now, unix_ms) = (Instant::now(), self.0.clock.unix_ms());
        let config = self.0.config;
        let mut state = self.state();
        let spent =
            |m: &mut Message| m.visible_at <= now && m.record.receive_count >= config.receives_max;
        let dead: Vec<_> = state.messages.extract_if(.., spent).collect();
        state
            .dead
            .extend(dead.into_iter().map(|message| message.record.body));
        let visible = state
            .messages
            .iter_mut()
            .filter(|message| message.visible_at <= now);
        let received = visible.take(count).map(|message| {
            message.visible_at = now + config.visibility;
            message.in_hand = true;
            let record = &mut message.record;
            record.receive_count += 1;
            if record.receive_count == 1 {
                record.first_received_unix_ms = unix_ms;
            }
            record.receipt_handle = entropy::uuid().to_string();
            record.clone()
        });
        received.collect()
    }

    /// Removes a message after success.
    pub(crate) fn delete(&self, message_id: &str) {
        self.state()
            .messages
            .retain(|message| message.record.message_id != message_id);
    }

    /// Nobody handles these any more; they stay hidden until their visibility ends.
    pub(crate) fn give_back(&self, message_ids: &[String]) {
        for message in &mut self.state().messages {
            message.in_hand &= !message_ids.contains(&message.record.message_id);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
