//! What a guest sees of the processor: all that KVM supports, with the topology
//! of one socket of single-threaded cores.

use super::KvmError;
use kvm_bindings::{CpuId, kvm_cpuid_entry2};
use kvm_ioctls::{Cap, VcpuFd};

const HYPERVISOR: u32 = 0x4000_0000;
/// The generic timing leaf of hypervisors: TSC and APIC timer in kHz.
const TIMING: u32 = 0x4000_0010;
/// KVM's APIC timer counts nanoseconds.
const APIC_KHZ: u32 = 1_000_000;

/// CPUID leaf 1 (Intel SDM volume 2, CPUID).
const ECX_X2APIC: u32 = 1 << 21;
const ECX_TSC_DEADLINE: u32 = 1 << 24;
const ECX_HYPERVISOR: u32 = 1 << 31;
const EDX_HTT: u32 = 1 << 28;

/// Facts that the CPUID of a vCPU depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    pub id: u32,
    pub count: u32,
    pub irqchip: bool,
    pub tsc_deadline: bool,
    pub tsc_khz: Option<u32>,
}

/// Sets the CPUID of vCPU `id` of `count`.
pub(super) fn set(
    vm: &super::KvmVm,
    vcpu: &VcpuFd,
    id: u8,
    count: u8,
    irqchip: bool,
) -> Result<(), KvmError> {
    let cpu = Cpu {
        id: id.into(),
        count: u32::from(count).max(1),
        irqchip,
        tsc_deadline: irqchip && vm.has(Cap::TscDeadlineTimer),
        tsc_khz: vcpu.get_tsc_khz().ok().filter(|&khz| khz != 0),
    };
    let mut entries = vm.supported_cpuid()?.as_slice().to_vec();
    adapt(&mut entries, cpu);
    let list =
        CpuId::from_entries(&entries).map_err(|_| KvmError::Capability("room for the CPUID"))?;
    vcpu.set_cpuid2(&list)
        .map_err(KvmError::call("set the CPUID"))
}

/// Changes the supported leaves to those of one vCPU.
pub(super) fn adapt(entries: &mut Vec<kvm_cpuid_entry2>, cpu: Cpu) {
    let Cpu {
        id,
        count,
        irqchip,
        tsc_deadline,
        tsc_khz,
    } = cpu;
    // APIC ID bits that number the cores of the socket.
    let bits = count.next_power_of_two().trailing_zeros();
    // Leaves that describe the host's topology: they are made anew or, like the
    // dies of leaf 0x1f, mean nothing here.
    entries.retain(|e| !matches!(e.function, 0xb | 0x1f | 0x8000_001e | TIMING));
    for e in entries.iter_mut() {
        match e.function {
            0 => e.eax = e.eax.max(0xb),
            1 => {
                e.ebx = e.ebx & 0xffff | id << 24 | count << 16;
                e.ecx |= ECX_HYPERVISOR;
                set_bit(&mut e.ecx, ECX_X2APIC, irqchip);
                set_bit(&mut e.ecx, ECX_TSC_DEADLINE, tsc_deadline);
                set_bit(&mut e.edx, EDX_HTT, count > 1);
            }
            // Caches: the last level is shared by the socket.
            4 => {
                let shared = if e.eax >> 5 & 7 >= 3 {
                    (1 << bits) - 1
                } else {
                    0
                };
                e.eax = e.eax & 0x3fff | shared << 14 | ((1 << bits) - 1) << 26;
            }
            0x8000_0008 => e.ecx = bits << 12 | (count - 1),
            0x8000_001d => {
                let shared = if e.eax >> 5 & 7 >= 3 { count - 1 } else { 0 };
                e.eax = e.eax & 0x3fff | shared << 14;
            }
            HYPERVISOR => e.eax = e.eax.max(TIMING),
            _ => {}
        }
    }
    let leaf = |function, index, eax, ebx, ecx, edx| kvm_cpuid_entry2 {
        function,
        index,
        // KVM_CPUID_FLAG_SIGNIFCANT_INDEX
        flags: u32::from(function == 0xb),
        eax,
        ebx,
        ecx,
        edx,
        ..kvm_cpuid_entry2::default()
    };
    // Extended topology: SMT level with one thread, core level with all.
    entries.push(leaf(0xb, 0, 0, 1, 1 << 8, id));
    entries.push(leaf(0xb, 1, bits, count, 2 << 8 | 1, id));
    if entries.iter().any(|e| e.function == 0x8000_001d) {
        entries.push(leaf(0x8000_001e, 0, id, id, 0, 0));
    }
    if let Some(khz) = tsc_khz {
        entries.push(leaf(TIMING, 0, khz, APIC_KHZ, 0, 0));
    }
}

fn set_bit(word: &mut u32, bit: u32, on: bool) {
    *word = if on { *word | bit } else { *word & !bit };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            ..kvm_cpuid_entry2::default()
        }
    }

    #[test]
    fn topology_of_three_cores() {
        let mut entries: Vec<_> = [0, 1, 0xb, 0x1f, HYPERVISOR, 0x8000_0008].map(entry).into();
        entries[1].ebx = 0x4708_1234;
        let cpu = Cpu {
            id: 2,
            count: 3,
            irqchip: true,
            tsc_deadline: true,
            tsc_khz: Some(2_500_000),
        };
        adapt(&mut entries, cpu);
        let get = |function, index| {
            *entries
                .iter()
                .find(|e| e.function == function && e.index == index)
                .unwrap()
        };
        // Initial APIC ID, number of logical processors; the rest is kept.
        assert_eq!(get(1, 0).ebx, 0x0203_1234);
        assert_eq!(
            get(1, 0).ecx,
            ECX_X2APIC | ECX_TSC_DEADLINE | ECX_HYPERVISOR
        );
        assert_eq!(get(1, 0).edx, EDX_HTT);
        // Level type 2 (core) in ECX 15:8, three processors, shift by two bits.
        let core = get(0xb, 1);
        assert_eq!(
            (
                core.eax & 31,
                core.ebx & 0xffff,
                core.ecx >> 8 & 0xff,
                core.edx
            ),
            (2, 3, 2, 2)
        );
        let smt = get(0xb, 0);
        assert_eq!(
            (smt.eax & 31, smt.ebx & 0xffff, smt.ecx >> 8 & 0xff, smt.edx),
            (0, 1, 1, 2)
        );
        assert_eq!(get(0x8000_0008, 0).ecx, 0x2002);
        assert_eq!(
            (get(TIMING, 0).eax, get(HYPERVISOR, 0).eax),
            (2_500_000, TIMING)
        );
        assert!(entries.iter().all(|e| e.function != 0x1f));
    }

    #[test]
    fn one_core_has_no_hyper_threads() {
        let mut entries = vec![entry(1)];
        entries[0].edx = u32::MAX;
        adapt(
            &mut entries,
            Cpu {
                id: 0,
                count: 1,
                irqchip: false,
                tsc_deadline: false,
                tsc_khz: None,
            },
        );
        assert_eq!(entries[0].edx, !EDX_HTT);
        assert_eq!(entries[0].ecx, ECX_HYPERVISOR);
    }
}
