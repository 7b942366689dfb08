-- The agent of a checkout session.
-- $1 session_id, $2 now
SELECT s.agent_id, c.made_at, any_due($2)
FROM (VALUES (1)) AS one (row)
LEFT JOIN checkouts AS c ON c.session_id = $1
LEFT JOIN subscriptions AS s ON s.subscription_id = c.subscription_id
