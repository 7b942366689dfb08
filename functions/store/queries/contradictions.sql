-- What must never be, found in the data itself: no row when all is well.
SELECT 'agent ' || a.agent_id || ' is ' || a.state || ' and next is ' || a.queued_kind
       || ', but its facts say ' || d.state || ' and ' || d.next_job AS contradiction
FROM agents a JOIN decision d
    USING (payment, wish, existing, gave_up, live, config_pending)
WHERE (a.state, a.queued_kind) <> (d.state, d.next_job)
UNION ALL
SELECT 'agent ' || a.agent_id || ' has no queued job ' || a.queued_job_id
FROM agents a LEFT JOIN jobs j ON j.job_id = a.queued_job_id
    AND j.state = 'queued' AND j.kind = a.queued_kind AND j.agent_id = a.agent_id
WHERE a.queued_job_id IS NOT NULL AND j.job_id IS NULL
UNION ALL
SELECT 'agent ' || a.agent_id || ' has no live attempt ' || a.live_fence
FROM agents a LEFT JOIN attempts t ON t.agent_id = a.agent_id AND t.fence = a.live_fence
    AND t.job_id = a.live_job_id AND t.state IN ('intended', 'accepted', 'claimed')
LEFT JOIN jobs j ON j.job_id = t.job_id AND j.kind = a.live
    AND j.state IN ('queued', 'dispatched', 'running')
WHERE a.live_fence IS NOT NULL AND j.job_id IS NULL
UNION ALL
SELECT 'job ' || j.job_id || ' is open and its agent does not know it'
FROM jobs j JOIN agents a USING (agent_id)
WHERE j.state IN ('queued', 'dispatched', 'running')
    AND j.job_id IS DISTINCT FROM a.queued_job_id AND j.job_id IS DISTINCT FROM a.live_job_id
UNION ALL
SELECT 'job ' || j.job_id || ' will never be looked at'
FROM jobs j JOIN agents a ON a.queued_job_id = j.job_id
WHERE j.due_at = 'infinity' AND a.live = 'none'
UNION ALL
SELECT 'attempt ' || t.agent_id || ' f' || t.fence || ' is live and its agent does not know it'
FROM attempts t JOIN agents a USING (agent_id)
WHERE t.state IN ('intended', 'accepted', 'claimed') AND t.fence IS DISTINCT FROM a.live_fence
UNION ALL
SELECT 'agent ' || a.agent_id || ' is ' || a.state || ' without an instance'
FROM agents a LEFT JOIN instances i ON i.agent_id = a.agent_id AND i.released_at IS NULL
WHERE a.state IN ('active', 'awaiting_credentials', 'stopping', 'starting')
    AND i.agent_id IS NULL
UNION ALL
SELECT 'agent ' || a.agent_id || ' is ' || a.state || ' and has instance ' || i.server_id
       || ', but what exists of it is ' || a.existing
FROM agents a JOIN instances i ON i.agent_id = a.agent_id AND i.released_at IS NULL
WHERE a.existing IN ('nothing', 'making')
    -- Only what is to go may be in doubt and still be the agent's.
    OR a.existing = 'doubt' AND a.wish <> 'delete' AND a.payment <> 'canceled'
UNION ALL
SELECT 'agent ' || a.agent_id || ' is paid and nothing is done about it'
FROM agents a
WHERE a.payment = 'active' AND a.wish = 'run' AND a.live = 'none' AND a.queued_kind = 'none'
    AND a.gave_up = 'none' AND a.state NOT IN ('active', 'awaiting_credentials')
UNION ALL
SELECT 'subscription ' || s.subscription_id || ' says ' || s.payment || ', its agent '
       || a.agent_id || ' says ' || a.payment
FROM subscriptions s JOIN agents a USING (agent_id)
WHERE s.payment <> a.payment
UNION ALL
SELECT 'subscription ' || s.subscription_id || ' says ' || s.payment || ', its events say '
       || p.payment
FROM subscriptions s CROSS JOIN LATERAL payment_of(s.subscription_id) p
WHERE s.payment <> p.payment
UNION ALL
SELECT 'agent ' || a.agent_id || ' shows ' || fact.now || ' as ' || fact.machine
       || ', its timeline ends with ' || coalesce(last.new, 'nothing')
FROM agents a CROSS JOIN LATERAL (
    VALUES ('agent', a.state), ('payment', a.payment), ('wish', a.wish),
           ('existing', a.existing), ('gave_up', a.gave_up)) AS fact (machine, now)
LEFT JOIN LATERAL (
    SELECT t.new FROM timeline t WHERE t.agent_id = a.agent_id AND t.machine = fact.machine
    ORDER BY t.id DESC LIMIT 1) AS last ON true
WHERE last.new IS DISTINCT FROM fact.now
UNION ALL
SELECT 'agent ' || agent_id || ' has an attempt of a later fence than its own'
FROM agents a WHERE fence <> (SELECT coalesce(max(t.fence), 0) FROM attempts t
                              WHERE t.agent_id = a.agent_id)
