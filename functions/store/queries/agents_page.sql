-- A page of agents, newest first.
-- $1 state or null, $2 part of name, reference, id or subscription, or null, $3 and $4 after,
-- or null, $5 at most
SELECT agent.agent_id, agent.name, agent.region, agent.reference, agent.state, agent.reason,
       agent.payment, agent.wish, agent.created_at, agent.updated_at,
       job.kind, job.state AS job_state, nullif(job.due_at, 'infinity') AS due_at
FROM agents AS agent
LEFT JOIN jobs AS job ON job.job_id = coalesce(agent.live_job_id, agent.queued_job_id)
WHERE ($1::text IS NULL OR agent.state = $1)
    AND ($2::text IS NULL
         OR position(lower($2) IN lower(agent.name)) > 0
         OR position(lower($2) IN lower(agent.reference)) > 0
         OR position(lower($2) IN agent.agent_id::text) > 0
         OR position($2 IN agent.subscription_id) > 0)
    AND ($3::timestamptz IS NULL OR (agent.created_at, agent.agent_id) < ($3, $4::uuid))
ORDER BY agent.created_at DESC, agent.agent_id DESC
LIMIT $5
