//! How much memory a model may have, and that it takes no more.

use rustix::process::{Resource, Rlimit};

use crate::failure::{Code, Failure};

/// What may be taken, in bytes: three quarters of what the machine has, or what this process was limited to.
pub(crate) fn allowed() -> u64 {
    let machine = rustix::system::sysinfo();
    let total = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    let limits = [Resource::As, Resource::Data].map(rustix::process::getrlimit);
    limits.into_iter().filter_map(|limit| limit.current).fold(total / 4 * 3, u64::min)
}

/// Limits this process to `bytes` of data: a template or a tokenizer that takes more ends it, and not the machine.
pub(crate) fn limit(bytes: u64) -> Result<(), Failure> {
    let failed = |cause: rustix::io::Errno| Code::Memory.explained("memory cannot be limited", &cause);
    let own = rustix::process::getrlimit(Resource::Data);
    let bytes = own.current.unwrap_or(bytes).min(bytes);
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    rustix::process::setrlimit(Resource::Data, limit).map_err(failed)
}
