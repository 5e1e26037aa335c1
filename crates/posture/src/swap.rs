//! Whether what is in memory can reach a disk as text: swap, and whether this process can keep its keys out of it.

use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat, major, minor, readlink, stat};
use rustix::io::Errno;

use crate::check::Check;

/// The kernel's list of swap areas: a line of titles, then one line an area, its path first.
const SWAPS: &str = "/proc/swaps";
/// The largest text of the kernel that is read, in bytes: a line of the list has 80, and 32 areas are the most.
const TEXT_BYTES: usize = 16 * 1024;
/// How many devices one may lie on another: a volume on an array on an encrypted partition has three.
const LAYERS: usize = 8;

/// How a swap area keeps what is swapped out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keeps {
    /// On an encrypted device.
    Encrypted,
    /// In memory, compressed.
    Memory,
    /// On a device that nothing encrypts, as far as can be seen.
    Plain,
}

/// Whether the machine's swap is encrypted. A key or a message that is swapped out stays on the disk for months.
pub fn swap() -> Check {
    match read(Path::new(SWAPS)) {
        Ok(list) => judge(&list, keeps),
        Err(Errno::NOENT) => judge("", keeps), // A kernel without swap.
        Err(errno) => {
            let fix = "look with `swapon --show`, and encrypt what is there";
            Check::warn(ID, format!("whether swap is encrypted is unknown: {errno}"), fix)
        }
    }
}

/// Whether keys are kept out of swap, as the vault has found.
pub fn memory_lock(can_lock: bool) -> Check {
    const ID: &str = "memory.lock";
    if can_lock {
        return Check::ok(ID, "keys are kept out of swap");
    }
    let fix = "raise the limit on locked memory to 64 kB or more: `ulimit -l 64`, or `LimitMEMLOCK=64K` in the service";
    Check::warn(ID, "keys may be swapped out: the limit on locked memory is used up", fix)
}

const ID: &str = "memory.swap";

fn judge(list: &str, keeps: impl Fn(&str) -> Keeps) -> Check {
    let areas: Vec<String> =
        list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescape).collect();
    if areas.is_empty() {
        return Check::ok(ID, "there is no swap");
    }
    let plain: Vec<_> = areas.iter().filter(|area| keeps(area) == Keeps::Plain).map(String::as_str).collect();
    if plain.is_empty() {
        return Check::ok(ID, "what is swapped out is encrypted or stays in memory");
    }
    let what =
        format!("swap is not encrypted: {}; what is swapped out stays readable there", plain.join(", "));
    Check::warn(
        ID,
        what,
        "encrypt it (`crypttab` with a random key), use zram, or switch it off with `swapoff -a`",
    )
}

/// The kernel writes a space, a tab, a newline and a backslash in a path as three octal digits.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

fn keeps(area: &str) -> Keeps {
    let device = Path::new(area).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match stat(area) {
        // A device by its number: its path may be one of many.
        Ok(found) if found.st_rdev != 0 => device_keeps(&number(found.st_rdev), LAYERS),
        // A file is as well kept as the device that it is on.
        Ok(found) => device_keeps(&number(file_device(&found)), LAYERS),
        // In a container the host's devices have no path, but the kernel names them all the same.
        Err(_) => device_keeps(&format!("../../class/block/{device}"), LAYERS),
    }
}

const fn file_device(found: &Stat) -> u64 {
    found.st_dev
}

fn number(device: u64) -> String {
    format!("{}:{}", major(device), minor(device))
}

/// What the kernel tells in `/sys` about a block device, by its number.
fn device_keeps(device: &str, layers: usize) -> Keeps {
    let at = |name: &str| format!("/sys/dev/block/{device}/{name}");
    let name = readlink(at("").trim_end_matches('/'), Vec::new());
    let name = name.ok().and_then(|link| link.into_string().ok()).unwrap_or_default();
    if name.rsplit('/').next().is_some_and(|name| name.starts_with("zram")) {
        // With a device behind it, what does not compress goes there.
        return match read(Path::new(&at("backing_dev"))) {
            Ok(behind) if behind.trim() == "none" => Keeps::Memory,
            Err(Errno::NOENT) => Keeps::Memory, // A kernel that cannot have one.
            Ok(_) | Err(_) => Keeps::Plain,
        };
    }
    if read(Path::new(&at("dm/uuid"))).is_ok_and(|id| id.starts_with("CRYPT-")) {
        return Keeps::Encrypted;
    }
    beneath(&at("slaves"), layers)
}

/// A device on others is encrypted when each of them is.
fn beneath(slaves: &str, layers: usize) -> Keeps {
    let Some(layers) = layers.checked_sub(1) else { return Keeps::Plain };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(slaves, flags, Mode::empty()).and_then(rustix::fs::Dir::new);
    let Ok(folder) = folder else { return Keeps::Plain };
    let names: Vec<String> = folder
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "." && name != "..")
        .collect();
    let is_encrypted =
        |name: &String| device_keeps(&format!("../../class/block/{name}"), layers) == Keeps::Encrypted;
    if !names.is_empty() && names.iter().all(is_encrypted) { Keeps::Encrypted } else { Keeps::Plain }
}

/// A short text of the kernel's. Its files have no size, and nobody but the kernel writes them.
fn read(path: &Path) -> Result<String, Errno> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    let mut text = Vec::with_capacity(TEXT_BYTES);
    while text.len() < TEXT_BYTES && rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut text))? > 0 {}
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    const TITLES: &str = "Filename\tType\tSize\tUsed\tPriority\n";

    fn keeps_of(area: &str) -> Keeps {
        match area {
            "/dev/dm-1" => Keeps::Encrypted,
            "/dev/zram0" => Keeps::Memory,
            _ => Keeps::Plain,
        }
    }

    #[test]
    fn swap_that_is_not_encrypted_is_told_by_its_path() {
        for (areas, level, part) in [
            ("", Level::Ok, "no swap"),
            ("/dev/dm-1 partition 1 0 -2\n", Level::Ok, "encrypted"),
            ("/dev/zram0 partition 1 0 100\n/dev/dm-1 partition 1 0 -2\n", Level::Ok, "stays in memory"),
            ("/dev/zram0 partition 1 0 100\n/swap\\040file file 1 0 -2\n", Level::Warn, "/swap file;"),
            ("/dev/sda2 partition 1 0 -2\n", Level::Warn, "/dev/sda2"),
        ] {
            let check = judge(&format!("{TITLES}{areas}"), keeps_of);
            assert_eq!(check.level, level, "{areas}");
            assert!(check.what.contains(part), "{part} in {}", check.what);
        }
        assert_eq!(judge("", keeps_of).level, Level::Ok);
    }

    #[test]
    fn what_cannot_be_seen_counts_as_plain() {
        assert_eq!(device_keeps("999:999", LAYERS), Keeps::Plain);
        assert_eq!(beneath("/sys/dev/block/999:999/slaves", LAYERS), Keeps::Plain);
        assert_eq!(keeps("/there/is/no/such/area"), Keeps::Plain);
        // A file on whatever this test runs on is judged by that disk, and the list of this machine can be read.
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = number(stat(file.path()).unwrap().st_dev);
        assert_eq!(keeps(file.path().to_str().unwrap()), device_keeps(&device, LAYERS));
        assert_eq!(swap().id, ID);
    }

    #[test]
    fn a_limit_on_locked_memory_is_told() {
        assert_eq!((memory_lock(true).level, memory_lock(false).level), (Level::Ok, Level::Warn));
    }
}
