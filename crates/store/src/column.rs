//! Layer 6 in the state db: which columns hold words, and what binds a word to its row.
//!
//! Sealed is what people, models and tools said: messages, replies, titles, extra prompts, and errors, which may quote
//! any of them; and what tells which people write: senders, holders of allowances, and the origins of messages and notices; and what the agent is to be told. Not sealed is what rows are found, counted and ordered by: keys and ids of sessions, channels,
//! accounts, the vendors' message ids, runs, models, usage, times, states. It can be read by whoever reads the file,
//! and changed by whoever may write it.
//!
//! A word opens only in its column, in its row, in its session: its *place* is authenticated with it. Of a session that
//! is its id and its key, which never change, so that what was said in one conversation cannot be made to appear in
//! another. That a row is missing, or is from an older copy of the same file, the seal does not tell.

use std::fmt;

/// A column whose words are sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Column {
    Allowance,
    Body,
    Canary,
    Error,
    Label,
    LastMessage,
    NoticeOrigin,
    NoticeText,
    Origin,
    Prompt,
    Quarantine,
    Reply,
    Sender,
    /// What a model wrote in place of older turns.
    Summary,
    SystemEvent,
    SystemEventSource,
    Title,
}

/// The numbers by which a row is found: as many as its table's key has, then zeros.
pub(crate) type Row = [i64; 3];

/// What a row with one number is found by.
pub(crate) const fn row(id: i64) -> Row {
    [id, 0, 0]
}

/// Where words stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) column: Column,
    pub(crate) row: Row,
    pub(crate) session_id: &'a str,
    pub(crate) key: &'a str,
}

impl Column {
    /// All of them. What is sealed again is sealed in this order.
    pub(crate) const ALL: [Self; 17] = [
        Self::Canary,
        Self::Allowance,
        Self::Sender,
        Self::Quarantine,
        Self::NoticeOrigin,
        Self::NoticeText,
        Self::SystemEvent,
        Self::SystemEventSource,
        Self::Title,
        Self::Label,
        Self::LastMessage,
        Self::Prompt,
        Self::Origin,
        Self::Error,
        Self::Reply,
        Self::Summary,
        Self::Body,
    ];

    /// Its name in the file: a part of every place in it, so it never changes.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Allowance => "allowances.who",
            Self::Body => "messages.body",
            Self::Canary => "canary.sealed",
            Self::Error => "turns.error",
            Self::Label => "sessions.label",
            Self::LastMessage => "sessions.last_message",
            Self::NoticeOrigin => "notices.origin",
            Self::NoticeText => "notices.text",
            Self::Origin => "turns.origin",
            Self::Prompt => "turns.extra_system_prompt",
            Self::Quarantine => "quarantine.why",
            Self::Reply => "outbox.text",
            Self::Sender => "senders.body",
            Self::Summary => "summaries.body",
            Self::SystemEvent => "system_events.text",
            Self::SystemEventSource => "system_events.source",
            Self::Title => "sessions.title",
        }
    }

    /// How many numbers its table's key has.
    pub(crate) const fn numbers(self) -> usize {
        match self {
            Self::Body => 3,
            Self::Allowance
            | Self::Canary
            | Self::Error
            | Self::Label
            | Self::LastMessage
            | Self::NoticeOrigin
            | Self::NoticeText
            | Self::Origin
            | Self::Prompt
            | Self::Quarantine
            | Self::Reply
            | Self::Sender
            | Self::Summary
            | Self::SystemEvent
            | Self::SystemEventSource
            | Self::Title => 1,
        }
    }

    /// Its rows after one, in their order: their numbers, their session's id and key, and the words.
    pub(crate) const fn read(self) -> &'static str {
        match self {
            Self::Allowance => "SELECT id, 0, 0, '', '', who FROM allowances WHERE id > ?1 ORDER BY id",
            Self::Body => {
                "SELECT session, turn, seq, session_id, key, body
                 FROM messages CROSS JOIN sessions ON sessions.id = session
                 WHERE (session, turn, seq) > (?1, ?2, ?3) ORDER BY session, turn, seq"
            }
            Self::Canary => "SELECT id, 0, 0, '', '', sealed FROM canary WHERE id > ?1 ORDER BY id",
            Self::Error => {
                "SELECT turns.id, 0, 0, session_id, key, error
                 FROM turns CROSS JOIN sessions ON sessions.id = session
                 WHERE turns.id > ?1 AND error IS NOT NULL ORDER BY turns.id"
            }
            Self::Label => {
                "SELECT id, 0, 0, session_id, key, label FROM sessions
                 WHERE id > ?1 AND label IS NOT NULL ORDER BY id"
            }
            Self::LastMessage => {
                "SELECT id, 0, 0, session_id, key, last_message FROM sessions
                 WHERE id > ?1 AND last_message IS NOT NULL ORDER BY id"
            }
            Self::NoticeOrigin => "SELECT id, 0, 0, '', '', origin FROM notices WHERE id > ?1 ORDER BY id",
            Self::NoticeText => "SELECT id, 0, 0, '', '', text FROM notices WHERE id > ?1 ORDER BY id",
            Self::Origin => {
                "SELECT turns.id, 0, 0, session_id, key, origin
                 FROM turns CROSS JOIN sessions ON sessions.id = session
                 WHERE turns.id > ?1 AND origin IS NOT NULL ORDER BY turns.id"
            }
            Self::Prompt => {
                "SELECT turns.id, 0, 0, session_id, key, extra_system_prompt
                 FROM turns CROSS JOIN sessions ON sessions.id = session
                 WHERE turns.id > ?1 AND extra_system_prompt IS NOT NULL ORDER BY turns.id"
            }
            Self::Quarantine => "SELECT id, 0, 0, '', '', why FROM quarantine WHERE id > ?1 ORDER BY id",
            Self::Reply => {
                "SELECT turn, 0, 0, session_id, key, text
                 FROM outbox CROSS JOIN turns ON turns.id = turn CROSS JOIN sessions ON sessions.id = session
                 WHERE turn > ?1 ORDER BY turn"
            }
            Self::Sender => "SELECT id, 0, 0, '', '', body FROM senders WHERE id > ?1 ORDER BY id",
            Self::Summary => {
                "SELECT summaries.id, 0, 0, session_id, key, body
                 FROM summaries CROSS JOIN sessions ON sessions.id = session
                 WHERE summaries.id > ?1 ORDER BY summaries.id"
            }
            Self::SystemEvent => "SELECT id, 0, 0, '', '', text FROM system_events WHERE id > ?1 ORDER BY id",
            Self::SystemEventSource => {
                "SELECT id, 0, 0, '', '', source FROM system_events
                 WHERE id > ?1 AND source IS NOT NULL ORDER BY id"
            }
            Self::Title => {
                "SELECT id, 0, 0, session_id, key, title FROM sessions
                 WHERE id > ?1 AND title IS NOT NULL ORDER BY id"
            }
        }
    }

    /// Puts other words into one row.
    pub(crate) const fn write(self) -> &'static str {
        match self {
            Self::Allowance => "UPDATE allowances SET who = ?4 WHERE id = ?1",
            Self::Body => "UPDATE messages SET body = ?4 WHERE session = ?1 AND turn = ?2 AND seq = ?3",
            Self::Canary => "UPDATE canary SET sealed = ?4 WHERE id = ?1",
            Self::Error => "UPDATE turns SET error = ?4 WHERE id = ?1",
            Self::Label => "UPDATE sessions SET label = ?4 WHERE id = ?1",
            Self::LastMessage => "UPDATE sessions SET last_message = ?4 WHERE id = ?1",
            Self::NoticeOrigin => "UPDATE notices SET origin = ?4 WHERE id = ?1",
            Self::NoticeText => "UPDATE notices SET text = ?4 WHERE id = ?1",
            Self::Origin => "UPDATE turns SET origin = ?4 WHERE id = ?1",
            Self::Prompt => "UPDATE turns SET extra_system_prompt = ?4 WHERE id = ?1",
            Self::Quarantine => "UPDATE quarantine SET why = ?4 WHERE id = ?1",
            Self::Reply => "UPDATE outbox SET text = ?4 WHERE turn = ?1",
            Self::Sender => "UPDATE senders SET body = ?4 WHERE id = ?1",
            Self::Summary => "UPDATE summaries SET body = ?4 WHERE id = ?1",
            Self::SystemEvent => "UPDATE system_events SET text = ?4 WHERE id = ?1",
            Self::SystemEventSource => "UPDATE system_events SET source = ?4 WHERE id = ?1",
            Self::Title => "UPDATE sessions SET title = ?4 WHERE id = ?1",
        }
    }
}

impl fmt::Display for Place<'_> {
    /// What comes from outside, the key, stands last: nothing in it can look like another part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.column.name())?;
        for number in self.row.iter().take(self.column.numbers()) {
            write!(f, "/{number}")?;
        }
        match self.column {
            Column::Allowance
            | Column::Canary
            | Column::NoticeOrigin
            | Column::NoticeText
            | Column::Quarantine
            | Column::Sender
            | Column::SystemEvent
            | Column::SystemEventSource => Ok(()),
            Column::Body
            | Column::Error
            | Column::Label
            | Column::LastMessage
            | Column::Origin
            | Column::Prompt
            | Column::Reply
            | Column::Summary
            | Column::Title => write!(f, "/{}/{}", self.session_id, self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_the_column_the_row_and_the_session() {
        let place = |column, row| Place { column, row, session_id: "id", key: "agent:main:a/b" }.to_string();
        assert_eq!(place(Column::Body, [1, 2, 0]), "messages.body/1/2/0/id/agent:main:a/b");
        assert_eq!(place(Column::Reply, row(2)), "outbox.text/2/id/agent:main:a/b");
        assert_eq!(place(Column::Canary, row(1)), "canary.sealed/1");
        let mut names = Column::ALL.map(|column| place(column, row(1)));
        names.sort_unstable();
        assert!(names.is_sorted_by(|one, other| one < other), "{names:?}");
    }
}
