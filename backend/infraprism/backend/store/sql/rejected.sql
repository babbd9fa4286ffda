-- The number of rejected spans per request and reason; read once, for the response. In memory, the newest rows only.
CREATE TABLE IF NOT EXISTS ingest.rejected
(
    request UInt64,
    reason LowCardinality(String),
    spans UInt64
)
ENGINE = Memory
SETTINGS min_rows_to_keep = 50000, max_rows_to_keep = 100000
