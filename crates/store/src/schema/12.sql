-- Who said what the agent is told, and which agent; the turn that tells it; turns whose answer is told at the next heartbeat; and
-- what hooks left for a heartbeat, so that a delivery that comes twice is known.
ALTER TABLE system_events ADD COLUMN source BLOB;
ALTER TABLE system_events ADD COLUMN turn INTEGER;
ALTER TABLE turns ADD COLUMN tells INTEGER NOT NULL DEFAULT 0;
CREATE TABLE hook_deliveries (
    hook    TEXT NOT NULL,
    run     TEXT UNIQUE,
    content TEXT NOT NULL,
    UNIQUE (hook, content)
) STRICT;
