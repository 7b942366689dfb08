-- Runs that have to end and are to be looked at now.
-- $1 now, $2 at most
SELECT run_id, asked FROM run_cancels WHERE due_at <= $1 ORDER BY due_at LIMIT $2
