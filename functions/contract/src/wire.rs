//! The flat JSON shape of a report, and the rules that make it a `Report` or refuse it.

use crate::report::{self, InventoryRow, RunPair, Said, Sender, ServerFacts};
use crate::{ErrorClass, INVENTORY_ROWS_MAX, Outcome, Step};
use serde::{Deserialize, Deserializer, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    job_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<i64>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "id"
    )]
    workflow_run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_attempt: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "id"
    )]
    server_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tailscale_ip: Option<String>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "id"
    )]
    device_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inventory: Option<Vec<InventoryRow>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_class: Option<ErrorClass>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed_step: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Provisioning,
    Running,
    Failed,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Heartbeat,
}

/// Ids are strings on the wire; the first version also sent Hetzner's ids as numbers.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    Ok(Option::<Id>::deserialize(deserializer)?.map(|id| match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    }))
}

/// An empty address or id says nothing, as shell scripts of the first version sent it.
fn said(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

impl TryFrom<Report> for report::Report {
    type Error = String;

    fn try_from(wire: Report) -> Result<Self, Self::Error> {
        let said_what = match (wire.status, wire.kind) {
            (Some(Status::Provisioning), None) => Said::Provisioning,
            (Some(Status::Running), None) => Said::Running,
            (Some(Status::Failed), None) => Said::Failed,
            (None, Some(Kind::Heartbeat)) => Said::Heartbeat,
            (None, None) => return Err("one of status and type is needed".to_owned()),
            (Some(_), Some(_)) => return Err("status and type exclude each other".to_owned()),
        };
        let sender = match wire.fence {
            None => Sender::FirstVersion,
            Some(fence) if fence < 1 => return Err("fence counts from 1".to_owned()),
            Some(fence) => {
                let run_attempt = wire
                    .run_attempt
                    .filter(|n| *n >= 1)
                    .ok_or("run_attempt counts from 1")?;
                let workflow_run_id =
                    said(wire.workflow_run_id).ok_or("workflow_run_id is needed with fence")?;
                let sent_at = wire.sent_at.ok_or("sent_at is needed with fence")?;
                Sender::Attempt {
                    fence,
                    run: RunPair {
                        workflow_run_id,
                        run_attempt,
                    },
                    sent_at,
                }
            }
        };
        if wire
            .inventory
            .as_ref()
            .is_some_and(|rows| rows.len() > INVENTORY_ROWS_MAX)
        {
            return Err(format!(
                "inventory holds more than {INVENTORY_ROWS_MAX} rows"
            ));
        }
        Ok(Self {
            job_id: wire.job_id,
            sender,
            seq: wire.seq.unwrap_or(0),
            said: said_what,
            step: wire.step,
            facts: ServerFacts {
                server_id: said(wire.server_id),
                server_ip: said(wire.server_ip),
                tailscale_ip: said(wire.tailscale_ip),
                device_id: said(wire.device_id),
                server_name: said(wire.server_name),
            },
            outcome: wire.outcome,
            inventory: wire.inventory,
            error: wire.error,
            error_class: wire.error_class,
            failed_step: wire.failed_step,
        })
    }
}

impl From<report::Report> for Report {
    fn from(report: report::Report) -> Self {
        let (fence, run, sent_at) = match report.sender {
            Sender::FirstVersion => (None, None, None),
            Sender::Attempt {
                fence,
                run,
                sent_at,
            } => (Some(fence), Some(run), Some(sent_at)),
        };
        let (status, kind) = match report.said {
            Said::Provisioning => (Some(Status::Provisioning), None),
            Said::Running => (Some(Status::Running), None),
            Said::Failed => (Some(Status::Failed), None),
            Said::Heartbeat => (None, Some(Kind::Heartbeat)),
        };
        Self {
            job_id: report.job_id,
            fence,
            run_attempt: run.as_ref().map(|run| run.run_attempt),
            workflow_run_id: run.map(|run| run.workflow_run_id),
            seq: Some(report.seq),
            sent_at,
            status,
            kind,
            step: report.step,
            server_id: report.facts.server_id,
            server_ip: report.facts.server_ip,
            tailscale_ip: report.facts.tailscale_ip,
            device_id: report.facts.device_id,
            server_name: report.facts.server_name,
            outcome: report.outcome,
            inventory: report.inventory,
            error: report.error,
            error_class: report.error_class,
            failed_step: report.failed_step,
        }
    }
}
