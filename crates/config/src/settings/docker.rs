//! Containers of the Docker sandbox: what may be chosen about them. What holds for every one of them (no network, no
//! capability, a root that cannot be written, a user who is not root) is no setting.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

pub use bind::{Bind, ForbiddenSource, forbidden_source};

mod bind;

/// The containers of the Docker sandbox.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct DockerConfig {
    /// The AppArmor profile, by its name, instead of the engine's own.
    #[schemars(extend("x-moltbot-form" = "profile-name"))]
    pub apparmor_profile: Option<String>,
    /// Folders of this machine that commands see, as `/source:/target` or `/source:/target:rw`. None: what is there can
    /// be read by whoever gives the assistant orders. Never a folder of the system, of keys, or of an engine.
    pub binds: Vec<Bind>,
    /// Capabilities that are dropped: all of them, whatever else is listed.
    pub cap_drop: Vec<String>,
    /// What the containers' names begin with. One for each installation that shares an engine.
    #[schemars(extend("x-moltbot-form" = "container-prefix"))]
    pub container_prefix: String,
    /// Processors that all commands of one container have together, 0.01 to 1024. One: a busy loop leaves the others.
    pub cpus: Cpus,
    /// The image: its name, or its id. A name is looked up once for each container, which is made from the id; nothing
    /// is ever pulled. `moltbot sandbox image build` makes the one that is the default.
    #[schemars(extend("x-moltbot-form" = "image"))]
    pub image: String,
    /// Memory of all commands of one container together, as `512m` or `2g`. There is no swap beyond it.
    pub memory: MemorySize,
    /// `none`: a container has no network.
    pub network: String,
    /// Processes and threads in one container at once, 16 to 100 000.
    #[schemars(range(min = 16, max = 100_000))]
    pub pids_limit: u32,
    /// Whether the root is read-only: always.
    pub read_only_root: bool,
    /// The container runtime, such as `runsc` for gVisor, that the engine knows by this name. Its own default when absent.
    #[schemars(extend("x-moltbot-form" = "runtime"))]
    pub runtime: Option<String>,
    /// Commands that prepare a new container, each a list of a program and its arguments; no shell reads them.
    pub setup: Vec<Vec<String>>,
    /// As `setup`, in one line: plain words, joined by `&&` and nothing else.
    pub setup_command: Option<String>,
    /// The engine's socket on this machine, an absolute path.
    #[schemars(extend("x-moltbot-form" = "absolute-path"))]
    pub socket: String,
    /// The user and group in the container, as `1000:1000`: numbers, and never root's. Who owns the workspace when absent.
    pub user: Option<ContainerUser>,
}

/// What is otherwise in the containers of one agent; what is absent is as in `agents.defaults.sandbox.docker`. The engine and the
/// beginning of the names are those of all.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AgentDockerConfig {
    /// The AppArmor profile, by its name.
    #[schemars(extend("x-moltbot-form" = "profile-name"))]
    pub apparmor_profile: Option<String>,
    /// Folders of this machine that commands see besides those of all agents.
    pub binds: Vec<Bind>,
    /// Capabilities that are dropped: all of them, whatever else is listed.
    pub cap_drop: Option<Vec<String>>,
    /// Processors that all commands of one container have together.
    pub cpus: Option<Cpus>,
    /// The image: its name, or its id.
    #[schemars(extend("x-moltbot-form" = "image"))]
    pub image: Option<String>,
    /// Memory of all commands of one container together.
    pub memory: Option<MemorySize>,
    /// `none`: a container has no network.
    pub network: Option<String>,
    /// Processes and threads in one container at once, 16 to 100 000.
    #[schemars(range(min = 16, max = 100_000))]
    pub pids_limit: Option<u32>,
    /// Whether the root is read-only: always.
    pub read_only_root: Option<bool>,
    /// The container runtime.
    #[schemars(extend("x-moltbot-form" = "runtime"))]
    pub runtime: Option<String>,
    /// Commands that prepare a new container, each a list of a program and its arguments, in place of those of all agents.
    pub setup: Option<Vec<Vec<String>>>,
    /// As `setup`, in one line.
    pub setup_command: Option<String>,
    /// The user and group in the container.
    pub user: Option<ContainerUser>,
}

impl DockerConfig {
    /// The same, with what one agent says itself.
    #[must_use]
    pub fn with(self, own: &AgentDockerConfig) -> Self {
        // A setup of its own is all of its setup, however it is written.
        let has_setup = own.setup.is_some() || own.setup_command.is_some();
        let (setup, setup_command) = match has_setup {
            true => (own.setup.clone().unwrap_or_default(), own.setup_command.clone()),
            false => (self.setup, self.setup_command),
        };
        Self {
            apparmor_profile: own.apparmor_profile.clone().or(self.apparmor_profile),
            binds: self.binds.into_iter().chain(own.binds.iter().cloned()).collect(),
            cap_drop: own.cap_drop.clone().unwrap_or(self.cap_drop),
            container_prefix: self.container_prefix,
            cpus: own.cpus.unwrap_or(self.cpus),
            image: own.image.clone().unwrap_or(self.image),
            memory: own.memory.unwrap_or(self.memory),
            network: own.network.clone().unwrap_or(self.network),
            pids_limit: own.pids_limit.unwrap_or(self.pids_limit),
            read_only_root: own.read_only_root.unwrap_or(self.read_only_root),
            runtime: own.runtime.clone().or(self.runtime),
            setup,
            setup_command,
            socket: self.socket,
            user: own.user.or(self.user),
        }
    }
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            apparmor_profile: None,
            binds: Vec::new(),
            cap_drop: vec!["ALL".into()],
            container_prefix: "moltbot-sbx-".into(),
            cpus: Cpus { thousandths: 1000 },
            image: "moltbot-sandbox:bookworm-slim".into(),
            memory: MemorySize(2 * 1024 * 1024 * 1024),
            network: "none".into(),
            pids_limit: 256,
            read_only_root: true,
            runtime: None,
            setup: Vec::new(),
            setup_command: None,
            socket: "/var/run/docker.sock".into(),
            user: None,
        }
    }
}

/// An amount of memory in bytes, at least 16 MiB: with less no shell starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemorySize(pub u64);

impl MemorySize {
    /// Reads `512m`, `2g` or a number of bytes.
    pub fn parse(text: &str) -> Option<Self> {
        const LEAST: u64 = 16 * 1024 * 1024;
        let text = text.trim().to_ascii_lowercase();
        let units = [("kb", 10), ("mb", 20), ("gb", 30), ("k", 10), ("m", 20), ("g", 30), ("b", 0)];
        let (number, shift) = units
            .iter()
            .find_map(|(unit, shift)| text.strip_suffix(unit).map(|number| (number, *shift)))
            .unwrap_or((&text, 0));
        let bytes = number.parse::<u64>().ok()?.checked_mul(1_u64.checked_shl(shift)?)?;
        (LEAST..=i64::MAX.unsigned_abs()).contains(&bytes).then_some(Self(bytes))
    }
}

/// A number of processors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cpus {
    /// In thousandths: 1500 are one and a half.
    pub thousandths: u32,
}

impl Cpus {
    /// Reads a number from 0.01 to 1024.
    pub fn of(number: f64) -> Option<Self> {
        // By its digits: a conversion of numbers would have to be trusted.
        let (whole, rest) =
            format!("{number:.3}").split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        let thousandths = whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(rest.parse().ok()?)?;
        (10..=1_024_000).contains(&thousandths).then_some(Self { thousandths })
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(f64::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a number from 0.01 to 1024"))
    }
}

impl JsonSchema for Cpus {
    fn schema_name() -> Cow<'static, str> {
        "Cpus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0.01, "maximum": 1024})
    }
}

/// A user and group of a container, neither of them root's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct ContainerUser {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl ContainerUser {
    /// Reads `1000` or `1000:1000`. Names are refused: an image may give any name to root.
    pub fn parse(text: &str) -> Option<Self> {
        // What the engine takes.
        let number =
            |text: &str| text.parse::<u32>().ok().filter(|n| (1..=i32::MAX.unsigned_abs()).contains(n));
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        Some(Self { uid: number(uid)?, gid: number(gid)? })
    }
}

macro_rules! text_setting {
    ($kind:ident, $form:literal, $expected:literal) => {
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom($expected))
            }
        }

        impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "x-moltbot-form": $form})
            }
        }
    };
}

text_setting!(Bind, "bind", "a bind, such as /srv/data:/data:ro");
text_setting!(ContainerUser, "container-user", "a user and group, such as 1000:1000");
text_setting!(MemorySize, "memory", "an amount of memory, such as 512m");

/// Whether a prefix may begin the name of a container.
pub fn is_container_prefix(text: &str) -> bool {
    let (mut bytes, letters) = (text.bytes(), |byte: u8| byte.is_ascii_alphanumeric());
    text.len() <= 22
        && bytes.next().is_some_and(letters)
        && bytes.all(|byte| letters(byte) || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_absurd_ones_are_not() {
        for (text, expected) in [
            ("512m", Some(512 << 20)),
            ("2G", Some(2 << 30)),
            ("1gb", Some(1 << 30)),
            ("33554432", Some(32 << 20)),
            ("1m", None),
            ("0", None),
            ("-1", None),
            ("", None),
            ("99999999999g", None),
            ("1.5g", None),
        ] {
            assert_eq!(MemorySize::parse(text).map(|size| size.0), expected, "{text}");
        }
    }

    #[test]
    fn d_96_a_container_is_never_roots() {
        for (text, expected) in [
            ("1000:1000", Some((1000, 1000))),
            ("1000", Some((1000, 1000))),
            ("0", None),
            ("0:1000", None),
            ("1000:0", None),
            ("00:00", None),
            ("root", None),
            ("root:root", None),
            ("nobody", None),
            ("4294967296", None),
            ("4294967295", None),
            ("-1:-1", None),
            ("1000:", None),
            ("", None),
        ] {
            assert_eq!(ContainerUser::parse(text).map(|user| (user.uid, user.gid)), expected, "{text}");
        }
    }

    #[test]
    fn processors_are_counted_in_thousandths() {
        for (number, expected) in
            [(1.0, Some(1000)), (0.5, Some(500)), (0.001, None), (-1.0, None), (f64::NAN, None), (1e12, None)]
        {
            assert_eq!(Cpus::of(number).map(|cpus| cpus.thousandths), expected, "{number}");
        }
    }

    #[test]
    fn a_prefix_is_a_beginning_of_a_name() {
        for (text, is_one) in
            [("moltbot-sbx-", true), ("a", true), ("-a", false), ("", false), ("a/b", false)]
        {
            assert_eq!(is_container_prefix(text), is_one, "{text}");
        }
    }
}
