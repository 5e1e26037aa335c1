-- Sessions that run no turn before their owner lets them go on: since when, in milliseconds since the epoch, in which run
-- it began, and why, which is words and sealed.
CREATE TABLE quarantine (
    id       INTEGER PRIMARY KEY,
    key      TEXT NOT NULL UNIQUE,
    since_ms INTEGER NOT NULL,
    run      TEXT NOT NULL,
    why      BLOB NOT NULL
) STRICT;

-- What the gateway itself has to tell somebody on a channel, until the vendor has it. To whom and what is sealed.
CREATE TABLE notices (
    id      INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    account TEXT NOT NULL,
    origin  BLOB NOT NULL,
    text    BLOB NOT NULL,
    pieces  INTEGER NOT NULL DEFAULT 0
) STRICT;
