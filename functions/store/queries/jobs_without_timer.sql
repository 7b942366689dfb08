-- Open jobs for which nobody is sure to look when they are due: their newest nudge should have
-- come long ago, or has just come and was too early or too late for them. Whoever opened an
-- attempt just now is about to send its timer.
-- $1 nudged job_ids, $2 long ago, $3 just come (clocks differ a little), $4 opened just now
-- means after, $5 at most
SELECT job_id, due_at FROM jobs
WHERE state IN ('queued', 'dispatched', 'running') AND due_at < 'infinity'
    AND (timer_at <= $2 OR timer_at <= $3 AND (
        job_id = ANY ($1)
        OR job_id IN (SELECT agent.live_job_id
                      FROM jobs AS next JOIN agents AS agent USING (agent_id)
                      WHERE next.job_id = ANY ($1))))
    AND NOT EXISTS (
        SELECT FROM attempts WHERE attempts.job_id = jobs.job_id
            AND attempts.state IN ('intended', 'accepted') AND attempts.opened_at > $4)
ORDER BY due_at
LIMIT $5
