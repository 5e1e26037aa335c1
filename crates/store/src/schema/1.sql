-- The first schema. A schema that was released is never edited: the next one gets a file of its own.

-- Facts about the file. `boot` counts how often it was opened; a writer that sees another number stops.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO facts (name, value) VALUES ('boot', 0);

-- One row for each session id. `current` is 1 while the key means this row, and 0 after a reset or deletion.
CREATE TABLE sessions (
    id            INTEGER PRIMARY KEY,
    session_id    TEXT NOT NULL UNIQUE,
    key           TEXT NOT NULL,
    agent         TEXT NOT NULL,
    current       INTEGER NOT NULL CHECK (current IN (0, 1)),
    created_ms    INTEGER NOT NULL,
    updated_ms    INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    usage         TEXT NOT NULL,
    model         TEXT,
    title         TEXT,
    last_message  TEXT
) STRICT;
CREATE UNIQUE INDEX sessions_by_key ON sessions (key) WHERE current = 1;
CREATE INDEX sessions_by_change ON sessions (updated_ms) WHERE current = 1;

-- One row for each message that was accepted: the inbox, and the state of its turn. The number is the order
-- of acceptance. Rows are never deleted, so that a number is never used twice.
CREATE TABLE turns (
    id                  INTEGER PRIMARY KEY,
    session             INTEGER NOT NULL REFERENCES sessions (id),
    run                 TEXT NOT NULL UNIQUE,
    channel             TEXT NOT NULL,
    account             TEXT NOT NULL,
    external_id         TEXT NOT NULL,
    state               TEXT NOT NULL CHECK (state IN ('received', 'done', 'aborted', 'error')),
    accepted_ms         INTEGER NOT NULL,
    ended_ms            INTEGER CHECK ((ended_ms IS NULL) = (state = 'received')),
    extra_system_prompt TEXT,
    timeout_ms          INTEGER,
    error               TEXT,
    usage               TEXT,
    UNIQUE (channel, account, external_id)
) STRICT;
CREATE INDEX turns_unfinished ON turns (session) WHERE state = 'received';

-- The transcript, stored in the order in which it is read.
CREATE TABLE messages (
    session INTEGER NOT NULL REFERENCES sessions (id),
    turn    INTEGER NOT NULL REFERENCES turns (id),
    seq     INTEGER NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (session, turn, seq)
) STRICT, WITHOUT ROWID;

-- What is to be delivered: written together with the end of its turn.
CREATE TABLE outbox (
    turn INTEGER PRIMARY KEY REFERENCES turns (id),
    text TEXT NOT NULL
) STRICT;
