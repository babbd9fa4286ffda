-- Sums of the calls of an account and a UTC day: rows of the cubes of store/aggregates/cubes.py. Rows count only if their
-- version is published for their account and day. `time` is the start of a quarter-hour, or of a day in the time zone in
-- which the version was computed. Columns that are no dimension of the cube have their default value.
CREATE TABLE IF NOT EXISTS /* name */
(
    account LowCardinality(String),
    cube UInt8,
    day Date,
    version UInt64,
    time DateTime('UTC'),
    tag_key LowCardinality(String),
    tag_value String,
    /* columns of cubes */
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (account, cube, tag_key, day, version, time, tag_value, /* dimensions */)
SETTINGS /* settings of stored tables */, index_granularity = 8192
