//! How many threads are best: one for each core made for performance that this process may use.
//!
//! A second thread on a core shares its multipliers, and an efficiency core makes all others wait for it at the end of every
//! step, so neither is counted where the system tells them apart (Linux does). What the affinity or a container allows is
//! the most in any case.

use std::collections::BTreeSet;

use bantam_kernels::available_threads;

/// Share of the greatest capacity that a core for performance has at least (Linux gives each ARM core one of up to 1024;
/// efficiency cores have 200 to 500).
const PERFORMANCE: f64 = 0.6;

/// Threads for a model where nobody says how many.
pub fn preferred_threads() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    cores(&read).map_or_else(available_threads, |cores| cores.clamp(1, available_threads()))
}

/// Cores for performance among those that this process may use, as far as the system's files say.
fn cores(read: &dyn Fn(&str) -> Option<String>) -> Option<usize> {
    let status = read("/proc/self/status")?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut allowed = list(allowed)?;
    // Intel: the performance cores of a hybrid processor are a device of their own.
    let performance = match (read("/sys/devices/cpu_core/cpus"), read("/sys/devices/cpu_atom/cpus")) {
        (Some(fast), Some(_)) => list(&fast),
        _ => None,
    };
    let of = |cpu: usize, file: &str| read(&format!("/sys/devices/system/cpu/cpu{cpu}/{file}"));
    let performance = performance.or_else(|| {
        let capacity = |cpu: usize| of(cpu, "cpu_capacity")?.trim().parse::<f64>().ok();
        let capacities = allowed.iter().map(|&cpu| capacity(cpu).map(|capacity| (cpu, capacity)));
        let capacities: Vec<(usize, f64)> = capacities.collect::<Option<_>>()?;
        let most = capacities.iter().map(|(_, capacity)| *capacity).fold(0.0, f64::max);
        Some(capacities.iter().filter(|(_, capacity)| *capacity >= PERFORMANCE * most).map(|(cpu, _)| *cpu).collect())
    });
    if let Some(performance) = performance {
        let fast: BTreeSet<usize> = allowed.intersection(&performance).copied().collect();
        // A process that may use slow cores alone uses them.
        if !fast.is_empty() {
            allowed = fast;
        }
    }
    let first = |cpu: usize| {
        let siblings = list(&of(cpu, "topology/thread_siblings_list")?)?;
        siblings.intersection(&allowed).next().copied()
    };
    let cores: BTreeSet<usize> = allowed.iter().map(|&cpu| first(cpu).unwrap_or(cpu)).collect();
    (!cores.is_empty()).then_some(cores.len())
}

/// `0-3,8,10-11` as numbers.
fn list(text: &str) -> Option<BTreeSet<usize>> {
    let mut numbers = BTreeSet::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        // No machine has more; a file that says so is no list of processors.
        if last > 1 << 16 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let check = |text: &str, expected: Option<&[usize]>| {
            assert_eq!(list(text), expected.map(|numbers| numbers.iter().copied().collect()), "{text}");
        };
        check("0\n", Some(&[0]));
        check(" 0-2,5,7-8\n", Some(&[0, 1, 2, 5, 7, 8]));
        check("", Some(&[]));
        check("3-1", Some(&[]));
        check("a", None);
        check("0-99999999999", None);
    }

    #[test]
    fn cores_for_performance_are_counted_once() {
        let check = |files: &[(&str, &str)], expected: Option<usize>| {
            let read = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
            assert_eq!(cores(&read), expected, "{files:?}");
        };
        let status = ("/proc/self/status", "Name:\tbantam\nCpus_allowed_list:\t0-5\n");
        let siblings = |cpu: usize| {
            ["/sys/devices/system/cpu/cpu0", "/sys/devices/system/cpu/cpu1"][cpu].to_owned()
                + "/topology/thread_siblings_list"
        };
        check(&[], None);
        check(&[status], Some(6));
        // Two threads on one core.
        check(&[status, (&siblings(0), "0-1\n"), (&siblings(1), "0-1\n")], Some(5));
        // A hybrid: two fast cores' two threads each and two slow ones.
        let hybrid = [("/sys/devices/cpu_core/cpus", "0-1\n"), ("/sys/devices/cpu_atom/cpus", "2-7\n")];
        check(&[status, hybrid[0], hybrid[1], (&siblings(0), "0-1\n"), (&siblings(1), "0-1\n")], Some(1));
        check(&[status, hybrid[0], hybrid[1]], Some(2));
        check(&[status, hybrid[0]], Some(6));
        check(&[("/proc/self/status", "Cpus_allowed_list: 3-5\n"), hybrid[0], hybrid[1]], Some(3));
        // Capacities: four small cores and two large ones.
        let capacity = |cpu: usize| format!("/sys/devices/system/cpu/cpu{cpu}/cpu_capacity");
        let names: Vec<String> = (0..6).map(capacity).collect();
        let mut files = vec![status];
        files.extend(
            names.iter().enumerate().map(|(cpu, name)| (name.as_str(), if cpu < 4 { "446\n" } else { "1024\n" })),
        );
        check(&files, Some(2));
        check(&files[..4], Some(6));
    }
}
