-- What a runner saw: machines that are missing since now, strays that are new, and jobs for what is
-- left of agents that are over. The first may wait for a command that gives a machine up, so that
-- the others are judged by what it left.
-- $1 job_id, $2 fence, $3 installation, $4 server_ids, $5 their agent_ids, $6 their fences,
-- $7 fresh job_ids, $8 now
SELECT server_id, NULL::text AS agent_id, NULL::text AS why, NULL::timestamptz AS first_seen,
       NULL::timestamptz AS last_seen, NULL::uuid AS queued_job, agent_id AS misses
FROM find_missing($1, $2, $4, $8)
UNION ALL
SELECT server_id, agent_id, why, first_seen, last_seen, queued_job, NULL
FROM take_inventory($1, $2, $3, $4, $5, $6, $7, $8)
