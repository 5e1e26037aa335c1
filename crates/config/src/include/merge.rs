//! Putting values together: objects member by member, lists one after the other, else the later one.

use std::collections::HashMap;

use crate::tree::{Kind, Member, Node};

/// `over` on top of `base`. A key that is twice in one of them stays twice, for the judge to find.
pub(super) fn merge(base: Node, over: Node) -> Node {
    let Node { start, end, kind } = over;
    let kind = match (base.kind, kind) {
        (Kind::Object { members: base, .. }, Kind::Object { members: over, .. }) => {
            Kind::Object { members: merge_members(base, over), trailing_comma: false }
        }
        (Kind::List { items: mut base, .. }, Kind::List { items: over, .. }) => {
            base.extend(over);
            Kind::List { items: base, trailing_comma: false }
        }
        (_, over) => over,
    };
    Node { start, end, kind }
}

fn merge_members(base: Vec<Member>, over: Vec<Member>) -> Vec<Member> {
    let mut places: HashMap<String, usize> =
        base.iter().enumerate().map(|(place, member)| (member.key.clone(), place)).collect();
    let mut members: Vec<Option<Member>> = base.into_iter().map(Some).collect();
    for member in over {
        // Each of the base is merged once: what follows under the same key is a second one of `over`.
        let place = places.remove(&member.key);
        let below = place.and_then(|place| members.get_mut(place));
        match below.and_then(|slot| slot.take().map(|before| (slot, before))) {
            None => members.push(Some(member)),
            Some((slot, before)) => {
                let value = merge(before.value, member.value);
                *slot = Some(Member { key: member.key, start: member.start, end: member.end, value });
            }
        }
    }
    members.into_iter().flatten().collect()
}

/// Moves every place of a value by `base`.
pub(super) fn shift(node: &mut Node, base: usize) {
    node.start = node.start.saturating_add(base);
    node.end = node.end.saturating_add(base);
    match &mut node.kind {
        Kind::List { items, .. } => items.iter_mut().for_each(|item| shift(item, base)),
        Kind::Object { members, .. } => {
            for member in members {
                member.start = member.start.saturating_add(base);
                member.end = member.end.saturating_add(base);
                shift(&mut member.value, base);
            }
        }
        Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => {}
    }
}

/// How many containers are inside each other.
pub(super) fn depth(node: &Node) -> usize {
    let inner = match &node.kind {
        Kind::List { items, .. } => items.iter().map(depth).max(),
        Kind::Object { members, .. } => members.iter().map(|member| depth(&member.value)).max(),
        Kind::Bool(_) | Kind::Null | Kind::Number(_) | Kind::Text(_) => return 0,
    };
    inner.unwrap_or(0).saturating_add(1)
}
