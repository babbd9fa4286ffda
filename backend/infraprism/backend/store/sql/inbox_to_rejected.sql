CREATE MATERIALIZED VIEW IF NOT EXISTS inbox_to_rejected TO rejected AS
SELECT request, reason, count() AS spans
FROM inbox
WHERE reason != ''
GROUP BY request, reason
