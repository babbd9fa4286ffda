-- One row is one billed call: the account, the identity, and one column per field of infraprism.schema.fields.
-- The table has no deduplication tokens: a token identifies a batch as a unit and outlives deleted data. The INSERT
-- itself excludes ids that are already stored, which also holds for a batch that is split differently.
-- An acknowledged event survives a power failure (fsync). Small parts are written in the compact format, so that fsync
-- covers a few files instead of several per column.
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
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 67108864
