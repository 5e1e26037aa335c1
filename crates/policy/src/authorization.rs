//! Layer 3, authorization: what may a signed-in peer do?
//!
//! Deny by default: a grant is what was asked for, cut down to what the identity may have; nothing asked is
//! nothing granted. A client's id and headers confer nothing.

use std::net::IpAddr;

use moltbot_protocol::scope::{Role, Scope, ScopeSet};

use crate::authentication::{Identity, Locality};
use crate::record::{Decision, Entry, Permit};
use crate::refusal::Refusal;

/// What one connection may do. Made only by [`grant`] and [`grant_request`].
#[derive(Debug)]
#[must_use = "a grant opens a connection"]
pub struct Grant {
    role: Role,
    scopes: ScopeSet,
    actor: String,
    method: &'static str,
    locality: Locality,
    client: IpAddr,
    way: &'static str,
}

impl Grant {
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

    /// Demands a scope. Admin implies all; write implies read.
    ///
    /// # Errors
    /// When the grant does not have it; the message names it, as clients of the original expect.
    pub fn require(&self, scope: Scope) -> Result<(), Refusal> {
        let implied = match scope {
            Scope::Read => self.scopes.contains(&Scope::Write),
            Scope::Admin | Scope::Approvals | Scope::Pairing | Scope::Write => false,
        };
        if implied || self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin) {
            return Ok(());
        }
        Err(Refusal::new("missing_scope", format!("missing scope: {}", scope.name())))
    }
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
        match self.locality {
            Locality::Local => entry.from_reserve(),
            Locality::Remote => entry,
        }
    }
}

/// The grant of a connection: asked ∩ approved.
///
/// A peer without a device key may read and write. A device of this machine, directly connected, gets what it
/// asks. A device from elsewhere must be paired first.
///
/// # Errors
/// When the role is not offered, or the device needs pairing.
pub fn grant(identity: Identity, role: Option<&str>, asked: &[String]) -> Result<Grant, Refusal> {
    let role = match role {
        None | Some("operator") => Role::Operator,
        Some("node") => {
            return Err(Refusal::new("role_unsupported", "invalid role: node is not supported yet"));
        }
        Some(_) => return Err(Refusal::new("invalid_role", "invalid role")),
    };
    let approved: &[Scope] = match (&identity.device, identity.locality) {
        (None, _) => &[Scope::Read, Scope::Write],
        (Some(_), Locality::Local) => &Scope::ALL,
        (Some(device), Locality::Remote) => {
            let message = "pairing required: this device is not paired, and pairing from other machines is not supported yet; connect from the gateway's machine";
            return Err(Refusal::new("not_paired", message).because(format!("device {device} is not paired")));
        }
    };
    let scopes =
        asked.iter().filter_map(|name| Scope::parse(name)).filter(|scope| approved.contains(scope)).collect();
    Ok(of(identity, role, scopes))
}

/// The grant of one HTTP request: what the shared credential alone gives, read and write.
pub fn grant_request(identity: Identity) -> Grant {
    of(identity, Role::Operator, ScopeSet::from([Scope::Read, Scope::Write]))
}

fn of(identity: Identity, role: Role, scopes: ScopeSet) -> Grant {
    let actor = actor(&identity);
    let Identity { method, device: _, locality, client } = identity;
    Grant { role, scopes, actor, method, locality, client, way: "unknown" }
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
        }
    }

    fn granted(device: Option<&str>, asked: &[&str]) -> Vec<&'static str> {
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        let grant = grant(identity(device, Locality::Local), None, &asked).unwrap();
        grant.scopes().iter().map(|scope| scope.name()).collect()
    }

    #[test]
    fn a_grant_is_what_was_asked_and_approved() {
        let none: [&str; 0] = [];
        assert_eq!(granted(None, &[]), none, "nothing asked is nothing granted");
        assert_eq!(granted(Some("d"), &[]), none);
        assert_eq!(granted(None, &["operator.admin"]), none, "a shared token alone is no admin");
        assert_eq!(granted(None, &["operator.admin", "operator.write"]), ["operator.write"]);
        assert_eq!(granted(Some("d"), &["operator.admin", "operator.root"]), ["operator.admin"]);
    }

    #[test]
    fn a_device_from_elsewhere_and_a_strange_role_get_no_grant() {
        let all = ["operator.admin".to_owned()];
        assert_eq!(grant(identity(Some("d"), Locality::Remote), None, &all).unwrap_err().code, "not_paired");
        assert_eq!(
            grant(identity(None, Locality::Local), Some("root"), &all).unwrap_err().code,
            "invalid_role"
        );
        assert_eq!(
            grant(identity(None, Locality::Local), Some("node"), &all).unwrap_err().code,
            "role_unsupported"
        );
    }

    #[test]
    fn the_reserve_of_a_full_disk_pays_for_the_owner_at_this_machine_alone() {
        for (locality, expected) in [(Locality::Local, true), (Locality::Remote, false)] {
            assert_eq!(grant_request(identity(None, locality)).entry().reserved, expected, "{locality:?}");
        }
    }

    #[test]
    fn the_access_table_of_method_and_scope() {
        let table: Vec<String> = Method::ALL
            .iter()
            .map(|method| {
                let may = |scope| {
                    let scopes = ScopeSet::from([scope]);
                    let grant = Grant {
                        role: Role::Operator,
                        scopes,
                        actor: String::new(),
                        method: "",
                        locality: Locality::Local,
                        client: Ipv4Addr::LOCALHOST.into(),
                        way: "",
                    };
                    grant.require(method.scope()).is_ok()
                };
                let who: Vec<&str> =
                    Scope::ALL.into_iter().filter(|scope| may(*scope)).map(Scope::name).collect();
                format!("{} | {}", method.name(), who.join(" ")).replace("operator.", "")
            })
            .collect();
        let expected = [
            "agent | admin write",
            "agent.wait | admin write",
            "agents.list | admin read write",
            "chat.abort | admin write",
            "chat.history | admin read write",
            "chat.send | admin write",
            "config.get | admin",
            "health | admin read write",
            "ledger.relay | admin",
            "models.list | admin read write",
            "models.test | admin",
            "sessions.delete | admin",
            "sessions.list | admin read write",
            "sessions.preview | admin read write",
            "sessions.reset | admin",
            "status | admin read write",
        ];
        assert_eq!(table, expected);
    }
}
