CREATE MATERIALIZED VIEW IF NOT EXISTS inbox_to_events TO events AS
SELECT * EXCEPT (request, reason)
FROM inbox
WHERE reason = ''
