//! The register file. Registers are numbered as in x2APIC mode: the offset in
//! the xAPIC page divided by 16.

use super::{BASE_BSP, BASE_ENABLED, BASE_X2APIC, LapicState};
use crate::Cpu;
use crate::x86_64::X86;
use crate::x86_64::interrupt::reconsider;
use crate::x86_64::paging::PHYSICAL_BITS;
use bus::SimTime;

const ID: u32 = 0x02;
const VERSION: u32 = 0x03;
const TPR: u32 = 0x08;
const APR: u32 = 0x09;
const PPR: u32 = 0x0a;
const EOI: u32 = 0x0b;
const RRD: u32 = 0x0c;
const LDR: u32 = 0x0d;
const DFR: u32 = 0x0e;
const SVR: u32 = 0x0f;
const ESR: u32 = 0x28;
const CMCI: u32 = 0x2f;
const ICR: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const LVT: u32 = 0x32;
const LVT_ERROR: u32 = 0x37;
const INITIAL: u32 = 0x38;
const CURRENT: u32 = 0x39;
const DIVIDE: u32 = 0x3e;
const SELF_IPI: u32 = 0x3f;

/// Version 0x14, six LVT entries.
const VERSION_VALUE: u32 = 0x0005_0014;

/// Takes what has come into the inbox.
pub(in crate::x86_64) fn accept(cpu: &mut Cpu<X86>) {
    let (edge, level, nmi) = cpu.extra.inbox.take();
    let s = &mut cpu.s.apic;
    s.nmi |= nmi;
    if !s.is_enabled() {
        return;
    }
    for (words, level) in [(edge, false), (level, true)] {
        for (n, mut word) in words.into_iter().enumerate() {
            while word != 0 {
                let v = (n as u32 * 64 + word.trailing_zeros()) as u8;
                word &= word - 1;
                s.request(v, level);
            }
        }
    }
}

fn read(s: &LapicState, n: u32, now: SimTime) -> Option<u32> {
    let x2 = s.is_x2apic();
    Some(match n {
        ID => {
            if x2 {
                s.id
            } else {
                s.id << 24
            }
        }
        VERSION => VERSION_VALUE,
        TPR => s.tpr.into(),
        APR | RRD if !x2 => 0,
        PPR => s.ppr().into(),
        LDR if x2 => (s.id >> 4) << 16 | 1 << (s.id & 15),
        LDR => s.ldr,
        DFR if !x2 => s.dfr,
        SVR => s.svr,
        0x10..=0x17 => s.isr.word(n as usize & 7),
        0x18..=0x1f => s.tmr.word(n as usize & 7),
        0x20..=0x27 => s.irr.word(n as usize & 7),
        ESR => s.esr,
        CMCI => 1 << 16,
        ICR => s.icr as u32,
        ICR_HIGH if !x2 => (s.icr >> 32) as u32,
        LVT..=LVT_ERROR => s.lvt[(n - LVT) as usize],
        INITIAL => s.initial,
        CURRENT => s.current_count(now),
        DIVIDE => s.divide,
        _ => return None,
    })
}

/// Whether a destination names this APIC.
fn is_me(s: &LapicState, to: u32, logical: bool) -> bool {
    if s.is_x2apic() {
        if to == u32::MAX {
            return true;
        }
        return if logical {
            to >> 16 == s.id >> 4 && to & 1 << (s.id & 15) != 0
        } else {
            to == s.id
        };
    }
    let to = to & 0xff;
    if to == 0xff {
        true
    } else if logical {
        let own = s.ldr >> 24;
        if s.dfr >> 28 == 0xf {
            own & to != 0
        } else {
            own >> 4 == to >> 4 && own & to & 15 != 0
        }
    } else {
        to == s.id
    }
}

/// Sends an interprocessor interrupt; there is only this processor.
fn send(s: &mut LapicState) {
    let low = s.icr as u32;
    let to = if s.is_x2apic() {
        (s.icr >> 32) as u32
    } else {
        (s.icr >> 56) as u32
    };
    let here = match low >> 18 & 3 {
        0 => is_me(s, to, low & 1 << 11 != 0),
        1 | 2 => true,
        _ => false,
    };
    if !here {
        return;
    }
    match low >> 8 & 7 {
        0 | 1 => s.request(low as u8, false),
        4 => s.nmi = true,
        _ => {}
    }
}

fn write(s: &mut LapicState, n: u32, v: u64, now: SimTime) -> Option<()> {
    let x2 = s.is_x2apic();
    let low = v as u32;
    match n {
        ID if !x2 => s.id = low >> 24,
        TPR => s.tpr = low as u8,
        EOI if x2 && v != 0 => return None,
        EOI => s.end(),
        LDR if !x2 => s.ldr = low & 0xff00_0000,
        DFR if !x2 => s.dfr = low | 0x0fff_ffff,
        SVR => {
            s.svr = low & 0x1ff;
            if s.svr & 1 << 8 == 0 {
                for lvt in &mut s.lvt {
                    *lvt |= 1 << 16;
                }
            }
        }
        ESR => s.esr = 0,
        CMCI => {}
        ICR => {
            s.icr = if x2 {
                v & !(1 << 12)
            } else {
                s.icr & !0xffff_ffff | v & 0xffff_efff
            };
            send(s);
        }
        ICR_HIGH if !x2 => s.icr = s.icr & 0xffff_ffff | v << 32,
        LVT..=LVT_ERROR => {
            // Delivery status and remote IRR are read-only.
            let mut v = low & !(1 << 12 | 1 << 14);
            if s.svr & 1 << 8 == 0 {
                v |= 1 << 16;
            }
            if n == LVT {
                s.write_lvt_timer(v & 0x7_00ff);
            } else {
                s.lvt[(n - LVT) as usize] = v & 0x1_a7ff;
            }
        }
        INITIAL => s.write_initial(low, now),
        DIVIDE => s.write_divide(low, now),
        SELF_IPI if x2 => s.request(low as u8, false),
        _ => return None,
    }
    Some(())
}

/// Reads an x2APIC MSR; `None` for #GP.
pub(in crate::x86_64) fn read_msr(cpu: &Cpu<X86>, n: u32, now: SimTime) -> Option<u64> {
    let s = &cpu.s.apic;
    if !s.is_x2apic() {
        return None;
    }
    if n == 0x800 + ICR {
        return Some(s.icr);
    }
    read(s, n - 0x800, now).map(u64::from)
}
/// Writes an x2APIC MSR; `None` for #GP.
pub(in crate::x86_64) fn write_msr(cpu: &mut Cpu<X86>, n: u32, v: u64, now: SimTime) -> Option<()> {
    if !cpu.s.apic.is_x2apic() || n != 0x800 + ICR && v >> 32 != 0 {
        return None;
    }
    write(&mut cpu.s.apic, n - 0x800, v, now)?;
    reconsider(cpu);
    Some(())
}

/// Offset in the xAPIC page, if `pa` lies in it and it is there.
fn in_page(s: &LapicState, pa: u64) -> Option<u32> {
    let visible = s.base & (BASE_ENABLED | BASE_X2APIC) == BASE_ENABLED;
    let page = s.base & ((1 << PHYSICAL_BITS) - 1) & !0xfff;
    (visible && pa & !0xfff == page).then_some(pa as u32 & 0xfff)
}
/// Reads the xAPIC page.
pub(in crate::x86_64) fn read_page(cpu: &Cpu<X86>, pa: u64) -> Option<u64> {
    let offset = in_page(&cpu.s.apic, pa)?;
    let v = read(&cpu.s.apic, offset >> 4, cpu.now()).unwrap_or(0);
    Some(u64::from(v) >> (8 * (offset & 3)))
}
/// Writes the xAPIC page. Says whether `pa` lies in it.
pub(in crate::x86_64) fn write_page(cpu: &mut Cpu<X86>, pa: u64, v: u64) -> bool {
    let Some(offset) = in_page(&cpu.s.apic, pa) else {
        return false;
    };
    let now = cpu.now();
    if offset & 15 == 0 && write(&mut cpu.s.apic, offset >> 4, v, now).is_none() {
        cpu.s.apic.esr |= 1 << 7;
    }
    reconsider(cpu);
    // A timer may have been armed: the run loop has to look.
    crate::x86_64::interrupt::look_soon(cpu);
    true
}
/// Writes IA32_APIC_BASE; `None` for #GP.
pub(in crate::x86_64) fn write_base(cpu: &mut Cpu<X86>, v: u64) -> Option<()> {
    let s = &mut cpu.s.apic;
    let address = ((1 << PHYSICAL_BITS) - 1) & !0xfff;
    if v & !(address | BASE_BSP | BASE_X2APIC | BASE_ENABLED) != 0 {
        return None;
    }
    let (old, new) = (
        s.base & (BASE_ENABLED | BASE_X2APIC),
        v & (BASE_ENABLED | BASE_X2APIC),
    );
    // x2APIC is entered from xAPIC only, and left by switching off only.
    let legal = new != BASE_X2APIC
        && !(old == 0 && new == BASE_ENABLED | BASE_X2APIC)
        && !(old == BASE_ENABLED | BASE_X2APIC && new == BASE_ENABLED);
    if !legal {
        return None;
    }
    if new == 0 {
        let id = s.id;
        *s = LapicState {
            id,
            ..LapicState::default()
        };
    }
    s.base = v;
    cpu.flush_tlb();
    Some(())
}
