//! Values of settings that are known and not served yet, judged by their shapes.

use super::policies::GUIDE;
use super::words::{quoted_list, type_of};
use super::{Judge, Unserved, member_shape, nearest, short};
use crate::migrate;
use crate::path::{Path, Step, quote};
use crate::report::ConfigErrorKind;
use crate::shape::Shape;
use crate::substitution::expand;
use crate::tree::{Kind, Member, Node, Number};

impl Judge<'_> {
    /// Judges a value inside one that does nothing yet, and lists it when its owner should hear of it.
    fn inner(&mut self, node: &Node, shape: &'static Shape) {
        if let Some(note) = shape.note() {
            self.list(&self.path.to_string(), node.start, Some(note));
        }
        self.known(node, shape);
    }

    /// Judges a value by its shape alone.
    pub(super) fn known(&mut self, node: &Node, shape: &'static Shape) {
        let shape = shape.plain();
        match &node.kind {
            Kind::Object { members, .. } => {
                if takes_objects(shape) {
                    return self.known_members(members, shape);
                }
            }
            Kind::List { items, .. } => {
                if let Some(element) = shape.element() {
                    for (index, item) in items.iter().enumerate() {
                        self.within(Step::Index(index), |judge| judge.inner(item, element));
                    }
                    return;
                }
            }
            Kind::Bool(true) => {
                if let Shape::Never(why) = shape {
                    let message = format!("true is not accepted: {why}");
                    let fix = Some(format!("remove the setting; see {GUIDE}"));
                    return self.find(ConfigErrorKind::Refused, node, message, "false".into(), fix);
                }
            }
            Kind::Bool(false) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
        }
        if let Shape::Refused(why) = shape {
            let message = format!("this setting is not accepted: {why}");
            let fix = Some("remove the setting".to_owned());
            return self.find(ConfigErrorKind::Refused, node, message, expectation(shape), fix);
        }
        if !self.accepts(node, shape) {
            self.misfit(node, shape);
        }
    }

    fn known_members(&mut self, members: &[Member], shape: &'static Shape) {
        for member in members {
            match member_shape(Some(shape), &member.key) {
                None => {
                    let known: Vec<&str> =
                        shape.members().iter().map(|(name, _)| name.trim_end_matches('*')).collect();
                    self.unknown_key(member, &known);
                }
                Some(inner) => {
                    let step = Step::Key(member.key.clone());
                    self.within(step, |judge| judge.inner(&member.value, inner));
                }
            }
        }
    }

    /// Whether a value has a shape, without looking into it. A value that is missing is found elsewhere.
    pub(super) fn accepts(&self, node: &Node, shape: &Shape) -> bool {
        match (shape.plain(), &node.kind) {
            (Shape::Any, _)
            | (Shape::Flag, Kind::Bool(_))
            | (Shape::Never(_), Kind::Bool(false))
            | (Shape::List(_), Kind::List { .. })
            | (Shape::Map(_) | Shape::Object(_) | Shape::Open(_), Kind::Object { .. })
            | (Shape::Number, Kind::Number(_))
            | (Shape::Text | Shape::TextOr(_), Kind::Text(_)) => true,
            (Shape::TextOr(inner), _) => self.accepts(node, inner),
            (Shape::OneOf(texts), Kind::Text(text)) => match expand(text, self.environment) {
                Ok(expanded) => texts.iter().any(|one| *one == expanded.expose()),
                Err(_) => true,
            },
            (Shape::Whole(least, most), Kind::Number(Number::Whole(whole))) => {
                (i128::from(*least)..=i128::from(*most)).contains(whole)
            }
            _ => false,
        }
    }

    fn misfit(&mut self, node: &Node, shape: &'static Shape) {
        if let (Shape::OneOf(allowed), Kind::Text(text)) = (shape, &node.kind) {
            if let Ok(expanded) = expand(text, self.environment) {
                self.not_one_of(node, expanded.expose(), allowed, None);
            }
            return;
        }
        let is_range = matches!((shape, &node.kind), (Shape::Whole(..), Kind::Number(Number::Whole(_))));
        let (kind, message) = if is_range {
            (ConfigErrorKind::Range, format!("{} is out of its range", self.show(node)))
        } else {
            (ConfigErrorKind::Type, format!("{} is {}", self.show(node), type_of(node)))
        };
        self.find(kind, node, message, expectation(shape), Some("correct it, or remove the setting".into()));
    }

    /// Notes that a member does nothing yet. The entries of a map are listed one by one.
    pub(super) fn leave_out(&mut self, member: &Member, shape: Option<&'static Shape>) {
        self.skipped.insert(member.start);
        let path = self.within(Step::Key(member.key.clone()), |judge| judge.path.clone());
        let note = shape.and_then(Shape::note);
        match (shape, &member.value.kind) {
            (Some(Shape::Map(_)), Kind::Object { members, .. }) if !members.is_empty() => {
                for entry in members {
                    let mut path = path.clone();
                    path.0.push(Step::Key(entry.key.clone()));
                    self.list(&path.to_string(), entry.start, None);
                }
            }
            _ => {
                self.list(&path.to_string(), member.start, note);
            }
        }
    }

    fn list(&mut self, path: &str, at: usize, note: Option<&'static str>) {
        self.unserved.push(Unserved { path: path.to_owned(), at, note });
    }

    /// Finds a key that no setting has, with the nearest that there is.
    pub(super) fn unknown_key(&mut self, member: &Member, known: &[&str]) {
        let mut full: Path = self.path.clone();
        full.0.push(Step::Key(member.key.clone()));
        let full = full.to_string();
        let message = format!("there is no setting {}", quote(&short(&member.key)));
        let mut expected = None;
        let fix = if !self.findings.has_room() {
            String::new()
        } else if let Some(place) = migrate::place_of(&full) {
            // What has room there was moved before this is judged.
            format!("move it to `{place}`, and keep one of what is set in both places")
        } else if let Some(near) = nearest::nearest(&member.key, known.iter().copied()) {
            format!("did you mean `{near}`?")
        } else {
            expected = Some(format!("one of {}", known.join(", ")));
            "remove it, or move it to where it belongs".to_owned()
        };
        self.find_key(ConfigErrorKind::UnknownKey, member, message, expected, fix);
    }
}

fn takes_objects(shape: &Shape) -> bool {
    match shape {
        Shape::Map(_) | Shape::Object(_) | Shape::Open(_) => true,
        Shape::TextOr(inner) => takes_objects(inner),
        _ => false,
    }
}

/// What a shape expects, in words.
fn expectation(shape: &Shape) -> String {
    match shape.plain() {
        Shape::Any | Shape::Noted(..) => "anything".into(),
        Shape::Barred(text, _) => format!("another text than \"{text}\""),
        Shape::Flag => "true or false".into(),
        Shape::List(_) => "a list".into(),
        Shape::Map(_) | Shape::Object(_) | Shape::Open(_) => "an object".into(),
        Shape::Never(_) => "false".into(),
        Shape::Number => "a number".into(),
        Shape::OneOf(texts) => format!("one of {}", quoted_list(texts)),
        Shape::Refused(_) => "no such setting".into(),
        Shape::Text => "a text in quotes".into(),
        Shape::TextOr(inner) => format!("a text in quotes, or {}", expectation(inner)),
        Shape::Whole(least, most) if *most == i64::MAX => format!("a whole number of at least {least}"),
        Shape::Whole(least, most) => format!("a whole number from {least} to {most}"),
    }
}
