-- What Stripe says. Every query of a function sees what was committed before it began, so what
-- is read after a lock is the newest.

-- Puts the ids that one event names into one group; false when that would join two
-- subscriptions: then nothing is joined.
CREATE OR REPLACE FUNCTION join_refs(subscription text, refs text[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    named text[] := array_remove(subscription || refs, NULL);
    groups text[];
BEGIN
    IF cardinality(refs) > 0 AND (
        SELECT count(*) < cardinality(named) OR count(DISTINCT grp) > 1
        FROM payment_refs WHERE ref = ANY (named)) THEN
        -- Joining groups is done by one at a time, whichever ids it is about, and beside no other
        -- event: it changes rows that it does not name, which others lock in an order of theirs.
        PERFORM pg_advisory_xact_lock(hashtext('slipway.payment_refs'));
    ELSE
        -- What is one group stays one, so that nothing is to be joined after the wait either.
        PERFORM pg_advisory_xact_lock_shared(hashtext('slipway.payment_refs'));
    END IF;
    -- A row that is known is locked, so that no two events decide on one payment at once.
    INSERT INTO payment_refs AS known (ref, grp, is_subscription)
    SELECT DISTINCT name, name, name IS NOT DISTINCT FROM subscription FROM unnest(named) AS name
    ORDER BY name
    ON CONFLICT (ref) DO UPDATE SET grp = known.grp;
    SELECT array_agg(DISTINCT grp) INTO groups FROM payment_refs WHERE ref = ANY (named);
    IF cardinality(groups) < 2 THEN
        RETURN true;
    END IF;
    IF (SELECT count(*) FROM payment_refs WHERE grp = ANY (groups) AND is_subscription) > 1 THEN
        RETURN false;
    END IF;
    UPDATE payment_refs SET grp = groups[1] WHERE grp = ANY (groups) AND grp <> groups[1];
    RETURN true;
END $$;

-- What is paid for a subscription, from all events that are joined with it: domain::payment_of.
-- With it the mark that stands, and the news and words that people are told. Nulls when nothing
-- is said yet.
CREATE OR REPLACE FUNCTION payment_of(subscription text, OUT payment text, OUT created bigint,
                                      OUT event text, OUT news text, OUT reason text)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    WITH mark AS (
        SELECT m.*, subscription LIKE 'cs\_%' AS one_off FROM payment_marks m
        JOIN payment_refs r USING (ref)
        JOIN payment_refs own ON own.grp = r.grp AND own.ref = payment_of.subscription
    ), closed AS (
        SELECT DISTINCT ON (dispute_id) * FROM mark
        WHERE news IN ('dispute_won', 'dispute_lost')
        ORDER BY dispute_id, created DESC, event_id DESC
    ), standing AS (
        SELECT CASE WHEN news IN ('refunded', 'failed') THEN
                        CASE WHEN one_off THEN 'canceled' ELSE 'none' END
                    WHEN news = 'standing' THEN 'active'
                    ELSE news END AS payment,
               created, event_id, news, reason
        FROM mark
        WHERE news IN ('none', 'failed', 'active', 'standing', 'past_due', 'canceled')
            OR news = 'refunded' AND one_off
    ), suspends AS (
        SELECT m.created, m.event_id, m.news, m.reason
        FROM mark m LEFT JOIN closed c ON c.dispute_id IS NOT DISTINCT FROM m.dispute_id
        WHERE CASE m.news
            WHEN 'disputed' THEN c.event_id IS NULL OR c.created < m.created
            WHEN 'dispute_lost' THEN c.event_id = m.event_id
            ELSE m.news = 'refunded' END
            AND (m.news = 'disputed' OR NOT EXISTS (
                SELECT FROM mark p WHERE p.news = 'active' AND p.created > m.created))
        ORDER BY m.created DESC, m.event_id DESC LIMIT 1
    )
    SELECT CASE WHEN s.payment = 'active' AND h.news IS NOT NULL THEN 'past_due'
                ELSE s.payment END,
           s.created, s.event_id,
           CASE WHEN s.payment = 'active' THEN coalesce(h.news, s.news) ELSE s.news END,
           CASE WHEN s.payment = 'active' THEN h.reason ELSE s.reason END
    INTO payment, created, event, news, reason
    FROM standing s JOIN payment_order o USING (payment) LEFT JOIN suspends h ON true
    ORDER BY o.age DESC, s.created DESC, o.rank DESC, s.news = 'failed' DESC, s.event_id DESC
    LIMIT 1;
END $$;

-- Binds a subscription to the agent that its checkout names; to another one when that one is
-- bound already, or was deleted before it was paid. Whoever comes first has it.
CREATE OR REPLACE FUNCTION bind_agent(subscription text, asked uuid, other uuid, reference text,
                                      region text, name text, fresh_job uuid, now timestamptz,
                                      OUT agent uuid, OUT conflict uuid)
LANGUAGE plpgsql AS $$
DECLARE
    named agents;
    target uuid := asked;
BEGIN
    LOOP
        SELECT * INTO named FROM agents a WHERE a.agent_id = target FOR UPDATE;
        IF named.subscription_id <> subscription OR named.wish = 'delete' THEN
            IF named.payment <> 'canceled' THEN
                conflict := target;
            END IF;
            target := other;
        END IF;
        INSERT INTO agents AS known (agent_id, name, region, reference, subscription_id, payment,
                                     state, fresh_job_id, created_at, updated_at)
        VALUES (target, bind_agent.name, bind_agent.region, bind_agent.reference, subscription,
                'none', 'draft', fresh_job, now, now)
        ON CONFLICT (agent_id) DO UPDATE SET subscription_id = bind_agent.subscription
        WHERE known.subscription_id IS NULL OR known.subscription_id = bind_agent.subscription
        RETURNING known.agent_id INTO agent;
        EXIT WHEN agent IS NOT NULL;
    END LOOP;
    UPDATE subscriptions s SET agent_id = agent, conflict_agent_id = conflict, updated_at = now
    WHERE s.subscription_id = bind_agent.subscription;
END $$;

-- One event, whole: stored, joined, merged, and the agent's facts moved by it.
CREATE OR REPLACE FUNCTION record_event(
    event text, kind text, created bigint, livemode boolean, payload text, subscription text,
    refs text[], news text, dispute text, session text, made_at bigint, binds boolean,
    asked uuid, other uuid, reference text, region text, name text, reason text,
    fresh_job uuid, now timestamptz,
    OUT agent uuid, OUT queued_job uuid, OUT conflict uuid, OUT duplicate boolean)
LANGUAGE plpgsql AS $$
DECLARE
    joined boolean := true;
    fresh_news text;
    known subscriptions;
    paid record;
    primary_ref text := coalesce(subscription, refs[1]);
BEGIN
    PERFORM set_config('slipway.cause', 'stripe ' || event, true);
    IF primary_ref IS NOT NULL THEN
        joined := join_refs(subscription, refs);
        IF news IS NOT NULL THEN
            INSERT INTO payment_marks VALUES (event, primary_ref, record_event.news, dispute,
                                              record_event.created, record_event.reason)
            ON CONFLICT DO NOTHING;
            fresh_news := CASE WHEN FOUND THEN news END;
        END IF;
        SELECT r.ref INTO subscription FROM payment_refs r
        WHERE r.is_subscription
            AND r.grp = (SELECT p.grp FROM payment_refs p WHERE p.ref = primary_ref);
    END IF;
    IF subscription IS NOT NULL THEN
        INSERT INTO subscriptions AS s (subscription_id, payment, payment_created, payment_event,
                                        created_at, updated_at)
        VALUES (subscription, 'none', record_event.created, event, now, now)
        ON CONFLICT (subscription_id) DO UPDATE SET updated_at = s.updated_at
        RETURNING * INTO known;
        agent := known.agent_id;
        conflict := known.conflict_agent_id;
        IF binds AND agent IS NULL THEN
            SELECT b.agent, b.conflict INTO agent, conflict
            FROM bind_agent(subscription, asked, other, reference, region, name, fresh_job,
                            now) b;
        END IF;
        IF binds THEN
            INSERT INTO checkouts VALUES (session, subscription, to_timestamp(made_at))
            ON CONFLICT DO NOTHING;
        END IF;
        IF known.payment <> 'none' THEN
            -- What code before marks has merged into the row counts as well.
            INSERT INTO payment_marks VALUES (known.payment_event, subscription, known.payment,
                                              NULL, known.payment_created)
            ON CONFLICT DO NOTHING;
        END IF;
        SELECT * INTO paid FROM payment_of(subscription);
        IF paid.event IS NOT NULL THEN
            UPDATE subscriptions s SET
                (payment, payment_created, payment_event, payment_news, updated_at) =
                (paid.payment, paid.created, paid.event, paid.news, record_event.now)
            WHERE s.subscription_id = subscription
                AND (s.payment, s.payment_created, s.payment_event, s.payment_news)
                    IS DISTINCT FROM (paid.payment, paid.created, paid.event, paid.news);
        END IF;
        queued_job := move_payment(agent, coalesce(paid.payment, 'none'), fresh_news, paid.reason,
                                   fresh_job, now);
    ELSIF reason IS NOT NULL AND asked IS NOT NULL
        AND NOT EXISTS (SELECT FROM stripe_events e WHERE e.event_id = event) THEN
        UPDATE agents a SET reason = record_event.reason, fresh_job_id = fresh_job,
            updated_at = record_event.now
        WHERE a.agent_id = asked AND a.subscription_id IS NULL AND a.state = 'draft';
    END IF;
    INSERT INTO stripe_events (event_id, type, created, livemode, subscription_id, outcome,
                               payload, received_at)
    VALUES (event, kind, record_event.created, livemode, subscription,
            CASE WHEN conflict IS NOT NULL OR NOT joined THEN 'conflict'
                 WHEN agent IS NOT NULL AND news IS NOT NULL THEN 'applied'
                 ELSE 'stored' END,
            payload, now)
    ON CONFLICT DO NOTHING;
    duplicate := NOT FOUND;
END $$;

-- What is paid becomes a fact of the agent, and why it is not its reason. A new payment, and a new
-- cancel of one that could not be removed, let it be tried again. Answers the queued job.
CREATE OR REPLACE FUNCTION move_payment(agent uuid, paid text, fresh_news text, why text,
                                        fresh_job uuid, now timestamptz, OUT queued_job uuid)
LANGUAGE plpgsql AS $$
DECLARE
    known agents;
    moves boolean;
    again boolean;
    tells boolean;
BEGIN
    SELECT * INTO known FROM agents a WHERE a.agent_id = agent FOR UPDATE;
    queued_job := known.queued_job_id;
    -- What was paid is never unpaid: a mark that is missing takes no machine away.
    IF NOT FOUND OR (SELECT o.age FROM payment_order o WHERE o.payment = paid)
        < (SELECT o.age FROM payment_order o WHERE o.payment = known.payment) THEN
        RETURN;
    END IF;
    moves := known.payment <> paid;
    again := coalesce(
        fresh_news = 'active' AND paid = 'active' AND known.gave_up <> 'none'
        OR fresh_news = 'canceled' AND paid = 'canceled' AND known.gave_up = 'destroy', false);
    tells := known.gave_up = 'none' AND paid <> 'active' AND known.reason IS DISTINCT FROM why;
    IF NOT (moves OR again OR tells) THEN
        RETURN;
    END IF;
    UPDATE agents a SET
        payment = paid,
        gave_up = CASE WHEN moves OR again THEN 'none' ELSE a.gave_up END,
        reason = CASE WHEN moves OR tells THEN why ELSE a.reason END,
        fresh_job_id = fresh_job,
        updated_at = now
    WHERE a.agent_id = agent
    RETURNING a.queued_job_id INTO queued_job;
END $$;
