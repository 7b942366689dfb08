-- GitHub surely did not start the run: the job waits, and no retry is used up.
-- $1 agent_id, $2 fence, $3 reason, $4 waits after the 1st, 2nd, … refusal in microseconds,
-- $5 not before, $6 fresh job_id, $7 now
WITH agent AS (
    SELECT agent_id, live, live_job_id, existing, queued_kind, queued_job_id,
        set_config('slipway.cause', 'github', true)
    FROM agents
    WHERE agent_id = $1 AND live_fence = $2 FOR UPDATE
), attempt AS (
    UPDATE attempts SET state = 'refused', error = $3, updated_at = $7, finished_at = $7
    FROM agent
    WHERE attempts.agent_id = agent.agent_id AND attempts.fence = $2
        AND attempts.state = 'intended'
    RETURNING attempts.job_id
), free AS (
    UPDATE agents SET
        live = 'none',
        live_fence = NULL,
        live_job_id = NULL,
        existing = effect.after,
        queued_kind = CASE agent.queued_kind WHEN 'none' THEN agent.live
                           ELSE agent.queued_kind END,
        queued_job_id = coalesce(agent.queued_job_id, attempt.job_id),
        fresh_job_id = $6,
        updated_at = $7
    FROM agent CROSS JOIN attempt JOIN effect
        ON effect.ending = 'refused'
    WHERE agents.agent_id = agent.agent_id
        AND (effect.kind, effect.before) = (agent.live, agent.existing)
    RETURNING attempt.job_id, agents.queued_job_id
), job AS (
    UPDATE jobs SET
        state = CASE WHEN free.queued_job_id = jobs.job_id THEN 'queued' ELSE 'canceled' END,
        finished_at = CASE WHEN free.queued_job_id = jobs.job_id THEN NULL ELSE $7 END,
        attempts = jobs.attempts - 1,
        refusals = least(jobs.refusals + 1, 1000),
        reason = $3,
        due_at = greatest($5, $7 + interval '1 microsecond' *
            ($4::bigint[])[least(jobs.refusals + 1, cardinality($4::bigint[]))]),
        timer_at = $7,
        updated_at = $7
    FROM free WHERE jobs.job_id = free.job_id
    RETURNING jobs.job_id, jobs.due_at
)
SELECT free.queued_job_id AS job_id,
    CASE WHEN job.job_id = free.queued_job_id THEN job.due_at ELSE $7 END AS due_at
FROM free CROSS JOIN job
