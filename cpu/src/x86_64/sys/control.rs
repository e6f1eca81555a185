//! Control and debug registers, descriptor-table registers, TLB and caches.

use super::privileged;
use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::decode::{Lowered, last};
use crate::x86_64::int::canonical;
use crate::x86_64::operand::{MEM, Width, ea, is_memory, pack};
use crate::x86_64::paging::PHYSICAL_BITS;
use crate::x86_64::state::TableRegister;
use crate::x86_64::trap::{gp, ud};
use iced_x86::{Instruction, Mnemonic, OpKind};

type Cpu = crate::Cpu<X86>;

/// CR0 bits.
pub mod cr0 {
    /// Protection enable.
    pub const PE: u64 = 1;
    /// Monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// No x87.
    pub const EM: u64 = 1 << 2;
    /// Task switched.
    pub const TS: u64 = 1 << 3;
    /// Extension type, always 1.
    pub const ET: u64 = 1 << 4;
    /// Supervisor honours read-only pages.
    pub const WP: u64 = 1 << 16;
    /// Paging.
    pub const PG: u64 = 1 << 31;
    /// Bits that exist.
    pub const ALL: u64 = PE | MP | EM | TS | ET | 1 << 5 | WP | 1 << 18 | 3 << 29 | PG;
}
/// CR4 bits.
pub mod cr4 {
    /// RDTSC at the highest privilege only.
    pub const TSD: u64 = 1 << 2;
    /// Physical address extension.
    pub const PAE: u64 = 1 << 5;
    /// Global pages.
    pub const PGE: u64 = 1 << 7;
    /// FXSAVE and SSE are enabled.
    pub const OSFXSR: u64 = 1 << 9;
    /// RDFSBASE and its kin are enabled.
    pub const FSGSBASE: u64 = 1 << 16;
    /// Bits that exist: VME, PVI, TSD, DE, PSE, PAE, MCE, PGE, PCE, OSFXSR,
    /// OSXMMEXCPT, FSGSBASE.
    pub const ALL: u64 = 0x7ff | FSGSBASE;
}

fn read_cr(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let v = match op.b {
        0 => cpu.s.cr0,
        2 => cpu.s.cr2,
        3 => cpu.s.cr3,
        4 => cpu.s.cr4,
        8 => u64::from(cpu.s.apic.tpr >> 4),
        _ => return ud(cpu),
    };
    cpu.s.gpr[(op.a & 15) as usize] = v;
    Flow::Next
}
fn write_cr(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let v = cpu.s.gpr[(op.b & 15) as usize];
    match op.a {
        0 => {
            // Leaving long mode by clearing PG or PE is not supported.
            let must = cr0::PE | cr0::PG;
            if v & must != must || v & !cr0::ALL != 0 {
                return gp(cpu, 0);
            }
            set_cr0(cpu, v);
        }
        2 => cpu.s.cr2 = v,
        3 => {
            if v >> PHYSICAL_BITS != 0 {
                return gp(cpu, 0);
            }
            cpu.s.cr3 = v;
            if cpu.s.cr4 & cr4::PGE != 0 {
                cpu.flush_nonglobal();
            } else {
                cpu.flush_tlb();
            }
        }
        4 => {
            if v & !cr4::ALL != 0 || v & cr4::PAE == 0 {
                return gp(cpu, 0);
            }
            let changed = cpu.s.cr4 ^ v;
            cpu.s.cr4 = v;
            if changed & (cr4::PGE | cr4::PAE | 1 << 4) != 0 {
                cpu.flush_tlb();
            }
            if changed & cr4::OSFXSR != 0 {
                cpu.flush_blocks();
            }
        }
        8 => {
            if v & !15 != 0 {
                return gp(cpu, 0);
            }
            cpu.s.apic.tpr = (v as u8) << 4;
            crate::x86_64::interrupt::reconsider(cpu);
        }
        _ => return ud(cpu),
    }
    Flow::Resync
}
fn set_cr0(cpu: &mut Cpu, v: u64) {
    let v = v | cr0::ET;
    let changed = cpu.s.cr0 ^ v;
    cpu.s.cr0 = v;
    if changed & cr0::WP != 0 {
        cpu.flush_tlb();
    }
    if changed & (cr0::TS | cr0::EM | cr0::MP) != 0 {
        cpu.flush_blocks();
    }
}
fn clts(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let v = cpu.s.cr0 & !cr0::TS;
    set_cr0(cpu, v);
    Flow::Resync
}
fn lmsw(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let v = u64::from(if op.e & MEM != 0 {
        access!(cpu.load::<u16>(ea(cpu, op)))
    } else {
        u16::get(&cpu.s.gpr, op.a)
    });
    // PE can be set but not cleared; the other bits are MP, EM and TS.
    let v = cpu.s.cr0 & !14 | v & 14;
    set_cr0(cpu, v);
    Flow::Resync
}
fn smsw(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let v = cpu.s.cr0;
    store_word(cpu, op, v)
}
/// A 16-bit store, or a register of the size in `b` bytes.
pub(super) fn store_word(cpu: &mut Cpu, op: &Op<X86>, v: u64) -> Flow {
    if op.e & MEM != 0 {
        access!(cpu.store(ea(cpu, op), v as u16));
    } else {
        match op.b {
            2 => u16::set(&mut cpu.s.gpr, op.a, v as u16),
            4 => u32::set(&mut cpu.s.gpr, op.a, v as u32),
            _ => u64::set(&mut cpu.s.gpr, op.a, v),
        }
    }
    Flow::Next
}
fn read_dr(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let v = match op.b {
        n @ (0..4 | 6 | 7) => cpu.s.dr[n as usize],
        // CR4.DE decides between an alias and #UD; 4 and 5 alias 6 and 7.
        4 if cpu.s.cr4 & 8 == 0 => cpu.s.dr[6],
        5 if cpu.s.cr4 & 8 == 0 => cpu.s.dr[7],
        _ => return ud(cpu),
    };
    cpu.s.gpr[(op.a & 15) as usize] = v;
    Flow::Next
}
fn write_dr(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let v = cpu.s.gpr[(op.b & 15) as usize];
    match op.a {
        n @ 0..4 => cpu.s.dr[n as usize] = v,
        n if n >= 8 || n < 6 && cpu.s.cr4 & 8 != 0 => return ud(cpu),
        _ if v >> 32 != 0 => return gp(cpu, 0),
        4 | 6 => cpu.s.dr[6] = v & 0xe00f | 0xffff_0ff0,
        _ => cpu.s.dr[7] = v & 0xffff_2bff | 0x400,
    }
    Flow::Next
}
fn load_table(cpu: &mut Cpu, op: &Op<X86>) -> Result<TableRegister, Flow> {
    privileged(cpu)?;
    let at = ea(cpu, op);
    let limit = cpu.load::<u16>(at)?;
    let base = cpu.load::<u64>(at.wrapping_add(2))?;
    if !canonical(base) {
        return Err(gp(cpu, 0));
    }
    Ok(TableRegister { base, limit })
}
fn lgdt(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    cpu.s.gdtr = access!(load_table(cpu, op));
    Flow::Next
}
fn lidt(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    cpu.s.idtr = access!(load_table(cpu, op));
    Flow::Next
}
fn store_table(cpu: &mut Cpu, op: &Op<X86>, table: TableRegister) -> Flow {
    let at = ea(cpu, op);
    access!(cpu.probe_write(at, 10, cpu.mode()));
    access!(cpu.store(at, table.limit));
    access!(cpu.store(at.wrapping_add(2), table.base));
    Flow::Next
}
fn sgdt(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let table = cpu.s.gdtr;
    store_table(cpu, op, table)
}
fn sidt(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    let table = cpu.s.idtr;
    store_table(cpu, op, table)
}
fn invlpg(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let at = ea(cpu, op);
    cpu.flush_page(at);
    Flow::Resync
}
fn writeback(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    Flow::Next
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Lowered> {
    let special = |n: u32| {
        i.op_count() > n && i.op_kind(n) == OpKind::Register && {
            let r = i.op_register(n);
            r.is_cr() || r.is_dr()
        }
    };
    let run: Handler<X86> = match i.mnemonic() {
        Mnemonic::Mov if special(0) => {
            if i.op_register(0).is_dr() {
                write_dr
            } else {
                return Some(last(pack(i, write_cr)));
            }
        }
        Mnemonic::Mov if special(1) => {
            if i.op_register(1).is_dr() {
                read_dr
            } else {
                read_cr
            }
        }
        Mnemonic::Clts => return Some(last(pack(i, clts))),
        Mnemonic::Lmsw => return Some(last(pack(i, lmsw))),
        Mnemonic::Invlpg => return Some(last(pack(i, invlpg))),
        Mnemonic::Smsw => {
            let mut op = pack(i, smsw);
            if !is_memory(i, 0) {
                op.b = i.op_register(0).size() as u8;
            }
            return Some(op.into());
        }
        Mnemonic::Lgdt => lgdt,
        Mnemonic::Lidt => lidt,
        Mnemonic::Sgdt => sgdt,
        Mnemonic::Sidt => sidt,
        Mnemonic::Wbinvd | Mnemonic::Invd | Mnemonic::Wbnoinvd => writeback,
        _ => return None,
    };
    Some(pack(i, run).into())
}
