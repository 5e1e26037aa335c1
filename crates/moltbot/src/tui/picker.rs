//! A list to choose from.

use super::text::in_line;

/// Rows of a list that are kept.
const ROWS: usize = 1000;
/// Characters of what is looked for.
const FILTER: usize = 100;

/// What is chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// An agent.
    Agent,
    /// A model for the conversation.
    Model,
    /// A conversation.
    Session,
    /// What is shown, and how much is thought.
    Settings,
}

/// A list on the screen.
#[derive(Debug)]
pub(crate) struct Picker {
    kind: Kind,
    rows: Vec<Row>,
    filter: String,
    selected: usize,
}

/// One to choose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    /// What it is for the gateway.
    pub(crate) value: String,
    /// What is shown of it.
    pub(crate) label: String,
}

impl Row {
    /// A row that shows its value and more about it.
    pub(crate) fn new(value: &str, about: &str) -> Self {
        let label = if about.is_empty() { in_line(value) } else { in_line(&format!("{value}  {about}")) };
        Self { value: value.to_owned(), label }
    }
}

impl Picker {
    /// A list of these.
    pub(crate) fn new(kind: Kind, mut rows: Vec<Row>) -> Self {
        rows.truncate(ROWS);
        Self { kind, rows, filter: String::new(), selected: 0 }
    }

    /// What is chosen.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// What stands above the list.
    pub(crate) fn title(&self) -> String {
        let what = match self.kind {
            Kind::Agent => "agent",
            Kind::Model => "model",
            Kind::Session => "session",
            Kind::Settings => "settings",
        };
        format!("{what}: {}", self.filter)
    }

    /// The rows that have what is looked for, and whether each is selected.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&Row, bool)> {
        self.found().enumerate().map(|(place, row)| (row, place == self.selected))
    }

    /// Where the selected row is.
    pub(crate) const fn selected(&self) -> usize {
        self.selected
    }

    /// Replaces the rows, and keeps the place.
    pub(crate) fn replace(&mut self, rows: Vec<Row>) {
        self.rows = rows;
        self.selected = self.selected.min(self.found().count().saturating_sub(1));
    }

    /// Looks for one more character.
    pub(crate) fn look_for(&mut self, character: char) {
        if self.filter.chars().count() < FILTER && !in_line(&character.to_string()).starts_with("<U+") {
            self.filter.push(character);
        }
        self.selected = 0;
    }

    /// Looks for one character less.
    pub(crate) fn backspace(&mut self) {
        self.filter.pop();
        self.selected = 0;
    }

    /// The row above.
    pub(crate) fn up(&mut self) {
        self.selected = self.selected.saturating_sub(1);
    }

    /// The row below.
    pub(crate) fn down(&mut self) {
        let last = self.found().count().saturating_sub(1);
        self.selected = self.selected.saturating_add(1).min(last);
    }

    /// The value of the selected row.
    pub(crate) fn chosen(&self) -> Option<&str> {
        self.found().nth(self.selected).map(|row| row.value.as_str())
    }

    fn found(&self) -> impl Iterator<Item = &Row> {
        let wanted = self.filter.to_lowercase();
        self.rows.iter().filter(move |row| row.label.to_lowercase().contains(&wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_and_chosen() {
        let rows = ["alpha", "beta", "Alphabet"].map(|name| Row::new(name, "x\u{1b}")).into();
        let mut picker = Picker::new(Kind::Model, rows);
        picker.down();
        assert_eq!(picker.chosen(), Some("beta"));
        "alp".chars().for_each(|c| picker.look_for(c));
        picker.look_for('\u{1b}');
        assert_eq!((picker.title().as_str(), picker.chosen()), ("model: alp", Some("alpha")));
        picker.down();
        picker.down();
        assert_eq!(picker.chosen(), Some("Alphabet"));
        let labels: Vec<(&str, bool)> = picker.rows().map(|(row, is)| (row.label.as_str(), is)).collect();
        assert_eq!(labels, [("alpha  x<U+001B>", false), ("Alphabet  x<U+001B>", true)]);
        "zzz".chars().for_each(|c| picker.look_for(c));
        assert_eq!(picker.chosen(), None);
        picker.replace(Vec::new());
        picker.up();
        picker.backspace();
        assert_eq!((picker.selected(), picker.chosen()), (0, None));
    }
}
