//! What a yes is bound to: everything that decides what a command does, as one digest.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::cause::Cause;
use crate::profile::Profile;

/// The version of the encoding. Another encoding has another one, so that no two can mean the same bytes.
const VERSION: &[u8] = b"moltbot-approval-1";

/// Where a command runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// On the gateway's own machine, outside the walls.
    Host,
    /// Within the walls.
    Sandbox,
}

impl Place {
    /// The name, for the book and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Sandbox => "sandbox",
        }
    }
}

/// A file, told by what cannot be changed in it without being noticed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileFact {
    /// Where it is, without links. Within the sandbox as the command sees it.
    pub path: String,
    /// The number of its device.
    pub device: u64,
    /// Its number on the device.
    pub inode: u64,
    /// SHA-256 of what it holds.
    pub digest: [u8; 32],
}

/// A word of a command, and the file that it leads to; nothing for what the shell does itself, or what is not there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// As the command has it.
    pub name: String,
    /// What it leads to.
    pub file: Option<FileFact>,
}

/// What a command finds around it, looked at by the door that will run it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Device and number of the folder that it starts in.
    pub directory: (u64, u64),
    /// The environment that it is given, in order.
    pub environment: Vec<(String, String)>,
    /// Script files that its programs are given.
    pub operands: Vec<Named>,
    /// Its programs.
    pub programs: Vec<Named>,
}

/// The digest of everything that a yes is bound to.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Binding([u8; 32]);

impl Binding {
    /// Binds what is run (`words` of a simple command that runs without a shell, or the script), where, with what around
    /// it, behind which walls, for which conversation and whom.
    pub(super) fn of(act: &Act<'_>, facts: &Facts, profile: &Profile, cause: &Cause) -> Self {
        let mut text = Encoding::begin();
        text.part(act.place.name().as_bytes());
        match act.words {
            None => text.part(b"script"),
            Some(words) => text.list(words.iter().map(|word| word.as_bytes())),
        }
        text.part(act.script.as_bytes());
        text.part(act.directory.as_bytes());
        text.numbers([facts.directory.0, facts.directory.1]);
        text.list(facts.environment.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
        text.files(&facts.programs);
        text.files(&facts.operands);
        text.part(posture(profile).as_bytes());
        text.part(cause.session().as_str().as_bytes());
        text.part(cause.principal().to_string().as_bytes());
        Self(text.digest())
    }

    /// Binds a text of a client, which runs elsewhere.
    pub(super) fn of_text(script: &str, directory: &str, connection: &str) -> Self {
        let mut text = Encoding::begin();
        text.part(b"client");
        text.list([script, directory, connection].into_iter().map(str::as_bytes));
        Self(text.digest())
    }

    /// In hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({})", self.to_hex())
    }
}

/// What is done.
pub(super) struct Act<'a> {
    pub(super) place: Place,
    pub(super) script: &'a str,
    pub(super) words: Option<&'a [String]>,
    pub(super) directory: &'a str,
}

/// The walls in words: any other height of one is another text.
fn posture(profile: &Profile) -> String {
    format!("{profile:?}")
}

/// Parts with their lengths in front: no two lists of parts give the same bytes.
struct Encoding(Sha256);

impl Encoding {
    fn begin() -> Self {
        let mut encoding = Self(Sha256::new());
        encoding.part(VERSION);
        encoding
    }

    fn part(&mut self, part: &[u8]) {
        self.numbers([u64::try_from(part.len()).unwrap_or(u64::MAX)]);
        self.0.update(part);
    }

    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        for number in numbers {
            self.0.update(number.to_be_bytes());
        }
    }

    fn list<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) {
        let parts: Vec<&[u8]> = parts.collect();
        self.numbers([u64::try_from(parts.len()).unwrap_or(u64::MAX)]);
        parts.into_iter().for_each(|part| self.part(part));
    }

    fn files(&mut self, files: &[Named]) {
        self.numbers([u64::try_from(files.len()).unwrap_or(u64::MAX)]);
        for Named { name, file } in files {
            self.part(name.as_bytes());
            match file {
                None => self.part(b"none"),
                Some(FileFact { path, device, inode, digest }) => {
                    self.part(b"file");
                    self.part(path.as_bytes());
                    self.numbers([*device, *inode]);
                    self.part(digest);
                }
            }
        }
    }

    fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
