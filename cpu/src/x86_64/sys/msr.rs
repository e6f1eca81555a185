//! RDMSR, WRMSR, RDTSC, RDTSCP, RDPMC, CPUID, RDRAND, RDSEED.

use super::control::cr4;
use super::privileged;
use super::transfer::efer;
use crate::access;
use crate::engine::{Flow, Handler, Op};
use crate::x86_64::X86;
use crate::x86_64::decode::{Lowered, last};
use crate::x86_64::int::canonical;
use crate::x86_64::lapic;
use crate::x86_64::operand::{Width, by_width, pack};
use crate::x86_64::state::seg;
use crate::x86_64::trap::gp;
use bus::SimTime;
use iced_x86::{Instruction, Mnemonic};

type Cpu = crate::Cpu<X86>;

/// Frequency of the time stamp counter, and of the APIC timer at divider 1.
pub const TSC_HZ: u64 = 1_000_000_000;

/// IA32_ARCH_CAPABILITIES: RDCL_NO, IBRS_ALL clear, RSBA clear, SKIP_L1DFL,
/// SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO,
/// BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO.
const ARCH_CAPABILITIES: u64 = 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 8
    | 7 << 13
    | 1 << 20
    | 1 << 24
    | 1 << 26
    | 1 << 27;

/// The time stamp counter at `now`.
pub(in crate::x86_64) fn tsc(cpu: &Cpu, now: SimTime) -> u64 {
    now.ticks(TSC_HZ).wrapping_add(cpu.s.msr.tsc_adjust)
}

/// Number of a fixed-range MTRR in the state.
fn fixed_mtrr(n: u32) -> Option<usize> {
    Some(match n {
        0x250 => 0,
        0x258 => 1,
        0x259 => 2,
        0x268..=0x26f => (n - 0x268) as usize + 3,
        _ => return None,
    })
}

fn read(cpu: &mut Cpu, n: u32, now: SimTime) -> Option<u64> {
    let m = &cpu.s.msr;
    Some(match n {
        0x10 => tsc(cpu, now),
        0x1b => cpu.s.apic.base,
        // Microcode revision, platform information, feature control, and others
        // that read as nothing.
        0x8b | 0x17 | 0xce | 0x140 | 0x198 => 0,
        0x3a => 1, // locked
        0x3b => m.tsc_adjust,
        0xfe => 0x508, // MTRRs: eight variable ranges, fixed ranges, write-combining
        0x10a => ARCH_CAPABILITIES,
        0x174..=0x176 => m.sysenter[(n - 0x174) as usize],
        0x179 | 0x17a => 0, // no machine-check banks
        0x1a0 => m.misc_enable,
        0x1d9 => 0,
        0x200..=0x20f => m.mtrr_var[(n - 0x200) as usize],
        0x277 => m.pat,
        0x2ff => m.mtrr_def_type,
        0x6e0 => cpu.s.apic.deadline,
        0x800..=0x8ff => return lapic::read_msr(cpu, n, now),
        0xc000_0080 => m.efer,
        0xc000_0081 => m.star,
        0xc000_0082 => m.lstar,
        0xc000_0083 => m.cstar,
        0xc000_0084 => m.fmask,
        0xc000_0100 => cpu.s.seg[seg::FS].base,
        0xc000_0101 => cpu.s.seg[seg::GS].base,
        0xc000_0102 => m.kernel_gs_base,
        0xc000_0103 => m.tsc_aux,
        _ => m.mtrr_fixed[fixed_mtrr(n)?],
    })
}

fn write(cpu: &mut Cpu, n: u32, v: u64, now: SimTime) -> Option<()> {
    let address = |v: u64| canonical(v).then_some(v);
    let m = &mut cpu.s.msr;
    match n {
        0x10 => {
            let running = now.ticks(TSC_HZ);
            m.tsc_adjust = v.wrapping_sub(running);
            lapic::rearm(cpu, now);
        }
        0x1b => return lapic::write_base(cpu, v),
        0x8b | 0x140 | 0x1d9 => {}
        0x3b => {
            m.tsc_adjust = v;
            lapic::rearm(cpu, now);
        }
        0x174 => m.sysenter[0] = v & 0xffff,
        0x175 | 0x176 => m.sysenter[(n - 0x174) as usize] = address(v)?,
        0x1a0 => m.misc_enable = v,
        0x200..=0x20f => m.mtrr_var[(n - 0x200) as usize] = v,
        0x277 => {
            // Each entry is a memory type: 0, 1, 4, 5, 6, 7.
            let valid = v.to_le_bytes().iter().all(|t| matches!(t, 0 | 1 | 4..=7));
            if !valid {
                return None;
            }
            m.pat = v;
        }
        0x2ff => m.mtrr_def_type = v & 0xcff,
        0x6e0 => lapic::write_deadline(cpu, v, now),
        0x800..=0x8ff => return lapic::write_msr(cpu, n, v, now),
        0xc000_0080 => {
            let all = efer::SCE | efer::LME | efer::LMA | efer::NXE;
            // Long mode cannot be left while paging is on; LMA is read-only.
            if v & !all != 0 || v & efer::LME == 0 {
                return None;
            }
            let changed = (m.efer ^ v) & efer::NXE;
            m.efer = v | efer::LMA;
            if changed != 0 {
                cpu.flush_tlb();
            }
        }
        0xc000_0081 => m.star = v,
        0xc000_0082 => m.lstar = address(v)?,
        0xc000_0083 => m.cstar = address(v)?,
        0xc000_0084 => m.fmask = v & 0xffff_ffff,
        0xc000_0100 => cpu.s.seg[seg::FS].base = address(v)?,
        0xc000_0101 => cpu.s.seg[seg::GS].base = address(v)?,
        0xc000_0102 => m.kernel_gs_base = address(v)?,
        0xc000_0103 => m.tsc_aux = v & 0xffff_ffff,
        _ => m.mtrr_fixed[fixed_mtrr(n)?] = v,
    }
    Some(())
}

fn set_pair(cpu: &mut Cpu, v: u64) {
    cpu.s.gpr[0] = v & 0xffff_ffff;
    cpu.s.gpr[2] = v >> 32;
}
fn rdmsr(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let now = cpu.now_at(op);
    let n = cpu.s.gpr[1] as u32;
    let Some(v) = read(cpu, n, now) else {
        return gp(cpu, 0);
    };
    set_pair(cpu, v);
    Flow::Next
}
fn wrmsr(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(privileged(cpu));
    let now = cpu.now_at(op);
    let n = cpu.s.gpr[1] as u32;
    let v = cpu.s.gpr[0] & 0xffff_ffff | cpu.s.gpr[2] << 32;
    match write(cpu, n, v, now) {
        Some(()) => Flow::Resync,
        None => gp(cpu, 0),
    }
}
fn may_read_time(cpu: &mut Cpu) -> Result<(), Flow> {
    if cpu.s.cr4 & cr4::TSD != 0 && cpu.s.cpl != 0 {
        return Err(gp(cpu, 0));
    }
    Ok(())
}
fn rdtsc(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(may_read_time(cpu));
    let v = tsc(cpu, cpu.now_at(op));
    set_pair(cpu, v);
    Flow::Next
}
fn rdtscp(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    access!(may_read_time(cpu));
    let v = tsc(cpu, cpu.now_at(op));
    set_pair(cpu, v);
    cpu.s.gpr[1] = cpu.s.msr.tsc_aux;
    Flow::Next
}
fn rdpmc(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    gp(cpu, 0)
}
fn cpuid(cpu: &mut Cpu, _: &Op<X86>) -> Flow {
    let (leaf, sub) = (cpu.s.gpr[0] as u32, cpu.s.gpr[1] as u32);
    let r = super::cpuid(&cpu.s, leaf, sub);
    cpu.s.gpr[0] = r.eax.into();
    cpu.s.gpr[3] = r.ebx.into();
    cpu.s.gpr[1] = r.ecx.into();
    cpu.s.gpr[2] = r.edx.into();
    Flow::Next
}
/// RDRAND and RDSEED: splitmix64 over the seed in the state.
fn random<W: Width>(cpu: &mut Cpu, op: &Op<X86>) -> Flow {
    cpu.s.random = cpu.s.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = cpu.s.random;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    W::set(&mut cpu.s.gpr, op.a, W::truncate(z ^ (z >> 31)));
    cpu.s.cc = crate::x86_64::LazyFlags::from_bits(crate::x86_64::flags::CF);
    Flow::Next
}

/// Lowers an instruction of this family.
pub(super) fn lower(i: &Instruction) -> Option<Lowered> {
    let run: Handler<X86> = match i.mnemonic() {
        Mnemonic::Rdmsr => rdmsr,
        Mnemonic::Wrmsr => return Some(last(pack(i, wrmsr))),
        Mnemonic::Rdtsc => rdtsc,
        Mnemonic::Rdtscp => rdtscp,
        Mnemonic::Rdpmc => rdpmc,
        Mnemonic::Cpuid => cpuid,
        Mnemonic::Rdrand | Mnemonic::Rdseed => {
            by_width!(i.op_register(0).size(), W => random::<W> as Handler<X86>)
        }
        _ => return None,
    };
    Some(pack(i, run).into())
}
