-- A change of power that failed leaves a machine of which nobody knows whether it runs or rests.
-- Code before this writes the word as well, since the rules in the database hand it over; only a
-- look at such an agent fails in that code, which does not know it, until it is replaced.

ALTER TABLE agents
    DROP CONSTRAINT agents_existing_check,
    ADD CONSTRAINT agents_existing_check CHECK (
        existing IN ('nothing', 'making', 'unconfigured', 'running', 'stopped', 'unsettled',
                     'doubt'));
