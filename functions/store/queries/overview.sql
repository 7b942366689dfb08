-- What an operator looks at first, list by list.
-- $1 now, $2 at most per list
SELECT
    (SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
        SELECT state, count(*) AS agents FROM agents GROUP BY state ORDER BY state) t
    ) AS by_state,
    (SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
        SELECT job_id, agent_id, kind, reason, (extract(epoch FROM due_at) * 1000000)::bigint AS due
        FROM jobs WHERE state IN ('queued', 'dispatched', 'running') AND due_at < $1
        ORDER BY due_at LIMIT $2) t
    ) AS overdue,
    (SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
        SELECT coalesce(last.error_class, 'unknown') AS class, count(*) AS agents
        FROM agents AS agent LEFT JOIN LATERAL (
            SELECT error_class FROM jobs
            WHERE jobs.agent_id = agent.agent_id AND jobs.state = 'failed'
            ORDER BY finished_at DESC LIMIT 1) AS last ON true
        WHERE agent.state IN ('failed', 'delete_failed') GROUP BY 1 ORDER BY 1) t
    ) AS failures,
    (SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
        SELECT server_id, agent_id, why,
               (extract(epoch FROM first_seen) * 1000000)::bigint AS first_seen,
               (extract(epoch FROM last_seen) * 1000000)::bigint AS last_seen
        FROM strays WHERE gone_at IS NULL ORDER BY first_seen DESC LIMIT $2) t
    ) AS strays,
    (SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
        SELECT agent_id, server_id, (extract(epoch FROM missing_since) * 1000000)::bigint AS since
        FROM instances WHERE missing_since IS NOT NULL AND released_at IS NULL
        ORDER BY missing_since DESC LIMIT $2) t
    ) AS missing,
    (SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
        SELECT subscription_id AS what, payment AS says,
               (extract(epoch FROM created_at) * 1000000)::bigint AS since
        FROM subscriptions WHERE agent_id IS NULL AND payment IN ('active', 'past_due')
        UNION ALL
        SELECT mark.ref, mark.news, mark.created * 1000000
        FROM payment_marks AS mark JOIN payment_refs AS own USING (ref)
        WHERE mark.news IN ('refunded', 'disputed', 'dispute_lost') AND NOT EXISTS (
            SELECT FROM payment_refs AS other JOIN subscriptions AS s
                ON s.subscription_id = other.ref AND s.agent_id IS NOT NULL
            WHERE other.grp = own.grp AND other.is_subscription)
        ORDER BY since DESC LIMIT $2) t
    ) AS unjoined,
    (SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM (
        SELECT subscription_id AS subscription, conflict_agent_id AS named, agent_id AS got
        FROM subscriptions WHERE conflict_agent_id IS NOT NULL AND payment <> 'canceled'
        ORDER BY created_at DESC LIMIT $2) t
    ) AS conflicts,
    any_due($1)
