-- What is needed to recognise the spans of a call: no attribution, no cost, and only the received hash of the response id.
CREATE TABLE IF NOT EXISTS calls
(
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused, since `stored` refers to it
    account TEXT NOT NULL,
    event TEXT NOT NULL, -- the event id in hexadecimal
    spans TEXT NOT NULL -- JSON: one array per span
);
CREATE INDEX IF NOT EXISTS calls_of_account ON calls (account, number);
-- The number up to which all calls of an account are known to be stored.
CREATE TABLE IF NOT EXISTS stored
(
    account TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
