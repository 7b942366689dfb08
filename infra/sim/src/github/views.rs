//! How repository, workflow, runs and jobs are written in answers and in snapshots.

use serde_json::{Value, json};

use crate::clock::{parse, zulu};
use crate::draw;
use crate::github::runs::{RunRecord, Stage};
use crate::github::{Github, refuse};
use crate::runs::Conclusion;
use crate::state::State;
use crate::wire::{Answer, Call, Reply};
use crate::world::RunView;

/// Id of the one workflow.
pub(crate) const WORKFLOW_ID: u64 = 7_700_001;
/// Id of the one repository.
const REPOSITORY_ID: u64 = 880_000_001;

/// The repository object.
pub(super) fn repository(state: &State, call: &Call) -> Value {
    let full = &state.config.github.repository;
    let (owner, name) = full.split_once('/').unwrap_or(("", full));
    let url = format!("{}/repos/{full}", call.origin());
    let object = json!({
        "id": REPOSITORY_ID, "node_id": "R_sim", "name": name, "full_name": full, "private": true,
        "owner": account(call, owner, 1, "Organization"), "description": null, "fork": false,
        "default_branch": state.config.github.branches.first(),
        "html_url": format!("https://github.com/{full}"), "url": url,
    });
    with_urls(object, &url, REPOSITORY_URLS)
}

/// What GitHub links from every repository object, and with it twice from every run object: most
/// of a run's 12 KB are these. Where the link is not named like its path its name stands before.
const REPOSITORY_URLS: &str = "archive:{archive_format}{/ref} assignees{/user} \
    blobs:git/blobs{/sha} branches{/branch} collaborators{/collaborator} comments{/number} \
    commits{/sha} compare/{base}...{head} contents/{+path} contributors deployments downloads \
    events forks git/commits{/sha} git/refs{/sha} git/tags{/sha} hooks \
    issue_comment:issues/comments{/number} issue_events:issues/events{/number} issues{/number} \
    keys{/key_id} labels{/name} languages merges milestones{/number} \
    notifications{?since,all,participating} pulls{/number} releases{/id} stargazers \
    statuses/{sha} subscribers subscription tags teams trees:git/trees{/sha}";

/// The same of a user or organization.
const ACCOUNT_URLS: &str = "events{/privacy} followers following{/other_user} gists{/gist_id} \
    organizations received_events repos starred{/owner}{/repo} subscriptions";

fn account(call: &Call, login: &str, id: u64, kind: &str) -> Value {
    let url = format!("{}/users/{login}", call.origin());
    let object = json!({
        "login": login, "id": id, "node_id": format!("U_{id}"), "gravatar_id": "", "type": kind,
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
        "html_url": format!("https://github.com/{login}"), "url": url, "site_admin": false,
        "user_view_type": "public",
    });
    with_urls(object, &url, ACCOUNT_URLS)
}

/// Adds one `…_url` for each path below `url`.
fn with_urls(mut object: Value, url: &str, paths: &str) -> Value {
    for path in paths.split_whitespace() {
        let (name, path) = path.split_once(':').unwrap_or((path, path));
        let words = name.split(['{', '?']).next().unwrap_or_default();
        let name = format!("{}_url", words.trim_end_matches('/').replace('/', "_"));
        if let Some(fields) = object.as_object_mut() {
            fields.insert(name, json!(format!("{url}/{path}")));
        }
    }
    object
}

/// The workflow object.
pub(super) fn workflow(state: &State, call: &Call) -> Value {
    let config = &state.config.github;
    let file = &config.workflow_file;
    let url = format!(
        "{}/repos/{}/actions/workflows",
        call.origin(),
        config.repository
    );
    let disabled = state.knobs.workflow_disabled;
    json!({
        "id": WORKFLOW_ID, "node_id": "W_sim", "name": file, "path":
        format!(".github/workflows/{file}"),
        "state": if disabled { "disabled_manually" } else { "active" },
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "url": format!("{url}/{WORKFLOW_ID}"), "html_url":
        format!("https://github.com/{}/blob/main/.github/workflows/{file}", config.repository),
        "badge_url": "https://github.com/badge.svg",
    })
}

/// The run object of a known run; null for an unknown one.
pub(super) fn run(state: &State, call: &Call, id: u64) -> Value {
    let known = state.github.runs.get(&id);
    known.map_or(Value::Null, |run| object(state, call, run))
}

fn sha(state: &State) -> String {
    draw::text(state.config.seed, &["head"], 40)
}

fn object(state: &State, call: &Call, run: &RunRecord) -> Value {
    let config = &state.config.github;
    let time = |offset| zulu(state.unix_at(offset));
    let api = format!("{}/repos/{}/actions", call.origin(), config.repository);
    let url = format!("{api}/runs/{}", run.id);
    let html = format!(
        "https://github.com/{}/actions/runs/{}",
        config.repository, run.id
    );
    let repository = repository(state, call);
    let actor = account(call, "sim-bot", 2, "Bot");
    let author = json!({"name": "sim", "email": "sim@example.com"});
    // A run shows the whole message of its commit; many are as long.
    let message = "A line of a commit's message, as long as most are.\n".repeat(30);
    let commit = json!({"id": sha(state), "tree_id": sha(state), "message": message,
        "timestamp": "2026-01-01T00:00:00Z", "author": author, "committer": author});
    json!({
        "id": run.id, "node_id": format!("WFR_{}", run.id), "name": config.workflow_file,
        "display_title": run.name, "head_branch": run.branch, "head_sha": sha(state),
        "path": format!(".github/workflows/{}@{}", config.workflow_file, run.branch),
        "run_number": run.id - 16_000_000_000, "run_attempt": run.attempt,
        "event": "workflow_dispatch", "status": run.stage.as_str(),
        "conclusion": run.stage.conclusion().map(Conclusion::as_str),
        "workflow_id": WORKFLOW_ID, "check_suite_id": run.id, "check_suite_node_id": "CS_sim",
        "url": url, "html_url": html, "pull_requests": [],
        "created_at": time(run.created), "updated_at": time(run.updated),
        "run_started_at": time(run.started), "head_commit": commit,
        "repository": repository, "head_repository": repository,
        "jobs_url": format!("{url}/jobs"), "logs_url": format!("{url}/logs"),
        "check_suite_url": format!("{api}/check-suites/{}", run.id),
        "cancel_url": format!("{url}/cancel"), "rerun_url": format!("{url}/rerun"),
        "artifacts_url": format!("{url}/artifacts"), "previous_attempt_url": null,
        "workflow_url": format!("{api}/workflows/{WORKFLOW_ID}"),
        "actor": actor, "triggering_actor": actor,
    })
}

/// `GET …/runs/{id}/jobs`: one job, once a machine has it.
pub(super) fn jobs(state: &State, call: &Call, id: u64) -> Value {
    let run = state.github.runs.get(&id);
    let has_job = |run: &&RunRecord| match run.stage {
        Stage::Pending => false,
        Stage::Queued | Stage::Assigned | Stage::InProgress | Stage::Completed(_) => true,
    };
    let jobs: Vec<Value> = run
        .filter(has_job)
        .map(|run| job(state, call, run))
        .into_iter()
        .collect();
    json!({"total_count": jobs.len(), "jobs": jobs})
}

fn job(state: &State, call: &Call, run: &RunRecord) -> Value {
    let conclusion = run.stage.conclusion().map(Conclusion::as_str);
    let time = |offset| zulu(state.unix_at(offset));
    let ended = conclusion.map(|_| time(run.updated));
    let steps = json!([{"name": "Run", "number": 1, "status": run.stage.as_str(),
        "conclusion": conclusion, "started_at": time(run.started), "completed_at": ended}]);
    let url = format!("{}/repos/{}", call.origin(), state.config.github.repository);
    json!({
        "id": run.id + 1_000_000, "run_id": run.id, "run_attempt": run.attempt,
        "run_url": format!("{url}/actions/runs/{}", run.id), "node_id": "J_sim",
        "head_sha": sha(state), "head_branch": run.branch, "name": "provision",
        "url": format!("{url}/actions/jobs/{}", run.id + 1_000_000), "html_url": null,
        "status": run.stage.as_str(), "conclusion": conclusion,
        "created_at": time(run.created), "started_at": time(run.started), "completed_at": ended,
        "steps": steps, "check_run_url": format!("{url}/check-runs/{}", run.id),
        "labels": ["ubuntu-24.04"], "runner_id": 1, "runner_name": "hosted",
        "runner_group_id": 1, "runner_group_name": "hosted",
        "workflow_name": state.config.github.workflow_file,
    })
}

/// `GET …/runs`, newest first.
pub(super) fn list(state: &State, call: &Call) -> Answer {
    let number = |name: &str, default: usize| {
        let text = call.param(name);
        let given = text.and_then(|text| text.parse().ok()).filter(|n| *n > 0);
        given.unwrap_or(default)
    };
    let size = number("per_page", 30).min(100);
    let page = number("page", 1);
    let created = match call.param("created") {
        None => None,
        Some(text) => Some(
            Span::parse(text)
                .ok_or_else(|| refuse(422, "Invalid created filter", "/actions/workflow-runs"))?,
        ),
    };
    let fits = |run: &&RunRecord| {
        let unix = state.unix_at(run.created);
        let in_time = created.as_ref().is_none_or(|span| span.holds(unix));
        in_time && run.listed_from <= state.now && passes(state, call, run)
    };
    let found: Vec<&RunRecord> = state.github.runs.values().rev().filter(fits).collect();
    let shown = found.iter().skip((page - 1) * size).take(size);
    let shown: Vec<Value> = shown.map(|run| object(state, call, run)).collect();
    let total = found.len().min(1000);
    let reply = Reply::json(200, json!({"total_count": total, "workflow_runs": shown}));
    if page * size >= total {
        return Ok(reply);
    }
    Ok(reply.with_header("link", call.link_to_page(page + 1)))
}

/// Whether a run passes the filters other than its time.
fn passes(state: &State, call: &Call, run: &RunRecord) -> bool {
    let is = |name: &str, value: &str| call.param(name).is_none_or(|wanted| wanted == value);
    let conclusion = run.stage.conclusion().map(Conclusion::as_str);
    let status = call
        .param("status")
        .is_none_or(|wanted| wanted == run.stage.as_str() || Some(wanted) == conclusion);
    status
        && is("event", "workflow_dispatch")
        && is("branch", &run.branch)
        && is("head_sha", &sha(state))
        && is("actor", "sim-bot")
}

/// A span of time in GitHub's search syntax.
#[derive(Debug)]
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = (i64::MIN, i64::MAX);
        if let Some((from, to)) = text.split_once("..") {
            let end = |text: &str, open| if text == "*" { Some(open) } else { parse(text) };
            return Some(Self {
                from: end(from, i64::MIN)?,
                to: end(to, i64::MAX)?,
            });
        }
        if let Some(rest) = text.strip_prefix(">=") {
            return Some(Self {
                from: parse(rest)?,
                to,
            });
        }
        if let Some(rest) = text.strip_prefix("<=") {
            return Some(Self {
                from,
                to: parse(rest)?,
            });
        }
        if let Some(rest) = text.strip_prefix('>') {
            return Some(Self {
                from: parse(rest)?.saturating_add(1),
                to,
            });
        }
        if let Some(rest) = text.strip_prefix('<') {
            return Some(Self {
                from,
                to: parse(rest)?.saturating_sub(1),
            });
        }
        let from = parse(text)?;
        let day = if text.len() == 10 { 86_399 } else { 0 };
        Some(Self {
            from,
            to: from.saturating_add(day),
        })
    }

    fn holds(&self, unix: i64) -> bool {
        (self.from..=self.to).contains(&unix)
    }
}

impl Github {
    /// Runs for a snapshot.
    pub(crate) fn views(&self, state: &State) -> Vec<RunView> {
        let view = |run: &RunRecord| RunView {
            id: run.id,
            attempt: run.attempt,
            name: run.name.clone(),
            status: run.stage.as_str().to_owned(),
            conclusion: run.stage.conclusion(),
            inputs: run.inputs.clone(),
            created: state.unix_at(run.created),
            cancel_requested: run.cancel_requested,
        };
        self.runs.values().map(view).collect()
    }
}
