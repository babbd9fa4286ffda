CREATE MATERIALIZED VIEW IF NOT EXISTS ingest.inbox_to_rejected TO ingest.rejected AS
SELECT request, reason, count() AS spans
FROM ingest.inbox
WHERE reason != ''
GROUP BY request, reason
