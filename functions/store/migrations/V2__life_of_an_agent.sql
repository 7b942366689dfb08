-- The whole life of an agent: every word of Stripe's, commands of owners, runs that have to end,
-- servers that belong to nobody. Functions are written anew by every migration (`routines/`).

ALTER TABLE decision
    ADD COLUMN is_over boolean NOT NULL DEFAULT false,
    ADD COLUMN may_retry text NOT NULL DEFAULT 'busy',
    ADD COLUMN may_stop text NOT NULL DEFAULT 'busy',
    ADD COLUMN may_start text NOT NULL DEFAULT 'busy',
    ADD COLUMN may_delete text NOT NULL DEFAULT 'busy';

ALTER TABLE agents
    -- An attempt that was lost may still have calls under way: nothing is destroyed before.
    ADD COLUMN quiet_until timestamptz,
    -- Since when the agent is to go while something else is at work on it.
    ADD COLUMN doomed_at timestamptz;

CREATE INDEX agents_newest ON agents (created_at DESC, agent_id DESC);
CREATE INDEX agents_of_state ON agents (state, created_at DESC, agent_id DESC);
CREATE INDEX jobs_done ON jobs (kind, finished_at DESC) WHERE state = 'succeeded';

ALTER TABLE attempts
    ADD COLUMN inventory_asked boolean NOT NULL DEFAULT false,
    -- Its run was asked to end although its runner still holds it.
    ADD COLUMN cancel_asked boolean NOT NULL DEFAULT false;

ALTER TABLE timeline
    ADD COLUMN cause text,
    DROP CONSTRAINT timeline_machine_check,
    ADD CONSTRAINT timeline_machine_check CHECK (
        machine IN ('agent', 'job', 'attempt', 'step', 'payment', 'wish', 'existing', 'gave_up'));

-- The timeline of an agent that was made before facts were kept in it begins here.
INSERT INTO timeline (agent_id, at, machine, old, new, cause)
SELECT a.agent_id, a.updated_at, fact.machine, '', fact.now, 'migration'
FROM agents a CROSS JOIN LATERAL (
    VALUES ('payment', a.payment), ('wish', a.wish), ('existing', a.existing),
           ('gave_up', a.gave_up)) AS fact (machine, now);

-- What events say of one payment is joined by the ids they name: those of one group belong
-- together, and at most one of a group is a subscription.
CREATE TABLE payment_refs (
    ref text COLLATE "C" PRIMARY KEY CHECK (length(ref) BETWEEN 1 AND 255),
    grp text COLLATE "C" NOT NULL,
    is_subscription boolean NOT NULL
);

CREATE INDEX payment_refs_of_group ON payment_refs (grp);
CREATE UNIQUE INDEX payment_refs_one_subscription ON payment_refs (grp) WHERE is_subscription;

-- Every event that says something about money, never changed.
CREATE TABLE payment_marks (
    event_id text COLLATE "C" PRIMARY KEY,
    ref text COLLATE "C" NOT NULL REFERENCES payment_refs,
    news text NOT NULL CHECK (
        news IN ('none', 'failed', 'active', 'standing', 'past_due', 'canceled', 'refunded',
                 'disputed', 'dispute_won', 'dispute_lost')),
    dispute_id text,
    created bigint NOT NULL,
    -- One line for people, shown while this is what counts.
    reason text
);

CREATE INDEX payment_marks_of_ref ON payment_marks (ref);

INSERT INTO payment_refs SELECT subscription_id, subscription_id, true FROM subscriptions;
INSERT INTO payment_marks SELECT payment_event, subscription_id, payment, NULL, payment_created
FROM subscriptions;

-- What people are told about the money: the news that decides.
ALTER TABLE subscriptions ADD COLUMN payment_news text;

CREATE TABLE checkouts (
    session_id text COLLATE "C" PRIMARY KEY,
    subscription_id text COLLATE "C" NOT NULL REFERENCES subscriptions,
    made_at timestamptz NOT NULL
);

-- Commands under an Idempotency-Key, kept for a day.
CREATE TABLE commands (
    key text COLLATE "C" PRIMARY KEY,
    request text NOT NULL,
    agent_id uuid NOT NULL,
    verdict text NOT NULL,
    running text NOT NULL,
    at timestamptz NOT NULL
);

CREATE INDEX commands_by_age ON commands (at);

-- Runs that have to end and may not have yet.
CREATE TABLE run_cancels (
    run_id text COLLATE "C" PRIMARY KEY CHECK (run_id ~ '^[0-9]{1,20}$'),
    agent_id uuid NOT NULL,
    fence bigint NOT NULL,
    asked smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL
);

CREATE INDEX run_cancels_due ON run_cancels (due_at);

-- When an installation's whole project was last asked for.
CREATE TABLE inventory_turns (
    installation text PRIMARY KEY,
    asked_at timestamptz NOT NULL
);

-- Labelled servers that belong to nobody, or are an agent's second: shown, never deleted.
CREATE TABLE strays (
    server_id text PRIMARY KEY,
    installation text NOT NULL,
    agent_id text NOT NULL,
    fence text NOT NULL,
    why text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    gone_at timestamptz
);

CREATE INDEX strays_now ON strays (first_seen) WHERE gone_at IS NULL;
