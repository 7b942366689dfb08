-- What follows from an agent's facts, and what is kept of every change.

-- In plpgsql, which plans a query once per session; sql would plan it at every call.
CREATE OR REPLACE FUNCTION any_due(now timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM jobs WHERE state IN ('queued', 'dispatched', 'running')
                   AND due_at < any_due.now - interval '5 seconds')
        OR EXISTS (SELECT FROM run_cancels WHERE due_at < any_due.now - interval '5 seconds');
END $$;

CREATE OR REPLACE FUNCTION cause() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('slipway.cause', true), '')
$$;

CREATE OR REPLACE FUNCTION agents_decide() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    decided decision;
BEGIN
    SELECT * INTO STRICT decided FROM decision d
    WHERE (d.payment, d.wish, d.existing, d.gave_up, d.live, d.config_pending) =
          (NEW.payment, NEW.wish, NEW.existing, NEW.gave_up, NEW.live, NEW.config_pending);
    NEW.state := decided.state;
    IF NEW.queued_kind <> decided.next_job THEN
        NEW.queued_kind := decided.next_job;
        NEW.queued_job_id :=
            CASE WHEN decided.next_job <> 'none' THEN NEW.fresh_job_id END;
    END IF;
    NEW.doomed_at := CASE WHEN NEW.queued_kind = 'destroy' AND NEW.live NOT IN ('none', 'destroy')
                          THEN coalesce(NEW.doomed_at, NEW.updated_at) END;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION agents_settle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was agents := CASE WHEN TG_OP = 'UPDATE' THEN OLD END;
    opens_at timestamptz := greatest(
        NEW.updated_at, CASE WHEN NEW.queued_kind = 'destroy' THEN NEW.quiet_until END);
BEGIN
    INSERT INTO timeline (agent_id, at, machine, old, new, detail, cause)
    SELECT NEW.agent_id, NEW.updated_at, fact.machine, coalesce(fact.old, ''), fact.new,
           fact.detail, cause()
    FROM (VALUES ('payment', was.payment, NEW.payment, NULL),
                 ('wish', was.wish, NEW.wish, NULL),
                 ('existing', was.existing, NEW.existing, NULL),
                 ('gave_up', was.gave_up, NEW.gave_up, NULL),
                 ('agent', was.state, NEW.state, NEW.reason)
         ) AS fact (machine, old, new, detail)
    WHERE fact.old IS DISTINCT FROM fact.new;
    IF NEW.state IS DISTINCT FROM was.state THEN
        PERFORM check_change('agent', coalesce(was.state, ''), NEW.state);
    END IF;
    IF was.queued_job_id IS DISTINCT FROM NEW.queued_job_id
        AND was.queued_job_id IS DISTINCT FROM NEW.live_job_id THEN
        UPDATE jobs SET state = 'canceled', reason = 'no longer wanted',
            updated_at = NEW.updated_at, finished_at = NEW.updated_at
        WHERE job_id = was.queued_job_id;
    END IF;
    IF NEW.queued_job_id IS DISTINCT FROM was.queued_job_id
        AND NEW.queued_job_id IS DISTINCT FROM was.live_job_id AND NEW.queued_job_id IS NOT NULL
    THEN
        INSERT INTO jobs (job_id, agent_id, kind, state, due_at, timer_at, created_at, updated_at)
        VALUES (NEW.queued_job_id, NEW.agent_id, NEW.queued_kind, 'queued',
                CASE WHEN NEW.live = 'none' THEN opens_at ELSE 'infinity' END,
                NEW.updated_at, NEW.updated_at, NEW.updated_at);
    ELSIF NEW.live = 'none' AND was.live_job_id IS NOT NULL
        AND NEW.queued_job_id = was.queued_job_id THEN
        UPDATE jobs SET due_at = opens_at, timer_at = NEW.updated_at, updated_at = NEW.updated_at
        WHERE job_id = NEW.queued_job_id;
    END IF;
    -- The agent is to go while something else is at work on it: dispatch looks at once.
    IF NEW.doomed_at IS NOT NULL AND was.doomed_at IS NULL THEN
        UPDATE jobs SET due_at = NEW.updated_at, timer_at = NEW.updated_at
        WHERE job_id = NEW.live_job_id AND due_at > NEW.updated_at;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION jobs_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_state text := CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE '' END;
BEGIN
    IF NEW.state <> old_state THEN
        PERFORM check_change('job', old_state, NEW.state);
        INSERT INTO timeline (agent_id, job_id, at, machine, old, new, detail, cause)
        VALUES (NEW.agent_id, NEW.job_id, NEW.updated_at, 'job', old_state, NEW.state,
                coalesce(NEW.reason, NEW.kind), cause());
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION attempts_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_state text := CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE '' END;
    old_step text := CASE WHEN TG_OP = 'UPDATE' THEN coalesce(OLD.step, '') ELSE '' END;
BEGIN
    IF NEW.step <> old_step THEN
        INSERT INTO timeline (agent_id, job_id, fence, at, machine, old, new, cause)
        VALUES (NEW.agent_id, NEW.job_id, NEW.fence, NEW.updated_at, 'step', old_step,
                NEW.step, cause());
    END IF;
    IF NEW.state <> old_state THEN
        PERFORM check_change('attempt', old_state, NEW.state);
        INSERT INTO timeline (agent_id, job_id, fence, at, machine, old, new, detail, cause)
        VALUES (NEW.agent_id, NEW.job_id, NEW.fence, NEW.updated_at, 'attempt', old_state,
                NEW.state, NEW.error, cause());
    END IF;
    RETURN NULL;
END $$;
