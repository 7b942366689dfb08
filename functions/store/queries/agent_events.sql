-- An agent's timeline, oldest first; one row without an id when it has no more, none when there
-- is no such agent.
-- $1 agent_id, $2 after, $3 at most
SELECT event.id, event.at, event.machine, event.old, event.new, event.detail, event.job_id,
       event.fence, event.cause
FROM agents AS agent LEFT JOIN LATERAL (
    SELECT * FROM timeline WHERE timeline.agent_id = agent.agent_id AND timeline.id > $2
    ORDER BY timeline.id LIMIT $3
) AS event ON true
WHERE agent.agent_id = $1
ORDER BY event.id
