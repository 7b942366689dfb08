-- Remembers nudges that were sent.
-- $1 job_ids, $2 when each arrives
UPDATE jobs SET timer_at = sent.arrives
FROM unnest($1::uuid[], $2::timestamptz[]) AS sent (job_id, arrives)
WHERE jobs.job_id = sent.job_id
