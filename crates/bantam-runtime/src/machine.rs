//! How much memory there is for us: the machine's, a control group's, or what the user allows.

use std::path::{Path, PathBuf};

/// A limit on memory and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes that may still be taken.
    pub bytes: u64,
    /// In words, to stand before the number: "the machine has".
    pub whose: &'static str,
}

/// The tightest limit known: available memory, control groups above this process, and `allowed` where given.
///
/// What this process has taken already (vocabulary, program) counts as available, since a promise covers the whole of it.
/// `None` where the system does not say (only Linux is asked so far) and nothing was given.
pub fn memory_limit(allowed: Option<u64>) -> Option<MemoryLimit> {
    let own = read("/proc/self/status").and_then(|status| kilobytes(&status, "RssAnon:")).unwrap_or(0);
    let of = |whose| move |bytes: u64| MemoryLimit { bytes: bytes.saturating_add(own + KERNEL), whose };
    let machine = available_memory().map(of("the machine has available"));
    let group = control_group_room(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup").unwrap_or_default())
        .map(of("this control group has left"));
    let allowed = allowed.map(|bytes| MemoryLimit { bytes, whose: "--memory allows" });
    [allowed, group, machine].into_iter().flatten().min_by_key(|limit| limit.bytes)
}

/// Most memory that this process has held at once, where the system says.
pub fn peak_memory() -> Option<u64> {
    kilobytes(&read("/proc/self/status")?, "VmHWM:")
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// What the system books for a process beside its own memory (page tables, charges taken in batches); the promise's
/// overhead covers it.
const KERNEL: u64 = 4 << 20;

/// `MemAvailable`: what can be taken without swapping.
fn available_memory() -> Option<u64> {
    kilobytes(&read("/proc/meminfo")?, "MemAvailable:")
}

/// The value of a line `key  N kB`, in bytes.
fn kilobytes(table: &str, key: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Room left in the tightest control group from this process's own up to the root, version 2 or 1.
///
/// Page cache counts as used there but gives way, so it is added back.
fn control_group_room(root: &Path, membership: &str) -> Option<u64> {
    let mut rooms = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (base, files) = if controllers.is_empty() {
            (root.to_path_buf(), ["memory.max", "memory.current", "inactive_file", "active_file"])
        } else if controllers.split(',').any(|controller| controller == "memory") {
            let names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"];
            (root.join("memory"), names)
        } else {
            continue;
        };
        let mut group: PathBuf = base.join(path.trim_start_matches('/'));
        loop {
            rooms.extend(room(&group, files));
            if group == base || !group.pop() || !group.starts_with(&base) {
                break;
            }
        }
    }
    rooms.into_iter().min()
}

fn room(group: &Path, [limit, used, inactive, active]: [&str; 4]) -> Option<u64> {
    let number = |file: &str| read(group.join(file))?.trim().parse::<u64>().ok();
    // "max" does not parse; version 1 says "no limit" with a number near 2^63.
    let limit = number(limit).filter(|limit| *limit < 1 << 62)?;
    let used = number(used)?;
    let statistics = read(group.join("memory.stat")).unwrap_or_default();
    let cache: u64 = statistics
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| *name == inactive || *name == active)
        .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .sum();
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_bytes() {
        assert_eq!(kilobytes("MemTotal: 9 kB\nMemAvailable:   24087 kB\n", "MemAvailable:"), Some(24087 * 1024));
        assert_eq!(kilobytes("MemTotal: 9 kB\n", "MemAvailable:"), None);
    }

    #[test]
    fn the_tightest_group_counts_with_its_cache_given_back() {
        let root = std::env::temp_dir().join(format!("bantam-groups-{}", std::process::id()));
        let inner = root.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let write = |path: PathBuf, text: &str| std::fs::write(path, text).unwrap();
        write(inner.join("memory.max"), "max\n");
        write(root.join("a/memory.max"), "1000\n");
        write(root.join("a/memory.current"), "700\n");
        write(root.join("a/memory.stat"), "anon 300\ninactive_file 250\nactive_file 150\n");
        assert_eq!(control_group_room(&root, "0::/a/b\n"), Some(700));
        assert_eq!(control_group_room(&root, "0::/\n"), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
