//! Commands that wait for a person's yes.
//!
//! A yes is given to what is on the screen: not to a question that took another one's place a moment ago, and not to one of
//! which a part is not shown.

use std::collections::VecDeque;

use serde_json::Value;

use super::conversation::text_of;
use super::text::in_line;

/// Questions that are kept; the gateway asks no more at once.
const QUESTIONS: usize = 64;
/// Lines of a question that are kept: what the gateway writes is shorter.
const LINES: usize = 200;
/// The answer that lets the command run, this once.
pub(super) const ALLOW: &str = "allow-once";
/// The answer that does not.
pub(super) const DENY: &str = "deny";

/// A command that waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Question {
    id: String,
    lines: Vec<String>,
    may_be_allowed: bool,
}

/// The commands that wait, the one that is shown first.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: VecDeque<Question>,
    /// The one that was answered last, while the gateway has not said that it is over.
    answered: Option<String>,
    /// Whether the first one came into its place after another one was shown there.
    took_a_place: bool,
}

/// What a yes does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Yes {
    /// The question took the place of another: it has to be said once more.
    Again,
    /// It is not a question to which this is an answer.
    Impossible,
    /// Nothing is asked, or it is answered already.
    Nothing,
    /// This one is answered.
    To(String),
}

impl Question {
    /// Reads a question: the text that the gateway made of the act, line by line.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let id = text_of(value, "id");
        let prompt = text_of(value, "prompt");
        if id.is_empty() || prompt.trim().is_empty() {
            return None;
        }
        let lines: Vec<String> = prompt.trim_end().split('\n').map(in_line).collect();
        let decisions = value.get("decisions").and_then(Value::as_array).into_iter().flatten();
        let is_offered = decisions.filter_map(Value::as_str).any(|decision| decision == ALLOW);
        // What is not shown as a whole is not allowed here.
        let may_be_allowed = is_offered && lines.len() <= LINES && !lines.iter().any(|line| is_cut(line));
        Some(Self { id: id.to_owned(), lines: lines.into_iter().take(LINES).collect(), may_be_allowed })
    }

    /// What is asked, line by line.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// Whether the gateway has left a part of the command out, and said so in this line.
fn is_cut(line: &str) -> bool {
    line.starts_with("  … ") || (line.starts_with("  | ") && line.ends_with(" more characters)"))
}

impl Questions {
    /// The one that is shown.
    pub(crate) fn first(&self) -> Option<&Question> {
        self.waiting.front()
    }

    /// How many wait behind it.
    pub(crate) fn behind(&self) -> usize {
        self.waiting.len().saturating_sub(1)
    }

    /// Whether the one that is shown is answered, and the gateway has not said so yet.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    /// Adds one.
    pub(crate) fn add(&mut self, question: Question) {
        let is_known = self.waiting.iter().any(|known| known.id == question.id);
        if !is_known && self.waiting.len() < QUESTIONS {
            self.waiting.push_back(question);
        }
    }

    /// Takes one away that is over. Whether it was known.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let Some(place) = self.waiting.iter().position(|question| question.id == id) else { return false };
        self.waiting.remove(place);
        if self.answered.as_deref() == Some(id) {
            self.answered = None;
        }
        if place == 0 {
            self.took_a_place = !self.waiting.is_empty();
        }
        true
    }

    /// Forgets all of them: with a new connection the gateway tells which there are.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.answered = None;
    }

    /// A yes to what is shown.
    pub(crate) fn allow(&mut self) -> Yes {
        let (Some(first), None) = (self.waiting.front(), &self.answered) else { return Yes::Nothing };
        if !first.may_be_allowed {
            return Yes::Impossible;
        }
        if std::mem::take(&mut self.took_a_place) {
            return Yes::Again;
        }
        let id = first.id.clone();
        self.answered = Some(id.clone());
        Yes::To(id)
    }

    /// A no to what is shown: the id of the question, when there is one that is not answered.
    pub(crate) fn deny(&mut self) -> Option<String> {
        let (Some(first), None) = (self.waiting.front(), &self.answered) else { return None };
        self.answered = Some(first.id.clone());
        self.answered.clone()
    }

    /// An answer had no effect: it can be answered again.
    pub(crate) fn give_back(&mut self, id: &str) {
        if self.answered.as_deref() == Some(id) {
            self.answered = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn question(id: &str) -> Question {
        let prompt = format!("Approval {id}: may this command run?\n  | ls\u{1b}[2K\n");
        Question::read(&json!({"id": id, "prompt": prompt, "decisions": [ALLOW, DENY]})).unwrap()
    }

    #[test]
    fn a_question_is_shown_line_by_line_and_acts_on_nothing() {
        assert_eq!(question("a1").lines(), ["Approval a1: may this command run?", "  | ls<U+001B>[2K"]);
        for value in
            [json!({}), json!({"id": "x"}), json!({"id": "", "prompt": "p"}), json!({"id": 1, "prompt": "p"})]
        {
            assert_eq!(Question::read(&value), None, "{value}");
        }
    }

    #[test]
    fn a_yes_is_to_what_was_shown() {
        let mut questions = Questions::default();
        assert_eq!(questions.allow(), Yes::Nothing);
        questions.add(question("a"));
        questions.add(question("b"));
        questions.add(question("a"));
        assert_eq!(questions.behind(), 1);
        assert_eq!(questions.allow(), Yes::To("a".into()));
        assert_eq!((questions.allow(), questions.deny()), (Yes::Nothing, None), "it is answered once");
        assert!(questions.remove("a"));
        assert_eq!(questions.allow(), Yes::Again, "this is another one");
        assert_eq!(questions.allow(), Yes::To("b".into()));
        questions.give_back("b");
        assert_eq!(questions.deny(), Some("b".into()));
        assert!(questions.remove("b") && !questions.remove("b"));
        assert_eq!(questions.deny(), None);
    }

    #[test]
    fn what_may_not_be_allowed_or_is_not_shown_as_a_whole_is_not_allowed() {
        let long = "x\n".repeat(LINES + 1);
        for value in [
            json!({"id": "a", "prompt": "p", "decisions": [DENY]}),
            json!({"id": "a", "prompt": "p"}),
            json!({"id": "a", "prompt": long, "decisions": [ALLOW]}),
            json!({"id": "a", "prompt": "p\n  … 7 more lines: read them", "decisions": [ALLOW]}),
            json!({"id": "a", "prompt": "p\n  | ls … (7 more characters)", "decisions": [ALLOW]}),
        ] {
            let mut questions = Questions::default();
            questions.add(Question::read(&value).unwrap());
            assert_eq!(questions.allow(), Yes::Impossible);
            assert_eq!(questions.deny(), Some("a".into()));
        }
    }
}
