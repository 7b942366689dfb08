-- How an agent is: itself, the job that matters most now, its newest attempt, its instance
-- and its steps.
-- $1 agent_id, $2 now
SELECT
    agent.agent_id, agent.name, agent.region, agent.reference, agent.payment, agent.wish,
    agent.existing, agent.gave_up, agent.live, agent.config_pending,
    agent.state, agent.reason, agent.created_at, agent.updated_at,
    subscription.conflict_agent_id, subscription.payment_news,
    job.job_id, job.kind, job.state AS job_state, job.attempts, job.reason AS job_reason,
    job.error_class, job.due_at,
    attempt.number, attempt.fence, attempt.state AS attempt_state, attempt.step,
    attempt.opened_at, attempt.claimed_at, attempt.finished_at, attempt.error,
    attempt.failed_step,
    failed.error_class AS failed_class, failed.step AS failed_after,
    instance.server_id, instance.server_ip, instance.tailscale_ip, instance.server_name,
    instance.created_at AS instance_created_at, instance.missing_since,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('machine', machine, 'new', new,
                'fence', fence, 'at', (extract(epoch FROM at) * 1000000)::bigint) ORDER BY id),
            '[]')
     FROM timeline WHERE agent_id = agent.agent_id AND machine IN ('agent', 'step')) AS passed,
    CASE WHEN job.finished_at IS NULL THEN (
        SELECT jsonb_object_agg(taken.step, taken.micros) FROM (
            SELECT what.step, (percentile_cont(0.5) WITHIN GROUP (
                ORDER BY extract(epoch FROM what.at - done.opened_at)) * 1000000)::bigint AS micros
            FROM (
                SELECT t.* FROM (
                    SELECT job_id FROM jobs WHERE kind = job.kind AND state = 'succeeded'
                    ORDER BY finished_at DESC LIMIT 20
                ) AS j JOIN attempts t ON t.job_id = j.job_id AND t.state = 'succeeded'
            ) AS done
            CROSS JOIN LATERAL (
                SELECT 'claimed' AS step, done.claimed_at AS at
                UNION ALL SELECT 'done', done.finished_at
                UNION ALL SELECT l.new, min(l.at) FROM timeline l
                WHERE l.agent_id = done.agent_id AND l.fence = done.fence AND l.machine = 'step'
                GROUP BY l.new
            ) AS what
            GROUP BY what.step
        ) AS taken
    ) END AS expected,
    any_due($2)
FROM agents AS agent
LEFT JOIN subscriptions AS subscription
    ON subscription.subscription_id = agent.subscription_id
LEFT JOIN LATERAL (
    SELECT * FROM jobs WHERE agent_id = agent.agent_id
    ORDER BY job_id = agent.live_job_id DESC NULLS LAST,
             job_id = agent.queued_job_id DESC NULLS LAST, created_at DESC, job_id
    LIMIT 1
) AS job ON true
LEFT JOIN LATERAL (
    SELECT * FROM attempts WHERE attempts.job_id = job.job_id ORDER BY fence DESC LIMIT 1
) AS attempt ON true
LEFT JOIN LATERAL (
    SELECT jobs.error_class, last.step
    FROM jobs LEFT JOIN LATERAL (
        SELECT step FROM attempts WHERE attempts.job_id = jobs.job_id ORDER BY fence DESC LIMIT 1
    ) AS last ON true
    WHERE jobs.agent_id = agent.agent_id AND jobs.kind = agent.gave_up AND jobs.state = 'failed'
    ORDER BY jobs.finished_at DESC LIMIT 1
) AS failed ON agent.gave_up <> 'none'
LEFT JOIN instances AS instance
    ON instance.agent_id = agent.agent_id AND instance.released_at IS NULL
WHERE agent.agent_id = $1
