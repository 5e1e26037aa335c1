//! What is known of a setting that does not work yet: enough to refuse what can be nothing.

/// The form of a value. Loose where the original's documentation is.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Anything.
    Any,
    /// A text that is not accepted any more, and why. Others are those that work.
    Barred(&'static str, &'static str),
    /// True or false.
    Flag,
    /// A list.
    List(&'static Shape),
    /// An object whose keys are names of the owner's choice.
    Map(&'static Shape),
    /// A flag that must not be true, and why.
    Never(&'static str),
    /// A setting whose absence here its owner should hear about: what holds instead.
    Noted(&'static str, &'static Shape),
    /// A number of any kind.
    Number,
    /// An object with these members and no others. A name may end in `*`.
    Object(&'static [(&'static str, Shape)]),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An object of which only these members are known.
    Open(&'static [(&'static str, Shape)]),
    /// A setting that must not be there, and why.
    Refused(&'static str),
    /// A text.
    Text,
    /// A text, or this.
    TextOr(&'static Shape),
    /// A whole number in this range.
    Whole(i64, i64),
}

/// Members of an object.
pub(crate) type Members = &'static [(&'static str, Shape)];

/// A list of texts.
pub(crate) const TEXTS: Shape = Shape::List(&Shape::Text);
/// An object of which nothing is known.
pub(crate) const OBJECT: Shape = Shape::Open(&[]);
/// A count, or a duration in a unit of its own.
pub(crate) const COUNT: Shape = Shape::Whole(0, i64::MAX);

impl Shape {
    /// The shape without its note.
    pub(crate) fn plain(&self) -> &Self {
        match self {
            Self::Noted(_, inner) => inner.plain(),
            other => other,
        }
    }

    /// What its owner should hear, if anything.
    pub(crate) fn note(&self) -> Option<&'static str> {
        match self {
            Self::Noted(note, _) => Some(note),
            _ => None,
        }
    }

    /// The shape of a member.
    pub(crate) fn member(&self, key: &str) -> Option<&'static Self> {
        match self.plain() {
            Self::Map(value) => Some(value),
            Self::Object(members) => find(members, key),
            Self::Open(members) => find(members, key).or(Some(&Self::Any)),
            Self::TextOr(inner) => inner.member(key),
            _ => None,
        }
    }

    /// The shape of an element.
    pub(crate) fn element(&self) -> Option<&'static Self> {
        match self.plain() {
            Self::List(element) => Some(element),
            Self::TextOr(inner) => inner.element(),
            _ => None,
        }
    }

    /// The members that have names.
    pub(crate) fn members(&self) -> Members {
        match self.plain() {
            Self::Object(members) | Self::Open(members) => members,
            Self::TextOr(inner) => inner.members(),
            _ => &[],
        }
    }
}

fn find(members: Members, key: &str) -> Option<&'static Shape> {
    let matches = |name: &str| name.strip_suffix('*').map_or(name == key, |start| key.starts_with(start));
    members.iter().find(|(name, _)| matches(name)).map(|(_, shape)| shape)
}
