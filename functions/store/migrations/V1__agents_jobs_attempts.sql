-- The rules: written from the domain crate by every migration run, read by the triggers below.

CREATE TABLE decision (
    payment text NOT NULL,
    wish text NOT NULL,
    existing text NOT NULL,
    gave_up text NOT NULL,
    live text NOT NULL,
    config_pending boolean NOT NULL,
    next_job text NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (payment, wish, existing, gave_up, live, config_pending)
);

CREATE TABLE effect (
    kind text NOT NULL,
    ending text NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    PRIMARY KEY (kind, ending, before)
);

CREATE TABLE payment_order (
    payment text PRIMARY KEY,
    age smallint NOT NULL,
    rank smallint NOT NULL
);

-- An empty old state stands for a beginning.
CREATE TABLE legal_change (
    machine text NOT NULL,
    old text NOT NULL,
    new text NOT NULL,
    PRIMARY KEY (machine, old, new)
);

-- The agents. What decides about an agent lies on its own row, so that whoever holds the
-- row's lock has read the newest of it.

CREATE TABLE agents (
    agent_id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    region text NOT NULL CHECK (region ~ '^[a-z0-9-]{1,40}$'),
    reference text CHECK (length(reference) <= 500),
    subscription_id text COLLATE "C" UNIQUE,
    payment text NOT NULL CHECK (payment IN ('none', 'active', 'past_due', 'canceled')),
    wish text NOT NULL DEFAULT 'run' CHECK (wish IN ('run', 'stop', 'delete')),
    existing text NOT NULL DEFAULT 'nothing' CHECK (
        existing IN ('nothing', 'making', 'unconfigured', 'running', 'stopped', 'doubt')),
    gave_up text NOT NULL DEFAULT 'none' CHECK (
        gave_up IN ('none', 'provision', 'configure', 'stop', 'start', 'destroy')),
    live text NOT NULL DEFAULT 'none' CHECK (
        live IN ('none', 'provision', 'configure', 'stop', 'start', 'destroy')),
    config_pending boolean NOT NULL DEFAULT false,
    state text NOT NULL CHECK (
        state IN ('draft', 'provisioning', 'active', 'awaiting_credentials', 'stopping',
                  'paused', 'suspended', 'starting', 'deleting', 'deleted', 'failed',
                  'delete_failed')),
    reason text,
    fence bigint NOT NULL DEFAULT 0 CHECK (fence >= 0),
    live_fence bigint CHECK (live_fence <= fence),
    live_job_id uuid,
    queued_kind text NOT NULL DEFAULT 'none' CHECK (
        queued_kind IN ('none', 'provision', 'configure', 'stop', 'start', 'destroy')),
    queued_job_id uuid,
    -- Id for the job that a change of the facts may call for; every such change brings one.
    fresh_job_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (agent_id, subscription_id),
    CHECK ((live = 'none') = (live_fence IS NULL)),
    CHECK ((live = 'none') = (live_job_id IS NULL)),
    CHECK ((queued_kind = 'none') = (queued_job_id IS NULL))
);

CREATE TABLE subscriptions (
    subscription_id text COLLATE "C" PRIMARY KEY,
    agent_id uuid,
    payment text NOT NULL CHECK (payment IN ('none', 'active', 'past_due', 'canceled')),
    payment_created bigint NOT NULL,
    payment_event text COLLATE "C" NOT NULL,
    -- The agent that the checkout named although it belongs to another live subscription.
    conflict_agent_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- One agent for one subscription, whoever comes first.
    FOREIGN KEY (agent_id, subscription_id) REFERENCES agents (agent_id, subscription_id)
);

CREATE INDEX subscriptions_in_conflict ON subscriptions (created_at)
    WHERE conflict_agent_id IS NOT NULL;

CREATE TABLE stripe_events (
    event_id text COLLATE "C" PRIMARY KEY,
    type text NOT NULL,
    created bigint NOT NULL,
    livemode boolean NOT NULL,
    subscription_id text COLLATE "C",
    outcome text NOT NULL CHECK (outcome IN ('stored', 'applied', 'conflict')),
    payload text NOT NULL,
    received_at timestamptz NOT NULL
);

CREATE TABLE jobs (
    job_id uuid PRIMARY KEY,
    agent_id uuid NOT NULL REFERENCES agents,
    kind text NOT NULL CHECK (kind IN ('provision', 'configure', 'stop', 'start', 'destroy')),
    state text NOT NULL CHECK (
        state IN ('queued', 'dispatched', 'running', 'succeeded', 'failed', 'canceled')),
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 4),
    refusals smallint NOT NULL DEFAULT 0 CHECK (refusals >= 0),
    reason text,
    error_class text CHECK (error_class IN ('transient', 'capacity', 'permanent')),
    -- When somebody has to look at this job again.
    due_at timestamptz NOT NULL,
    -- When the newest nudge for it arrives that is known to be under way, or is about to be
    -- sent. Well past: nobody is sure to look, and any dispatcher sends another.
    timer_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK ((finished_at IS NULL) = (state IN ('queued', 'dispatched', 'running')))
);

CREATE UNIQUE INDEX jobs_one_open_per_kind ON jobs (agent_id, kind)
    WHERE state IN ('queued', 'dispatched', 'running');
CREATE INDEX jobs_due ON jobs (due_at) WHERE state IN ('queued', 'dispatched', 'running');
CREATE INDEX jobs_timer ON jobs (timer_at) WHERE state IN ('queued', 'dispatched', 'running');
CREATE INDEX jobs_of_agent ON jobs (agent_id, created_at);

CREATE TABLE attempts (
    agent_id uuid NOT NULL REFERENCES agents,
    fence bigint NOT NULL CHECK (fence >= 1),
    job_id uuid NOT NULL REFERENCES jobs,
    number smallint NOT NULL CHECK (number BETWEEN 1 AND 4),
    state text NOT NULL CHECK (
        state IN ('intended', 'accepted', 'claimed', 'succeeded', 'failed', 'aborted',
                  'expired', 'refused')),
    -- The run that GitHub named when it accepted.
    run_id text,
    -- The run that claimed. Both parts are empty, not null, for the first version's runner.
    workflow_run_id text,
    run_attempt integer,
    -- Which call opened it: a call that is repeated finds what it opened the first time.
    opened_by uuid NOT NULL,
    dispatched_again boolean NOT NULL DEFAULT false,
    opened_at timestamptz NOT NULL,
    claimed_at timestamptz,
    lease_until timestamptz,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    seq bigint NOT NULL DEFAULT 0,
    step text,
    server_id text,
    server_ip text,
    tailscale_ip text,
    device_id text,
    server_name text,
    error text,
    error_class text CHECK (error_class IN ('transient', 'capacity', 'permanent')),
    failed_step text,
    PRIMARY KEY (agent_id, fence),
    CHECK ((workflow_run_id IS NULL) = (run_attempt IS NULL)),
    CHECK ((workflow_run_id IS NULL) = (claimed_at IS NULL)),
    CHECK (state NOT IN ('claimed', 'succeeded') OR claimed_at IS NOT NULL),
    CHECK ((finished_at IS NULL) = (state IN ('intended', 'accepted', 'claimed')))
);

CREATE UNIQUE INDEX attempts_one_live_per_agent ON attempts (agent_id)
    WHERE state IN ('intended', 'accepted', 'claimed');
CREATE INDEX attempts_of_job ON attempts (job_id);
CREATE INDEX attempts_opened_by ON attempts (opened_by) WHERE state = 'intended';

CREATE TABLE instances (
    agent_id uuid NOT NULL REFERENCES agents,
    fence bigint NOT NULL,
    server_id text NOT NULL UNIQUE,
    server_ip text NOT NULL,
    tailscale_ip text NOT NULL,
    device_id text,
    server_name text,
    created_at timestamptz NOT NULL,
    released_at timestamptz,
    PRIMARY KEY (agent_id, fence),
    FOREIGN KEY (agent_id, fence) REFERENCES attempts
);

CREATE UNIQUE INDEX instances_one_per_agent ON instances (agent_id) WHERE released_at IS NULL;

-- Every transition and every step, never changed.
CREATE TABLE timeline (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id uuid NOT NULL,
    job_id uuid,
    fence bigint,
    at timestamptz NOT NULL,
    machine text NOT NULL CHECK (machine IN ('agent', 'job', 'attempt', 'step')),
    old text NOT NULL,
    new text NOT NULL,
    detail text
);

CREATE INDEX timeline_of_agent ON timeline (agent_id, id);

-- The triggers.

CREATE FUNCTION check_change(machine text, old text, new text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM legal_change l WHERE (l.machine, l.old, l.new) =
                   (check_change.machine, check_change.old, check_change.new)) THEN
        RAISE EXCEPTION 'illegal change of % from "%" to "%"', machine, old, new
            USING ERRCODE = 'check_violation';
    END IF;
END $$;

-- Before an agent's row is written: what follows from its facts is written with it.
CREATE FUNCTION agents_decide() RETURNS trigger LANGUAGE plpgsql AS $$
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
    RETURN NEW;
END $$;

CREATE TRIGGER decide BEFORE INSERT OR UPDATE ON agents
    FOR EACH ROW EXECUTE FUNCTION agents_decide();

-- After an agent's row is written: the queued job follows it.
CREATE FUNCTION agents_settle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_state text := '';
    old_queued uuid;
    old_live uuid;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        old_state := OLD.state;
        old_queued := OLD.queued_job_id;
        old_live := OLD.live_job_id;
    END IF;
    IF NEW.state <> old_state THEN
        PERFORM check_change('agent', old_state, NEW.state);
        INSERT INTO timeline (agent_id, at, machine, old, new, detail)
        VALUES (NEW.agent_id, NEW.updated_at, 'agent', old_state, NEW.state, NEW.reason);
    END IF;
    IF old_queued IS DISTINCT FROM NEW.queued_job_id
        AND old_queued IS DISTINCT FROM NEW.live_job_id THEN
        UPDATE jobs SET state = 'canceled', reason = 'no longer wanted',
            updated_at = NEW.updated_at, finished_at = NEW.updated_at
        WHERE job_id = old_queued;
    END IF;
    IF NEW.queued_job_id IS DISTINCT FROM old_queued
        AND NEW.queued_job_id IS DISTINCT FROM old_live AND NEW.queued_job_id IS NOT NULL THEN
        INSERT INTO jobs (job_id, agent_id, kind, state, due_at, timer_at, created_at, updated_at)
        VALUES (NEW.queued_job_id, NEW.agent_id, NEW.queued_kind, 'queued',
                CASE WHEN NEW.live = 'none' THEN NEW.updated_at ELSE 'infinity' END,
                NEW.updated_at, NEW.updated_at, NEW.updated_at);
    ELSIF NEW.live = 'none' AND old_live IS NOT NULL AND NEW.queued_job_id = old_queued THEN
        UPDATE jobs SET due_at = NEW.updated_at, timer_at = NEW.updated_at,
            updated_at = NEW.updated_at
        WHERE job_id = NEW.queued_job_id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER settle AFTER INSERT OR UPDATE ON agents
    FOR EACH ROW EXECUTE FUNCTION agents_settle();

CREATE FUNCTION jobs_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_state text := CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE '' END;
BEGIN
    IF NEW.state <> old_state THEN
        PERFORM check_change('job', old_state, NEW.state);
        INSERT INTO timeline (agent_id, job_id, at, machine, old, new, detail)
        VALUES (NEW.agent_id, NEW.job_id, NEW.updated_at, 'job', old_state, NEW.state,
                NEW.reason);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER changed AFTER INSERT OR UPDATE ON jobs
    FOR EACH ROW EXECUTE FUNCTION jobs_changed();

CREATE FUNCTION attempts_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_state text := CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE '' END;
    old_step text := CASE WHEN TG_OP = 'UPDATE' THEN coalesce(OLD.step, '') ELSE '' END;
BEGIN
    IF NEW.step <> old_step THEN
        INSERT INTO timeline (agent_id, job_id, fence, at, machine, old, new)
        VALUES (NEW.agent_id, NEW.job_id, NEW.fence, NEW.updated_at, 'step', old_step,
                NEW.step);
    END IF;
    IF NEW.state <> old_state THEN
        PERFORM check_change('attempt', old_state, NEW.state);
        INSERT INTO timeline (agent_id, job_id, fence, at, machine, old, new, detail)
        VALUES (NEW.agent_id, NEW.job_id, NEW.fence, NEW.updated_at, 'attempt', old_state,
                NEW.state, NEW.error);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER changed AFTER INSERT OR UPDATE ON attempts
    FOR EACH ROW EXECUTE FUNCTION attempts_changed();

-- An agent that works has its instance, at the latest when the transaction ends.
CREATE FUNCTION agents_have_instances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM instances i
                   WHERE i.agent_id = NEW.agent_id AND i.released_at IS NULL) THEN
        RAISE EXCEPTION 'agent % would be % without an instance', NEW.agent_id, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER has_instance AFTER INSERT OR UPDATE ON agents
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.state IN ('active', 'awaiting_credentials', 'stopping', 'starting'))
    EXECUTE FUNCTION agents_have_instances();

-- What a report's sender is told, from its attempt alone.
CREATE FUNCTION verdict(attempt attempts, run_id text, run_attempt integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN attempt.state IS NULL THEN 'fenced'
        WHEN attempt.state = 'succeeded' THEN 'repeat'
        WHEN attempt.state NOT IN ('intended', 'accepted', 'claimed') THEN 'fenced'
        WHEN (attempt.workflow_run_id, attempt.run_attempt) <> (verdict.run_id,
              verdict.run_attempt) THEN 'fenced'
        ELSE 'live'
    END
$$;
