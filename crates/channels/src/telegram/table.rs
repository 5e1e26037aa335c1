//! A table as lines of text in which columns stand below each other, for a fixed pitch.

use pulldown_cmark::Alignment;

/// The widest column that is filled up with spaces, in characters: the screen of a telephone has about 40.
const WIDTH: usize = 24;

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table {
    alignments: Vec<Alignment>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(alignments: &[Alignment]) -> Self {
        Self { alignments: alignments.to_vec(), rows: Vec::new() }
    }

    pub(super) fn begin_row(&mut self) {
        self.rows.push(Vec::new());
    }

    pub(super) fn begin_cell(&mut self) {
        if let Some(row) = self.rows.last_mut() {
            row.push(String::new());
        }
    }

    pub(super) fn say(&mut self, words: impl Iterator<Item = char>) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            cell.extend(words.map(|c| if c == '\n' { ' ' } else { c }));
        }
    }

    /// The lines, the first of them with a rule below.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default().min(WIDTH)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut lines: Vec<String> = self.rows.iter().map(|row| self.line(row, &widths)).collect();
        if lines.len() > 1 {
            lines.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("-+-"));
        }
        lines.join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let room = width.saturating_sub(cell.chars().count());
            match self.alignments.get(column) {
                Some(Alignment::Right) => format!("{}{cell}", " ".repeat(room)),
                Some(Alignment::Center) => {
                    format!("{}{cell}{}", " ".repeat(room / 2), " ".repeat(room - room / 2))
                }
                Some(Alignment::Left | Alignment::None) | None => format!("{cell}{}", " ".repeat(room)),
            }
        });
        cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned()
    }
}
