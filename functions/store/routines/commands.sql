-- What owners command.

-- Under a key that was used before: its command, or 'reused' when that was another request.
CREATE OR REPLACE FUNCTION command_before(
    key text, request text, now timestamptz, OUT agent uuid, OUT verdict text, OUT running text)
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM commands c WHERE c.at < now - interval '1 day';
    SELECT c.agent_id, CASE WHEN c.request = command_before.request THEN c.verdict
                            ELSE 'reused' END, c.running
    INTO agent, verdict, running FROM commands c WHERE c.key = command_before.key;
END $$;

CREATE OR REPLACE FUNCTION create_agent(
    agent uuid, name text, region text, reference text, key text, request text, fresh_job uuid,
    now timestamptz, OUT created uuid, OUT verdict text)
LANGUAGE plpgsql AS $$
BEGIN
    IF key IS NOT NULL THEN
        -- Two requests under one key come one after the other.
        PERFORM pg_advisory_xact_lock(hashtext(key));
        SELECT b.agent, b.verdict INTO created, verdict FROM command_before(key, request, now) b;
        IF verdict IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    PERFORM set_config('slipway.cause', 'operator', true);
    INSERT INTO agents (agent_id, name, region, reference, payment, state, fresh_job_id,
                        created_at, updated_at)
    VALUES (agent, create_agent.name, create_agent.region, create_agent.reference, 'none',
            'draft', fresh_job, now, now)
    ON CONFLICT DO NOTHING;
    created := agent;
    -- The fresh id tells a statement that is repeated because its answer was lost.
    verdict := CASE WHEN FOUND OR EXISTS (SELECT FROM agents a WHERE a.agent_id = agent
                                          AND a.fresh_job_id = fresh_job)
                    THEN 'created' ELSE 'taken' END;
    IF key IS NOT NULL THEN
        INSERT INTO commands VALUES (key, request, agent, verdict, 'none', now);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION command_agent(
    agent uuid, command text, by text, key text, request text, fresh_job uuid, now timestamptz,
    OUT verdict text, OUT running text, OUT queued_job uuid)
LANGUAGE plpgsql AS $$
DECLARE
    known agents;
    ruled decision;
    remakes boolean := false;
BEGIN
    IF key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext(key));
    END IF;
    SELECT * INTO known FROM agents a WHERE a.agent_id = agent FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    queued_job := known.queued_job_id;
    -- The statement is repeated because its answer was lost.
    IF known.fresh_job_id = fresh_job THEN
        verdict := 'allowed';
        RETURN;
    END IF;
    IF key IS NOT NULL THEN
        SELECT b.verdict, b.running INTO verdict, running
        FROM command_before(key, request, now) b;
        IF verdict IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    SELECT * INTO STRICT ruled FROM decision d
    WHERE (d.payment, d.wish, d.existing, d.gave_up, d.live, d.config_pending) =
          (known.payment, known.wish, known.existing, known.gave_up, known.live,
           known.config_pending);
    -- Only the operator knows whether a machine that is missing is gone, and its data with it. From
    -- here on it is the agent's no more: should anything be left of it, the next destroy is told
    -- its id, as of everything that attempts reported.
    IF command = 'retry' AND by = 'operator' AND ruled.may_remake THEN
        UPDATE instances i SET released_at = now
        WHERE i.agent_id = agent AND i.released_at IS NULL AND i.missing_since IS NOT NULL;
        remakes := FOUND;
    END IF;
    verdict := CASE WHEN remakes THEN 'allowed' ELSE
               CASE command WHEN 'retry' THEN ruled.may_retry WHEN 'stop' THEN ruled.may_stop
                            WHEN 'start' THEN ruled.may_start WHEN 'delete' THEN ruled.may_delete
               END END;
    running := CASE WHEN known.live <> 'none' THEN known.live ELSE known.queued_kind END;
    IF verdict = 'allowed' THEN
        PERFORM set_config('slipway.cause', by, true);
        UPDATE agents a SET
            wish = CASE command WHEN 'stop' THEN 'stop' WHEN 'start' THEN 'run'
                                WHEN 'delete' THEN 'delete' ELSE a.wish END,
            existing = CASE WHEN remakes THEN 'doubt' ELSE a.existing END,
            gave_up = 'none',
            reason = NULL,
            fresh_job_id = fresh_job,
            updated_at = now
        WHERE a.agent_id = agent
        RETURNING a.queued_job_id INTO queued_job;
    END IF;
    IF key IS NOT NULL THEN
        INSERT INTO commands VALUES (key, request, agent, verdict, running, now);
    END IF;
END $$;
