-- What is needed to know a call again: no attribution, no cost, and of the answer's id only the hash that came.
CREATE TABLE IF NOT EXISTS calls
(
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: what is stored is told by it
    account TEXT NOT NULL,
    event TEXT NOT NULL, -- its id, in hexadecimal digits
    spans TEXT NOT NULL -- JSON: a list for each span
);
CREATE INDEX IF NOT EXISTS calls_of_account ON calls (account, number);
-- Up to which number an account's calls are known to be stored.
CREATE TABLE IF NOT EXISTS stored
(
    account TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
