-- Words are sealed: the columns that hold them become BLOBs. What stood in them is kept under another name until the
-- program has sealed it, row by row; 2-after.sql removes it.

-- A word that opens with the keys of this installation and with no others: looked at whenever the file is opened.
CREATE TABLE canary (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    sealed BLOB NOT NULL
) STRICT;

ALTER TABLE messages RENAME TO messages_plain;
CREATE TABLE messages (
    session INTEGER NOT NULL REFERENCES sessions (id),
    turn    INTEGER NOT NULL REFERENCES turns (id),
    seq     INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (session, turn, seq)
) STRICT, WITHOUT ROWID;

ALTER TABLE outbox RENAME TO outbox_plain;
CREATE TABLE outbox (
    turn INTEGER PRIMARY KEY REFERENCES turns (id),
    text BLOB NOT NULL
) STRICT;

ALTER TABLE sessions RENAME COLUMN title TO title_plain;
ALTER TABLE sessions RENAME COLUMN last_message TO last_message_plain;
ALTER TABLE sessions ADD COLUMN title BLOB;
ALTER TABLE sessions ADD COLUMN last_message BLOB;

ALTER TABLE turns RENAME COLUMN extra_system_prompt TO extra_system_prompt_plain;
ALTER TABLE turns RENAME COLUMN error TO error_plain;
ALTER TABLE turns ADD COLUMN extra_system_prompt BLOB;
ALTER TABLE turns ADD COLUMN error BLOB;
