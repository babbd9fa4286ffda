-- The days before `before_day` of an account are finalised: their sums are permanent, and their events are not read.
CREATE TABLE IF NOT EXISTS boundary
(
    account TEXT PRIMARY KEY,
    before_day INTEGER NOT NULL
) WITHOUT ROWID;

-- The finalised days that had events. `rows` are the stored rows of the version, which are of days of
-- `time_zone`; `midnights` is JSON: the seconds since 1970 at which such days begin within the UTC day.
CREATE TABLE IF NOT EXISTS finalised
(
    account TEXT NOT NULL,
    day INTEGER NOT NULL,
    version INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    time_zone TEXT NOT NULL,
    midnights TEXT NOT NULL,
    PRIMARY KEY (account, day)
) WITHOUT ROWID;
