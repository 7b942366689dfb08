-- What a runner saw: strays that are new, and jobs for what is left of agents that are over.
-- $1 job_id, $2 fence, $3 installation, $4 server_ids, $5 their agent_ids, $6 their fences,
-- $7 fresh job_ids, $8 now
SELECT server_id, agent_id, fence, why, first_seen, last_seen, queued_job
FROM take_inventory($1, $2, $3, $4, $5, $6, $7, $8)
