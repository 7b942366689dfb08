-- Live attempts that somebody has to look at now. `lease_until` is when a claimed one is lost,
-- `doomed_at` since when its agent is to go while this is no destroy.
-- $1 now, $2 at most, $3 time to work in microseconds
SELECT job.job_id, job.kind, agent.agent_id, agent.region, attempt.fence, attempt.state,
       attempt.opened_at, attempt.run_id, attempt.workflow_run_id, attempt.dispatched_again,
       least(attempt.lease_until, attempt.claimed_at + interval '1 microsecond' * $3::bigint)
           AS lease_until,
       agent.doomed_at
FROM jobs AS job
JOIN agents AS agent
    ON agent.agent_id = job.agent_id AND agent.live_job_id = job.job_id
JOIN attempts AS attempt
    ON attempt.agent_id = agent.agent_id AND attempt.fence = agent.live_fence
WHERE job.state IN ('queued', 'dispatched', 'running') AND job.due_at <= $1
ORDER BY job.due_at
LIMIT $2
