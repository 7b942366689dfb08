// GitHub's own client drives the fake: dispatch in both forms, list, look, cancel.
import assert from "node:assert/strict";
import { Octokit } from "@octokit/rest";

const octokit = new Octokit({ auth: process.env.TOKEN, baseUrl: process.env.URL });
const [owner, repo] = process.env.REPOSITORY.split("/");
const at = { owner, repo };
const workflow = { ...at, workflow_id: "provision-agent.yml" };
const inputs = (job_id, agent_id) => ({
  job_id,
  agent_id,
  callback_url: "https://callback.example.com/callback",
});
const dispatch = (job, agent, more = {}) =>
  octokit.rest.actions.createWorkflowDispatch({
    ...workflow,
    ref: "main",
    inputs: inputs(job, agent),
    ...more,
  });
const refused = async (status, text, call) => {
  const error = await call().then(
    () => assert.fail(`no ${status}`),
    (error) => error,
  );
  assert.equal(error.status, status, error.message);
  assert.ok(error.message.includes(text), error.message);
  return error;
};

assert.equal((await octokit.rest.repos.get(at)).data.default_branch, "main");
assert.equal((await octokit.rest.actions.getWorkflow(workflow)).data.state, "active");

// The three forms of a dispatch.
assert.equal((await dispatch("job-1", "agent-1")).status, 204);
const detailed = await dispatch("job-2", "agent-2", { return_run_details: true });
assert.equal(detailed.status, 200);
const newer = await dispatch("job-3", "agent-3", {
  headers: { "x-github-api-version": "2026-03-10" },
});
assert.equal(newer.status, 200);
assert.ok(newer.data.html_url.endsWith(String(newer.data.workflow_run_id)));

// Refusals.
await refused(422, "Required input 'agent_id' not provided", () =>
  octokit.rest.actions.createWorkflowDispatch({
    ...workflow,
    ref: "main",
    inputs: { job_id: "x" },
  }),
);
await refused(422, "Unexpected inputs provided", () =>
  dispatch("j", "a", { inputs: { ...inputs("j", "a"), colour: "red" } }),
);
await refused(422, "No ref found for: dev", () => dispatch("j", "a", { ref: "dev" }));
await refused(404, "Not Found", () => dispatch("j", "a", { workflow_id: "other.yml" }));
const stranger = new Octokit({ auth: "wrong", baseUrl: process.env.URL });
await refused(401, "Bad credentials", () => stranger.rest.repos.get(at));

// Lists, by page too.
const filter = { ...workflow, event: "workflow_dispatch", branch: "main", per_page: 2 };
const first = await octokit.rest.actions.listWorkflowRuns({ ...filter, created: ">=2026-01-01" });
assert.equal(first.data.total_count, 3);
assert.equal(first.data.workflow_runs[0].display_title, "provision job-3 f1");
const all = await octokit.paginate(octokit.rest.actions.listWorkflowRuns, filter);
assert.equal(all.length, 3);

// One run: look, cancel, cancel again.
const run = { ...at, run_id: detailed.data.workflow_run_id };
const seen = await octokit.rest.actions.getWorkflowRun(run);
assert.equal(seen.data.status, "queued");
assert.equal(seen.data.run_attempt, 1);
assert.equal((await octokit.rest.actions.cancelWorkflowRun(run)).status, 202);
const over = await octokit.rest.actions.getWorkflowRun(run);
assert.equal(over.data.conclusion, "cancelled");
await refused(409, "Cannot cancel", () => octokit.rest.actions.cancelWorkflowRun(run));
await refused(409, "Cannot cancel", () => octokit.rest.actions.forceCancelWorkflowRun(run));
assert.equal((await octokit.rest.actions.reRunWorkflow(run)).status, 201);
const again = await octokit.rest.actions.getWorkflowRun(run);
assert.equal(again.data.run_attempt, 2);
const jobs = await octokit.rest.actions.listJobsForWorkflowRun(run);
assert.equal(jobs.data.jobs[0].status, "queued");
console.log("github peer content");
