-- A machine that an agent should have and that no inventory shows any more. It is only told, to the
-- operator, who may have it made anew.

ALTER TABLE instances
    -- The first whole list that lacked it; one alone may have missed it.
    ADD COLUMN unseen_since timestamptz,
    -- A later one lacked it too.
    ADD COLUMN missing_since timestamptz;

CREATE INDEX instances_missing ON instances (missing_since)
    WHERE missing_since IS NOT NULL AND released_at IS NULL;

ALTER TABLE decision
    ADD COLUMN may_remake boolean NOT NULL DEFAULT false;
