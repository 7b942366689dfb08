-- A report that does not end its attempt: it claims, renews the lease, tells ids and a step.
-- $1 job_id, $2 fence, $3 workflow_run_id, $4 run_attempt, $5 seq, $6 step, $7 server_id,
-- $8 server_ip, $9 tailscale_ip, $10 device_id, $11 server_name, $12 lease until,
-- $13 end of the work if claimed now, $14 now, $15 installation, $16 its whole project was last
-- asked for before, $17 patience with an attempt whose agent is to go, in microseconds
WITH known AS (
    SELECT agent_id, set_config('slipway.cause', 'runner ' || $3 || '/' || $4::integer, true)
    FROM jobs WHERE job_id = $1
), agent AS (
    SELECT a.agent_id, a.name, a.region, a.live, a.live_fence,
        a.doomed_at + interval '1 microsecond' * $17::bigint AS patience_until
    FROM agents a JOIN known USING (agent_id) FOR UPDATE OF a
), job AS (
    SELECT j.job_id, j.kind FROM jobs j JOIN agent USING (agent_id)
    WHERE j.job_id = $1 FOR UPDATE OF j
), held AS (
    SELECT t AS attempt, t.* FROM attempts t JOIN agent USING (agent_id) JOIN job USING (job_id)
    WHERE t.fence = $2 FOR UPDATE OF t
), judged AS (
    SELECT held.*, CASE
        WHEN verdict(held.attempt, $3, $4) <> 'live' THEN verdict(held.attempt, $3, $4)
        WHEN server_id <> $7 OR server_ip <> $8 OR tailscale_ip <> $9 OR device_id <> $10
             OR server_name <> $11 THEN 'conflict'
        ELSE 'live' END AS verdict
    FROM held
), turn AS (
    INSERT INTO inventory_turns AS known (installation, asked_at)
    SELECT $15, $14 FROM judged WHERE verdict = 'live' AND claimed_at IS NULL
    ON CONFLICT (installation) DO UPDATE SET asked_at = $14 WHERE known.asked_at <= $16
    RETURNING installation
), attempt AS (
    UPDATE attempts t SET
        state = 'claimed',
        inventory_asked = t.inventory_asked OR EXISTS (SELECT FROM turn),
        workflow_run_id = $3,
        run_attempt = $4,
        claimed_at = coalesce(t.claimed_at, $14),
        -- A report that waited for a lock may come to its turn after a later one.
        lease_until = greatest(t.lease_until, $12),
        step = CASE WHEN $5 > t.seq OR t.step IS NULL THEN coalesce($6, t.step) ELSE t.step END,
        seq = greatest(t.seq, $5),
        server_id = coalesce(t.server_id, $7),
        server_ip = coalesce(t.server_ip, $8),
        tailscale_ip = coalesce(t.tailscale_ip, $9),
        device_id = coalesce(t.device_id, $10),
        server_name = coalesce(t.server_name, $11),
        updated_at = $14
    FROM judged
    WHERE t.agent_id = judged.agent_id AND t.fence = judged.fence AND judged.verdict = 'live'
    RETURNING t.job_id, t.claimed_at, t.lease_until, t.inventory_asked, t.cancel_asked,
        judged.claimed_at IS NULL AS claims
), working AS (
    UPDATE jobs SET
        state = 'running',
        due_at = least(attempt.lease_until, attempt.claimed_at + ($13 - $14),
                       CASE WHEN agent.patience_until IS NOT NULL AND NOT attempt.cancel_asked
                            THEN greatest($14, agent.patience_until) END),
        timer_at = CASE WHEN attempt.claims THEN $14 ELSE jobs.timer_at END,
        reason = CASE WHEN attempt.claims THEN NULL ELSE jobs.reason END,
        updated_at = $14
    FROM attempt CROSS JOIN agent WHERE jobs.job_id = attempt.job_id
    RETURNING jobs.due_at
)
SELECT
    -- An attempt that was opened after this statement began is seen when it is repeated.
    coalesce(judged.verdict, CASE WHEN agent.live_fence = $2 THEN 'unseen'
                               WHEN EXISTS (SELECT FROM known) THEN 'fenced' END) AS verdict,
    agent.patience_until IS NOT NULL AS stop,
    agent.agent_id,
    job.kind,
    agent.name,
    agent.region,
    working.due_at,
    attempt.inventory_asked AS inventory,
    CASE WHEN agent.live = 'destroy' THEN (
        SELECT array_agg(DISTINCT t.job_id) FROM attempts t JOIN known USING (agent_id)
    ) END AS jobs,
    left_over.servers,
    left_over.devices,
    any_due($14)
FROM (VALUES (1)) AS one (row)
LEFT JOIN agent ON true
LEFT JOIN job ON true
LEFT JOIN judged ON true
LEFT JOIN attempt ON true
LEFT JOIN working ON true
-- What attempts told of since a destroy last confirmed that nothing was left.
LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT t.server_id) FILTER (WHERE t.server_id <> '') AS servers,
        array_agg(DISTINCT t.device_id) FILTER (WHERE t.device_id <> '') AS devices
    FROM attempts t
    WHERE t.agent_id = agent.agent_id AND t.fence > coalesce((
        SELECT max(d.fence) FROM attempts d JOIN jobs j USING (job_id)
        WHERE d.agent_id = agent.agent_id AND d.state = 'succeeded' AND j.kind = 'destroy'), 0)
) AS left_over ON agent.live NOT IN ('none', 'provision')
