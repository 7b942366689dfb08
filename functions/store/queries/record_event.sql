-- Stores an event that changes nothing yet. A repeat changes nothing either.
-- $1 event_id, $2 type, $3 created, $4 livemode, $5 subscription_id, $6 payload, $7 now
WITH event AS (
    INSERT INTO stripe_events
        (event_id, type, created, livemode, subscription_id, outcome, payload, received_at)
    VALUES ($1, $2, $3, $4, $5, 'stored', $6, $7)
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
)
SELECT
    NOT EXISTS (SELECT FROM event) AS duplicate,
    EXISTS (SELECT FROM jobs WHERE state IN ('queued', 'dispatched', 'running')
            AND due_at < $7 - interval '5 seconds') AS any_due
