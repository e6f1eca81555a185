//! PSCI 1.1 (Arm DEN 0022): how the board's guest turns itself off.

use super::Ending;

const NOT_SUPPORTED: u64 = -1i64 as u64;
const ALREADY_ON: u64 = -4i64 as u64;

/// Answers one PSCI call: the result register, and the end of the guest if
/// that is what it asked for.
pub(super) fn call(args: [u64; 4]) -> (u64, Option<Ending>) {
    let function = args[0] as u32;
    let result = match function {
        // PSCI_VERSION: 1.1.
        0x8400_0000 => 0x0001_0001,
        // AFFINITY_INFO: the only CPU is on.
        0x8400_0004 | 0xc400_0004 => {
            if args[1] == 0 {
                0
            } else {
                -2i64 as u64
            }
        }
        // CPU_ON: there is one CPU, and it runs.
        0x8400_0003 | 0xc400_0003 => ALREADY_ON,
        // MIGRATE_INFO_TYPE: no trusted OS to migrate.
        0x8400_0006 => 2,
        0x8400_0008 => return (0, Some(Ending::PowerOff)),
        0x8400_0009 => return (0, Some(Ending::Reset)),
        // PSCI_FEATURES
        0x8400_000a => match args[1] as u32 {
            0x8400_0000 | 0x8400_0003 | 0xc400_0003 | 0x8400_0004 | 0xc400_0004 | 0x8400_0006
            | 0x8400_0008 | 0x8400_0009 | 0x8400_000a => 0,
            _ => NOT_SUPPORTED,
        },
        _ => NOT_SUPPORTED,
    };
    (result, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls() {
        assert_eq!(call([0x8400_0000, 0, 0, 0]).0, 0x10001);
        assert!(matches!(
            call([0x8400_0008, 0, 0, 0]).1,
            Some(Ending::PowerOff)
        ));
        assert!(matches!(
            call([0x8400_0009, 0, 0, 0]).1,
            Some(Ending::Reset)
        ));
        assert_eq!(call([0x1234, 0, 0, 0]).0, u64::MAX);
    }
}
