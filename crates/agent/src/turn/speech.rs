//! What a turn says: the texts of its answers, with an empty line between them.

use crate::report::TurnEvent;

/// What stands between two answers of one turn.
const BETWEEN: &str = "\n\n";

/// What a turn has said so far.
#[derive(Debug, Default)]
pub(super) struct Speech {
    text: String,
    /// The answer that is being heard; absent between answers.
    begun: Option<Begun>,
}

/// Where an answer stands in the text.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// Where what was said before it ends.
    after: usize,
    /// Where its own words begin.
    at: usize,
}

impl Speech {
    /// Hears more of an answer and tells the watcher.
    pub(super) fn hear(&mut self, words: &str, watcher: &(dyn Fn(TurnEvent<'_>) + Send + Sync)) {
        if words.is_empty() {
            return;
        }
        let before = self.text.len();
        if self.begun.is_none() {
            self.begin();
        }
        self.text.push_str(words);
        let delta = self.text.get(before..).unwrap_or_default();
        watcher(TurnEvent::Text { text: &self.text, delta });
    }

    /// Ends an answer whose text is `said`. What of it was not heard yet is told; where it differs from
    /// what was heard, it counts.
    pub(super) fn settle(&mut self, said: &str, watcher: &(dyn Fn(TurnEvent<'_>) + Send + Sync)) {
        let heard = self.fragment();
        match said.strip_prefix(heard.as_str()) {
            Some(rest) => self.hear(rest, watcher),
            None => {
                self.text.truncate(self.begun.map_or(self.text.len(), |begun| begun.after));
                self.recall(said);
            }
        }
        self.begun = None;
    }

    /// Takes over an answer of a turn that goes on after a stop; nobody is told.
    pub(super) fn recall(&mut self, said: &str) {
        if !said.is_empty() {
            self.begin();
            self.text.push_str(said);
            self.begun = None;
        }
    }

    /// What was heard of the answer that has not come to its end.
    pub(super) fn fragment(&self) -> String {
        self.begun.and_then(|begun| self.text.get(begun.at..)).unwrap_or_default().to_owned()
    }

    /// All that was said.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn begin(&mut self) {
        let after = self.text.len();
        if after > 0 {
            self.text.push_str(BETWEEN);
        }
        self.begun = Some(Begun { after, at: self.text.len() });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn all_deltas_joined_are_the_text() {
        let told = Mutex::new(String::new());
        let watcher = |event: TurnEvent<'_>| {
            if let TurnEvent::Text { text, delta } = event {
                let mut told = told.lock().unwrap();
                told.push_str(delta);
                assert_eq!(*told, text);
            }
        };
        let mut speech = Speech::default();
        for (heard, said) in
            [(&["I ", "look"][..], "I look."), (&[], ""), (&["", "Found"], "Found"), (&[], "Bye")]
        {
            heard.iter().for_each(|words| speech.hear(words, &watcher));
            speech.settle(said, &watcher);
            assert_eq!(speech.fragment(), "");
        }
        assert_eq!(speech.into_text(), "I look.\n\nFound\n\nBye");
        assert_eq!(*told.lock().unwrap(), "I look.\n\nFound\n\nBye");
    }

    #[test]
    fn what_the_answer_says_in_the_end_counts() {
        let mut speech = Speech::default();
        speech.recall("before");
        speech.hear("{\"na", &|_| {});
        assert_eq!(speech.fragment(), "{\"na");
        speech.settle("", &|_| {});
        assert_eq!(speech.into_text(), "before");
    }
}
