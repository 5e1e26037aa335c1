-- After every word was sealed: what was plaintext goes.
DROP TABLE messages_plain;
DROP TABLE outbox_plain;
ALTER TABLE sessions DROP COLUMN title_plain;
ALTER TABLE sessions DROP COLUMN last_message_plain;
ALTER TABLE turns DROP COLUMN extra_system_prompt_plain;
ALTER TABLE turns DROP COLUMN error_plain;
