-- Keeps GitHub's word that a run was accepted. Later news of the attempt stands; a run that comes
-- too late has to end.
-- $1 agent_id, $2 fence, $3 run_id or null, $4 now
WITH agent AS (
    SELECT agent_id, set_config('slipway.cause', 'github', true) FROM agents
    WHERE agent_id = $1 FOR UPDATE
), attempt AS (
    UPDATE attempts SET
        state = CASE attempts.state WHEN 'intended' THEN 'accepted' ELSE attempts.state END,
        run_id = coalesce(attempts.run_id, $3),
        updated_at = $4
    FROM agent
    WHERE attempts.agent_id = agent.agent_id AND attempts.fence = $2
    RETURNING attempts.agent_id, attempts.fence, attempts.job_id, attempts.state
), job AS (
    UPDATE jobs SET state = 'dispatched', refusals = 0, updated_at = $4,
        reason = CASE WHEN jobs.attempts = 1 THEN NULL ELSE jobs.reason END
    FROM attempt
    WHERE jobs.job_id = attempt.job_id AND jobs.state = 'queued' AND attempt.state = 'accepted'
), late AS (
    INSERT INTO run_cancels (run_id, agent_id, fence, due_at)
    SELECT $3, agent_id, fence, $4 FROM attempt
    WHERE state IN ('aborted', 'expired') AND $3 IS NOT NULL
    ON CONFLICT DO NOTHING
)
SELECT state FROM attempt
