-- The run of a claimed attempt whose agent is to go has to end.
-- $1 agent_id, $2 fence, $3 now
WITH agent AS (
    SELECT agent_id FROM agents WHERE agent_id = $1 AND live_fence = $2 FOR UPDATE
), attempt AS (
    UPDATE attempts SET cancel_asked = true FROM agent
    WHERE attempts.agent_id = agent.agent_id AND attempts.fence = $2
        AND attempts.state = 'claimed'
    RETURNING attempts.agent_id, attempts.fence, attempts.workflow_run_id
)
INSERT INTO run_cancels (run_id, agent_id, fence, due_at)
SELECT workflow_run_id, agent_id, fence, $3 FROM attempt
WHERE workflow_run_id ~ '^[0-9]{1,20}$'
ON CONFLICT DO NOTHING
