-- One row is one billed call. The columns are the field table (infraprism.schema.fields), the account and the identity.
-- No deduplication tokens: they know a batch only as a whole and remember deleted data. The insert itself leaves out
-- ids that are already there, which holds for a batch cut anew as well.
-- An acknowledged event survives a power failure (fsync); fresh parts are compact, so that this is a few files, not a
-- few for each column.
CREATE TABLE IF NOT EXISTS events
(
    account LowCardinality(String),
    id FixedString(16),
    timestamp DateTime64(3, 'UTC') CODEC(DoubleDelta, LZ4),
    model LowCardinality(String),
    provider LowCardinality(String),
    operation LowCardinality(String),
    input_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64),
    total_tokens Nullable(UInt64) ALIAS input_tokens + output_tokens,
    latency_ms UInt32,
    cost_usd Nullable(Decimal(38, 18)),
    cost_status LowCardinality(String),
    success Bool,
    entity_type LowCardinality(String),
    entity_id String,
    session_id String,
    tags Map(LowCardinality(String), String),
    error_type LowCardinality(String),
    error_code LowCardinality(String),
    cache_read_tokens Nullable(UInt64),
    cache_write_tokens Nullable(UInt64),
    cache_write_1h_tokens Nullable(UInt64),
    reasoning_tokens Nullable(UInt64),
    audio_input_tokens Nullable(UInt64),
    audio_output_tokens Nullable(UInt64),
    web_searches Nullable(UInt32),
    time_to_first_token_ms Nullable(UInt32),
    service_tier LowCardinality(String),
    streamed Nullable(Bool)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (account, timestamp, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 67108864
