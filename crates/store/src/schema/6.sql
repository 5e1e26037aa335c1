-- Allowances: what somebody used in the day that was begun last, and other limits that the owner set for him. Who it is, is
-- sealed; he is found by his number. `own` is JSON; `day` is the number of a day since 1970, UTC; `cost` is in millionths
-- of a dollar; `told` is 1 once he was told that his day's allowance is used up.
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

-- By whose allowances a turn is counted, as a list of numbers in JSON, and what it cost, where all prices were known.
ALTER TABLE turns ADD COLUMN allowances TEXT;
ALTER TABLE turns ADD COLUMN cost INTEGER;
