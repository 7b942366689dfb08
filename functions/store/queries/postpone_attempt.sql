-- Leaves an unclaimed attempt until it is due again; answers a row when it is the caller's
-- to dispatch it again, or only to wait for it.
-- $1 agent_id, $2 fence, $3 dispatch it again, $4 due, $5 now
WITH agent AS (
    SELECT agent_id FROM agents WHERE agent_id = $1 AND live_fence = $2 FOR UPDATE
), attempt AS (
    UPDATE attempts SET dispatched_again = dispatched_again OR $3, updated_at = $5
    FROM agent
    WHERE attempts.agent_id = agent.agent_id AND attempts.fence = $2
        AND attempts.state IN ('intended', 'accepted') AND NOT ($3 AND dispatched_again)
    RETURNING attempts.job_id
)
UPDATE jobs SET due_at = $4, timer_at = $5, updated_at = $5
FROM attempt WHERE jobs.job_id = attempt.job_id
RETURNING jobs.job_id
