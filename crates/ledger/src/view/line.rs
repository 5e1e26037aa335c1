//! One line of a view.

use crate::record::write_text;

/// A JSON object that is being written, one member after the other. Texts are bounded, and what a terminal would
/// obey is escaped, as in the book.
#[derive(Debug)]
pub(super) struct Line(String);

impl Line {
    /// Every line begins with its time, in milliseconds since the epoch.
    pub(super) fn at(timestamp: i64) -> Self {
        Self(format!(r#"{{"timestamp":{timestamp}"#))
    }

    /// A text of at most `most` bytes.
    pub(super) fn text(mut self, name: &str, value: &str, most: usize) -> Self {
        self.name(name);
        let end = value.floor_char_boundary(most);
        let kept = value.get(..end).unwrap_or_default();
        if kept.len() < value.len() {
            write_text(&mut self.0, &format!("{kept}…"));
        } else {
            write_text(&mut self.0, kept);
        }
        self
    }

    /// A text, if there is one.
    pub(super) fn optional(self, name: &str, value: Option<&str>, most: usize) -> Self {
        match value.filter(|value| !value.is_empty()) {
            None => self,
            Some(value) => self.text(name, value, most),
        }
    }

    /// A number, if there is one.
    pub(super) fn number(mut self, name: &str, value: Option<i64>) -> Self {
        if let Some(value) = value {
            self.name(name);
            self.0.push_str(&value.to_string());
        }
        self
    }

    pub(super) fn flag(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        self.0.push_str(if value { "true" } else { "false" });
        self
    }

    fn name(&mut self, name: &str) {
        self.0.push(',');
        write_text(&mut self.0, name);
        self.0.push(':');
    }

    /// The finished line.
    pub(super) fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}
