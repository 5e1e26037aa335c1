-- What a person says of a session besides its transcript: its name, which is words and sealed, and the model that answers
-- in it, in place of its agent's.
ALTER TABLE sessions ADD COLUMN label BLOB;
ALTER TABLE sessions ADD COLUMN chosen_model TEXT;
