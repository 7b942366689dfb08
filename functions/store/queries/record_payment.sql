-- Event, subscription, agent and job at once. Everything in it is a merge, so a repeat
-- changes nothing and tells again which job is queued.
-- $1 event_id, $2 type, $3 created, $4 livemode, $5 payload, $6 subscription_id, $7 payment,
-- $8 agent asked for, $9 agent to make when that one is another subscription's,
-- $10 reference, $11 region, $12 name, $13 fresh job_id, $14 now
WITH bound_elsewhere AS (
    SELECT payment <> 'canceled' AS paying FROM agents
    WHERE agent_id = $8 AND subscription_id <> $6
), subscription AS (
    INSERT INTO subscriptions AS known
        (subscription_id, agent_id, payment, payment_created, payment_event,
         conflict_agent_id, created_at, updated_at)
    VALUES ($6, CASE WHEN EXISTS (SELECT FROM bound_elsewhere) THEN $9 ELSE $8 END, $7, $3, $1,
            (SELECT $8 FROM bound_elsewhere WHERE paying), $14, $14)
    ON CONFLICT (subscription_id) DO UPDATE SET
        agent_id = coalesce(known.agent_id, excluded.agent_id),
        conflict_agent_id = CASE WHEN known.agent_id IS NULL THEN excluded.conflict_agent_id
                                 ELSE known.conflict_agent_id END,
        (payment, payment_created, payment_event) = (
            SELECT mark.payment, mark.created, mark.event
            FROM (VALUES (known.payment, known.payment_created, known.payment_event),
                         (excluded.payment, excluded.payment_created, excluded.payment_event)
                 ) AS mark (payment, created, event)
            JOIN payment_order o ON o.payment = mark.payment
            ORDER BY o.age DESC, mark.created DESC, o.rank DESC, mark.event DESC LIMIT 1),
        updated_at = $14
    RETURNING agent_id, payment, conflict_agent_id
), agent AS (
    INSERT INTO agents AS known
        (agent_id, name, region, reference, subscription_id, payment, state, fresh_job_id,
         created_at, updated_at)
    SELECT agent_id, $12, $11, $10, $6, payment, 'draft', $13, $14, $14 FROM subscription
    ON CONFLICT (agent_id) DO UPDATE SET
        subscription_id = $6,
        payment = excluded.payment,
        gave_up = CASE WHEN known.payment = excluded.payment THEN known.gave_up ELSE 'none' END,
        reason = CASE WHEN known.payment = excluded.payment THEN known.reason END,
        fresh_job_id = $13,
        updated_at = CASE WHEN known.payment = excluded.payment THEN known.updated_at ELSE $14 END
    -- Bound to another subscription since this statement began: no row, and the reference
    -- from subscriptions fails, so that the statement is repeated with open eyes.
    WHERE known.subscription_id IS NULL OR known.subscription_id = $6
    RETURNING agent_id, queued_job_id
), event AS (
    INSERT INTO stripe_events
        (event_id, type, created, livemode, subscription_id, outcome, payload, received_at)
    SELECT $1, $2, $3, $4, $6,
           CASE WHEN conflict_agent_id IS NULL THEN 'applied' ELSE 'conflict' END, $5, $14
    FROM subscription
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
)
SELECT
    agent.agent_id,
    agent.queued_job_id,
    subscription.conflict_agent_id,
    NOT EXISTS (SELECT FROM event) AS duplicate,
    EXISTS (SELECT FROM jobs WHERE state IN ('queued', 'dispatched', 'running')
            AND due_at < $14 - interval '5 seconds') AS any_due
FROM agent CROSS JOIN subscription
