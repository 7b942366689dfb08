-- What a runner saw of the installation's servers. Nothing is deleted here: an agent of ours that
-- is over and has something left gets a destroy job, everything else that is odd is kept as a
-- stray, for people.
CREATE OR REPLACE FUNCTION take_inventory(
    job uuid, report_fence bigint, installation text, seen_servers text[], seen_agents text[],
    seen_fences text[], fresh_jobs uuid[], now timestamptz)
RETURNS TABLE (server_id text, agent_id text, fence text, why text, first_seen timestamptz,
               last_seen timestamptz, queued_job uuid)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    -- What changed a moment ago may have changed after the servers were listed.
    settled constant timestamptz := now - interval '2 minutes';
    whole boolean;
    known agents;
    seen record;
    odd text;
BEGIN
    PERFORM set_config('slipway.cause', 'inventory', true);
    SELECT t.inventory_asked INTO whole FROM attempts t
    WHERE t.job_id = job AND t.fence = report_fence;
    FOR seen IN
        SELECT rows.*, fresh_jobs[rows.place] AS fresh_job
        FROM unnest(seen_servers, seen_agents, seen_fences) WITH ORDINALITY
            AS rows (server, agent, fence, place)
        ORDER BY rows.agent, rows.place
    LOOP
        odd := NULL;
        SELECT a.* INTO known FROM agents a WHERE a.agent_id =
            CASE WHEN seen.agent ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                 THEN seen.agent::uuid END;
        IF NOT FOUND THEN
            odd := 'no agent of this id is known';
        ELSIF known.live <> 'none' OR known.queued_kind <> 'none'
            OR known.updated_at > settled THEN
            -- Too early to judge, but there it is.
            UPDATE strays s SET last_seen = now
            WHERE s.server_id = seen.server AND s.gone_at IS NULL;
            CONTINUE;
        ELSIF known.existing = 'nothing' AND (
            SELECT d.is_over FROM decision d
            WHERE (d.payment, d.wish, d.existing, d.gave_up, d.live, d.config_pending) =
                  (known.payment, known.wish, known.existing, known.gave_up, known.live,
                   known.config_pending)) THEN
            -- Only if it is still as it was read.
            UPDATE agents a SET existing = 'doubt', fresh_job_id = seen.fresh_job,
                reason = 'a server of it was found', updated_at = now
            WHERE a.agent_id = known.agent_id AND a.updated_at = known.updated_at
                AND a.existing = 'nothing' AND a.live = 'none'
            RETURNING a.queued_job_id INTO queued_job;
            IF FOUND THEN
                RETURN NEXT;
            END IF;
            queued_job := NULL;
            CONTINUE;
        ELSIF known.existing = 'nothing' THEN
            odd := 'its agent is ' || known.state || ' and should have no server';
        ELSIF EXISTS (SELECT FROM instances i WHERE i.agent_id = known.agent_id
                      AND i.released_at IS NULL AND i.server_id <> seen.server) THEN
            odd := 'its agent works on another server';
        END IF;
        IF odd IS NOT NULL THEN
            INSERT INTO strays AS s VALUES (seen.server, installation, seen.agent, seen.fence, odd,
                                            now, now)
            ON CONFLICT (server_id) DO UPDATE SET why = odd, last_seen = now, gone_at = NULL,
                first_seen = CASE WHEN s.gone_at IS NULL THEN s.first_seen ELSE now END
            RETURNING s.server_id, s.agent_id, s.fence, s.why, s.first_seen, s.last_seen
            INTO server_id, agent_id, fence, why, first_seen, last_seen;
            IF first_seen = now THEN
                RETURN NEXT;
            END IF;
            server_id := NULL;
        END IF;
    END LOOP;
    -- A report holds at most 300 servers, and fewer when labels are long: only a short list shows
    -- what is not there any more.
    IF whole AND cardinality(seen_servers) < 200 THEN
        UPDATE strays s SET gone_at = now
        WHERE s.installation = take_inventory.installation AND s.gone_at IS NULL
            AND s.last_seen < now;
    END IF;
END $$;

-- Which machines are there, and which an agent should have and were not seen. An agent's state does
-- not follow from it: a machine whose labels were changed is missing as well. A server may go from
-- one page to another while the pages are read, so that a list lacks it although it is whole: it is
-- missing only when a later list lacks it too.
CREATE OR REPLACE FUNCTION find_missing(
    job uuid, report_fence bigint, seen_servers text[], now timestamptz)
RETURNS TABLE (server_id text, agent_id uuid)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    settled constant timestamptz := now - interval '2 minutes';
    -- Two lists that were read at about the same time may lack the same.
    confirmed constant timestamptz := now - interval '5 minutes';
BEGIN
    UPDATE instances i SET unseen_since = NULL, missing_since = NULL
    WHERE i.unseen_since IS NOT NULL AND i.released_at IS NULL
        AND i.server_id = ANY (seen_servers);
    -- As with strays, only a short list of everything shows what is not there.
    IF cardinality(seen_servers) < 200 AND EXISTS (
        SELECT FROM attempts t
        WHERE t.job_id = job AND t.fence = report_fence AND t.inventory_asked) THEN
        UPDATE instances i SET
            unseen_since = coalesce(i.unseen_since, now),
            missing_since = CASE WHEN i.unseen_since <= confirmed THEN now END
        FROM agents a
        WHERE a.agent_id = i.agent_id AND i.released_at IS NULL AND i.missing_since IS NULL
            AND i.server_id <> ALL (seen_servers)
            AND a.existing IN ('unconfigured', 'running', 'stopped', 'unsettled')
            AND a.live = 'none' AND a.queued_kind = 'none' AND a.updated_at <= settled;
        -- By its time, so that a statement that is repeated tells them again.
        RETURN QUERY SELECT i.server_id, i.agent_id FROM instances i
        WHERE i.missing_since = now AND i.released_at IS NULL;
    END IF;
END $$;
