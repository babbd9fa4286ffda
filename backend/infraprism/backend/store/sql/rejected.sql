-- How many spans of a request were refused, and why; read once, to answer the request. In memory, the newest rows only.
CREATE TABLE IF NOT EXISTS rejected
(
    request UInt64,
    reason LowCardinality(String),
    spans UInt64
)
ENGINE = Memory
SETTINGS min_rows_to_keep = 50000, max_rows_to_keep = 100000
