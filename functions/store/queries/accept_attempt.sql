-- Keeps GitHub's word that a run was accepted. Later news of the attempt stands.
-- $1 agent_id, $2 fence, $3 run_id or null, $4 now
WITH agent AS (
    SELECT agent_id FROM agents WHERE agent_id = $1 FOR UPDATE
), attempt AS (
    UPDATE attempts SET
        state = CASE attempts.state WHEN 'intended' THEN 'accepted' ELSE attempts.state END,
        run_id = coalesce(attempts.run_id, $3),
        updated_at = $4
    FROM agent
    WHERE attempts.agent_id = agent.agent_id AND attempts.fence = $2
    RETURNING attempts.job_id, attempts.state
), job AS (
    UPDATE jobs SET state = 'dispatched', refusals = 0, updated_at = $4,
        reason = CASE WHEN jobs.attempts = 1 THEN NULL ELSE jobs.reason END
    FROM attempt
    WHERE jobs.job_id = attempt.job_id AND jobs.state = 'queued' AND attempt.state = 'accepted'
)
SELECT state FROM attempt
