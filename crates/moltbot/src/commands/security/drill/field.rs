//! Where attacks are tried: the gateway that runs, a gateway that is thrown away, and keys and a book that are.

use anyhow::Context as _;
use moltbot_policy::Recorded;
use moltbot_policy::drill::DrillPermit;
use moltbot_policy::with_causes;
use moltbot_vault::Scratch;

use crate::background::{self, Throwaway};
use crate::environment::Environment;
use crate::home::Home;

/// The folder of the stand-in's state. Short, because its socket's name is.
const STATE: &str = "s";

/// What attacks are tried on. What is thrown away is made when the first one needs it.
pub(super) struct Field<'a> {
    /// The installation.
    pub(super) home: &'a Home,
    bench: Option<StandIn>,
    gateway: Option<Running>,
}

/// An installation for a while, without a gateway: this process has its book open.
pub(super) struct StandIn {
    /// It.
    pub(super) home: Home,
    /// Dropped last: the folder that it is in.
    pub(super) scratch: Scratch,
}

/// One with a gateway. The gateway ends before its folder does.
pub(super) struct Running {
    throwaway: Throwaway,
    /// The installation.
    pub(super) stand_in: StandIn,
}

/// A gateway that is attacked.
pub(super) struct Target<'f> {
    /// Its installation.
    pub(super) home: &'f Home,
    /// Its port on loopback.
    pub(super) port: u16,
    /// What it is called in what was seen.
    pub(super) called: &'static str,
}

impl<'a> Field<'a> {
    pub(super) const fn new(home: &'a Home) -> Self {
        Self { home, bench: None, gateway: None }
    }

    /// The gateway that runs here, else one that is thrown away.
    pub(super) fn target(&mut self, permit: &Recorded<DrillPermit>) -> anyhow::Result<Target<'_>> {
        match self.home.running()? {
            Some(running) if running.port != 0 => {
                Ok(Target { home: self.home, port: running.port, called: "the gateway that runs" })
            }
            Some(_) => anyhow::bail!("the gateway is just starting; try again in a second"),
            None => self.throwaway(permit),
        }
    }

    /// A gateway that is thrown away: what is left of an attack on it is gone with it.
    pub(super) fn throwaway(&mut self, permit: &Recorded<DrillPermit>) -> anyhow::Result<Target<'_>> {
        let running = self.gateway(permit)?;
        let port = running.throwaway.ready().running.port;
        Ok(Target { home: &running.stand_in.home, port, called: "a gateway of this program, made for it" })
    }

    /// The same, with the folder that it is in.
    pub(super) fn gateway(&mut self, permit: &Recorded<DrillPermit>) -> anyhow::Result<&Running> {
        if self.gateway.is_none() {
            let stand_in = StandIn::make(&self.home.environment)?;
            let throwaway = background::start_throwaway(&stand_in.home, permit)
                .context("a gateway for the drill does not start")?;
            self.gateway = Some(Running { throwaway, stand_in });
        }
        self.gateway.as_ref().context("there is no gateway for the drill")
    }

    /// Keys and a book that are thrown away.
    pub(super) fn bench(&mut self) -> anyhow::Result<&StandIn> {
        if self.bench.is_none() {
            self.bench = Some(StandIn::make(&self.home.environment)?);
        }
        self.bench.as_ref().context("there is no stand-in for the drill")
    }
}

impl StandIn {
    fn make(around: &Environment) -> anyhow::Result<Self> {
        let scratch = Scratch::make().map_err(|error| anyhow::anyhow!(with_causes(&error)))?;
        let environment = Environment {
            home: scratch.path().to_owned(),
            profile: None,
            state_dir: scratch.path().join(STATE),
            config_path: None,
            port: None,
            token: None,
            password: None,
            credentials_folders: Vec::new(),
            credentials: None,
            key_file: None,
            no_color: around.no_color,
            zone: around.zone.clone(),
            notes: Vec::new(),
        };
        Ok(Self { home: Home::ensure(environment)?, scratch })
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.home.close_book();
    }
}
