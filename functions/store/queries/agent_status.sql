-- How an agent is: itself, the job that matters most now, its newest attempt, its instance
-- and its steps.
-- $1 agent_id, $2 now
SELECT
    agent.agent_id, agent.name, agent.region, agent.reference, agent.payment, agent.wish,
    agent.state, agent.reason, agent.created_at, agent.updated_at,
    subscription.conflict_agent_id,
    job.job_id, job.kind, job.state AS job_state, job.attempts, job.reason AS job_reason,
    job.error_class, job.due_at,
    attempt.number, attempt.fence, attempt.state AS attempt_state, attempt.step,
    attempt.opened_at, attempt.claimed_at, attempt.finished_at, attempt.error,
    attempt.failed_step,
    instance.server_id, instance.server_ip, instance.tailscale_ip, instance.server_name,
    instance.created_at AS instance_created_at,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('machine', machine, 'new', new,
                'fence', fence, 'at', (extract(epoch FROM at) * 1000000)::bigint) ORDER BY id),
            '[]')
     FROM timeline WHERE agent_id = agent.agent_id AND machine IN ('agent', 'step')) AS passed,
    EXISTS (SELECT FROM jobs WHERE state IN ('queued', 'dispatched', 'running')
            AND due_at < $2::timestamptz - interval '5 seconds') AS any_due
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
LEFT JOIN instances AS instance
    ON instance.agent_id = agent.agent_id AND instance.released_at IS NULL
WHERE agent.agent_id = $1
