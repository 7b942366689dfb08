//! GitHub's `workflow_dispatch`: what it refuses, what it answers, and the run it makes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::{GithubConfig, InputSpec};
use crate::github::{Version, not_found, refuse, runs, views};
use crate::state::State;
use crate::wire::{Answer, Call, Reply, text_of};

const PAGE: &str = "/actions/workflows#create-a-workflow-dispatch-event";
/// Most inputs of one dispatch.
const MOST_INPUTS: usize = 25;
/// Most characters of all inputs together.
const MOST_CHARACTERS: usize = 65_535;

fn unprocessable(message: &str) -> Reply {
    refuse(422, message, PAGE)
}

/// 404 unless the file name or id is the workflow's.
pub(super) fn known_workflow(state: &State, file: &str) -> Result<(), Reply> {
    let same = file == state.config.github.workflow_file || file == views::WORKFLOW_ID.to_string();
    if same { Ok(()) } else { Err(not_found()) }
}

/// `POST …/workflows/{file}/dispatches`
pub(super) fn dispatch(state: &mut State, call: &Call, version: Version) -> Answer {
    let body = call.json();
    let body = body.ok_or_else(|| refuse(400, "Problems parsing JSON", PAGE))?;
    let fields = body.as_object();
    let fields =
        fields.ok_or_else(|| unprocessable("Invalid request.\n\nBody must be an object."))?;
    let known = ["ref", "inputs", "return_run_details"];
    if let Some(unknown) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        let message = format!("Invalid request.\n\n\"{unknown}\" is not a permitted key.");
        return Err(unprocessable(&message));
    }
    let git_ref = text_of(&body, "ref")
        .ok_or_else(|| unprocessable("Invalid request.\n\n\"ref\" wasn't supplied."))?;
    let branch = git_ref.strip_prefix("refs/heads/").unwrap_or(git_ref);
    if !state
        .config
        .github
        .branches
        .iter()
        .any(|known| known == branch)
    {
        return Err(unprocessable(&format!("No ref found for: {git_ref}")));
    }
    if state.knobs.workflow_disabled {
        let message = "Cannot trigger a 'workflow_dispatch' on a disabled workflow";
        return Err(unprocessable(message));
    }
    if state.knobs.no_trigger {
        let message = "Workflow does not have 'workflow_dispatch' trigger";
        return Err(unprocessable(message));
    }
    let inputs = inputs(&state.config.github, body.get("inputs"))?;
    let details = match version {
        Version::V2026 => true,
        Version::V2022 => body.get("return_run_details").and_then(Value::as_bool) == Some(true),
    };
    let run = runs::begin(state, branch, inputs);
    if !details {
        return Ok(Reply::empty(204));
    }
    let repository = &state.config.github.repository;
    Ok(Reply::json(
        200,
        json!({
            "workflow_run_id": run,
            "run_url": format!("{}/repos/{repository}/actions/runs/{run}", call.origin()),
            "html_url": format!("https://github.com/{repository}/actions/runs/{run}"),
        }),
    ))
}

/// The inputs given, checked against the declared ones, defaults filled in.
fn inputs(config: &GithubConfig, given: Option<&Value>) -> Result<BTreeMap<String, String>, Reply> {
    let mut texts = BTreeMap::new();
    let object = match given {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_object().ok_or_else(|| {
            unprocessable("Invalid request.\n\nFor 'properties/inputs', it is not an object.")
        })?),
    };
    for (name, value) in object.into_iter().flatten() {
        let text = value.as_str().ok_or_else(|| {
            let message = format!("Invalid request.\n\nFor 'inputs/{name}', it is not a string.");
            unprocessable(&message)
        })?;
        texts.insert(name.clone(), text.to_owned());
    }
    if texts.len() > MOST_INPUTS {
        return Err(unprocessable("you may only define up to 25 `inputs`"));
    }
    let size = |(name, text): (&String, &String)| name.chars().count() + text.chars().count();
    if texts.iter().map(size).sum::<usize>() > MOST_CHARACTERS {
        return Err(unprocessable("inputs are too large."));
    }
    refuse_undeclared(config, &texts)?;
    for spec in &config.inputs {
        let given = texts.get(&spec.name);
        let value = checked(spec, given)?;
        texts.insert(spec.name.clone(), value);
    }
    Ok(texts)
}

fn refuse_undeclared(config: &GithubConfig, texts: &BTreeMap<String, String>) -> Result<(), Reply> {
    let declared = |name: &&String| config.inputs.iter().any(|spec| spec.name == **name);
    let strange: Vec<String> = texts
        .keys()
        .filter(|name| !declared(name))
        .map(|name| format!("\"{name}\""))
        .collect();
    if strange.is_empty() {
        return Ok(());
    }
    let list = strange.join(", ");
    Err(unprocessable(&format!(
        "Unexpected inputs provided: [{list}]"
    )))
}

/// The value of one declared input.
fn checked(spec: &InputSpec, given: Option<&String>) -> Result<String, Reply> {
    let name = &spec.name;
    let Some(value) = given.or(spec.default.as_ref()) else {
        if spec.required {
            return Err(unprocessable(&format!(
                "Required input '{name}' not provided"
            )));
        }
        return Ok(String::new());
    };
    if spec.options.is_empty() || spec.options.contains(value) {
        return Ok(value.clone());
    }
    let message =
        format!("Provided value '{value}' for input '{name}' not in the list of allowed values");
    Err(unprocessable(&message))
}
