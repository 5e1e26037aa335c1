//! The Merkle tree over the book (RFC 6962, SHA-256), of which only the right edge is kept.
//!
//! A record's `h` is the hash of its leaf: it begins with the byte 0x00 of a leaf, and what follows is the record and
//! the hash before it. So the tree costs one hash of two nodes for each record, whatever its size.

use sha2::{Digest, Sha256};

/// A hash of the tree.
pub(crate) type Node = [u8; 32];

/// A tree that grows at its end: the perfect subtrees that it is made of, largest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tree {
    size: u64,
    edges: Vec<Node>,
}

impl Tree {
    /// The tree with these subtrees, when there are as many as a tree of that size has.
    pub(crate) fn of(size: u64, edges: Vec<Node>) -> Option<Self> {
        (usize::try_from(size.count_ones()) == Ok(edges.len())).then_some(Self { size, edges })
    }

    /// How many leaves it has.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Its perfect subtrees, largest first.
    pub(crate) fn edges(&self) -> &[Node] {
        &self.edges
    }

    /// Adds the next leaf.
    pub(crate) fn push(&mut self, leaf: Node) {
        self.push_subtree(leaf, 0);
    }

    /// The hash over all leaves.
    pub(crate) fn root(&self) -> Node {
        let mut edges = self.edges.iter().rev();
        let Some(last) = edges.next() else {
            return Sha256::digest(b"").into();
        };
        edges.fold(*last, |right, left| parent(left, &right))
    }

    /// Adds leaves of zeros up to `size`: for numbers whose records cannot be read any more.
    pub(crate) fn pad(&mut self, size: u64) {
        let mut zeros = vec![[0; 32]];
        while let Some(missing) = size.checked_sub(self.size).filter(|missing| *missing > 0) {
            let aligned = if self.size == 0 { u64::BITS } else { self.size.trailing_zeros() };
            let level = aligned.min(missing.ilog2());
            let at = usize::try_from(level).unwrap_or_default();
            while zeros.len() <= at {
                let below = zeros.last().copied().unwrap_or_default();
                zeros.push(parent(&below, &below));
            }
            self.push_subtree(zeros.get(at).copied().unwrap_or_default(), level);
        }
    }

    /// Adds a perfect subtree of 2^`level` leaves, to which the size must be aligned.
    fn push_subtree(&mut self, mut node: Node, level: u32) {
        let mut carried = self.size >> level;
        while carried & 1 == 1 {
            let Some(left) = self.edges.pop() else { break };
            node = parent(&left, &node);
            carried >>= 1;
        }
        self.edges.push(node);
        self.size = self.size.saturating_add(1_u64 << level);
    }
}

fn parent(left: &Node, right: &Node) -> Node {
    let mut both = [1; 65];
    for (to, from) in both.iter_mut().skip(1).zip(left.iter().chain(right)) {
        *to = *from;
    }
    Sha256::digest(both).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, section 2.1, over hashes of leaves.
    fn by_definition(leaves: &[Node]) -> Node {
        match leaves {
            [] => Sha256::digest(b"").into(),
            [leaf] => *leaf,
            many => {
                let split = many.len().next_power_of_two() / 2;
                parent(&by_definition(&many[..split]), &by_definition(&many[split..]))
            }
        }
    }

    fn leaf(n: u64) -> Node {
        Sha256::digest(n.to_be_bytes()).into()
    }

    #[test]
    fn a_tree_that_grows_has_the_root_of_the_definition() {
        let mut tree = Tree::default();
        let mut leaves = Vec::new();
        for n in 0..200 {
            assert_eq!(tree.root(), by_definition(&leaves), "{n} leaves");
            assert_eq!(Tree::of(n, tree.edges().to_vec()), Some(tree.clone()));
            tree.push(leaf(n));
            leaves.push(leaf(n));
        }
        assert_eq!(Tree::of(3, vec![leaf(1)]), None);
    }

    #[test]
    fn the_root_of_the_published_leaves_is_the_published_one() {
        // The test tree of certificate-transparency's reference code: eight inputs.
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut tree = Tree::default();
        for input in inputs {
            tree.push(Sha256::new().chain_update(b"\0").chain_update(input).finalize().into());
        }
        let hex: String = tree.root().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn padding_is_the_same_as_so_many_leaves_of_zeros() {
        for (size, padded) in [(0, 0), (0, 1), (0, 7), (1, 9), (5, 64), (6, 6), (13, 200), (64, 65)] {
            let (mut one, mut other) = (Tree::default(), Tree::default());
            for n in 0..size {
                one.push(leaf(n));
                other.push(leaf(n));
            }
            one.pad(padded);
            for _ in size..padded {
                other.push([0; 32]);
            }
            assert_eq!(one, other, "{size} padded to {padded}");
        }
        let mut large = Tree::default();
        large.pad(1 << 52);
        assert_eq!((large.size(), large.edges().len()), (1 << 52, 1));
    }
}
