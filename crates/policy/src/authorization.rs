//! Layer 3, authorization: what may a signed-in peer do?
//!
//! Deny by default: a grant is what was asked for, cut down to what the identity may have; nothing asked is
//! nothing granted. A client's id and headers confer nothing.

use std::net::IpAddr;

use moltbot_protocol::scope::{Role, Scope, ScopeSet};

use crate::authentication::{DEVICE_TOKEN, Identity, Locality};
use crate::nodes::CommandSet;
use crate::pairing::{self, Pairing, Standing};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// What one connection may do. Made only by [`grant`] and [`grant_request`].
#[derive(Debug)]
#[must_use = "a grant opens a connection"]
pub struct Grant {
    role: Role,
    scopes: ScopeSet,
    actor: String,
    device: Option<String>,
    method: &'static str,
    locality: Locality,
    client: IpAddr,
    way: &'static str,
    tailnet: Option<String>,
}

impl Grant {
    /// Says who the sender is on the tailnet, or why a claim of that did not hold, for the book.
    pub fn on_tailnet(mut self, told: Option<&str>) -> Self {
        self.tailnet = told.map(str::to_owned);
        self
    }

    /// Says by which way it was asked for: `http` or `websocket`, for the book.
    pub const fn by(mut self, way: &'static str) -> Self {
        self.way = way;
        self
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The scopes, for telling the client.
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Who it is, for the book.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// The device that it was given to; nothing for who has no paired device, and what the shared credential gives.
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Whether the device's own token gave it.
    pub fn by_device_token(&self) -> bool {
        self.method == DEVICE_TOKEN
    }

    /// What it was given for: `token`, `password` or `device-token`.
    pub const fn method(&self) -> &'static str {
        self.method
    }

    /// By which way it was asked for: `http` or `websocket`.
    pub const fn way(&self) -> &'static str {
        self.way
    }

    /// Whether it came from this machine, directly.
    pub const fn locality(&self) -> Locality {
        self.locality
    }

    /// Where it came from.
    pub const fn client(&self) -> IpAddr {
        self.client
    }

    /// Demands a scope. Admin implies all; write implies read. What is a node's is for nodes alone, and they may nothing else.
    ///
    /// # Errors
    /// When the grant does not have it; the message names it, as clients of the original expect.
    pub fn require(&self, scope: Scope) -> Result<(), Refusal> {
        match (self.role, scope) {
            (Role::Node, Scope::Node) => return Ok(()),
            (Role::Operator, Scope::Node)
            | (Role::Node, Scope::Admin | Scope::Approvals | Scope::Pairing | Scope::Read | Scope::Write) => {
                return Err(Refusal::new("wrong_role", format!("unauthorized role: {}", self.role.name())));
            }
            (
                Role::Operator,
                Scope::Admin | Scope::Approvals | Scope::Pairing | Scope::Read | Scope::Write,
            ) => {}
        }
        if covers(&self.scopes, scope) {
            return Ok(());
        }
        Err(Refusal::new("missing_scope", format!("missing scope: {}", scope.name())))
    }
}

/// Whether these scopes are enough for `scope`. Admin implies all; write implies read.
pub(crate) fn covers(scopes: &ScopeSet, scope: Scope) -> bool {
    let implied = match scope {
        Scope::Node => return false,
        Scope::Read => scopes.contains(&Scope::Write),
        Scope::Admin | Scope::Approvals | Scope::Pairing | Scope::Write => false,
    };
    implied || scopes.contains(&scope) || scopes.contains(&Scope::Admin)
}

impl Permit for Grant {
    /// On a full disk the owner at this machine still gets in: the reserve pays for who is here and holds the
    /// credential, and for nobody else, so that no stranger can use it up.
    fn entry(&self) -> Entry {
        let scopes: Vec<&str> = self.scopes.iter().map(|scope| scope.name()).collect();
        let entry = Entry::new(self.actor.clone(), "auth.sign_in", "gateway", Decision::Allowed)
            .with("client", self.client.to_string())
            .with("method", self.method)
            .with("role", self.role.name())
            .with("scopes", scopes.join(","))
            .with("locality", self.locality.name())
            .with("way", self.way);
        let entry = match &self.tailnet {
            None => entry,
            Some(told) => entry.with("tailnet", told.clone()),
        };
        match self.locality {
            Locality::Local => entry.from_reserve(),
            Locality::Remote => entry,
        }
    }
}

/// The grant of an operator's connection, asked ∩ approved, and what is to be done about its device.
///
/// A peer without a device key may read and write. What a device may is judged by [`pairing::judge`].
///
/// # Errors
/// When the device needs pairing.
pub fn grant(identity: Identity, asked: &[String], standing: Standing) -> (Result<Grant, Refusal>, Pairing) {
    let asked = pairing::scopes_of(asked);
    let is_kept = identity.fresh || matches!(standing, Standing::Approved(_));
    let (approved, pairing) = pairing::judge(&identity, &asked, standing);
    let granted = approved.map(|approved| {
        let scopes = both(asked, &approved);
        let grant = of(identity, Role::Operator, scopes);
        Grant { device: grant.device.filter(|_| is_kept), ..grant }
    });
    (granted, pairing)
}

/// The grant of a node's connection, which has no scope, and what is to be done about its device. `offered` are the commands
/// that it offers, `approved` those that a person approved for it; nothing when it is not approved as a node.
///
/// A node waits for a person also on this machine: what it is asked for, it does with the rights of whoever runs it.
///
/// # Errors
/// When it is not approved as a node, or has not signed the gateway's nonce with a key.
pub fn grant_node(
    identity: Identity,
    offered: &CommandSet,
    approved: Option<&CommandSet>,
) -> (Result<Grant, Refusal>, Pairing) {
    let refuse = |message: &str| Err(Refusal::new("not_paired", message));
    if identity.device.is_none() || !identity.fresh {
        let message = "device identity required: a node signs the gateway's nonce with a key of its own";
        return (refuse(message), Pairing::Nothing);
    }
    let ask = || Pairing::AskNode(offered.clone());
    match approved {
        None => (refuse(pairing::NODE_PAIRING_REQUIRED), ask()),
        Some(approved) => {
            let pairing = if offered.is_subset(approved) { Pairing::Nothing } else { ask() };
            (Ok(of(identity, Role::Node, ScopeSet::new())), pairing)
        }
    }
}

/// What is in both sets. Who asks for no more than admin, which is everything, gets of everything what is approved.
fn both(asked: ScopeSet, approved: &ScopeSet) -> ScopeSet {
    let named: ScopeSet = asked.iter().copied().filter(|scope| covers(approved, *scope)).collect();
    if named.is_empty() && asked.contains(&Scope::Admin) { approved.clone() } else { named }
}

/// The grant of one HTTP request: read and write, which is what the shared credential alone gives; for a device's own token
/// what is approved for the device, as `standing` says.
///
/// # Errors
/// When the device is not approved any more.
pub fn grant_request(identity: Identity, standing: impl FnOnce(&str) -> Standing) -> Result<Grant, Refusal> {
    let Some(device) = identity.device.as_deref().filter(|_| identity.by_device_token()) else {
        return Ok(of(identity, Role::Operator, ScopeSet::from([Scope::Read, Scope::Write])));
    };
    match standing(device) {
        Standing::Approved(scopes) => Ok(of(identity, Role::Operator, scopes)),
        Standing::Revoked | Standing::Unknown => {
            Err(Refusal::new("not_paired", pairing::PAIRING_REQUIRED).because("the device was revoked"))
        }
    }
}

fn of(identity: Identity, role: Role, scopes: ScopeSet) -> Grant {
    let actor = actor(&identity);
    let Identity { method, device, locality, client, fresh: _ } = identity;
    Grant { role, scopes, actor, device, method, locality, client, way: "unknown", tailnet: None }
}

fn actor(identity: &Identity) -> String {
    match &identity.device {
        None => format!("credential:{}", identity.method),
        Some(device) => format!("device:{device}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use moltbot_protocol::method::Method;

    use super::*;

    fn identity(device: Option<&str>, locality: Locality) -> Identity {
        Identity {
            method: "token",
            device: device.map(Into::into),
            locality,
            client: Ipv4Addr::LOCALHOST.into(),
            fresh: true,
        }
    }

    fn granted(device: Option<&str>, asked: &[&str]) -> Vec<&'static str> {
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        let grant = grant(identity(device, Locality::Local), &asked, Standing::Unknown).0.unwrap();
        grant.scopes().iter().map(|scope| scope.name()).collect()
    }

    #[test]
    fn d_16_a_grant_is_what_was_asked_and_approved() {
        let none: [&str; 0] = [];
        assert_eq!(granted(None, &[]), none, "nothing asked is nothing granted");
        assert_eq!(granted(Some("d"), &[]), none);
        let alone = ["operator.read", "operator.write"];
        assert_eq!(granted(None, &["operator.admin"]), alone, "a shared token alone is no admin");
        assert_eq!(granted(None, &["operator.admin", "operator.write"]), ["operator.write"]);
        assert_eq!(granted(None, &["operator.pairing", "operator.approvals"]), none);
        assert_eq!(granted(Some("d"), &["operator.admin", "operator.root"]), ["operator.admin"]);
    }

    #[test]
    fn a_device_from_elsewhere_gets_no_grant() {
        let all = ["operator.admin".to_owned()];
        let refused = grant(identity(Some("d"), Locality::Remote), &all, Standing::Unknown).0.unwrap_err();
        assert_eq!(refused.code, "not_paired");
    }

    #[test]
    fn the_reserve_of_a_full_disk_pays_for_the_owner_at_this_machine_alone() {
        for (locality, expected) in [(Locality::Local, true), (Locality::Remote, false)] {
            let grant = grant_request(identity(None, locality), |_| Standing::Unknown).unwrap();
            assert_eq!(grant.entry().reserved, expected, "{locality:?}");
        }
    }

    #[test]
    fn a_request_has_what_the_shared_credential_gives_or_what_is_approved_for_its_device() {
        let bearer = |standing: Standing| {
            let identity = Identity { method: DEVICE_TOKEN, ..identity(Some("d"), Locality::Remote) };
            grant_request(identity, move |_| standing).map(|grant| grant.scopes().clone())
        };
        let read = ScopeSet::from([Scope::Read]);
        assert_eq!(bearer(Standing::Approved(read.clone())), Ok(read));
        assert_eq!(bearer(Standing::Approved(ScopeSet::new())), Ok(ScopeSet::new()), "none is not all");
        for standing in [Standing::Revoked, Standing::Unknown] {
            assert_eq!(bearer(standing).unwrap_err().code, "not_paired");
        }
    }

    /// Who a client is, for the table: with which device it comes, from where, and what is known of the device.
    const PRINCIPALS: [(Option<&str>, Locality); 3] =
        [(None, Locality::Local), (Some("d"), Locality::Local), (Some("d"), Locality::Remote)];

    /// Whether each of [`PRINCIPALS`], asking for everything, may call the method.
    fn principals(method: Method) -> Vec<bool> {
        let every: Vec<String> = Scope::ALL.iter().map(|scope| scope.name().to_owned()).collect();
        let may = |(device, locality)| {
            let (granted, _) = grant(identity(device, locality), &every, Standing::Unknown);
            granted.is_ok_and(|grant| grant.require(method.scope()).is_ok())
        };
        PRINCIPALS.map(may).to_vec()
    }

    /// Whether each scope by itself is enough for the method: what a device may that was approved for it alone.
    fn by_scope(method: Method) -> Vec<bool> {
        let may = |scope| {
            let approved = Standing::Approved(ScopeSet::from([scope]));
            let asked = [scope.name().to_owned()];
            let (granted, _) = grant(identity(Some("d"), Locality::Remote), &asked, approved);
            granted.unwrap().require(method.scope()).is_ok()
        };
        Scope::ALL.map(may).to_vec()
    }

    /// The golden table: docs/reference/access.md. What it lacks, or says too much, is the discussion of a change.
    #[test]
    fn the_access_table_of_methods_is_complete() {
        let page = include_str!("../../../docs/reference/access.md");
        let table = page.lines().skip_while(|line| !line.starts_with("| method |")).skip(2);
        let found: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
        let row = |method: &Method| {
            let answers = by_scope(*method).into_iter().chain(principals(*method));
            let answers: Vec<&str> = answers.map(|may| if may { "yes" } else { "–" }).collect();
            format!("| `{}` | {} |", method.name(), answers.join(" | "))
        };
        let expected: Vec<String> = Method::ALL.iter().map(row).collect();
        assert_eq!(found, expected, "the whole table is\n{}", expected.join("\n"));
    }
}
