-- Ends an attempt: by its final report, or because it is overdue. Job, attempt, instance and
-- agent change together, and what is to be done next follows.
-- $1 job_id, $2 fence, $3 workflow_run_id (null when not a report), $4 run_attempt,
-- $5 ending, $6 state of the attempt, $7 error, $8 error_class, $9 failed_step,
-- $10 waits before the 1st, 2nd, … retry in microseconds, $11 server_id, $12 server_ip,
-- $13 tailscale_ip, $14 device_id, $15 server_name, $16 seq, $17 step,
-- $18 only when overdue, $19 fresh job_id, $20 now, $21 runs that have to end when overdue,
-- $22 what the lost runner may still be waiting for, in microseconds, $23 cause
WITH known AS (
    SELECT agent_id, set_config('slipway.cause', $23, true) FROM jobs WHERE job_id = $1
), agent AS (
    SELECT a.agent_id, a.live, a.live_fence, a.existing, a.gave_up, a.queued_kind,
        a.queued_job_id, a.reason
    FROM agents a JOIN known USING (agent_id) FOR UPDATE OF a
), job AS (
    SELECT j.job_id, j.kind, j.attempts, j.due_at FROM jobs j JOIN agent USING (agent_id)
    WHERE j.job_id = $1 FOR UPDATE OF j
), held AS (
    SELECT t AS attempt, t.* FROM attempts t JOIN agent USING (agent_id) JOIN job USING (job_id)
    WHERE t.fence = $2 FOR UPDATE OF t
), merged AS (
    SELECT held.agent_id, held.fence, held.run_id, held.workflow_run_id,
        CASE WHEN $18 THEN held.lease_until + interval '1 microsecond' * $22::bigint END
            AS quiet_until,
        coalesce(held.server_id, $11) AS server_id,
        coalesce(held.server_ip, $12) AS server_ip,
        coalesce(held.tailscale_ip, $13) AS tailscale_ip,
        coalesce(held.device_id, $14) AS device_id,
        coalesce(held.server_name, $15) AS server_name,
        CASE
            WHEN verdict(held.attempt, $3, $4) <> 'live' THEN verdict(held.attempt, $3, $4)
            WHEN held.server_id <> $11 OR held.server_ip <> $12 OR held.tailscale_ip <> $13
                 OR held.device_id <> $14 OR held.server_name <> $15 THEN 'conflict'
            WHEN $18 AND (job.due_at > $20 OR $6 = 'aborted' AND held.state = 'claimed')
                THEN 'early'
            ELSE 'live' END AS verdict
    FROM held CROSS JOIN job
), ended AS (
    SELECT merged.*, job.kind,
        CASE
            WHEN $6 <> 'succeeded' OR job.kind <> 'provision' THEN $5
            WHEN server_id IS NULL THEN 'unreported'
            WHEN server_ip IS NULL OR tailscale_ip IS NULL THEN 'failed'
            ELSE $5 END AS ending,
        ($10::bigint[])[job.attempts] AS wait
    FROM merged CROSS JOIN job WHERE verdict = 'live'
), outcome AS (
    SELECT ended.*, doomed,
        ending IN ('ready', 'awaiting_credentials') AS well,
        ending = 'failed' AND (wait IS NOT NULL OR doomed) AS again,
        CASE
            WHEN ending = 'unreported' THEN 'the runner reported no server'
            WHEN ending = 'failed' AND $6 = 'succeeded' THEN
                'the runner reported server ' || server_id || ' without all of its addresses'
            ELSE $7 END AS why,
        CASE WHEN $6 = 'succeeded' AND ending IN ('unreported', 'failed') THEN 'permanent'
             ELSE $8 END AS class
    FROM ended CROSS JOIN (
        SELECT queued_kind = 'destroy' AND live <> 'destroy' AS doomed FROM agent) AS fate
), free AS (
    UPDATE agents SET
        live = 'none',
        live_fence = NULL,
        live_job_id = NULL,
        existing = effect.after,
        gave_up = CASE
            WHEN outcome.well AND (agent.gave_up = outcome.kind
                -- The power is as it is wanted since.
                OR agent.gave_up IN ('stop', 'start') AND outcome.kind IN ('stop', 'start'))
                THEN 'none'
            WHEN outcome.well OR outcome.again THEN agent.gave_up
            ELSE outcome.kind END,
        reason = CASE
            WHEN outcome.well AND outcome.kind <> 'destroy' THEN NULL
            WHEN outcome.well OR outcome.again THEN agent.reason
            ELSE outcome.why END,
        queued_kind = CASE WHEN outcome.again AND agent.queued_kind = 'none'
            THEN outcome.kind ELSE agent.queued_kind END,
        queued_job_id = CASE WHEN outcome.again AND agent.queued_kind = 'none'
            THEN $1 ELSE agent.queued_job_id END,
        quiet_until = greatest(agents.quiet_until, outcome.quiet_until),
        fresh_job_id = $19,
        updated_at = $20
    FROM agent CROSS JOIN outcome JOIN effect
        ON (effect.kind, effect.ending) = (outcome.kind, outcome.ending)
    WHERE agents.agent_id = agent.agent_id AND effect.before = agent.existing
    RETURNING agents.queued_job_id, agents.queued_kind, agents.quiet_until
), attempt AS (
    UPDATE attempts t SET
        state = CASE
            WHEN $6 = 'succeeded' AND NOT outcome.well THEN 'failed'
            WHEN $6 = 'failed' AND outcome.doomed THEN 'aborted'
            ELSE $6 END,
        workflow_run_id = coalesce(t.workflow_run_id, $3),
        run_attempt = coalesce(t.run_attempt, $4),
        claimed_at = CASE WHEN $3 IS NULL THEN t.claimed_at ELSE coalesce(t.claimed_at, $20) END,
        step = CASE WHEN $16 > t.seq OR t.step IS NULL THEN coalesce($17, t.step) ELSE t.step END,
        seq = greatest(t.seq, $16),
        server_id = outcome.server_id,
        server_ip = outcome.server_ip,
        tailscale_ip = outcome.tailscale_ip,
        device_id = outcome.device_id,
        server_name = outcome.server_name,
        error = outcome.why,
        error_class = outcome.class,
        failed_step = $9,
        updated_at = $20,
        finished_at = $20
    FROM outcome WHERE t.agent_id = outcome.agent_id AND t.fence = outcome.fence
), done AS (
    UPDATE jobs SET
        state = CASE
            WHEN outcome.well THEN 'succeeded'
            WHEN free.queued_job_id = jobs.job_id THEN 'queued'
            WHEN outcome.again THEN 'canceled'
            ELSE 'failed' END,
        finished_at = CASE WHEN free.queued_job_id = jobs.job_id AND NOT outcome.well
            THEN NULL ELSE $20 END,
        due_at = $20 + interval '1 microsecond' * coalesce(outcome.wait, 0),
        timer_at = $20,
        reason = outcome.why,
        error_class = outcome.class,
        updated_at = $20
    FROM outcome CROSS JOIN free WHERE jobs.job_id = $1
    RETURNING jobs.job_id, jobs.due_at
), to_end AS (
    INSERT INTO run_cancels (run_id, agent_id, fence, due_at)
    SELECT DISTINCT run, agent_id, fence, $20
    FROM outcome CROSS JOIN unnest($21::text[] || run_id || workflow_run_id) AS run
    WHERE $18 AND run ~ '^[0-9]{1,20}$'
    ON CONFLICT DO NOTHING
), instance AS (
    INSERT INTO instances (agent_id, fence, server_id, server_ip, tailscale_ip, device_id,
                           server_name, created_at)
    SELECT agent_id, fence, server_id, server_ip, tailscale_ip, device_id, server_name, $20
    FROM outcome WHERE well AND kind = 'provision'
), moved AS (
    -- A machine that came back may have another address, and be another device.
    UPDATE instances SET
        tailscale_ip = coalesce(outcome.tailscale_ip, instances.tailscale_ip),
        device_id = coalesce(outcome.device_id, instances.device_id)
    FROM outcome
    WHERE instances.agent_id = outcome.agent_id AND instances.released_at IS NULL
        AND well AND kind = 'start'
), released AS (
    UPDATE instances SET released_at = $20 FROM outcome
    WHERE instances.agent_id = outcome.agent_id AND instances.released_at IS NULL
        AND outcome.well AND outcome.kind = 'destroy'
)
SELECT
    -- An attempt that was opened after this statement began is seen when it is repeated.
    coalesce(merged.verdict, CASE WHEN agent.live_fence = $2 THEN 'unseen'
                               WHEN EXISTS (SELECT FROM known) THEN 'fenced' END) AS verdict,
    free.queued_job_id AS job_id,
    CASE WHEN done.job_id = free.queued_job_id THEN done.due_at
         ELSE greatest($20, CASE WHEN free.queued_kind = 'destroy' THEN free.quiet_until END)
         END AS due_at,
    EXISTS (SELECT FROM jobs WHERE state IN ('queued', 'dispatched', 'running')
            AND due_at < $20 - interval '5 seconds' AND job_id <> $1)
        OR EXISTS (SELECT FROM run_cancels WHERE due_at < $20 - interval '5 seconds') AS any_due
FROM (VALUES (1)) AS one (row)
LEFT JOIN agent ON true
LEFT JOIN merged ON true
LEFT JOIN free ON true
LEFT JOIN done ON true
