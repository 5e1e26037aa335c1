//! Patches as models write them: files that are added, removed, and changed by the lines around a change. Pure: read from
//! a text, applied to texts.
//!
//! The form is the one that OpenAI's models are trained on (`*** Begin Patch` … `*** End Patch`). Lines are found by what
//! stands around them, not by numbers; where that fits several places of a file, none is taken.

mod hunk;

use std::collections::BTreeMap;

use hunk::Hunk;

/// What a patch does, in its order.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Patch(Vec<Change>);

#[derive(Debug, Eq, PartialEq)]
enum Change {
    Add { path: String, text: String },
    Delete { path: String },
    Update { path: String, to: Option<String>, hunks: Vec<Hunk> },
}

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File: ";
const DELETE: &str = "*** Delete File: ";
const UPDATE: &str = "*** Update File: ";
const MOVE: &str = "*** Move to: ";

impl Patch {
    /// Reads a patch. Paths are as they are written.
    ///
    /// # Errors
    /// What is wrong, with the number of its line.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut lines = Lines::of(text);
        if lines.next() != Some(BEGIN) {
            return Err(format!("a patch begins with a line `{BEGIN}`"));
        }
        let mut changes = Vec::new();
        loop {
            let Some(line) = lines.next() else { return Err(format!("the patch has no line `{END}`")) };
            if line == END {
                break;
            } else if let Some(path) = line.strip_prefix(ADD) {
                changes.push(Change::Add { path: path.trim().to_owned(), text: lines.added()? });
            } else if let Some(path) = line.strip_prefix(DELETE) {
                changes.push(Change::Delete { path: path.trim().to_owned() });
            } else if let Some(path) = line.strip_prefix(UPDATE) {
                changes.push(lines.update(path.trim().to_owned())?);
            } else {
                return Err(lines.wrong(&format!("is none of `{ADD}`, `{DELETE}`, `{UPDATE}` and `{END}`")));
            }
        }
        if let Some(line) = lines.next() {
            return Err(format!("there is something behind `{END}`: {line:?}"));
        }
        if changes.is_empty() {
            return Err("the patch changes no file".into());
        }
        Ok(Self(changes))
    }

    /// The same with every path named as `name` has it.
    ///
    /// # Errors
    /// The first that `name` gives.
    pub(crate) fn with_paths<E>(
        mut self,
        mut name: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Self, E> {
        for path in self.0.iter_mut().flat_map(Change::paths) {
            *path = name(path)?;
        }
        Ok(self)
    }

    /// Every path that is named, once each, and whether the text of its file is changed.
    pub(crate) fn paths(&self) -> BTreeMap<&str, bool> {
        let mut paths = BTreeMap::new();
        for change in &self.0 {
            match change {
                Change::Add { path, .. } | Change::Delete { path } => {
                    *paths.entry(path.as_str()).or_default() |= false
                }
                Change::Update { path, to, .. } => {
                    paths.insert(path, true);
                    to.iter().for_each(|to| *paths.entry(to.as_str()).or_default() |= false);
                }
            }
        }
        paths
    }

    /// Does it to the files, each of which is there with its text or is absent.
    ///
    /// # Errors
    /// Which file, and why. What was done to `files` before is then nothing that may be written.
    pub(crate) fn apply(&self, files: &mut BTreeMap<String, Option<String>>) -> Result<(), String> {
        self.0.iter().try_for_each(|change| match change {
            Change::Add { path, text } => put(files, path, text.clone()),
            Change::Delete { path } => take(files, path).map(drop),
            Change::Update { path, to, hunks } => {
                let text = hunk::apply(&take(files, path)?, hunks).map_err(|why| format!("{path}: {why}"))?;
                put(files, to.as_ref().unwrap_or(path), text)
            }
        })
    }
}

impl Change {
    fn paths(&mut self) -> impl Iterator<Item = &mut String> {
        let (path, to) = match self {
            Self::Add { path, .. } | Self::Delete { path } => (path, None),
            Self::Update { path, to, .. } => (path, to.as_mut()),
        };
        std::iter::once(path).chain(to)
    }
}

fn put(files: &mut BTreeMap<String, Option<String>>, path: &str, text: String) -> Result<(), String> {
    match files.insert(path.to_owned(), Some(text)).flatten() {
        None => Ok(()),
        Some(_) => {
            Err(format!("{path} is there already; change it with `{UPDATE}{path}`, or choose another name"))
        }
    }
}

fn take(files: &mut BTreeMap<String, Option<String>>, path: &str) -> Result<String, String> {
    let text = files.insert(path.to_owned(), None).flatten();
    text.ok_or_else(|| format!("there is no {path}; check the name"))
}

/// The lines of a patch, with the number of the last one that was read.
struct Lines<'a> {
    left: std::iter::Peekable<std::str::Lines<'a>>,
    number: usize,
    last: &'a str,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self { left: text.trim().lines().peekable(), number: 0, last: "" }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.last = self.left.next()?;
        self.number += 1;
        Some(self.last)
    }

    /// The next line, unless it begins another part.
    fn within(&mut self) -> Option<&'a str> {
        self.left.next_if(|line| !line.starts_with("*** ") || *line == hunk::END_OF_FILE).inspect(|line| {
            self.last = line;
            self.number += 1;
        })
    }

    fn wrong(&self, what: &str) -> String {
        let shown: String = self.last.chars().take(80).collect();
        format!("line {} of the patch {what}: {shown:?}", self.number)
    }

    /// The text of a file that is added.
    fn added(&mut self) -> Result<String, String> {
        let mut text = String::new();
        while let Some(line) = self.within() {
            let Some(line) = line.strip_prefix('+') else {
                return Err(self.wrong("does not begin with `+`, as every line of a new file does"));
            };
            text.push_str(line);
            text.push('\n');
        }
        Ok(text)
    }

    fn update(&mut self, path: String) -> Result<Change, String> {
        let moved = self.left.next_if(|line| line.starts_with(MOVE));
        self.number += usize::from(moved.is_some());
        let to = moved.and_then(|line| line.strip_prefix(MOVE)).map(|to| to.trim().to_owned());
        let mut hunks: Vec<Hunk> = Vec::new();
        while let Some(line) = self.within() {
            hunk::read(&mut hunks, line).map_err(|what| self.wrong(what))?;
        }
        hunk::end(&mut hunks);
        if let Some(number) = hunks.iter().position(Hunk::changes_nothing) {
            return Err(format!("change {} of {path} neither adds nor takes a line", number + 1));
        }
        if hunks.is_empty() && to.is_none() {
            return Err(format!("the patch says nothing that changes in {path}"));
        }
        Ok(Change::Update { path, to, hunks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files after a patch; they are those named, each with its text.
    fn after(patch: &str, files: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let text = format!("{BEGIN}\n{patch}\n{END}\n");
        let patch = Patch::read(&text)?;
        let there = files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned())));
        let mut files: BTreeMap<_, _> =
            patch.paths().into_keys().map(|path| (path.to_owned(), None)).chain(there).collect();
        patch.apply(&mut files)?;
        Ok(files.into_iter().filter_map(|(path, text)| Some((path, text?))).collect())
    }

    fn one(patch: &str, text: &str) -> Result<String, String> {
        let mut files = after(&format!("{UPDATE}a\n{patch}"), &[("a", text)])?;
        Ok(files.remove(0).1)
    }

    #[test]
    fn files_are_added_removed_changed_and_moved_in_order() {
        let patch = "*** Add File: new/n\n+one\n+\n+two\n*** Delete File: gone\n*** Update File: old\n*** Move to: moved\n@@\n a\n-b\n+B\n\
             *** Update File: moved\n@@\n-a\n+A";
        let files = after(patch, &[("gone", "x\n"), ("old", "a\nb\n"), ("other", "o")]).unwrap();
        let expected = [("moved", "A\nB\n"), ("new/n", "one\n\ntwo\n"), ("other", "o")];
        assert_eq!(files, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
        let moved = after("*** Update File: a\n*** Move to: b", &[("a", "x")]).unwrap();
        assert_eq!(moved, [("b".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn a_change_is_found_by_its_surroundings() {
        for (patch, text, expected) in [
            ("@@\n one\n-two\n+2\n three", "one\ntwo\nthree\n", "one\n2\nthree\n"),
            // The first `@@` may be missing, and a line without anything is an empty one.
            (" one\n\n-two", "one\n\ntwo\n", "one\n\n"),
            // Blank lines behind the last one are none of it.
            ("@@\n one\n-two\n\n", "one\ntwo\nthree\n", "one\nthree\n"),
            // Below a line that is named, the first place counts.
            ("@@ fn b\n-x\n+y", "fn a\nx\nfn b\nx\nx\n", "fn a\nx\nfn b\ny\nx\n"),
            ("@@ mod m\n@@ fn b\n-x\n+y", "fn b\nx\nmod m\nfn b\nx\n", "fn b\nx\nmod m\nfn b\ny\n"),
            ("@@ fn b\n+new", "fn a\nfn b\nx\n", "fn a\nfn b\nnew\nx\n"),
            // Without surroundings lines are added at the end.
            ("@@\n+end", "a\n", "a\nend\n"),
            ("@@\n+first", "", "first\n"),
            ("@@\n x\n+y\n*** End of File", "x\nx\n", "x\nx\ny\n"),
            // Two in order.
            ("@@\n-a\n+A\n@@\n-c\n+C", "a\nb\nc\n", "A\nb\nC\n"),
            // Blanks at the end of a line do not matter, and stay where the line does.
            ("@@\n a\n-b\n+B", "a  \nb\t\n", "a  \nB\n"),
            // Lines end as they did.
            ("@@\n a\n-b\n+B", "a\r\nb\r\n", "a\r\nB\r\n"),
            ("@@\n-b\n+B", "a\nb", "a\nB"),
        ] {
            assert_eq!(one(patch, text).as_deref(), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn what_fits_nowhere_or_twice_is_refused() {
        for (patch, text, expected) in [
            ("@@\n-x\n+y", "a\n", "change 1 fits no place"),
            ("@@\n-x\n+y", "x\nx\n", "change 1 fits 2 places"),
            ("@@ fn c\n-x\n+y", "x\n", "no line `fn c`"),
            ("@@\n-b\n+B\n@@\n-a\n+A", "a\nb\n", "change 2 fits no place"),
            ("@@\n x", "x\n", "neither adds nor takes"),
            ("@@\n-x\n?y", "x\n", "line 5 of the patch"),
            ("@@\n x\n+y\n*** End of File\n z", "x\nz\n", "line 7 of the patch"),
        ] {
            let error = one(patch, text).unwrap_err();
            assert!(error.contains(expected), "{patch}: {error}");
        }
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        for (text, expected) in [
            ("", "begins with"),
            ("*** Begin Patch\n*** Delete File: a", "no line `*** End Patch`"),
            ("*** Begin Patch\n*** End Patch", "changes no file"),
            ("*** Begin Patch\n*** Delete File: a\n*** End Patch\nmore", "something behind"),
            ("*** Begin Patch\n--- a/x\n*** End Patch", "line 2 of the patch is none of"),
            (
                "*** Begin Patch\n*** Add File: a\nx\n*** End Patch",
                "line 3 of the patch does not begin with `+`",
            ),
        ] {
            let error = Patch::read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let text = "*** Begin Patch\n*** Update File: a\n*** Move to: ../b\n*** End Patch";
        let name =
            |path: &str| if path.starts_with("..") { Err(path.to_owned()) } else { Ok(format!("in/{path}")) };
        assert_eq!(
            Patch::read(text).unwrap().with_paths(name),
            Err("../b".to_owned()),
            "where it is moved to counts, too"
        );
        let named = Patch::read(&text.replace("../", "")).unwrap().with_paths(name).unwrap();
        assert_eq!(named.paths(), BTreeMap::from([("in/a", true), ("in/b", false)]));
        for (patch, files, expected) in [
            ("*** Add File: a\n+x", vec![("a", "there")], "a is there already"),
            ("*** Delete File: a", vec![], "there is no a"),
            ("*** Update File: a", vec![("a", "x\n")], "says nothing"),
            ("*** Update File: a\n", vec![("a", "x\n")], "says nothing"),
            (
                "*** Update File: a\n*** Move to: b\n-x\n+y",
                vec![("a", "x\n"), ("b", "there")],
                "b is there already",
            ),
            ("*** Delete File: a\n*** Update File: a\n-x\n+y", vec![("a", "x\n")], "there is no a"),
        ] {
            let error = after(patch, &files).unwrap_err();
            assert!(error.contains(expected), "{patch}: {error}");
        }
    }
}
