//! A verified report in the words of the store.
//! It must not know HTTP, or what the store makes of it.

use contract::{ErrorClass, Outcome, Report, Said};
use domain::{Fence, IdError, JobId, retry_delays};
use store::{MachineFacts, ReportRecord, ReportSaid, SeenServer};

/// Longest error text that is kept, in characters.
const ERROR_CHARS_MAX: usize = 1000;

/// Longest id, address or step that is kept, in characters. Providers' are far shorter.
const WORD_CHARS_MAX: usize = 255;

/// Translates a report of a runner of `installation`. `jitter` draws from 0 to 1, `fresh` is the
/// id of a job that may follow.
///
/// # Errors
/// When `job_id` is no job id.
pub fn record(
    report: &Report,
    jitter: impl FnMut() -> f64,
    fresh: JobId,
    installation: &str,
) -> Result<ReportRecord, IdError> {
    let run = report.sender.run();
    Ok(ReportRecord {
        job_id: report.job_id.parse()?,
        fence: Fence(report.sender.fence()),
        workflow_run_id: line(&run.workflow_run_id, WORD_CHARS_MAX),
        run_attempt: run.run_attempt,
        seq: report.seq,
        step: report.step.map(|step| step.as_str().to_owned()),
        facts: MachineFacts {
            server_id: word(report.facts.server_id.as_deref()),
            server_ip: word(report.facts.server_ip.as_deref()),
            tailscale_ip: word(report.facts.tailscale_ip.as_deref()),
            device_id: word(report.facts.device_id.as_deref()),
            server_name: word(report.facts.server_name.as_deref()),
        },
        said: match report.said {
            Said::Provisioning | Said::Heartbeat => ReportSaid::Progress,
            Said::Running => ReportSaid::Succeeded {
                awaiting_credentials: report.outcome == Some(Outcome::AwaitingCredentials),
            },
            Said::Failed => {
                let class = class(report.error_class);
                ReportSaid::Failed {
                    error: word_or(report.error.as_deref(), "the runner gave no reason"),
                    class,
                    step: word(report.failed_step.as_deref()),
                    retry_delays: retry_delays(class, jitter),
                }
            }
        },
        fresh_job_id: fresh,
        installation: installation.to_owned(),
    })
}

/// The servers that a report saw.
pub fn seen(report: &Report) -> Vec<SeenServer> {
    let rows = report.inventory.iter().flatten();
    rows.map(|row| SeenServer {
        server_id: line(&row.server_id, WORD_CHARS_MAX),
        agent_id: line(&row.agent_id, WORD_CHARS_MAX),
        fence: line(&row.fence, WORD_CHARS_MAX),
    })
    .collect()
}

/// A failure without a class, as the workflow's last step and the first version report it, says
/// nothing against another try.
const fn class(class: Option<ErrorClass>) -> domain::ErrorClass {
    match class {
        Some(ErrorClass::Transient) | None => domain::ErrorClass::Transient,
        Some(ErrorClass::Capacity) => domain::ErrorClass::Capacity,
        Some(ErrorClass::Permanent) => domain::ErrorClass::Permanent,
    }
}

fn word(text: Option<&str>) -> Option<String> {
    text.map(|text| line(text, WORD_CHARS_MAX))
        .filter(|text| !text.is_empty())
}

fn word_or(text: Option<&str>, default: &str) -> String {
    let text = line(text.unwrap_or_default(), ERROR_CHARS_MAX);
    if text.is_empty() {
        default.to_owned()
    } else {
        text
    }
}

/// One line without control characters: people read it, and PostgreSQL's text holds no NUL.
fn line(text: &str, chars_max: usize) -> String {
    let spaced = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(spaced).take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{RunPair, Sender, Step};

    const JOB: &str = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5";

    fn report(said: Said) -> Report {
        let run = RunPair {
            workflow_run_id: "16000000001".to_owned(),
            run_attempt: 2,
        };
        let sender = Sender::Attempt {
            fence: 3,
            run,
            sent_at: 0,
        };
        Report::new(JOB, sender, 7, said)
    }

    fn recorded(report: &Report) -> ReportRecord {
        record(report, || 1.0, JobId(uuid::Uuid::nil()), "default").unwrap()
    }

    #[test]
    fn a_report_keeps_who_sent_it_and_what_it_made() {
        let mut report = report(Said::Provisioning);
        report.step = Some(Step::VmCreated);
        report.facts.server_id = Some("42".to_owned());
        let record = recorded(&report);
        assert_eq!(record.job_id.to_string(), JOB);
        assert_eq!(
            (record.fence, record.run_attempt, record.seq),
            (Fence(3), 2, 7)
        );
        assert_eq!(record.workflow_run_id, "16000000001");
        assert_eq!(record.step.as_deref(), Some("vm_created"));
        assert_eq!(record.facts.server_id.as_deref(), Some("42"));
        assert_eq!(record.said, ReportSaid::Progress);
    }

    #[test]
    fn success_says_whether_credentials_are_missing() {
        for (outcome, awaiting) in [
            (None, false),
            (Some(Outcome::Ready), false),
            (Some(Outcome::AwaitingCredentials), true),
        ] {
            let report = Report {
                outcome,
                ..report(Said::Running)
            };
            let said = ReportSaid::Succeeded {
                awaiting_credentials: awaiting,
            };
            assert_eq!(recorded(&report).said, said);
        }
    }

    #[test]
    fn a_failure_is_one_line_with_its_retries() {
        for (given, kept, retries) in [
            (None, domain::ErrorClass::Transient, 3),
            (
                Some(ErrorClass::Transient),
                domain::ErrorClass::Transient,
                3,
            ),
            (Some(ErrorClass::Capacity), domain::ErrorClass::Capacity, 3),
            (
                Some(ErrorClass::Permanent),
                domain::ErrorClass::Permanent,
                0,
            ),
        ] {
            let mut report = report(Said::Failed);
            report.error = Some(" no\u{0}server\nto be had ".to_owned());
            report.error_class = given;
            match recorded(&report).said {
                ReportSaid::Failed {
                    error,
                    class,
                    retry_delays,
                    ..
                } => {
                    assert_eq!(error, "no server to be had");
                    assert_eq!((class, retry_delays.len()), (kept, retries));
                }
                other @ (ReportSaid::Progress | ReportSaid::Succeeded { .. }) => {
                    panic!("not a failure: {other:?}")
                }
            }
        }
    }

    #[test]
    fn a_job_id_that_is_none_is_refused() {
        let mut report = report(Said::Heartbeat);
        report.job_id = "job_1".to_owned();
        assert!(record(&report, || 0.0, JobId(uuid::Uuid::nil()), "x").is_err());
    }
}
