-- Words are sealed: what people, models and tools said, and what was said of them. `seal` and `unseal` are functions
-- of this program; a sealed text is bound to its row, by what never changes of it.

-- Opens with the keys that the rows were sealed with, and with no others.
CREATE TABLE seals (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO seals (name, value) VALUES ('check', seal('seals/check', 'moltbot'));

UPDATE messages SET body = seal('messages/' || session || '/' || turn || '/' || seq, body);
UPDATE outbox SET text = seal('outbox/' || turn, text);
UPDATE sessions
SET title = seal('sessions/' || id || '/title', title),
    last_message = seal('sessions/' || id || '/last', last_message);
UPDATE turns
SET extra_system_prompt = seal('turns/' || run || '/extra', extra_system_prompt),
    error = seal('turns/' || run || '/error', error);
