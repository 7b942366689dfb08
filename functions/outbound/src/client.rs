//! Sends a call: tries, pauses and gives up inside the deadline.
//! It must not know who is called or what an answer means.

use crate::{
    Answer, Dice, Failure, Lost, Request, Secrets, Transport, Trouble, answer::one_line,
    repeat::pause_max, transport::Broken,
};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The door. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    secrets: Secrets,
    dice: Dice,
}

/// How one try ended.
enum Tried {
    Answered(http::Response<Bytes>),
    Lost(Lost, String),
}

impl Client {
    /// A client over `transport`. Whatever is in `secrets` never shows in an error; `dice` draws
    /// the pauses.
    pub const fn new(transport: Transport, secrets: Secrets, dice: Dice) -> Self {
        Self {
            transport,
            secrets,
            dice,
        }
    }

    /// The secrets that are kept out of errors; more can be added.
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The randomness this client draws from.
    pub const fn dice(&self) -> &Dice {
        &self.dice
    }

    /// Sends a call, again where its [`Repeat`](crate::Repeat) allows it and time is left.
    /// An answer is an answer whatever its status; the last one is given.
    ///
    /// # Errors
    /// When no answer came. [`Lost::Unknown`] if any of the tries may have been processed.
    pub async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let call = request.call();
        let started = Instant::now();
        let mut may_be_processed = false;
        let mut tries: u32 = 0;
        loop {
            let left = request.deadline.saturating_sub(started.elapsed());
            tries = tries.saturating_add(1);
            let ended = self.once(&request, left.min(request.one_try_max())).await;
            let trouble = trouble_of(&ended);
            tracing::debug!(call, tries, trouble = ?trouble, "outside call");
            may_be_processed |= matches!(trouble, Some(Trouble::Silence | Trouble::ServerSide));
            let left = request.deadline.saturating_sub(started.elapsed());
            if let Some(pause) = self.pause(&request, trouble, tries, &ended)
                && pause < left
            {
                sleep(pause).await;
                continue;
            }
            return match ended {
                Tried::Answered(response) => Ok(self.answer(call, response)),
                Tried::Lost(_, why) => {
                    let lost = if may_be_processed {
                        Lost::Unknown
                    } else {
                        Lost::Refused
                    };
                    Err(Failure {
                        call,
                        lost,
                        why: one_line(&self.secrets.redact(&why)),
                    })
                }
            };
        }
    }

    async fn once(&self, request: &Request, limit: Duration) -> Tried {
        let call = match request.to_http() {
            Ok(call) => call,
            Err(why) => return Tried::Lost(Lost::Refused, why),
        };
        match timeout(limit, self.transport.call(call)).await {
            Ok(Ok(response)) => Tried::Answered(response),
            Ok(Err(Broken::Refused(why))) => Tried::Lost(Lost::Refused, why),
            Ok(Err(Broken::Unknown(why))) => Tried::Lost(Lost::Unknown, why),
            Err(_) => {
                let why = format!("no answer within {:.1} s", limit.as_secs_f64());
                Tried::Lost(Lost::Unknown, why)
            }
        }
    }

    /// The pause before the next try: drawn by the table, never shorter than what the other
    /// side asks for in `Retry-After`.
    fn pause(
        &self,
        request: &Request,
        trouble: Option<Trouble>,
        tries: u32,
        ended: &Tried,
    ) -> Option<Duration> {
        if request.to_http().is_err() {
            return None;
        }
        let longest = pause_max(request.repeat, trouble?, tries)?;
        let asked = match ended {
            Tried::Answered(response) if request.keeps(response.status()) => return None,
            Tried::Answered(response) => retry_after(response).unwrap_or_default(),
            Tried::Lost(..) => Duration::ZERO,
        };
        Some(asked + self.dice.up_to(longest))
    }

    fn answer(&self, call: String, response: http::Response<Bytes>) -> Answer {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        Answer {
            call,
            status,
            headers,
            body,
            secrets: self.secrets.clone(),
        }
    }
}

fn trouble_of(ended: &Tried) -> Option<Trouble> {
    match ended {
        Tried::Answered(response) => Trouble::of_status(response.status().as_u16()),
        Tried::Lost(Lost::Refused, _) => Some(Trouble::NotConnected),
        Tried::Lost(Lost::Unknown, _) => Some(Trouble::Silence),
    }
}

/// `Retry-After` in seconds; its form as a date is not used by anybody we call.
fn retry_after(response: &http::Response<Bytes>) -> Option<Duration> {
    let text = response
        .headers()
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
