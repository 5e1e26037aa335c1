//! What the client looks like: one row at the top, the conversation, the command that is asked about, a rule, what is typed,
//! one row at the bottom. What others wrote stands behind a margin of two columns; what is in the margin is ours.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Frame;

use super::app::{App, Link, Then, UsageShown};
use super::conversation::{Delivery, Entry, Said, Tool, ToolState};
use super::picker::Picker;
use super::questions::Question;
use super::text::{fit, wrap};

/// Columns of the margin.
const MARGIN: usize = 2;
/// Rows of what a tool brought, where that is shown.
const RESULT_ROWS: usize = 100;

/// Whether there is colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Palette {
    Colours,
    Plain,
}

/// What a row is, which decides how it looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Look {
    Aside,
    Bad,
    Bar,
    Chosen,
    Ordinary,
    Person,
    Question,
    Rule,
    Tool,
}

/// A row of the screen.
#[derive(Debug)]
struct Row {
    margin: &'static str,
    text: String,
    look: Look,
}

/// How many rows each part has.
#[derive(Debug)]
struct Parts {
    head: usize,
    conversation: usize,
    question: usize,
    rule: usize,
    input: usize,
    foot: usize,
}

impl Palette {
    const fn style(self, look: Look) -> Style {
        let style = Style::new();
        match (self, look) {
            (Self::Plain, _) | (_, Look::Ordinary) => style,
            (_, Look::Aside | Look::Rule) => style.add_modifier(Modifier::DIM),
            (_, Look::Bad) => style.fg(Color::Red),
            (_, Look::Bar | Look::Chosen) => style.add_modifier(Modifier::REVERSED),
            (_, Look::Person) => style.add_modifier(Modifier::BOLD),
            (_, Look::Question) => style.fg(Color::Yellow),
            (_, Look::Tool) => style.fg(Color::Cyan),
        }
    }
}

/// Draws everything.
pub(crate) fn draw(app: &App, frame: &mut Frame<'_>, palette: Palette) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let parts = parts(app, width, height);
    let mut rows = Vec::with_capacity(height);
    if parts.head > 0 {
        rows.push(bar(head(app)));
    }
    match &app.picker {
        Some(picker) => rows.extend(list(picker, parts.conversation)),
        None => rows.extend(conversation(app, width, parts.conversation)),
    }
    rows.extend(question(app, width, parts.question));
    if parts.rule > 0 {
        rows.push(Row { margin: "", text: "─".repeat(width), look: Look::Rule });
    }
    let input_at = rows.len();
    let (typed, cursor) = input(app, width, parts.input);
    rows.extend(typed);
    if parts.foot > 0 {
        rows.push(bar(foot(app)));
    }
    for (y, row) in (area.y..area.bottom()).zip(&rows) {
        put(frame.buffer_mut(), area, y, row, palette);
    }
    if app.picker.is_none() {
        let (x, y) = (
            area.x.saturating_add(narrow(cursor.0)),
            area.y.saturating_add(narrow(input_at.saturating_add(cursor.1))),
        );
        if x < area.right() && y < area.bottom() {
            frame.set_cursor_position((x, y));
        }
    }
}

/// Whether the whole question that is first is on the screen.
pub(super) fn shows_question(app: &App) -> bool {
    let (width, height) = (usize::from(app.size.0), usize::from(app.size.1));
    let needed = app.questions.first().map_or(0, |question| question_rows(app, question, width).len());
    parts(app, width, height).question >= needed
}

/// How far the conversation can be scrolled up.
pub(super) fn scrollable(app: &App) -> usize {
    let (width, height) = (usize::from(app.size.0), usize::from(app.size.1));
    let all: usize = app.conversation.entries().map(|entry| entry_rows(app, entry, width).len()).sum();
    all.saturating_sub(parts(app, width, height).conversation)
}

fn parts(app: &App, width: usize, height: usize) -> Parts {
    let typed = app.input.rows(room(width)).rows.len();
    let input = typed.clamp(1, (height / 3).max(1));
    let foot = usize::from(height >= 2);
    let head = usize::from(height >= 4);
    let rule = usize::from(height >= 8);
    let ours = input.saturating_add(foot).saturating_add(head).saturating_add(rule);
    let rest = height.saturating_sub(ours);
    let needed = app.questions.first().map_or(0, |question| question_rows(app, question, width).len());
    let question = needed.min(rest);
    Parts { head, conversation: rest.saturating_sub(question), question, rule, input, foot }
}

fn room(width: usize) -> usize {
    width.saturating_sub(MARGIN).max(1)
}

fn bar(text: String) -> Row {
    Row { margin: "", text, look: Look::Bar }
}

fn head(app: &App) -> String {
    let link = match &app.link {
        Link::Up => "connected".to_owned(),
        Link::Down { why, then: Then::Asks } => format!("NOT CONNECTED: {why}; Enter tries again"),
        Link::Down { why, then: Then::Tries(0) } => why.clone(),
        Link::Down { why, then: Then::Tries(seconds) } => {
            format!("NOT CONNECTED, tried again in {seconds} s: {why}")
        }
    };
    let version =
        if app.facts.version.is_empty() { String::new() } else { format!(" {}", app.facts.version) };
    format!("{link} · gateway{version} · agent {} · {}", app.agent(), app.session)
}

fn foot(app: &App) -> String {
    let state = match app.own_runs() {
        _ if app.is_leaving => "Ctrl+C again leaves".to_owned(),
        _ if app.questions.first().is_some() => "a command waits for your yes".to_owned(),
        0 => "idle".to_owned(),
        1 => "running, Esc stops it".to_owned(),
        many => format!("running ({many}), Esc stops them"),
    };
    let mut parts = vec![state];
    if app.scrolled > 0 {
        parts.push(format!("scrolled up by {}", app.scrolled));
    }
    let facts = &app.facts;
    parts.push(if facts.model.is_empty() { "no model".to_owned() } else { facts.model.clone() });
    for (name, value) in [("think", &facts.thinking), ("verbose", &facts.verbose)] {
        if !value.is_empty() {
            parts.push(format!("{name} {value}"));
        }
    }
    if let Some((read, written)) = facts.last_run.filter(|_| app.usage != UsageShown::Off) {
        parts.push(format!("{read} in, {written} out"));
    }
    if app.usage == UsageShown::Full {
        parts.push(format!("{} in all", facts.total));
    }
    parts.push("/help".to_owned());
    parts.join(" · ")
}

/// The rows of the conversation that are seen, at the bottom of their part.
fn conversation(app: &App, width: usize, height: usize) -> Vec<Row> {
    let wanted = height.saturating_add(app.scrolled);
    let mut seen: Vec<Row> = Vec::new();
    for entry in app.conversation.entries().rev() {
        if seen.len() >= wanted {
            break;
        }
        seen.extend(entry_rows(app, entry, width).into_iter().rev());
    }
    let hidden = app.scrolled.min(seen.len().saturating_sub(height));
    let mut rows: Vec<Row> = seen.into_iter().skip(hidden).take(height).collect();
    let missing = height.saturating_sub(rows.len());
    rows.extend(
        std::iter::repeat_with(|| Row { margin: "", text: String::new(), look: Look::Ordinary })
            .take(missing),
    );
    rows.reverse();
    rows
}

fn entry_rows(app: &App, entry: &Entry, width: usize) -> Vec<Row> {
    match entry {
        Entry::Answer { text, .. } => block("", text, Look::Ordinary, width),
        Entry::Failure(text) => block("!", text, Look::Bad, width),
        Entry::Note(text) => block("·", text, Look::Aside, width),
        Entry::Said(said) => said_rows(said, width),
        Entry::Thought(text) if app.shows_thoughts => block("~", text, Look::Aside, width),
        Entry::Thought(_) => Vec::new(),
        Entry::Tool(tool) => tool_rows(tool, app.shows_tools, width),
    }
}

/// A text behind a margin that has a mark in its first row.
fn block(mark: &'static str, text: &str, look: Look, width: usize) -> Vec<Row> {
    let lines = wrap(text, room(width)).into_iter().enumerate();
    lines.map(|(place, text)| Row { margin: if place == 0 { mark } else { "" }, text, look }).collect()
}

fn said_rows(said: &Said, width: usize) -> Vec<Row> {
    let mut rows = vec![Row { margin: "", text: String::new(), look: Look::Ordinary }];
    rows.extend(block(">", &said.text, Look::Person, width));
    match &said.delivery {
        Delivery::Arrived => {}
        Delivery::Refused(why) => {
            rows.extend(block("!", &format!("not taken: {why}; Ctrl+R sends it again"), Look::Bad, width));
        }
        Delivery::Sent => rows.extend(block("·", "on its way", Look::Aside, width)),
        Delivery::Unknown => {
            rows.extend(block("!", "not acknowledged; Ctrl+R sends it again", Look::Bad, width));
        }
    }
    rows
}

fn tool_rows(tool: &Tool, shows_all: bool, width: usize) -> Vec<Row> {
    let state = match tool.state {
        ToolState::Done => "done",
        ToolState::Failed => "failed",
        ToolState::Running => "runs",
        ToolState::Unknown => "ended",
    };
    let call = format!("{} ({state}) {}", tool.name, tool.arguments);
    let look = if tool.state == ToolState::Failed { Look::Bad } else { Look::Tool };
    let result = tool.result.as_deref().unwrap_or_default();
    if shows_all {
        let mut rows = block("→", &call, look, width);
        rows.extend(block("←", result, Look::Aside, width).into_iter().take(RESULT_ROWS));
        return rows;
    }
    let mut rows = vec![Row { margin: "→", text: fit(&call, room(width)), look }];
    if let Some(line) = result.lines().find(|line| !line.trim().is_empty()) {
        rows.push(Row { margin: "←", text: fit(line, room(width)), look: Look::Aside });
    }
    rows
}

/// The command that is asked about. Where not all of it has room, the last row says so.
fn question(app: &App, width: usize, height: usize) -> Vec<Row> {
    let Some(question) = app.questions.first() else { return Vec::new() };
    let mut rows = question_rows(app, question, width);
    if rows.len() > height {
        rows.truncate(height.saturating_sub(1));
        let rest =
            "Ctrl+N denies it; the rest does not fit, so it is not allowed before the screen is larger";
        rows.extend((height > 0).then(|| Row {
            margin: "?",
            text: fit(rest, room(width)),
            look: Look::Question,
        }));
    }
    rows
}

fn question_rows(app: &App, question: &Question, width: usize) -> Vec<Row> {
    let behind = match app.questions.behind() {
        0 => String::new(),
        more => format!(" ({more} more wait)"),
    };
    let title = format!("a command waits for your yes{behind}");
    let mut rows = block("?", &title, Look::Question, width);
    for line in question.lines() {
        rows.extend(block("", line, Look::Question, width));
    }
    let keys =
        if app.questions.is_answered() { "answered" } else { "Ctrl+Y allows it once, Ctrl+N denies it" };
    rows.extend(block("?", keys, Look::Question, width));
    rows
}

fn list(picker: &Picker, height: usize) -> Vec<Row> {
    let mut rows = Vec::with_capacity(height);
    if height > 0 {
        rows.push(Row { margin: "?", text: picker.title(), look: Look::Person });
    }
    let room = height.saturating_sub(1);
    let above = picker.selected().saturating_add(1).saturating_sub(room);
    let shown = picker.rows().skip(above).take(room);
    rows.extend(shown.map(|(row, is_selected)| Row {
        margin: if is_selected { ">" } else { "" },
        text: row.label.clone(),
        look: if is_selected { Look::Chosen } else { Look::Ordinary },
    }));
    let missing = height.saturating_sub(rows.len());
    rows.extend(
        std::iter::repeat_with(|| Row { margin: "", text: String::new(), look: Look::Ordinary })
            .take(missing),
    );
    rows
}

/// What is typed, and where the cursor is in it.
fn input(app: &App, width: usize, height: usize) -> (Vec<Row>, (usize, usize)) {
    let typed = app.input.rows(room(width));
    let above = typed.row.saturating_add(1).saturating_sub(height);
    let shown = typed.rows.into_iter().enumerate().skip(above).take(height);
    let rows = shown.map(|(place, text)| {
        let margin = if place == 0 { ">" } else { "" };
        Row { margin, text, look: Look::Ordinary }
    });
    let column = MARGIN.saturating_add(typed.column);
    (rows.collect(), (column.min(width.saturating_sub(1)), typed.row.saturating_sub(above)))
}

fn put(buffer: &mut Buffer, area: Rect, y: u16, row: &Row, palette: Palette) {
    let style = palette.style(row.look);
    if matches!(row.look, Look::Bar | Look::Rule) {
        let text = fit(&row.text, usize::from(area.width));
        buffer.set_style(Rect { x: area.x, y, width: area.width, height: 1 }, style);
        buffer.set_stringn(area.x, y, text, usize::from(area.width), style);
        return;
    }
    buffer.set_stringn(area.x, y, row.margin, usize::from(area.width), style);
    let x = area.x.saturating_add(narrow(MARGIN));
    if x < area.right() {
        buffer.set_stringn(x, y, &row.text, usize::from(area.right().saturating_sub(x)), style);
    }
}

fn narrow(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
