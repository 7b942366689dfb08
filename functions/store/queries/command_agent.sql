-- Carries out an owner's command, or says why not; no verdict when there is no such agent.
-- $1 agent_id, $2 command, $3 by, $4 key or null, $5 request, $6 fresh job_id, $7 now
SELECT verdict, running, queued_job AS job_id FROM command_agent($1, $2, $3, $4, $5, $6, $7)
