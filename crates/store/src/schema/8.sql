-- What a model wrote in place of the older turns of a session: of those before the turn `kept`. The turns themselves stay.
CREATE TABLE summaries (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions (id),
    kept    INTEGER NOT NULL,
    body    BLOB NOT NULL
) STRICT;
CREATE INDEX summaries_by_session ON summaries (session);
