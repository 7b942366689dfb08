-- Of the nudged jobs, those that are not due yet and have no nudge under way that is known of.
-- Whoever opened an attempt just now is about to send its timer; if that one dies, its own
-- nudge comes back.
-- $1 job_ids, $2 opened just now means after, $3 now
SELECT job_id, due_at FROM jobs
WHERE job_id = ANY ($1) AND state IN ('queued', 'dispatched', 'running')
    AND due_at > $3 AND due_at < 'infinity' AND (timer_at IS NULL OR timer_at <= $3)
    AND NOT EXISTS (
        SELECT FROM attempts WHERE attempts.job_id = jobs.job_id
            AND attempts.state IN ('intended', 'accepted') AND attempts.opened_at > $2)
