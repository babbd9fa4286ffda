-- One row is one billed call: the account, the identity, and one column per field of infraprism.schema.fields.
-- The table has no deduplication tokens: a token identifies a batch as a unit and outlives deleted data. The INSERT
-- itself excludes ids that are already stored, which also holds for a batch that is split differently.
CREATE TABLE IF NOT EXISTS events
(
    account LowCardinality(String),
    id FixedString(16),
    timestamp DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    /* columns of the field table */
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (account, timestamp, id)
SETTINGS /* settings of stored tables */
