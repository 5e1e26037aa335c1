-- Chat channels. Where a message came from is sealed: it has the addresses of people. What of an answer was sent is
-- counted in pieces; an answer that no channel waits for has no state.
ALTER TABLE turns ADD COLUMN origin BLOB;
ALTER TABLE outbox ADD COLUMN state TEXT CHECK (state IN ('dropped', 'sent', 'waiting'));
ALTER TABLE outbox ADD COLUMN pieces INTEGER NOT NULL DEFAULT 0;
CREATE INDEX outbox_waiting ON outbox (turn) WHERE state = 'waiting';

-- What is known of people on channels: who was let in or blocked, who asks, how often a wrong code was tried. A body is
-- sealed JSON; of a code it has the digest alone.
CREATE TABLE senders (
    id   INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- Where a driver was, for vendors that do not keep it themselves.
CREATE TABLE cursors (
    channel TEXT NOT NULL,
    account TEXT NOT NULL,
    cursor  TEXT NOT NULL,
    PRIMARY KEY (channel, account)
) STRICT, WITHOUT ROWID;
