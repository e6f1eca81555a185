//! Compares what the host and the engine made of a case.

use crate::case::*;
use crate::generate::Test;
use iced_x86::Mnemonic as M;

/// Arithmetic flags and the direction flag.
const FLAGS: u64 = 0xcd5;
const C1: u16 = 0x200;
const CONDITION: u16 = 0x4700;

/// What differs, in words; empty when the answers agree.
pub fn differences(test: &Test, case: &Case, native: &Answer, guest: &Answer) -> Vec<String> {
    let mut out = Vec::new();
    let i = &test.instruction;
    let mut differ = |what: &str, native: String, guest: String| {
        if native != guest {
            out.push(format!("{what}: host {native}, engine {guest}"));
        }
    };
    let (n, g) = (&native.outcome, &guest.outcome);
    differ("vector", n.vector.to_string(), g.vector.to_string());
    if n.vector != g.vector {
        return out;
    }
    let faulted = n.vector != 3;
    // The results are undefined where the operand is out of range.
    let exponent = case.input.st[0] >> 64 & 0x7fff;
    if i.mnemonic() == M::F2xm1 && (0x3fff..0x7fff).contains(&exponent)
        || i.mnemonic() == M::Fyl2xp1 && exponent >= 0x3ffd
    {
        return out;
    }
    if matches!(i.mnemonic(), M::Shld | M::Shrd) && shift(test, case).0 > shift(test, case).1 {
        // Result and flags are undefined.
        return out;
    }
    if n.vector == 14 {
        // In the kernel's half the host has pages and the engine has none.
        let kernel = (n.cr2 as i64) < 0 || (g.cr2 as i64) < 0;
        let code = |o: &Outcome| o.error & if kernel { !1 } else { !0 };
        differ(
            "page fault code",
            format!("{:#x}", code(n)),
            format!("{:#x}", code(g)),
        );
        // CPUs probe the parts of a large operand in an order of their own.
        let large = i.memory_size().size() > 10;
        if !large {
            differ("cr2", format!("{:#x}", n.cr2), format!("{:#x}", g.cr2));
        }
    }
    let (n, g) = (&native.machine, &guest.machine);
    differ("rip", format!("{:#x}", n.rip), format!("{:#x}", g.rip));
    for r in 0..16 {
        // The destination of a bit scan of zero is undefined.
        if matches!(i.mnemonic(), M::Bsf | M::Bsr) && n.rflags & 0x40 != 0 {
            continue;
        }
        // CPUs differ in whether a failed exchange clears the upper half.
        if i.code() == iced_x86::Code::Cmpxchg_rm32_r32 && n.gpr[r] as u32 == g.gpr[r] as u32 {
            continue;
        }
        differ(
            &format!("gpr{r}"),
            format!("{:#x}", n.gpr[r]),
            format!("{:#x}", g.gpr[r]),
        );
    }
    if !faulted {
        let defined = FLAGS & !undefined_flags(test, case);
        let flags = |m: &Machine| format!("{:#x}", m.rflags & defined);
        differ("flags", flags(n), flags(g));
    }
    for r in 0..16 {
        if estimate(test, n.xmm[r], g.xmm[r]) {
            continue;
        }
        differ(
            &format!("xmm{r}"),
            format!("{:#034x}", n.xmm[r]),
            format!("{:#034x}", g.xmm[r]),
        );
    }
    // Whether a result that an unmasked overflow or underflow throws away was
    // also inexact depends on an unbounded exponent, which the engine lacks.
    let thrown_away = native.outcome.vector == 19 && n.mxcsr & !(n.mxcsr >> 7) & 0x18 != 0;
    let seen = if thrown_away { !0x20 } else { !0 };
    differ(
        "mxcsr",
        format!("{:#x}", n.mxcsr & seen),
        format!("{:#x}", g.mxcsr & seen),
    );
    x87(test, n, g, &mut differ);
    let partial = faulted
        && matches!(
            i.mnemonic(),
            M::Fxsave | M::Fxsave64 | M::Fnsave | M::Fnstenv
        );
    if !partial {
        memory(test, case, n, g, &mut differ);
    }
    out
}

fn x87(test: &Test, n: &Machine, g: &Machine, differ: &mut impl FnMut(&str, String, String)) {
    let i = &test.instruction;
    let mut defined = !0u16;
    if !condition_codes_defined(i.mnemonic()) {
        defined &= !(CONDITION & !C1);
    }
    // An unmasked overflow or underflow wraps the exponent around, which the
    // engine does not.
    let wrapped = n.fsw & !n.fcw & 0x18 != 0;
    if wrapped {
        defined &= !(C1 | 0x20);
    }
    let transcendental = transcendental(i.mnemonic());
    if transcendental {
        // An estimate cannot know whether it was rounded up.
        defined &= !C1;
    }
    differ("fcw", format!("{:#x}", n.fcw), format!("{:#x}", g.fcw));
    differ(
        "fsw",
        format!("{:#x}", n.fsw & defined),
        format!("{:#x}", g.fsw & defined),
    );
    differ("ftw", format!("{:#x}", n.ftw), format!("{:#x}", g.ftw));
    for r in 0..8 {
        if wrapped || transcendental && close(n.st[r], g.st[r]) {
            continue;
        }
        differ(
            &format!("st{r}"),
            format!("{:#022x}", n.st[r]),
            format!("{:#022x}", g.st[r]),
        );
    }
}

/// These set C0, C2 and C3; for the others they are undefined.
fn condition_codes_defined(m: M) -> bool {
    let name = format!("{m:?}");
    name.starts_with("Fcom")
        || name.starts_with("Fucom")
        || name.starts_with("Ficom")
        || name.starts_with("Fprem")
        || !name.starts_with('F')
        || matches!(
            m,
            M::Ftst
                | M::Fxam
                | M::Fldenv
                | M::Frstor
                | M::Fxrstor
                | M::Fxrstor64
                | M::Fninit
                | M::Fnsave
        )
}

/// For these one unit in the last place of 80 bits is the accuracy of hardware.
pub fn transcendental(m: M) -> bool {
    matches!(
        m,
        M::F2xm1 | M::Fyl2x | M::Fyl2xp1 | M::Fsin | M::Fcos | M::Fsincos | M::Fptan | M::Fpatan
    )
}

fn close(a: u128, b: u128) -> bool {
    let order = |x: u128| {
        let magnitude = (x & ((1 << 79) - 1)) as i128;
        // Without the integer bit the exponent and fraction are one number.
        let number = (magnitude >> 64) << 63 | magnitude & ((1 << 63) - 1);
        if x >> 79 & 1 != 0 { -number } else { number }
    };
    (order(a) - order(b)).abs() <= 1
}

/// Flags that the instruction leaves undefined.
fn undefined_flags(test: &Test, case: &Case) -> u64 {
    let i = &test.instruction;
    let mut flags = 0;
    let bits = i.rflags_undefined();
    for (bit, flag) in [
        (iced_x86::RflagsBits::OF, 0x800),
        (iced_x86::RflagsBits::SF, 0x80),
        (iced_x86::RflagsBits::ZF, 0x40),
        (iced_x86::RflagsBits::AF, 0x10),
        (iced_x86::RflagsBits::CF, 1),
        (iced_x86::RflagsBits::PF, 4),
    ] {
        if bits & bit != 0 {
            flags |= flag;
        }
    }
    let (count, size) = shift(test, case);
    match i.mnemonic() {
        M::Shl | M::Sal | M::Shr if count >= size => flags |= 1 | 0x800,
        M::Shld | M::Shrd if count > size => flags |= FLAGS,
        M::Shl
        | M::Sal
        | M::Shr
        | M::Sar
        | M::Shld
        | M::Shrd
        | M::Rol
        | M::Ror
        | M::Rcl
        | M::Rcr
            if count > 1 =>
        {
            flags |= 0x800
        }
        _ => {}
    }
    flags
}

/// Both are estimates of the same reciprocal.
fn estimate(test: &Test, a: u128, b: u128) -> bool {
    if !matches!(
        test.instruction.mnemonic(),
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss
    ) {
        return false;
    }
    (0..4).all(|i| {
        let (x, y) = ((a >> (32 * i)) as u32, (b >> (32 * i)) as u32);
        let (f, g) = (f32::from_bits(x), f32::from_bits(y));
        let tiny = f.abs() < 1.2e-38 && g.abs() < 1.2e-38;
        x == y || tiny || ((f - g) / g).abs() < 2.0 * 1.5 / 4096.0
    })
}

fn memory(
    test: &Test,
    case: &Case,
    n: &Machine,
    g: &Machine,
    differ: &mut impl FnMut(&str, String, String),
) {
    let ignored = ignored_bytes(test, case);
    let mut shown = 0;
    for (at, (x, y)) in n.mem.iter().zip(&g.mem).enumerate() {
        if x != y && !ignored.iter().any(|range| range.contains(&at)) && shown < 4 {
            shown += 1;
            differ(
                &format!("byte {at:#x}"),
                format!("{x:#x}"),
                format!("{y:#x}"),
            );
        }
    }
}

/// Saved images hold pointers and reserved bytes that differ between CPUs.
fn ignored_bytes(test: &Test, case: &Case) -> Vec<std::ops::Range<usize>> {
    let i = &test.instruction;
    let Some(at) = crate::generate::operand_address(i, &case.input) else {
        return Vec::new();
    };
    let at = at.wrapping_sub(WINDOW_VA) as usize;
    if at > WINDOW {
        return Vec::new();
    }
    let size = i.memory_size().size();
    // One range is a list of one piece here.
    #[allow(clippy::single_range_in_vec_init)]
    match i.mnemonic() {
        // FOP, FIP, FDP; MXCSR_MASK.
        M::Fxsave | M::Fxsave64 => vec![at + 6..at + 24, at + 28..at + 32],
        M::Fnsave | M::Fnstenv => {
            let short = matches!(size, 14 | 94);
            if short {
                vec![at + 6..at + 14]
            } else {
                // The upper halves of the words are reserved.
                vec![at + 2..at + 4, at + 6..at + 8, at + 10..at + 28]
            }
        }
        _ => Vec::new(),
    }
}

/// Count of a shift, and the bits of its operand.
fn shift(test: &Test, case: &Case) -> (u32, u32) {
    let i = &test.instruction;
    let size = match i.op0_kind() {
        iced_x86::OpKind::Register => i.op0_register().size() as u32 * 8,
        _ => i.memory_size().size() as u32 * 8,
    };
    let last = i.op_count().saturating_sub(1);
    let mask = if size == 64 { 63 } else { 31 };
    let count = if i.op_kind(last) == iced_x86::OpKind::Immediate8 {
        u32::from(i.immediate8()) & mask
    } else {
        case.input.gpr[1] as u32 & mask
    };
    (count, size)
}
