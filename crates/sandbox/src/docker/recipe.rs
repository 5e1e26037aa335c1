//! What a container is made of: the whole request to the engine, and a digest of it.
//!
//! Nothing in here can be switched off by the config. A container that was made from another recipe is never used.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use moltbot_config::settings::ContainerUser;
use moltbot_policy::container::Container;
use moltbot_policy::profile::{Profile, WorkspaceAccess};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::folders::{Folders, Place};
use super::parts::Parts;
use super::{EngineError, seccomp};
use crate::helper::KEEP;

/// Everything that goes into a container.
pub(super) struct Recipe {
    pub(super) body: ContainerCreateBody,
    /// SHA-256 over all of it but the time.
    pub(super) digest: String,
}

/// The image, as the engine has it.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// `sha256:` and its digest.
    pub(super) id: String,
    /// Names of variables that it would set.
    pub(super) variables: Vec<String>,
}

/// What all labels begin with.
pub(super) const SANDBOX: &str = "moltbot.sandbox";
/// The label of the scope: its slug, never its key.
pub(super) const SESSION: &str = "moltbot.sessionKey";
/// The label of the digest.
pub(super) const DIGEST: &str = "moltbot.configHash";
/// The label of the time it was made.
pub(super) const CREATED: &str = "moltbot.createdAtMs";
/// The label of the installation that it belongs to.
pub(super) const INSTALLATION: &str = "moltbot.installation";

impl Recipe {
    /// The recipe for a scope's container.
    pub(super) fn of(
        container: &Container,
        profile: &Profile,
        image: &Image,
        user: ContainerUser,
        folders: &Folders,
        parts: &Parts,
    ) -> Result<Self, EngineError> {
        let host = HostConfig { mounts: Some(mounts(folders, parts)), ..host(container, profile, user)? };
        let mut body = ContainerCreateBody {
            hostname: Some("sandbox".into()),
            user: Some(format!("{}:{}", user.uid, user.gid)),
            env: Some(environment(image)),
            entrypoint: Some(parts.call(KEEP)),
            cmd: Some(Vec::new()),
            image: Some(image.id.clone()),
            working_dir: Some("/".into()),
            network_disabled: Some(true),
            // What ends it must not wait: the first process hears no other.
            stop_signal: Some("SIGKILL".into()),
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        // Which folders they are, and not only where: one that was replaced needs a new container.
        let whole = json!({ "body": body, "folders": folders.identities(), "setup": container.setup, "image": image.id });
        let digest: String =
            Sha256::digest(whole.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
        body.labels = Some(HashMap::from([
            (SANDBOX.to_owned(), "1".to_owned()),
            (SESSION.to_owned(), container.slug.clone()),
            (DIGEST.to_owned(), digest.clone()),
        ]));
        Ok(Self { body, digest })
    }
}

fn host(container: &Container, profile: &Profile, user: ContainerUser) -> Result<HostConfig, EngineError> {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let memory = Some(signed(container.memory));
    let mut security = vec!["no-new-privileges".to_owned()];
    let filter = seccomp::profile()
        .map_err(|number| EngineError::said(format!("the call {number} of the filter has no name")))?;
    security.push(format!("seccomp={filter}"));
    security.extend(container.apparmor.iter().map(|name| format!("apparmor={name}")));
    let ulimit = |name: &str, value: u64| ResourcesUlimits {
        name: Some(name.into()),
        soft: Some(signed(value)),
        hard: Some(signed(value)),
    };
    Ok(HostConfig {
        memory,
        memory_swap: memory,
        memory_swappiness: None,
        nano_cpus: Some(i64::from(container.cpus).saturating_mul(1_000_000)),
        pids_limit: Some(i64::from(container.pids)),
        ulimits: Some(vec![
            ulimit("core", 0),
            ulimit("fsize", profile.file_size),
            ulimit("nofile", profile.open_files),
            ulimit("memlock", 64 * 1024),
            ulimit("msgqueue", 0),
        ]),
        // Ours is the first process.
        init: Some(false),
        network_mode: Some("none".into()),
        ipc_mode: Some("private".into()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        cap_add: Some(Vec::new()),
        cap_drop: Some(vec!["ALL".into()]),
        privileged: Some(false),
        publish_all_ports: Some(false),
        readonly_rootfs: Some(true),
        security_opt: Some(security),
        // Before the engine's own daemons, and before the gateway.
        oom_score_adj: Some(1000),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        shm_size: Some(16 * 1024 * 1024),
        tmpfs: Some(temporary(profile, user)),
        masked_paths: Some(MASKED.map(str::to_owned).to_vec()),
        readonly_paths: Some(READ_ONLY.map(str::to_owned).to_vec()),
        runtime: container.runtime.clone(),
        ..HostConfig::default()
    })
}

/// Folders in memory, which are gone with the container. The user's own: older runtimes put the mode of the image's
/// folder in the place of the one that is asked for.
fn temporary(profile: &Profile, user: ContainerUser) -> HashMap<String, String> {
    let ContainerUser { uid, gid } = user;
    let options = |bytes: u64| {
        format!("rw,noexec,nosuid,nodev,mode=1777,uid={uid},gid={gid},nr_inodes=20000,size={bytes}")
    };
    let small = 1024 * 1024;
    let mut folders = HashMap::from([
        ("/tmp".to_owned(), options(profile.temporary_bytes)),
        ("/var/tmp".to_owned(), options(small)),
        ("/run".to_owned(), options(small)),
    ]);
    if profile.workspace == WorkspaceAccess::None {
        folders.insert("/workspace".to_owned(), options(profile.temporary_bytes));
    }
    folders
}

/// What tells of this machine, or could change it. More than the engine masks: all of `/sys`.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/kallsyms",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The two variables; those of the image are taken away by their bare names.
fn environment(image: &Image) -> Vec<String> {
    const OURS: [(&str, &str); 2] =
        [("LANG", "C.UTF-8"), ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")];
    let ours = OURS.iter().map(|(name, value)| format!("{name}={value}"));
    let theirs = image.variables.iter().filter(|name| OURS.iter().all(|(own, _)| own != name));
    ours.chain(theirs.cloned()).collect()
}

fn mounts(folders: &Folders, parts: &Parts) -> Vec<Mount> {
    let helper = parts.files.iter().map(|(here, there)| bind(here.clone(), there.clone(), false));
    let places = folders
        .places
        .iter()
        .map(|Place { here, there, writable, .. }| bind(here.clone(), there.clone(), *writable));
    helper.chain(places).collect()
}

fn bind(here: PathBuf, there: String, writable: bool) -> Mount {
    Mount {
        target: Some(there),
        source: Some(here.to_string_lossy().into_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(!writable),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}
