//! One change within a file: where it is, by the lines around it, and what is there instead.

/// One change.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Hunk {
    /// Lines that stand somewhere before it, in this order.
    below: Vec<String>,
    lines: Vec<Line>,
    at_end: bool,
}

#[derive(Debug, Eq, PartialEq)]
enum Line {
    Add(String),
    Keep(String),
    Take(String),
}

/// Says that a change is at the end of its file.
pub(super) const END_OF_FILE: &str = "*** End of File";

impl Hunk {
    pub(super) fn changes_nothing(&self) -> bool {
        self.lines.iter().all(|line| matches!(line, Line::Keep(_)))
    }

    /// The lines that are there before it, and must be.
    fn before(&self) -> Vec<&str> {
        let before = |line| match line {
            &Line::Add(_) => None,
            Line::Keep(text) | Line::Take(text) => Some(text.as_str()),
        };
        self.lines.iter().filter_map(before).collect()
    }
}

/// Reads one more line of the changes of a file.
pub(super) fn read(hunks: &mut Vec<Hunk>, line: &str) -> Result<(), &'static str> {
    if let Some(below) = line.strip_prefix("@@") {
        let below = (!below.trim().is_empty()).then(|| below.trim().to_owned());
        match hunks.last_mut().filter(|last| last.lines.is_empty()) {
            Some(last) => last.below.extend(below),
            None => hunks.push(Hunk { below: below.into_iter().collect(), ..Hunk::default() }),
        }
        return Ok(());
    }
    if hunks.is_empty() {
        hunks.push(Hunk::default());
    }
    let Some(hunk) = hunks.last_mut() else { return Ok(()) };
    if hunk.at_end {
        return Err("is behind the end of the file; another change begins with `@@`");
    }
    let mut characters = line.chars();
    let line = match characters.next() {
        None => Line::Keep(String::new()),
        Some(' ') => Line::Keep(characters.as_str().to_owned()),
        Some('+') => Line::Add(characters.as_str().to_owned()),
        Some('-') => Line::Take(characters.as_str().to_owned()),
        Some(_) if line == END_OF_FILE => {
            hunk.at_end = true;
            return Ok(());
        }
        Some(_) => return Err("begins with none of a blank, `+`, `-` and `@@`"),
    };
    hunk.lines.push(line);
    Ok(())
}

/// Takes note that no line follows. Blank lines between one file and the next are nothing that must be there.
pub(super) fn end(hunks: &mut Vec<Hunk>) {
    let is_blank = |line: &mut Line| matches!(line, Line::Keep(text) if text.is_empty());
    while let Some(last) = hunks.last_mut() {
        while last.lines.pop_if(is_blank).is_some() {}
        if !last.lines.is_empty() || !last.below.is_empty() {
            return;
        }
        hunks.pop();
    }
}

/// The text of a file with all of them done, from its beginning to its end. Lines end as they did.
pub(super) fn apply(text: &str, hunks: &[Hunk]) -> Result<String, String> {
    let is_windows = text.contains("\r\n") && text.matches('\n').count() == text.matches("\r\n").count();
    let ending = if is_windows { "\r\n" } else { "\n" };
    let mut lines: Vec<&str> = text.split(ending).collect();
    // What is behind the last ending is a line of its own only when there is something.
    let is_ended = lines.pop_if(|last| last.is_empty()).is_some();
    let mut changed: Vec<&str> = Vec::new();
    let mut place = 0;
    for (number, hunk) in hunks.iter().enumerate() {
        let found = find(&lines, place, hunk).map_err(|why| format!("change {} {why}", number + 1))?;
        changed.extend(lines.get(place..found).unwrap_or_default());
        place = found;
        for line in &hunk.lines {
            let there = lines.get(place).copied().unwrap_or_default();
            match line {
                Line::Add(text) => {
                    changed.push(text);
                    continue;
                }
                Line::Keep(_) => changed.push(there),
                Line::Take(_) => {}
            }
            place += 1;
        }
    }
    changed.extend(lines.get(place..).unwrap_or_default());
    let mut text = changed.join(ending);
    if is_ended && !changed.is_empty() {
        text.push_str(ending);
    }
    Ok(text)
}

/// Where a change begins, at `from` or behind it.
fn find(lines: &[&str], from: usize, hunk: &Hunk) -> Result<usize, String> {
    let mut start = from;
    for below in &hunk.below {
        let is_it = |line: &&str| line.trim() == below;
        let ahead = lines.get(start..).unwrap_or_default().iter().position(is_it);
        let Some(ahead) = ahead else {
            return Err(format!("is below a line that is not there: there is no line `{below}`"));
        };
        start += ahead + 1;
    }
    let before = hunk.before();
    if before.is_empty() {
        return Ok(if hunk.below.is_empty() || hunk.at_end { lines.len() } else { start });
    }
    let last = lines.len().checked_sub(before.len()).filter(|last| *last >= start);
    let Some(last) = last else { return Err(nowhere()) };
    if hunk.at_end {
        start = last;
    }
    let before = &before;
    let fits = |same: fn(&str, &str) -> bool| {
        let at =
            move |place: &usize| lines.iter().skip(*place).zip(before).all(|(there, said)| same(there, said));
        (start..=last).filter(at).collect::<Vec<usize>>()
    };
    // As it is first, then but for blanks at the ends of lines, which models tend to leave out.
    let mut places = fits(|there, said| there == said);
    if places.is_empty() {
        places = fits(|there, said| there.trim_end() == said.trim_end());
    }
    match places.as_slice() {
        [] => Err(nowhere()),
        [place] => Ok(*place),
        [place, ..] if !hunk.below.is_empty() => Ok(*place),
        several => Err(format!(
            "fits {} places; give more of the lines around it, or `@@` with a line above it",
            several.len()
        )),
    }
}

fn nowhere() -> String {
    "fits no place behind those before it; read the file again and copy its lines exactly".into()
}
