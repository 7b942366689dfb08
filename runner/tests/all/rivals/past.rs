//! What one attempt did and heard, call by call, and what of it makes a state differ.
//! It must not know what a call means.

use super::form::{Line, canonical};
use bytes::Bytes;
use contract::Report;
use http::{Request, Response};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

/// A call and its answer.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) before: Past,
    pub(super) request: Arc<Request<Bytes>>,
    pub(super) answer: Response<Bytes>,
    hash: u64,
}

/// Everything that an attempt has heard, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Past(Option<Arc<Heard>>);

impl Past {
    /// This past and one more call.
    pub(super) fn and(&self, request: Arc<Request<Bytes>>, answer: Response<Bytes>) -> Self {
        let mut hasher = DefaultHasher::new();
        // The calls follow from the answers.
        (self.hash(), answer.status().as_u16(), answer.body()).hash(&mut hasher);
        Self(Some(Arc::new(Heard {
            before: self.clone(),
            request,
            answer,
            hash: hasher.finish(),
        })))
    }

    pub(super) fn last(&self) -> Option<&Heard> {
        self.0.as_deref()
    }

    pub(super) fn hash(&self) -> u64 {
        self.last().map_or(0, |last| last.hash)
    }

    /// All of it, the oldest first.
    pub(super) fn all(&self) -> Vec<&Heard> {
        let mut all: Vec<&Heard> =
            std::iter::successors(self.last(), |heard| heard.before.last()).collect();
        all.reverse();
        all
    }

    /// The reports among it.
    pub(super) fn reports(&self) -> Vec<Report> {
        let all = self.all().into_iter();
        let sent = all.filter(|heard| heard.request.uri().host() == Some("callback.sim"));
        sent.map(|heard| serde_json::from_slice(heard.request.body()).unwrap())
            .collect()
    }
}

/// The longest loop that is recognised, in calls.
const LOOP_MAX: usize = 8;

/// How long what was heard matters to the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Until something is made.
    Passing,
    /// It lets what was passing before be forgotten, and is passing itself.
    Turning,
    /// The same, and it stays.
    Lasting,
}

/// The past as far as it makes a state differ: one line for each call and its answer. Of a loop
/// that heard the same again and again only one round is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Story(Vec<(Arc<Line>, Weight)>);

impl Story {
    /// Adds a call. Gives whether it ended another round of a loop.
    pub(super) fn add(&mut self, line: Line, weight: Weight) -> bool {
        if weight != Weight::Passing {
            self.0.retain(|(_, weight)| *weight == Weight::Lasting);
        }
        self.0.push((Arc::new(line), weight));
        let lines = &self.0;
        let repeats = |round: &usize| {
            let Some(before) = lines.len().checked_sub(2 * round) else {
                return false;
            };
            let start = before + round;
            lines[before..start] == lines[start..]
        };
        let round = (1..=LOOP_MAX).find(repeats);
        self.0.truncate(self.0.len() - round.unwrap_or(0));
        round.is_some()
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.0.iter().map(|(line, _)| &**line)
    }
}

/// Holds the stories against each other: what a story leaves out must not matter, so the same
/// story and the same answer must always be followed by the same call.
#[derive(Debug, Default)]
pub(super) struct Recall {
    followed: HashMap<u64, u64>,
    /// How often another call followed.
    pub(super) contradictions: usize,
}

impl Recall {
    /// After the story came this answer, and then this call. A round of a loop says nothing: how
    /// many there were is left out on purpose.
    pub(super) fn hold(&mut self, story: &Story, answer: &Line, next: &Line) {
        let heard: Vec<&Line> = story.lines().chain([answer]).collect();
        let then: Vec<&Line> = heard.iter().copied().chain([next]).collect();
        let then = canonical(&then);
        let before = *self.followed.entry(canonical(&heard)).or_insert(then);
        self.contradictions += usize::from(before != then);
    }
}
