-- What a runner saw: strays that are new, jobs for what is left of agents that are over, and
-- machines that are missing since now.
-- $1 job_id, $2 fence, $3 installation, $4 server_ids, $5 their agent_ids, $6 their fences,
-- $7 fresh job_ids, $8 now
SELECT server_id, agent_id, fence, why, first_seen, last_seen, queued_job, NULL::uuid AS misses
FROM take_inventory($1, $2, $3, $4, $5, $6, $7, $8)
UNION ALL
SELECT server_id, NULL, NULL, NULL, NULL, NULL, NULL, agent_id
FROM find_missing($1, $2, $4, $8)
