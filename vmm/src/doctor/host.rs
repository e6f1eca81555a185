//! Memory and processors.

use super::{Finding, Health};

/// MiB that the default pair takes: two guests of 256 MiB and the emulators.
const PAIR_MIB: u64 = 700;

pub(super) fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (total, free) = (mib(&text, "MemTotal:"), mib(&text, "MemAvailable:"));
    let enough = free >= PAIR_MIB;
    Finding {
        what: "memory",
        health: if enough {
            Health::Good
        } else {
            Health::Missing
        },
        found: format!("{free} of {total} MiB are free"),
        used: format!("the default pair takes at most {PAIR_MIB} MiB"),
        advice: (!enough).then(|| "close programs, or give guests less with 'memory:'".to_owned()),
    }
}

fn mib(meminfo: &str, key: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

pub(super) fn processors() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let enough = count >= 2;
    Finding {
        what: "processors",
        health: if enough {
            Health::Good
        } else {
            Health::Replaced
        },
        found: format!("{count} usable"),
        used: "one for each vCPU that is busy".to_owned(),
        advice: (!enough)
            .then(|| "guests take turns; give this machine a second processor".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo() {
        let text =
            "MemTotal:       24684112 kB\nMemFree:          123 kB\nMemAvailable:   18732032 kB\n";
        assert_eq!(
            (
                mib(text, "MemTotal:"),
                mib(text, "MemAvailable:"),
                mib(text, "Swap:")
            ),
            (24105, 18293, 0)
        );
    }
}
