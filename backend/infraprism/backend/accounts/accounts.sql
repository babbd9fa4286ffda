CREATE TABLE IF NOT EXISTS accounts
(
    id TEXT PRIMARY KEY,
    email TEXT,
    name TEXT,
    company TEXT,
    plan TEXT NOT NULL,
    usage_detail INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL
) STRICT;

-- Only the hash of a key is stored: reading this file does not give access. The prefix identifies a key to its owner.
CREATE TABLE IF NOT EXISTS keys
(
    hash BLOB PRIMARY KEY,
    prefix TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    revoked_at TEXT
) STRICT;

-- Random keys of this installation, such as the one that signs pagination cursors.
CREATE TABLE IF NOT EXISTS secrets
(
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
