-- The days that have aggregates. A day that is not here is read from the events.
CREATE TABLE IF NOT EXISTS state
(
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- `cubes` is a bit per number of a cube. `by_day` and `by_quarter_hour` are the stored rows. `unsummed_keys` is JSON: the
-- tag keys that the cubes of a unit do not have. The rows by day are of days of `time_zone`; `midnights` is JSON: the
-- seconds since 1970 at which such days begin within the UTC day. The file of an earlier version has neither column: its
-- days are days of UTC.
CREATE TABLE IF NOT EXISTS published
(
    account TEXT NOT NULL,
    day INTEGER NOT NULL,
    version INTEGER NOT NULL,
    cubes INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    by_day INTEGER NOT NULL,
    by_quarter_hour INTEGER NOT NULL,
    unsummed_keys TEXT NOT NULL,
    time_zone TEXT NOT NULL DEFAULT 'UTC',
    midnights TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (account, day)
) WITHOUT ROWID;
