//! Register dumps.

use super::X86State;
use std::fmt::Write;

/// A register dump, one line each.
pub(super) fn registers(s: &X86State) -> String {
    const NAMES: [&str; 16] = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ];
    let mut out = format!(
        "rip {:#018x} rflags {:#x} cpl {}\n",
        s.rip,
        s.rflags(),
        s.cpl
    );
    for (n, name) in NAMES.iter().enumerate() {
        let end = if n % 4 == 3 { '\n' } else { ' ' };
        let _ = write!(out, "{name:>3} {:#018x}{end}", s.gpr[n]);
    }
    let _ = writeln!(
        out,
        "cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}",
        s.cr0, s.cr2, s.cr3, s.cr4, s.msr.efer
    );
    let _ = writeln!(
        out,
        "cs {:#x} ss {:#x} fs base {:#x} gs base {:#x} kernel gs base {:#x}",
        s.seg[1].selector, s.seg[2].selector, s.seg[4].base, s.seg[5].base, s.msr.kernel_gs_base
    );
    let _ = writeln!(
        out,
        "gdt {:#x}+{:#x} idt {:#x}+{:#x} tss {:#x}",
        s.gdtr.base, s.gdtr.limit, s.idtr.base, s.idtr.limit, s.tr.base
    );
    out
}
