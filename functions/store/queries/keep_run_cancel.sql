-- A run was asked to end, and is looked at again at $2; null when it is over.
-- $1 run_id, $2 next look
WITH over AS (
    DELETE FROM run_cancels WHERE run_id = $1 AND $2::timestamptz IS NULL
)
UPDATE run_cancels SET asked = least(asked + 1, 1000), due_at = $2
WHERE run_id = $1 AND $2::timestamptz IS NOT NULL
