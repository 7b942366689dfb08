-- A job that could not be looked after is looked at again later, unless news moved it meanwhile.
-- $1 job_id, $2 due, $3 now
UPDATE jobs SET due_at = $2, timer_at = $3, updated_at = $3
WHERE job_id = $1 AND state IN ('queued', 'dispatched', 'running') AND due_at <= $3
