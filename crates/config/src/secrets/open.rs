//! Opening the secrets of a config that was read: into memory, and nowhere else.

use secrecy::{ExposeSecret, SecretString};

use super::place::{Place, State, state_of, unseal, walk};
use super::program::{Answer, Programs};
use super::provider::Providers;
use super::reference::SecretRef;
use super::{Keeper, number};
use crate::path::{Path, Step};
use crate::redact::is_secret_path;
use crate::schema;
use crate::substitution::{Environment, escape, expand};
use crate::tree::{Kind, Node, Text};
use crate::variables::ENV;

/// What was found while opening.
#[derive(Default)]
pub(crate) struct Opened {
    /// Values that do not open.
    pub(crate) faults: Vec<Fault>,
    /// Plaintext in secret places: path and offset.
    pub(crate) plain: Vec<(String, usize)>,
    /// Settings whose value a program has that was not asked.
    pub(crate) withheld: Vec<String>,
}

/// A value that does not open.
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) message: String,
    pub(crate) fix: String,
}

/// Which part of a config is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// The variables that it sets, which the rest may refer to.
    Variables,
    /// All but those.
    Rest,
    /// All of it.
    Whole,
}

impl Part {
    /// Whether the member `key` of the whole belongs to it.
    pub(super) fn has(self, key: &str) -> bool {
        match self {
            Self::Variables => key == ENV,
            Self::Rest => key != ENV,
            Self::Whole => true,
        }
    }
}

impl Opened {
    /// Adds what was found in another part.
    pub(crate) fn add(&mut self, other: Self) {
        self.faults.extend(other.faults);
        self.plain.extend(other.plain);
        self.withheld.extend(other.withheld);
    }
}

/// Puts what is sealed or referred to in place of its form, as a secret. What begins after `length`, the end of the
/// config's own text, is included: nothing is sealed there, so that only references may stand for secrets.
pub(crate) fn open(
    root: &mut Node,
    part: Part,
    length: usize,
    keeper: &dyn Keeper,
    environment: &Environment<'_>,
) -> Opened {
    let providers = Providers::of(root, environment);
    let programs = Programs::ask(root, part, &providers, keeper);
    let mut opening = Opening { length, keeper, environment, providers, programs, opened: Opened::default() };
    let Kind::Object { members, .. } = &mut root.kind else {
        opening.look(root, &mut Path::default(), &Place::root());
        return opening.opened;
    };
    for member in members.iter_mut().filter(|member| part.has(&member.key)) {
        let mut path = Path(vec![Step::Key(member.key.clone())]);
        opening.look(&mut member.value, &mut path, &Place::root().member(&member.key));
    }
    opening.opened
}

/// Every secret of a tree that was opened, as it is used. What is empty, and what was not looked up, is none.
pub(crate) fn values(root: &Node, environment: &Environment<'_>) -> Vec<SecretString> {
    let mut values = Vec::new();
    walk(root, &mut |node, path, _| {
        if let Kind::Text(text) = &node.kind
            && (matches!(text, Text::Secret(_)) || is_secret_path(path))
            && let Ok(expanded) = expand(text, environment)
            && !expanded.expose().is_empty()
        {
            values.push(SecretString::from(expanded.expose()));
        }
        true
    });
    values
}

struct Opening<'a> {
    length: usize,
    keeper: &'a dyn Keeper,
    environment: &'a Environment<'a>,
    providers: Providers,
    programs: Programs,
    opened: Opened,
}

impl Opening<'_> {
    fn look(&mut self, node: &mut Node, path: &mut Path, place: &Place) {
        if let Some(reference) = SecretRef::at(node, path) {
            return self.refer(node, path, reference);
        }
        let is_plain = match state_of(node, path) {
            State::Open => return self.into(node, path, place),
            State::Empty | State::Reference(_) => return,
            State::Plain(_) | State::PlainNumber => true,
            State::Original(_) | State::OriginalObject | State::Sealed(_) => false,
        };
        if node.start > self.length {
            let message = "a secret stands in an included file, where nothing is sealed".to_owned();
            let fix = format!(
                "write a reference such as ${{NAME}} there, or take it out and run `moltbot secrets set {path}`"
            );
            return self.fault(node, path, message, fix);
        }
        if let Err(message) = place.require_unique() {
            return self.fault(node, path, message, "the id of one of the two is to change".into());
        }
        if is_plain {
            self.opened.plain.push((path.to_string(), node.start));
        }
        match unseal(node, path, place, self.keeper) {
            None => {}
            Some(Ok(plain)) => node.kind = kind_of(plain),
            Some(Err(message)) => {
                let fix = format!(
                    "`moltbot secrets set {path}` sets it again, or write a reference such as ${{NAME}}"
                );
                self.fault(node, path, message, fix);
            }
        }
    }

    fn into(&mut self, node: &mut Node, path: &mut Path, place: &Place) {
        match &mut node.kind {
            Kind::List { items, .. } => {
                let places = place.elements(items, path);
                for (index, (item, place)) in items.iter_mut().zip(places).enumerate() {
                    path.0.push(Step::Index(index));
                    self.look(item, path, &place);
                    path.0.pop();
                }
            }
            Kind::Object { members, .. } => {
                for member in members {
                    path.0.push(Step::Key(member.key.clone()));
                    self.look(&mut member.value, path, &place.member(&member.key));
                    path.0.pop();
                }
            }
            Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
        }
    }

    /// What a reference leads to. What no setting uses yet is not looked up: its form is enough.
    fn refer(&mut self, node: &mut Node, path: &Path, reference: Result<SecretRef, String>) {
        let value = reference.and_then(|reference| {
            if !schema::serves(path) {
                return Ok(SecretString::default());
            }
            let Self { providers, environment, keeper, programs, .. } = self;
            match providers.resolve(&reference, environment, *keeper, programs)? {
                Answer::Secret(secret) => Ok(secret),
                Answer::Withheld => {
                    self.opened.withheld.push(path.to_string());
                    stand_in(self.keeper)
                }
            }
        });
        let value = value.unwrap_or_else(|message| {
            self.fault(node, path, message, "correct the reference, or set the secret itself".into());
            SecretString::default()
        });
        // As it is: what is elsewhere is no text of a config, in which references are replaced.
        node.kind = Kind::Text(Text::Secret(escape(value.expose_secret()).into()));
    }

    fn fault(&mut self, node: &Node, path: &Path, message: String, fix: String) {
        let Node { start, end, .. } = *node;
        self.opened.faults.push(Fault { path: path.to_string(), start, end, message, fix });
    }
}

/// A value that nobody knows, for a setting whose secret was not asked for: it has the strength of one and is none.
fn stand_in(keeper: &dyn Keeper) -> Result<SecretString, String> {
    let parts = (0..4).map(|_| keeper.draw_id()).collect::<Result<Vec<String>, String>>()?;
    Ok(parts.concat().into())
}

/// A secret as the value that it was.
fn kind_of(plain: SecretString) -> Kind {
    match number::of(&plain) {
        Some((_, number)) => Kind::Number(number),
        None => Kind::Text(Text::Secret(plain)),
    }
}
