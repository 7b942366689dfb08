-- Stores an event and applies what it says: subscription, agent and job at once. A repeat changes
-- nothing and tells again which job is queued.
-- $1 event_id, $2 type, $3 created, $4 livemode, $5 payload, $6 subscription_id, $7 references,
-- $8 news, $9 dispute, $10 session_id, $11 session made at, $12 binds, $13 agent asked for,
-- $14 agent to make when that one is another subscription's, $15 reference, $16 region, $17 name,
-- $18 reason, $19 fresh job_id, $20 now
SELECT agent AS agent_id, queued_job AS queued_job_id, conflict AS conflict_agent_id, duplicate,
       any_due($20)
FROM record_event($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                  $19, $20)
