//! Layer 2, pairing: which device is known, and for what?
//!
//! A device is known by its key. What it may do is what was approved for it, never what it says of itself. A device of
//! this machine is approved silently, because whoever connects from here with the shared credential can read what is
//! in the state folder anyway; one from elsewhere waits for a person, and so does one that was revoked.

use moltbot_config::limits;
use moltbot_protocol::scope::{Role, Scope, ScopeSet};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::authentication::{Identity, Locality};
use crate::authorization::{Grant, covers};
use crate::nodes::{self, CommandSet};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// What a device from elsewhere is told until a person has approved it.
pub const PAIRING_REQUIRED: &str =
    "pairing required: approve this device on the gateway's machine with `moltbot devices approve`";

/// What a node is told until a person has approved it.
pub const NODE_PAIRING_REQUIRED: &str =
    "pairing required: approve this node on the gateway's machine with `moltbot nodes approve`";

/// What is kept of a device's token: SHA-256, which is enough for 256 random bits. The token is kept by the device alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// What no token is known to have: compared with where none is kept.
    pub(crate) const NOBODYS: Self = Self([0; 32]);

    /// The digest of a token.
    pub fn of(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret().as_bytes()).into())
    }

    /// The digest that [`Self::to_hex`] wrote; nothing when it is none.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(digit(high)? * 16 + digit(low)?)).collect();
        Some(Self(bytes?.try_into().ok()?))
    }

    /// The digest as 64 hex digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Compares in constant time.
    pub fn matches(&self, presented: &SecretString) -> bool {
        self.0.ct_eq(&Self::of(presented).0).into()
    }
}

/// What is known of a device in the role that it asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// A person, or its place, approved these scopes.
    Approved(ScopeSet),
    /// It was approved once, and is not any more.
    Revoked,
    /// It was never seen.
    Unknown,
}

/// What is to be done about a device besides letting it in or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pairing {
    /// A person is to be asked whether it may have these scopes.
    Ask(ScopeSet),
    /// A person is asked whether it may be a node with these commands.
    AskNode(CommandSet),
    /// Nothing.
    Nothing,
    /// It is approved for these scopes from now on.
    Silent(ScopeSet),
}

/// The approved scopes of an identity, and what is to be done about its device.
///
/// A device that did not sign the gateway's nonce is never paired by that: when it is not approved already, it is as
/// good as none, has what the shared credential gives, and nothing is kept of it. Only the shared credential pairs silently: a device's own token never widens its rights.
///
/// # Errors
/// `not_paired`, when nothing that it asks for is approved and a person has to be asked.
pub fn judge(
    identity: &Identity,
    asked: &ScopeSet,
    standing: Standing,
) -> (Result<ScopeSet, Refusal>, Pairing) {
    let Some(device) = identity.device.as_ref().filter(|_| identity.fresh) else {
        let approved = match standing {
            Standing::Approved(approved) if identity.device.is_some() => approved,
            Standing::Approved(_) | Standing::Revoked | Standing::Unknown => {
                ScopeSet::from([Scope::Read, Scope::Write])
            }
        };
        return (Ok(approved), Pairing::Nothing);
    };
    let silent = identity.locality == Locality::Local && !identity.by_device_token();
    let refusal = || {
        Refusal::new("not_paired", PAIRING_REQUIRED)
            .because(format!("device {device} is not paired for that"))
    };
    match standing {
        Standing::Approved(approved) if asked.iter().all(|scope| covers(&approved, *scope)) => {
            (Ok(approved), Pairing::Nothing)
        }
        Standing::Approved(approved) if silent => {
            let both: ScopeSet = approved.union(asked).copied().collect();
            (Ok(both.clone()), Pairing::Silent(both))
        }
        Standing::Approved(approved) if asked.iter().any(|scope| covers(&approved, *scope)) => {
            (Ok(approved), Pairing::Ask(asked.clone()))
        }
        Standing::Unknown if silent => (Ok(asked.clone()), Pairing::Silent(asked.clone())),
        Standing::Approved(_) | Standing::Revoked | Standing::Unknown => {
            (Err(refusal()), Pairing::Ask(asked.clone()))
        }
    }
}

/// Whether one more request may wait, when `here` of the same source and `all` of everybody wait already. Those that
/// wait are never pushed out.
///
/// # Errors
/// When too many wait.
pub fn require_room(here: usize, all: usize) -> Result<(), Refusal> {
    if here < limits::PENDING_DEVICES_EACH && all < limits::PENDING_DEVICES {
        return Ok(());
    }
    Err(Refusal::new("too_many_pending", "too many devices wait for approval; try again in five minutes"))
}

/// What a device may in a role: an operator has scopes, a node has commands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rights {
    role: Role,
    scopes: ScopeSet,
    commands: CommandSet,
}

impl Rights {
    /// Those of an operator.
    pub const fn operator(scopes: ScopeSet) -> Self {
        Self { role: Role::Operator, scopes, commands: CommandSet::new() }
    }

    /// Those of a node, which has no scope whatever it asks for.
    pub const fn node(commands: CommandSet) -> Self {
        Self { role: Role::Node, scopes: ScopeSet::new(), commands }
    }

    /// None, in a role.
    pub const fn none(role: Role) -> Self {
        Self { role, scopes: ScopeSet::new(), commands: CommandSet::new() }
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The scopes.
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// The commands.
    pub const fn commands(&self) -> &CommandSet {
        &self.commands
    }
}

/// Demands that who approves has what is approved: nobody gives more than he holds, in whatever role and by whatever way.
/// A command is given by who may have a node do it.
///
/// # Errors
/// Names the first scope that is missing.
pub fn may_give(grant: &Grant, rights: &Rights) -> Result<(), Refusal> {
    grant.require(Scope::Pairing)?;
    rights.scopes.iter().try_for_each(|scope| grant.require(*scope))?;
    rights.commands.iter().try_for_each(|command| grant.require(nodes::scope_of(command)))
}

/// The scopes of these names; names that are not known are no scopes.
pub fn scopes_of<S: AsRef<str>>(names: &[S]) -> ScopeSet {
    names.iter().filter_map(|name| Scope::parse(name.as_ref())).collect()
}

/// What is decided about a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceAct {
    /// A person approves what it asked for.
    Approve,
    /// It was paired with another gateway program, whose file says so.
    Import,
    /// It gets a token.
    Issue,
    /// A person says no.
    Reject,
    /// A person gives it another name.
    Rename,
    /// It waits for a person.
    Request,
    /// It gets another token; the old one is none any more.
    Rotate,
    /// It is not approved any more.
    Revoke,
    /// It is approved because it is on this machine.
    Silent,
}

impl DeviceAct {
    const fn action(self) -> &'static str {
        match self {
            Self::Approve => "pairing.approve",
            Self::Import => "pairing.import",
            Self::Issue => "pairing.issue",
            Self::Reject => "pairing.reject",
            Self::Rename => "pairing.rename",
            Self::Request => "pairing.request",
            Self::Revoke => "pairing.revoke",
            Self::Rotate => "pairing.rotate",
            Self::Silent => "pairing.silent",
        }
    }
}

/// Proof that a change to what is known of a device was decided.
#[derive(Debug)]
#[must_use = "a permit that is dropped changes nothing"]
pub struct DevicePermit {
    act: DeviceAct,
    device: String,
    rights: Rights,
    actor: String,
    client: Option<String>,
}

impl DevicePermit {
    /// What the gateway does by itself, about a device that connects from `client`.
    pub fn by_gateway(
        act: DeviceAct,
        device: impl Into<String>,
        rights: Rights,
        client: Option<String>,
    ) -> Self {
        Self { act, device: device.into(), rights, actor: "gateway".into(), client }
    }

    /// What somebody who signed in decides.
    ///
    /// # Errors
    /// When he may not decide about devices, or would give more than he holds.
    pub fn by(
        grant: &Grant,
        act: DeviceAct,
        device: impl Into<String>,
        rights: Rights,
    ) -> Result<Self, Refusal> {
        let nothing = Rights::none(rights.role);
        let given = match act {
            DeviceAct::Approve
            | DeviceAct::Import
            | DeviceAct::Issue
            | DeviceAct::Rotate
            | DeviceAct::Silent => &rights,
            DeviceAct::Reject | DeviceAct::Rename | DeviceAct::Request | DeviceAct::Revoke => &nothing,
        };
        may_give(grant, given)?;
        let (device, actor) = (device.into(), grant.actor().to_owned());
        Ok(Self { act, device, rights, actor, client: Some(grant.client().to_string()) })
    }

    /// What the owner decides at the command line, while no gateway runs.
    pub fn by_owner(act: DeviceAct, device: impl Into<String>, rights: Rights, owner: &str) -> Self {
        Self { act, device: device.into(), rights, actor: owner.into(), client: None }
    }
}

impl Permit for DevicePermit {
    fn entry(&self) -> Entry {
        let Rights { role, scopes, commands } = &self.rights;
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        let target = format!("device:{}", self.device);
        let entry = Entry::new(self.actor.clone(), self.act.action(), target, Decision::Allowed)
            .with("user", self.device.clone())
            .with("role", role.name())
            .with("scopes", scopes.join(","));
        let entry = match role {
            Role::Node => entry.with("commands", commands.iter().cloned().collect::<Vec<_>>().join(",")),
            Role::Operator => entry,
        };
        match &self.client {
            None => entry,
            Some(client) => entry.with("client", client.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::authorization::grant;

    fn identity(locality: Locality, fresh: bool, method: &'static str) -> Identity {
        Identity { method, device: Some("d".into()), locality, client: Ipv4Addr::LOCALHOST.into(), fresh }
    }

    fn told(locality: Locality, method: &'static str, asked: &[Scope], standing: Standing) -> String {
        let asked = asked.iter().copied().collect();
        let (outcome, pairing) = judge(&identity(locality, true, method), &asked, standing);
        let outcome = outcome.map_or_else(|refusal| refusal.code.to_owned(), |scopes| format!("{scopes:?}"));
        format!("{outcome} {pairing:?}")
    }

    #[test]
    fn who_is_paired_and_who_waits() {
        use Locality::{Local, Remote};
        use Scope::{Admin, Pairing, Read, Write};
        let approved = |scopes: &[Scope]| Standing::Approved(scopes.iter().copied().collect());
        for (locality, method, asked, standing, expected) in [
            (Local, "token", &[Admin][..], Standing::Unknown, "{Admin} Silent({Admin})"),
            (Local, "token", &[], Standing::Unknown, "{} Silent({})"),
            (Local, "token", &[Admin], approved(&[Read]), "{Admin, Read} Silent({Admin, Read})"),
            (Local, "token", &[Admin], Standing::Revoked, "not_paired Ask({Admin})"),
            (Local, "device-token", &[Admin], approved(&[Read]), "not_paired Ask({Admin})"),
            (Remote, "token", &[Read], Standing::Unknown, "not_paired Ask({Read})"),
            (Remote, "token", &[Read], approved(&[Write]), "{Write} Nothing"),
            (Remote, "token", &[Read, Pairing], approved(&[Read]), "{Read} Ask({Pairing, Read})"),
            (Remote, "device-token", &[Read], approved(&[]), "not_paired Ask({Read})"),
            (Remote, "device-token", &[], approved(&[]), "{} Nothing"),
            (Remote, "token", &[Write, Pairing], approved(&[Admin]), "{Admin} Nothing"),
        ] {
            assert_eq!(
                told(locality, method, asked, standing.clone()),
                expected,
                "{locality:?} {asked:?} {standing:?}"
            );
        }
    }

    #[test]
    fn a_signature_without_the_nonce_pairs_nothing() {
        let asked = ScopeSet::from([Scope::Admin]);
        let (shared, read) = (ScopeSet::from([Scope::Read, Scope::Write]), ScopeSet::from([Scope::Read]));
        for (standing, expected) in [
            (Standing::Unknown, shared.clone()),
            (Standing::Revoked, shared),
            (Standing::Approved(read.clone()), read),
        ] {
            let (outcome, pairing) = judge(&identity(Locality::Local, false, "token"), &asked, standing);
            assert_eq!((outcome.unwrap(), pairing), (expected, Pairing::Nothing));
        }
    }

    #[test]
    fn nobody_gives_more_than_he_holds() {
        let approver = |scopes: &[&str]| {
            let asked: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            grant(identity(Locality::Local, true, "token"), &asked, Standing::Unknown).0.unwrap()
        };
        let admin = || Rights::operator(ScopeSet::from([Scope::Admin]));
        let pairing = approver(&["operator.pairing"]);
        for act in [DeviceAct::Approve, DeviceAct::Rotate] {
            assert!(DevicePermit::by(&pairing, act, "d", admin()).is_err(), "{act:?}");
        }
        assert!(DevicePermit::by(&pairing, DeviceAct::Reject, "d", admin()).is_ok());
        assert!(DevicePermit::by(&approver(&["operator.write"]), DeviceAct::Reject, "d", admin()).is_err());
        assert!(DevicePermit::by(&approver(&["operator.admin"]), DeviceAct::Approve, "d", admin()).is_ok());
        // A node's commands are given by who may have it do them.
        let node = |command: &str| Rights::node([command.to_owned()].into());
        for (scopes, command, expected) in [
            (&["operator.pairing"][..], "system.notify", false),
            (&["operator.pairing", "operator.write"], "system.notify", true),
            (&["operator.pairing", "operator.write"], "system.run", false),
            (&["operator.admin"], "system.run", true),
        ] {
            let given = DevicePermit::by(&approver(scopes), DeviceAct::Approve, "d", node(command));
            assert_eq!(given.is_ok(), expected, "{scopes:?} {command}");
        }
    }

    #[test]
    fn requests_that_wait_are_bounded_for_each_source_and_in_all() {
        assert!(require_room(limits::PENDING_DEVICES_EACH - 1, limits::PENDING_DEVICES - 1).is_ok());
        assert!(require_room(limits::PENDING_DEVICES_EACH, 10).is_err());
        assert!(require_room(0, limits::PENDING_DEVICES).is_err());
    }

    #[test]
    fn a_digest_is_read_as_it_was_written() {
        let digest = TokenDigest::of(&"t".into());
        assert_eq!(TokenDigest::from_hex(&digest.to_hex()), Some(digest));
        assert!(digest.matches(&"t".into()) && !digest.matches(&"u".into()));
        for bad in ["", "00", "zz", &"0".repeat(63), &"0".repeat(66)] {
            assert_eq!(TokenDigest::from_hex(bad), None, "{bad}");
        }
    }
}
