-- Devices: those that are known, approved or revoked, and those that wait for a person. A body is JSON; of a token it has
-- the digest alone.
CREATE TABLE devices (
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE device_requests (
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
