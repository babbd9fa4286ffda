CREATE MATERIALIZED VIEW IF NOT EXISTS ingest.inbox_to_events TO default.events AS
SELECT * EXCEPT (request, reason)
FROM ingest.inbox
WHERE reason = ''
