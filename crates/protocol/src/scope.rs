//! Roles and scopes: what a grant is made of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What kind of peer a connection is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A device that offers commands to the gateway.
    Node,
    /// A person's client.
    #[default]
    Operator,
}

impl Role {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
        }
    }

    /// The role of that name; nothing asked is an operator.
    pub fn parse(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("operator") => Some(Self::Operator),
            Some("node") => Some(Self::Node),
            Some(_) => None,
        }
    }
}

/// A right that a method needs. [`Scope::Admin`] implies every other but [`Scope::Node`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// Change the installation.
    Admin,
    /// Decide approvals.
    Approvals,
    /// Answer as a node. That is the role's alone: nobody is given it, and nobody can ask for it.
    Node,
    /// Decide pairings.
    Pairing,
    /// See.
    Read,
    /// Talk to the agent. Implies [`Scope::Read`].
    Write,
}

impl Scope {
    /// Every scope that can be asked for and given.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Approvals, Self::Pairing, Self::Read, Self::Write];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "operator.admin",
            Self::Approvals => "operator.approvals",
            Self::Node => "node",
            Self::Pairing => "operator.pairing",
            Self::Read => "operator.read",
            Self::Write => "operator.write",
        }
    }

    /// The scope of that name. A name that is not known is no scope.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A set of scopes, in the order of their names.
pub type ScopeSet = BTreeSet<Scope>;
