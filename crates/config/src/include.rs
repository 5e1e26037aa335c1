//! `$include`: settings taken from other files of the config's folder.
//!
//! Pure: the caller reads the files, by names that lead nowhere else. What is read is put in place of the object that
//! asked for it before anything is judged, so that a setting is the same wherever it stands. Objects are merged member by
//! member and lists joined; what is named later wins, and what stands beside `$include` wins over all of it.

mod merge;

use std::ops::Range;

use zeroize::Zeroizing;

use crate::limits;
use crate::path::{Path, Step, quote};
use crate::reader::{self, SyntaxError};
use crate::report::{ConfigErrorKind, Finding, Findings, Source};
use crate::tree::{Kind, Member, Node, Text};

use merge::{depth, merge, shift};

/// The key that takes settings from other files.
pub(crate) const INCLUDE: &str = "$include";

/// Reads what a config includes. Implemented by the program, over its door to the disk.
pub trait IncludedFiles {
    /// The bytes of the file `name`, which is relative to the config's folder and has no `..` in it; at most `max`.
    ///
    /// # Errors
    /// Why it cannot be read, and what to do.
    fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, String>;
}

/// No files: for those who only look at one text.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl IncludedFiles for NoFiles {
    fn read(&self, _name: &str, _max: u64) -> Result<Vec<u8>, String> {
        Err("no other file is read here; write its settings into this one".into())
    }
}

/// A file that was included.
pub(crate) struct IncludedFile {
    /// Its name, relative to the config's folder.
    pub(crate) name: String,
    /// What is added to the offsets of its values, so that they are different from those of every other file.
    base: usize,
    text: Zeroizing<String>,
    hidden: Vec<Range<usize>>,
    /// Where the part of it ends that was understood.
    known: usize,
}

impl IncludedFile {
    /// Beyond its last place.
    pub(crate) fn end(&self) -> usize {
        self.base.saturating_add(self.text.len())
    }

    /// Where its values begin, and the text for errors.
    pub(crate) fn source(&self) -> (usize, &str, Source<'_>) {
        (self.base, &self.name, Source::new(&self.text, self.hidden.clone(), self.known))
    }
}

/// What became of a config's includes.
pub(crate) struct Expanded {
    pub(crate) root: Node,
    /// In the order in which they were read; one that is included twice is there twice.
    pub(crate) files: Vec<IncludedFile>,
    /// What could not be included: nothing else can be said of such a config.
    pub(crate) findings: Findings,
}

/// Puts what is included in its place. `length` is that of the config's own text.
pub(crate) fn expand(root: Node, length: usize, reader: &dyn IncludedFiles) -> Expanded {
    let mut expansion = Expansion {
        reader,
        files: Vec::new(),
        next: length.saturating_add(1),
        bytes: 0,
        chain: Vec::new(),
        path: Path::default(),
        findings: Findings::default(),
    };
    let root = expansion.node(root);
    if depth(&root) > limits::CONFIG_DEPTH {
        let message = format!("with what it includes it is nested more than {} deep", limits::CONFIG_DEPTH);
        expansion.find(message, "include what is so deep further up", 0..0);
    }
    let Expansion { files, findings, .. } = expansion;
    Expanded { root, files, findings }
}

struct Expansion<'a> {
    reader: &'a dyn IncludedFiles,
    files: Vec<IncludedFile>,
    /// Where the values of the next file begin.
    next: usize,
    /// What was read so far.
    bytes: u64,
    /// The files on the way to the one that is being read.
    chain: Vec<String>,
    path: Path,
    findings: Findings,
}

impl Expansion<'_> {
    fn node(&mut self, node: Node) -> Node {
        let Node { start, end, kind } = node;
        let kind = match kind {
            Kind::List { items, trailing_comma } => {
                let items = items.into_iter().enumerate();
                let items = items.map(|(index, item)| self.within(Step::Index(index), item)).collect();
                Kind::List { items, trailing_comma }
            }
            Kind::Object { members, .. } => return self.object(start, end, members),
            other => other,
        };
        Node { start, end, kind }
    }

    fn within(&mut self, step: Step, node: Node) -> Node {
        self.path.0.push(step);
        let node = self.node(node);
        self.path.0.pop();
        node
    }

    fn object(&mut self, start: usize, end: usize, members: Vec<Member>) -> Node {
        let (includes, members): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| member.key == INCLUDE);
        let own: Vec<Member> = members
            .into_iter()
            .map(|member| {
                let value = self.within(Step::Key(member.key.clone()), member.value);
                Member { value, ..member }
            })
            .collect();
        let is_alone = own.is_empty();
        let own = Node { start, end, kind: Kind::Object { members: own, trailing_comma: false } };
        let Some((include, others)) = includes.split_first() else { return own };
        self.path.0.push(Step::Key(INCLUDE.into()));
        if let Some(second) = others.first() {
            self.find(format!("{INCLUDE} is set twice"), "write one list", second.start..second.end);
        }
        let included = self.included(include);
        self.path.0.pop();
        match included {
            None => own,
            Some(included) if is_alone => included,
            Some(included @ Node { kind: Kind::Object { .. }, .. }) => merge(included, own),
            Some(included) => {
                let message = format!(
                    "what is included here is {}, and other settings stand beside it",
                    included.describe()
                );
                self.find(
                    message,
                    "include an object, or remove the other settings",
                    include.start..include.end,
                );
                own
            }
        }
    }

    /// What one `$include` names, merged.
    fn included(&mut self, include: &Member) -> Option<Node> {
        let at = include.value.start..include.value.end;
        let named: Vec<(&Text, Range<usize>)> = match &include.value.kind {
            Kind::Text(name) => vec![(name, at.clone())],
            Kind::List { items, .. } => items
                .iter()
                .filter_map(|item| match &item.kind {
                    Kind::Text(name) => Some((name, item.start..item.end)),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        let items = if let Kind::List { items, .. } = &include.value.kind { items.len() } else { 1 };
        if named.is_empty() || named.len() != items {
            let message = format!("{INCLUDE} is {}", include.value.describe());
            self.find(message, "write the name of a file in quotes, or a list of names", at);
            return None;
        }
        let mut whole = None;
        for (name, at) in named {
            let Some(next) = self.file(name, &at) else { continue };
            whole = Some(match whole {
                None => next,
                Some(before) => merge(before, next),
            });
        }
        whole
    }

    fn file(&mut self, written: &str, at: &Range<usize>) -> Option<Node> {
        let name = match resolve(self.chain.last().map(String::as_str), written) {
            Ok(name) => name,
            Err(why) => {
                return self.refuse(
                    format!("{} {why}", quote(written)),
                    "name a file in the config's folder, relative to the file that includes it",
                    at,
                );
            }
        };
        if self.chain.contains(&name) {
            let way: Vec<&str> = self.chain.iter().map(String::as_str).chain([name.as_str()]).collect();
            return self.refuse(
                format!("files include each other: {}", way.join(" -> ")),
                "remove one of these",
                at,
            );
        }
        if self.chain.len() >= limits::INCLUDE_DEPTH {
            let message =
                format!("{} would be included at more than {} levels", quote(&name), limits::INCLUDE_DEPTH);
            return self.refuse(message, "include it further up", at);
        }
        if self.files.len() >= limits::INCLUDED_FILES {
            let message = format!("a config includes at most {} files", limits::INCLUDED_FILES);
            return self.refuse(message, "put some of them together", at);
        }
        let left = limits::CONFIG_BYTES.saturating_sub(self.bytes);
        let bytes = match self.reader.read(&name, left) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(why) => {
                return self.refuse(
                    format!("{} is not included: {why}", quote(&name)),
                    "correct it, or include another file",
                    at,
                );
            }
        };
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return self.refuse(format!("{} is not UTF-8", quote(&name)), "save the file as UTF-8", at);
        };
        let mut node = self.parse(name.clone(), text)?;
        shift(&mut node, self.files.last().map_or(0, |file| file.base));
        self.chain.push(name);
        // It stands where the object stood that asked for it.
        let include = self.path.0.pop();
        let node = self.node(node);
        self.path.0.extend(include);
        self.chain.pop();
        Some(node)
    }

    /// Reads the text of a file, and keeps it for errors.
    fn parse(&mut self, name: String, text: &str) -> Option<Node> {
        let base = self.next;
        self.next = base.saturating_add(text.len()).saturating_add(1);
        let (node, outline, known) = match reader::read(text) {
            Ok((node, outline)) => (Some(node), outline, text.len()),
            Err(fault) => {
                let end = fault.end(text);
                let SyntaxError { at, message, fix, outline, path } = *fault;
                let path = Path(self.place().iter().chain(&path.0).cloned().collect());
                let at = base.saturating_add(at)..base.saturating_add(end);
                let (fix, expected, shown) = (Some(fix.to_owned()), None, false);
                let path = path.to_string();
                self.findings.add(Finding {
                    kind: ConfigErrorKind::Syntax,
                    path,
                    message,
                    expected,
                    fix,
                    at,
                    shown,
                });
                (None, outline, end)
            }
        };
        let text = Zeroizing::new(text.to_owned());
        self.files.push(IncludedFile { name, base, text, hidden: outline.hidden, known });
        node
    }

    /// The object that asked for what is being included.
    fn place(&self) -> &[Step] {
        self.path.0.split_last().map_or(&[], |(_, above)| above)
    }

    fn refuse(&mut self, message: String, fix: &str, at: &Range<usize>) -> Option<Node> {
        self.find(message, fix, at.clone());
        None
    }

    fn find(&mut self, message: String, fix: &str, at: Range<usize>) {
        let (kind, path, fix) = (ConfigErrorKind::Include, self.path.to_string(), Some(fix.to_owned()));
        self.findings.add(Finding { kind, path, message, expected: None, fix, at, shown: true });
    }
}

/// The name of a file, relative to the config's folder, for what a file in it calls `written`.
fn resolve(from: Option<&str>, written: &str) -> Result<String, &'static str> {
    if written.is_empty() || written.contains(['\0', '\\']) || written.chars().any(char::is_control) {
        return Err("is no name of a file");
    }
    if written.starts_with(['/', '~']) {
        return Err("is not relative");
    }
    let above = from.and_then(|from| from.rsplit_once('/')).map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = above.split('/').filter(|part| !part.is_empty()).collect();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or("leads out of the config's folder")?;
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() || written.ends_with('/') {
        return Err("is a folder");
    }
    // So that no file of another kind is ever told of in an error.
    let is_config = parts.last().is_some_and(
        |leaf| matches!(leaf.rsplit_once('.'), Some((stem, "json" | "json5")) if !stem.is_empty()),
    );
    if is_config { Ok(parts.join("/")) } else { Err("is not named *.json or *.json5") }
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        for (from, written, expected) in [
            (None, "a.json5", Ok("a.json5")),
            (None, "./sub/../a.json5", Ok("a.json5")),
            (Some("sub/b.json5"), "a.json5", Ok("sub/a.json5")),
            (Some("sub/b.json5"), "../a.json5", Ok("a.json5")),
            (Some("sub/b.json5"), "../../a.json5", Err("leads out of the config's folder")),
            (None, "../a.json5", Err("leads out of the config's folder")),
            (None, "sub/../../a.json5", Err("leads out of the config's folder")),
            (None, "/etc/passwd", Err("is not relative")),
            (None, "~/a.json5", Err("is not relative")),
            (None, "", Err("is no name of a file")),
            (None, "a\0b", Err("is no name of a file")),
            (None, "..\\a", Err("is no name of a file")),
            (None, "key", Err("is not named *.json or *.json5")),
            (None, ".json", Err("is not named *.json or *.json5")),
            (None, "sub/", Err("is a folder")),
            (None, ".", Err("is a folder")),
        ] {
            assert_eq!(resolve(from, written), expected.map(str::to_owned), "{from:?} {written:?}");
        }
    }
}
