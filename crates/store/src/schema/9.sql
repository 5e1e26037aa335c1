-- What a person set of a session besides its label and its model, as JSON.
ALTER TABLE sessions ADD COLUMN options TEXT;
