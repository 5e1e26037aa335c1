-- What the agent is told when it looks around next. Numbers are not given again: what is forgotten is named by one.
CREATE TABLE system_events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    said_ms INTEGER NOT NULL,
    text    BLOB NOT NULL
) STRICT;
