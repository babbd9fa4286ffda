-- The checked spans of one batch: a row per span, with its reason if it is rejected. In memory: no start writes it.
CREATE TABLE IF NOT EXISTS ingest./* name */
(
    request UInt64,
    reason LowCardinality(String),
    account LowCardinality(String),
    id FixedString(16),
    timestamp DateTime64(3, 'UTC'),
    /* columns of the field table */
)
ENGINE = Memory
