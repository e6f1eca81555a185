//! The state in which a 64-bit kernel is entered, the same as for an emulated
//! CPU: long mode, paging on, interrupts off, flat segments (Linux x86 boot
//! protocol, 64-bit).

use super::KvmError;
use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;

/// Where the machine has put what the CPU needs at entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootState {
    /// First instruction.
    pub rip: u64,
    /// RSI: physical address of the boot parameters.
    pub rsi: u64,
    /// Physical address of page tables.
    pub cr3: u64,
    /// Physical address of a GDT with a flat 64-bit code segment at selector
    /// 0x10 and a flat data segment at 0x18.
    pub gdt: u64,
    /// Limit of the GDT in bytes, minus one.
    pub gdt_limit: u16,
    /// Switches SSE on (CR4.OSFXSR and OSXMMEXCPT), which a kernel does itself.
    pub sse: bool,
}

// Intel SDM volume 3, 2.5.
const CR0: u64 = 1 << 31 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1;
const CR4_PAE: u64 = 1 << 5;
const CR4_SSE: u64 = 3 << 9;
/// SCE, LME, LMA, NXE.
const EFER: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11;

const MSR_MISC_ENABLE: u32 = 0x1a0;
const MSR_MTRR_DEF_TYPE: u32 = 0x2ff;

pub(super) fn enter(vcpu: &VcpuFd, boot: &BootState) -> Result<(), KvmError> {
    let code = segment(0x10, 11, true);
    let data = segment(0x18, 3, false);
    let mut s = vcpu
        .get_sregs()
        .map_err(KvmError::call("read the system registers"))?;
    s.cs = code;
    (s.ds, s.es, s.fs, s.gs, s.ss) = (data, data, data, data, data);
    s.tr = kvm_segment {
        limit: 0xffff,
        type_: 11,
        present: 1,
        ..kvm_segment::default()
    };
    s.ldt = kvm_segment {
        type_: 2,
        present: 1,
        ..kvm_segment::default()
    };
    s.gdt.base = boot.gdt;
    s.gdt.limit = boot.gdt_limit;
    s.idt.limit = 0;
    s.cr0 = CR0;
    s.cr3 = boot.cr3;
    s.cr4 = CR4_PAE | if boot.sse { CR4_SSE } else { 0 };
    s.efer = EFER;
    vcpu.set_sregs(&s)
        .map_err(KvmError::call("set the system registers"))?;
    let regs = kvm_regs {
        rip: boot.rip,
        rsi: boot.rsi,
        rflags: 2,
        ..kvm_regs::default()
    };
    vcpu.set_regs(&regs)
        .map_err(KvmError::call("set the registers"))
}

/// MSRs that firmware would have set: fast strings; MTRRs on with write-back
/// as the default type. A KVM that lacks one of them does without.
pub(super) fn set_msrs(vcpu: &VcpuFd) {
    for (index, data) in [(MSR_MISC_ENABLE, 1), (MSR_MTRR_DEF_TYPE, 1 << 11 | 6)] {
        let entry = kvm_msr_entry {
            index,
            data,
            ..kvm_msr_entry::default()
        };
        if let Ok(msrs) = Msrs::from_entries(&[entry])
            && vcpu.set_msrs(&msrs).ok() != Some(1)
        {
            tracing::debug!(index, "KVM has no such MSR");
        }
    }
}

fn segment(selector: u16, type_: u8, code: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        db: (!code).into(),
        s: 1,
        l: code.into(),
        g: 1,
        ..kvm_segment::default()
    }
}
