-- Live attempts that somebody has to look at now.
-- $1 now, $2 at most
SELECT job.job_id, job.kind, agent.agent_id, agent.region, attempt.fence, attempt.state,
       attempt.opened_at, attempt.run_id, attempt.workflow_run_id, attempt.dispatched_again
FROM jobs AS job
JOIN agents AS agent ON agent.live_job_id = job.job_id
JOIN attempts AS attempt
    ON attempt.agent_id = agent.agent_id AND attempt.fence = agent.live_fence
WHERE job.state IN ('queued', 'dispatched', 'running') AND job.due_at <= $1
ORDER BY job.due_at
LIMIT $2
