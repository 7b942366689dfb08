//! Whether reports would arrive and be believed: a heartbeat of a job that nobody has, signed
//! wrongly, then rightly. Neither changes anything: the first is refused for its signature, the
//! second because there is no such job.

use super::Finding;
use crate::{
    clock::Clock,
    settings::{NOBODY, Told},
};
use contract::{ErrorBody, Report, RunPair, SIGNATURE_HEADER, Said, Sender, sign};
use outbound::{Answer, Client, Failure, Repeat, Request};
use secrecy::ExposeSecret;
use std::time::Duration;

const URL: &str = "CALLBACK_URL";
const SECRET: &str = "CALLBACK_SECRET";
/// A secret that is nobody's.
const NOT_THE_SECRET: &str = "doctor: whoever takes this takes anything";
/// One call may take this long; a function that sleeps needs a moment.
const TRY_MAX: Duration = Duration::from_secs(10);

/// Every check at the callback.
pub(super) async fn check(told: &Told, client: &Client, clock: &Clock) -> Vec<Finding> {
    let url = match told.mistake(URL) {
        Some(why) => Finding::wrong(URL, why),
        None => match probe(told, client, clock, NOT_THE_SECRET).await {
            Ok(answer) => address(&answer),
            Err(why) => {
                let fix = "check the address and that the callback function is deployed";
                Finding::unknown(URL, format!("{why}; {fix}"))
            }
        },
    };
    if let Some(why) = told.mistake(SECRET) {
        return vec![url, Finding::wrong(SECRET, why)];
    }
    if url.verdict != super::Verdict::Ok {
        return vec![url, Finding::after(SECRET, URL)];
    }
    let secret = told.callback_secret.expose_secret();
    let mut findings = vec![url];
    findings.extend(match probe(told, client, clock, secret).await {
        Ok(answer) => believed(&answer),
        Err(why) => vec![Finding::unknown(SECRET, why)],
    });
    findings
}

/// Sends the heartbeat, signed with `secret`.
async fn probe(
    told: &Told,
    client: &Client,
    clock: &Clock,
    secret: &str,
) -> Result<Answer, String> {
    let sender = Sender::Attempt {
        fence: 1,
        run: RunPair {
            workflow_run_id: "doctor".to_owned(),
            run_attempt: 1,
        },
        sent_at: clock.unix_seconds(),
    };
    let body = Report::new(NOBODY.to_owned(), sender, 1, Said::Heartbeat)
        .to_body()
        .map_err(|error| format!("a report cannot be written: {error}"))?;
    let request = Request::post(&told.callback_url)
        .header(SIGNATURE_HEADER, &sign(secret.as_bytes(), &body))
        .body("application/json", body)
        .repeat(Repeat::Never)
        .deadline(TRY_MAX);
    client
        .send(request)
        .await
        .map_err(|failure: Failure| failure.to_string())
}

/// The answer to a wrong signature.
fn address(answer: &Answer) -> Finding {
    match answer.status() {
        401 => Finding::ok(
            URL,
            "a callback answers there, and refuses a wrong signature",
        ),
        429 | 500..=599 => later(URL, answer),
        status => Finding::wrong(
            URL,
            format!(
                "answers {status} to a wrong signature, where Slipway's callback answers 401; \
                 set the address of the callback function, its path included"
            ),
        ),
    }
}

/// The answer to the right signature. Freshness is judged after it.
fn believed(answer: &Answer) -> Vec<Finding> {
    let takes = Finding::ok(SECRET, "the callback has the same one");
    let code = serde_json::from_slice::<ErrorBody>(answer.body()).map(|body| body.error.code);
    match (answer.status(), code.as_deref()) {
        (404, _) => vec![takes],
        (401, Ok("stale")) => vec![
            takes,
            Finding::wrong(
                "clock",
                "this machine's clock and the callback's differ by more than 5 minutes; set it",
            ),
        ],
        (401, _) => vec![Finding::wrong(
            SECRET,
            "is not the callback's; set the same CALLBACK_SECRET for both",
        )],
        (429 | 500..=599, _) => vec![later(SECRET, answer)],
        (status, _) => vec![Finding::wrong(
            SECRET,
            format!(
                "the callback answers {status} to a job that does not exist, where Slipway's \
                 answers 404; check CALLBACK_URL"
            ),
        )],
    }
}

fn later(setting: &str, answer: &Answer) -> Finding {
    let status = answer.status();
    let fix = "look at the callback function's log, then try again";
    Finding::unknown(setting, format!("the callback answers {status}; {fix}"))
}
