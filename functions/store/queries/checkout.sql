-- The agent of a checkout session.
-- $1 session_id
SELECT s.agent_id, c.made_at FROM checkouts c JOIN subscriptions s USING (subscription_id)
WHERE c.session_id = $1 AND s.agent_id IS NOT NULL
