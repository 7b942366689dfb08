-- Opens an attempt, with a new fence, for every queued job that is due; agents that another
-- statement is working on are left to it. A call that is repeated because its answer was lost
-- answers what it opened the first time as well.
-- $1 now, $2 at most, $3 when an unclaimed attempt is looked at, $4 this call
WITH due AS (
    SELECT agent.agent_id, agent.name, agent.region, agent.existing, agent.config_pending,
           agent.fence + 1 AS fence, job.job_id, job.kind, job.attempts + 1 AS number,
           set_config('slipway.cause', 'dispatch', true)
    FROM jobs AS job JOIN agents AS agent
        ON agent.agent_id = job.agent_id AND agent.queued_job_id = job.job_id
    WHERE job.state = 'queued' AND job.due_at <= $1 AND agent.live = 'none'
    ORDER BY job.due_at
    LIMIT $2
    FOR UPDATE OF agent SKIP LOCKED
), opened AS (
    UPDATE agents SET
        fence = due.fence,
        live = due.kind,
        live_fence = due.fence,
        live_job_id = due.job_id,
        existing = effect.after,
        config_pending = due.config_pending AND due.kind <> 'configure',
        queued_kind = 'none',
        queued_job_id = NULL,
        updated_at = $1
    FROM due JOIN effect
        ON (effect.kind, effect.ending, effect.before) = (due.kind, 'opened', due.existing)
    WHERE agents.agent_id = due.agent_id
    RETURNING due.agent_id, due.region, due.fence, due.job_id, due.kind, due.number
), job AS (
    UPDATE jobs SET attempts = opened.number, due_at = $3, timer_at = $1, updated_at = $1
    FROM opened WHERE jobs.job_id = opened.job_id
), attempt AS (
    INSERT INTO attempts
        (agent_id, fence, job_id, number, state, opened_by, opened_at, updated_at)
    SELECT agent_id, fence, job_id, number, 'intended', $4, $1, $1 FROM opened
)
SELECT agent_id, region, fence, job_id, kind, number FROM opened
UNION ALL
SELECT agent.agent_id, agent.region, known.fence, known.job_id, agent.live, known.number
FROM attempts AS known JOIN agents AS agent
    ON agent.agent_id = known.agent_id AND agent.live_fence = known.fence
WHERE known.opened_by = $4 AND known.state = 'intended'
ORDER BY job_id
