-- A report that does not end its attempt: it claims, renews the lease, tells ids and a step.
-- $1 job_id, $2 fence, $3 workflow_run_id, $4 run_attempt, $5 seq, $6 step, $7 server_id,
-- $8 server_ip, $9 tailscale_ip, $10 device_id, $11 server_name, $12 lease until,
-- $13 end of the work if claimed now, $14 now
WITH known AS (
    SELECT agent_id FROM jobs WHERE job_id = $1
), agent AS (
    SELECT a.agent_id, a.name, a.region, a.live, a.live_fence, a.queued_kind
    FROM agents a JOIN known USING (agent_id) FOR UPDATE OF a
), job AS (
    SELECT j.job_id FROM jobs j JOIN agent USING (agent_id)
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
), attempt AS (
    UPDATE attempts t SET
        state = 'claimed',
        workflow_run_id = $3,
        run_attempt = $4,
        claimed_at = coalesce(t.claimed_at, $14),
        lease_until = $12,
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
    RETURNING t.job_id, t.claimed_at, judged.claimed_at IS NULL AS claims
), working AS (
    UPDATE jobs SET
        state = 'running',
        due_at = least($12, attempt.claimed_at + ($13 - $14)),
        timer_at = CASE WHEN attempt.claims THEN $14 ELSE jobs.timer_at END,
        reason = CASE WHEN attempt.claims THEN NULL ELSE jobs.reason END,
        updated_at = $14
    FROM attempt WHERE jobs.job_id = attempt.job_id
    RETURNING jobs.due_at
)
SELECT
    -- An attempt that was opened after this statement began is seen when it is repeated.
    coalesce(judged.verdict, CASE WHEN agent.live_fence = $2 THEN 'unseen'
                               WHEN EXISTS (SELECT FROM known) THEN 'fenced' END) AS verdict,
    agent.queued_kind = 'destroy' AND agent.live <> 'destroy' AS stop,
    agent.name,
    agent.region,
    working.due_at,
    EXISTS (SELECT FROM jobs WHERE state IN ('queued', 'dispatched', 'running')
            AND due_at < $14 - interval '5 seconds') AS any_due
FROM (VALUES (1)) AS one (row)
LEFT JOIN agent ON true
LEFT JOIN judged ON true
LEFT JOIN working ON true
