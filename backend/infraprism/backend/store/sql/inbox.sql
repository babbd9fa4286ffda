-- Stores nothing: inserted rows are passed to the views. The columns of a rejected span never reach a table.
CREATE TABLE IF NOT EXISTS ingest.inbox
(
    request UInt64,
    reason LowCardinality(String),
    account LowCardinality(String),
    id FixedString(16),
    timestamp DateTime64(3, 'UTC'),
    /* columns of the field table */
)
ENGINE = Null
