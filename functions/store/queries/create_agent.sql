-- Makes a draft; under a key that was used before, answers what it made then.
-- $1 agent_id, $2 name, $3 region, $4 reference, $5 key or null, $6 request,
-- $7 fresh job_id, $8 now
SELECT created AS agent_id, verdict FROM create_agent($1, $2, $3, $4, $5, $6, $7, $8)
