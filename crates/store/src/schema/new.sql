-- The newest schema, for a file that has none: what the numbered files come to, in a tenth of their time. A test compares
-- the two, word by word.

CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO facts (name, value) VALUES ('boot', 0);

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
    title         BLOB,
    last_message  BLOB,
    label         BLOB,
    chosen_model  TEXT,
    options       TEXT,
    cost          INTEGER NOT NULL DEFAULT 0,
    unpriced      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX sessions_by_key ON sessions (key) WHERE current = 1;
CREATE INDEX sessions_by_change ON sessions (updated_ms) WHERE current = 1;

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
    timeout_ms          INTEGER,
    usage               TEXT,
    extra_system_prompt BLOB,
    error               BLOB,
    origin              BLOB,
    allowances          TEXT,
    cost                INTEGER,
    thinking            TEXT,
    tells               INTEGER NOT NULL DEFAULT 0,
    UNIQUE (channel, account, external_id)
) STRICT;
CREATE INDEX turns_unfinished ON turns (session) WHERE state = 'received';

CREATE TABLE canary (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE messages (
    session INTEGER NOT NULL REFERENCES sessions (id),
    turn    INTEGER NOT NULL REFERENCES turns (id),
    seq     INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (session, turn, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    turn   INTEGER PRIMARY KEY REFERENCES turns (id),
    text   BLOB NOT NULL,
    state  TEXT CHECK (state IN ('dropped', 'sent', 'waiting')),
    pieces INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outbox_waiting ON outbox (turn) WHERE state = 'waiting';

CREATE TABLE devices (
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE device_requests (
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE senders (
    id   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE cursors (
    channel TEXT NOT NULL,
    account TEXT NOT NULL,
    cursor  TEXT NOT NULL,
    PRIMARY KEY (channel, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE allowances (
    id       INTEGER PRIMARY KEY,
    who      BLOB NOT NULL,
    own      TEXT,
    day      INTEGER NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0,
    turns    INTEGER NOT NULL DEFAULT 0,
    tokens   INTEGER NOT NULL DEFAULT 0,
    cost     INTEGER NOT NULL DEFAULT 0,
    unpriced INTEGER NOT NULL DEFAULT 0,
    told     INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1))
) STRICT;

CREATE TABLE quarantine (
    id       INTEGER PRIMARY KEY,
    key      TEXT NOT NULL UNIQUE,
    since_ms INTEGER NOT NULL,
    run      TEXT NOT NULL,
    why      BLOB NOT NULL
) STRICT;

CREATE TABLE notices (
    id      INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    account TEXT NOT NULL,
    origin  BLOB NOT NULL,
    text    BLOB NOT NULL,
    pieces  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE summaries (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions (id),
    kept    INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT;
CREATE INDEX summaries_by_session ON summaries (session);

CREATE TABLE system_events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    said_ms INTEGER NOT NULL,
    text    BLOB NOT NULL,
    source  BLOB,
    turn    INTEGER
) STRICT;

CREATE TABLE hook_deliveries (
    hook    TEXT NOT NULL,
    run     TEXT UNIQUE,
    content TEXT NOT NULL,
    UNIQUE (hook, content)
) STRICT;
