//! The Markdown of an answer, read into words and how they are set.
//!
//! Telegram knows bold, italic, struck, code, quotes and links, and nothing of headings, lists, rules and tables: those become
//! words. What HTML the model writes is shown as it stands.

use std::ops::Range;

use pulldown_cmark::{Alignment, CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::table::Table;

/// Words with their settings.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Rich {
    /// What people read.
    pub(super) text: String,
    /// How ranges of it are set. An outer range stands before those within it; none overlaps another in part.
    pub(super) spans: Vec<Span>,
}

/// A range of words that are set in one way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Span {
    pub(super) range: Range<usize>,
    pub(super) style: Style,
}

/// A way to set words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Style {
    Bold,
    Code,
    Italic,
    Link(String),
    /// A block of code, with the name of its language.
    Pre(Option<String>),
    Quote,
    Strike,
}

/// What a rule becomes.
const RULE: &str = "—————";
/// The longest name of a language.
const LANGUAGE: usize = 32;

/// Reads Markdown.
pub(super) fn read(markdown: &str) -> Rich {
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    let mut reading = Reading::default();
    for event in Parser::new_ext(markdown, options) {
        reading.take(event);
    }
    reading.rich
}

#[derive(Default)]
struct Reading {
    rich: Rich,
    /// Ranges that have begun: each with its place in the list of spans.
    open: Vec<usize>,
    /// The next number of each list, or none for a list of points.
    lists: Vec<Option<u64>>,
    quotes: usize,
    /// Whether a list's item has begun and nothing stands in it yet.
    is_fresh: bool,
    table: Option<Table>,
}

impl Reading {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.say(&text),
            Event::Code(code) => {
                self.open(Style::Code);
                self.say(&code);
                self.close();
            }
            Event::SoftBreak | Event::HardBreak => self.say("\n"),
            Event::Rule => {
                self.block(2);
                self.say(RULE);
            }
            Event::TaskListMarker(is_done) => self.say(if is_done { "☑ " } else { "☐ " }),
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.say(&text)
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.block(2),
            Tag::Heading { level, .. } => {
                self.block(2);
                self.open(Style::Bold);
                if level == HeadingLevel::H1 {
                    self.open(Style::Italic);
                }
            }
            Tag::BlockQuote(_) => self.begin_quote(),
            Tag::CodeBlock(kind) => {
                self.block(2);
                self.open(Style::Pre(language(&kind)));
            }
            Tag::List(first) => {
                self.block(if self.lists.is_empty() { 2 } else { 1 });
                self.lists.push(first);
            }
            Tag::Item => self.begin_item(),
            Tag::Emphasis => self.open(Style::Italic),
            Tag::Strong => self.open(Style::Bold),
            Tag::Strikethrough => self.open(Style::Strike),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.open(Style::Link(dest_url.into_string()))
            }
            Tag::Table(alignments) => self.begin_table(&alignments),
            Tag::TableHead | Tag::TableRow => self.in_table(Table::begin_row),
            Tag::TableCell => self.in_table(Table::begin_cell),
            Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                if level == HeadingLevel::H1 {
                    self.close();
                }
                self.close();
            }
            TagEnd::BlockQuote(_) => {
                self.quotes = self.quotes.saturating_sub(1);
                if self.quotes == 0 {
                    self.close();
                }
            }
            TagEnd::CodeBlock => {
                let trimmed = self.rich.text.trim_end_matches('\n').len();
                self.rich.text.truncate(trimmed);
                self.close();
            }
            TagEnd::List(_) => drop(self.lists.pop()),
            TagEnd::Item => self.is_fresh = false,
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.close(),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::Table => self.end_table(),
            TagEnd::Paragraph
            | TagEnd::HtmlBlock
            | TagEnd::TableHead
            | TagEnd::TableRow
            | TagEnd::TableCell
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::MetadataBlock(_) => {}
        }
    }

    /// Adds words. Control characters are not among them.
    fn say(&mut self, words: &str) {
        self.is_fresh = false;
        let words = words.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
        match &mut self.table {
            Some(table) => table.say(words),
            None => self.rich.text.extend(words),
        }
    }

    /// Begins a block: at least so many ends of lines stand before it, but at the beginning and right behind the mark of an
    /// item.
    fn block(&mut self, ends: usize) {
        if std::mem::take(&mut self.is_fresh) || self.rich.text.is_empty() {
            return;
        }
        // Blocks within a list stand close together.
        let ends = if self.lists.is_empty() { ends } else { 1 };
        let there = self.rich.text.len() - self.rich.text.trim_end_matches('\n').len();
        self.rich.text.extend(std::iter::repeat_n('\n', ends.saturating_sub(there)));
    }

    fn begin_quote(&mut self) {
        self.block(2);
        // Telegram knows no quote within a quote.
        if self.quotes == 0 {
            self.open(Style::Quote);
        }
        self.quotes += 1;
    }

    fn begin_item(&mut self) {
        self.block(1);
        let depth = self.lists.len().saturating_sub(1);
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                let mark = format!("{number}. ");
                *number = number.saturating_add(1);
                mark
            }
            Some(None) | None => "• ".to_owned(),
        };
        let indent = "  ".repeat(depth);
        self.say(&format!("{indent}{mark}"));
        self.is_fresh = true;
    }

    fn open(&mut self, style: Style) {
        if self.table.is_some() {
            return;
        }
        let at = self.rich.text.len();
        self.open.push(self.rich.spans.len());
        self.rich.spans.push(Span { range: at..at, style });
    }

    fn close(&mut self) {
        if self.table.is_some() {
            return;
        }
        let end = self.rich.text.len();
        if let Some(span) = self.open.pop().and_then(|place| self.rich.spans.get_mut(place)) {
            span.range.end = end;
        }
    }

    /// Ends a link. One that leads nowhere that a person would want to go is words, with what it says it leads to.
    fn end_link(&mut self) {
        if self.table.is_some() {
            return;
        }
        let Some(place) = self.open.last().copied() else { return };
        let Some(span) = self.rich.spans.get(place) else { return };
        let Style::Link(target) = &span.style else { return };
        let target = target.clone();
        let words = self.rich.text.get(span.range.start..).unwrap_or_default().to_owned();
        let is_plain = words == target;
        let is_safe = ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme));
        if is_safe && !is_plain && !words.trim().is_empty() {
            return self.close();
        }
        self.open.pop();
        self.rich.spans.remove(place);
        if !is_plain && !target.is_empty() {
            let behind = if words.trim().is_empty() { target } else { format!(" ({target})") };
            self.say(&behind);
        }
    }

    fn begin_table(&mut self, alignments: &[Alignment]) {
        self.block(2);
        self.open(Style::Pre(None));
        self.table = Some(Table::new(alignments));
    }

    fn in_table(&mut self, change: fn(&mut Table)) {
        if let Some(table) = &mut self.table {
            change(table);
        }
    }

    fn end_table(&mut self) {
        if let Some(table) = self.table.take() {
            self.say(&table.render());
            self.close();
        }
    }
}

/// The name of a language, when it is one.
fn language(kind: &CodeBlockKind<'_>) -> Option<String> {
    let CodeBlockKind::Fenced(info) = kind else { return None };
    let name = info.split([' ', ',', '{']).next()?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '-' | '_' | '.');
    ((1..=LANGUAGE).contains(&name.len()) && name.chars().all(is_part)).then(|| name.to_owned())
}
