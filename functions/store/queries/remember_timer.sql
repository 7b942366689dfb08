-- Remembers a nudge that was sent.
-- $1 job_id, $2 when it arrives
UPDATE jobs SET timer_at = $2 WHERE job_id = $1 AND state IN ('queued', 'dispatched', 'running')
