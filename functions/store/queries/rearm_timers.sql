-- Remembers a new timer for those of the nudged jobs that are not due yet and have none.
-- $1 job_ids, $2 slack of timers in microseconds, $3 now
UPDATE jobs SET timer_at = due_at + interval '1 microsecond' * $2::bigint
WHERE job_id = ANY ($1) AND state IN ('queued', 'dispatched', 'running')
    AND due_at > $3 AND due_at < 'infinity' AND (timer_at IS NULL OR timer_at <= $3)
RETURNING job_id, due_at
