-- Leaves an attempt until it is due again, if it still is due; answers a row when it is the
-- caller's to dispatch it again, or only to wait for it. A claimed one is only waited for.
-- $1 agent_id, $2 fence, $3 dispatch it again, $4 due, $5 now
WITH agent AS (
    SELECT agent_id, live_job_id FROM agents WHERE agent_id = $1 AND live_fence = $2 FOR UPDATE
), job AS (
    -- News that came while GitHub was asked has moved the due time: then it stands.
    SELECT j.job_id FROM jobs AS j JOIN agent ON j.job_id = agent.live_job_id
    WHERE j.due_at <= $5 FOR UPDATE OF j
), attempt AS (
    UPDATE attempts SET dispatched_again = dispatched_again OR $3, updated_at = $5
    FROM agent CROSS JOIN job
    WHERE attempts.agent_id = agent.agent_id AND attempts.fence = $2
        AND (attempts.state IN ('intended', 'accepted') AND NOT ($3 AND dispatched_again)
             OR attempts.state = 'claimed' AND NOT $3)
    RETURNING attempts.job_id
)
UPDATE jobs SET due_at = $4, timer_at = $5, updated_at = $5
FROM attempt WHERE jobs.job_id = attempt.job_id
RETURNING jobs.job_id
