//! Against the floating-point units of an x86-64 host: SSE and x87, which are
//! independent implementations, with edge operands and random ones.

// Sets MXCSR and the x87 control word for one instruction.
#![allow(unsafe_code)]
#![cfg(target_arch = "x86_64")]

use super::*;
use std::arch::asm;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
    /// Sign, exponent field and fraction, often at an edge.
    fn number(&mut self, exp: u32, fraction: u32) -> (bool, u64, u64) {
        let max = (1u64 << exp) - 1;
        let bias = max >> 1;
        let field = match self.below(8) {
            0 => 0,
            1 => max,
            2 => [1, 2, max - 1, max - 2][self.below(4) as usize],
            3 => bias + self.below(u64::from(fraction) + 12).min(bias),
            4 => bias.wrapping_sub(self.below(u64::from(fraction) + 3).min(bias)),
            5 => bias,
            _ => self.next() & max,
        };
        let ones = u64::MAX >> (64 - fraction);
        let bits = match self.below(6) {
            0 => 0,
            1 => 1,
            2 => ones,
            3 => 1 << self.below(fraction.into()),
            4 => self.next() & ones & !(ones >> 4),
            _ => self.next() & ones,
        };
        (self.next() & 1 != 0, field, bits)
    }
    fn f64(&mut self) -> u64 {
        let (sign, field, bits) = self.number(11, 52);
        u64::from(sign) << 63 | field << 52 | bits
    }
    fn f32(&mut self) -> u32 {
        let (sign, field, bits) = self.number(8, 23);
        u32::from(sign) << 31 | (field << 23 | bits) as u32
    }
    fn x80(&mut self) -> Ext {
        let (sign, field, bits) = self.number(15, 63);
        // Mostly with the integer bit that belongs to the exponent.
        let integer = if self.below(32) == 0 {
            self.next() & 1
        } else {
            u64::from(field != 0)
        };
        Ext {
            sig: integer << 63 | bits,
            sign_exp: u16::from(sign) << 15 | field as u16,
        }
    }
    /// Masked exceptions, any rounding, sometimes flushing.
    fn mxcsr(&mut self) -> u32 {
        let flush = if self.below(4) == 0 { 0x8040 } else { 0 };
        0x1f80 | (self.next() as u32 & 0x6000) | (self.next() as u32 & flush)
    }
}

macro_rules! sse {
    ($mxcsr:expr, $insn:expr, $load:literal, $store:literal, $a:expr, $b:expr) => {{
        let (control, mut status, old) = ($mxcsr, 0u32, 0x1f80u32);
        let (a, b) = ($a, $b);
        let mut r = a;
        // SAFETY: MXCSR is put back to what Rust expects in the same block.
        unsafe {
            asm!(
                "ldmxcsr [{control}]",
                concat!($load, " xmm0, [{r}]"),
                concat!($load, " xmm1, [{b}]"),
                $insn,
                concat!($store, " [{r}], xmm0"),
                "stmxcsr [{status}]",
                "ldmxcsr [{old}]",
                control = in(reg) &control,
                status = in(reg) &mut status,
                old = in(reg) &old,
                r = in(reg) &mut r,
                b = in(reg) &b,
                out("xmm0") _,
                out("xmm1") _,
                out("rax") _,
            );
        }
        (r, status as u16 & flags::X86)
    }};
}

macro_rules! check_sse {
    ($name:literal, $load:literal, $draw:ident, $format:ty, $($soft:ident $insn:literal),*) => {
        let mut random = Random(7);
        for _ in 0..200_000 {
            let (a, b, mxcsr) = (random.$draw(), random.$draw(), random.mxcsr());
            $(
                let mut env = Env::mxcsr(mxcsr);
                let ours = (super::$soft::<$format>(a, b, &mut env), env.flags & flags::X86);
                let host = sse!(mxcsr, concat!($insn, " xmm0, xmm1"), $load, $load, a, b);
                assert_eq!(ours, host, "{} {a:#x} {b:#x} mxcsr {mxcsr:#x}", $insn);
            )*
        }
    };
}

fn root<F: Format>(_: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    super::sqrt::<F>(b, env)
}

#[test]
fn sse_single() {
    use self::root as sqrt;
    check_sse!("single", "movss", f32, F32, add "addss", sub "subss", mul "mulss", div "divss");
    let mut random = Random(8);
    for _ in 0..100_000 {
        let (a, mxcsr) = (random.f32(), random.mxcsr());
        let mut env = Env::mxcsr(mxcsr);
        let ours = (sqrt::<F32>(0, a, &mut env), env.flags & flags::X86);
        let host = sse!(mxcsr, "sqrtss xmm0, xmm0", "movss", "movss", a, a);
        assert_eq!(ours, host, "sqrtss {a:#x} mxcsr {mxcsr:#x}");
    }
}

#[test]
fn sse_double() {
    check_sse!("double", "movsd", f64, F64, add "addsd", sub "subsd", mul "mulsd", div "divsd");
    let mut random = Random(9);
    for _ in 0..100_000 {
        let (a, mxcsr) = (random.f64(), random.mxcsr());
        let mut env = Env::mxcsr(mxcsr);
        let ours = (root::<F64>(0, a, &mut env), env.flags & flags::X86);
        let host = sse!(mxcsr, "sqrtsd xmm0, xmm0", "movsd", "movsd", a, a);
        assert_eq!(ours, host, "sqrtsd {a:#x} mxcsr {mxcsr:#x}");
    }
}

#[test]
fn sse_conversions() {
    let mut random = Random(10);
    for _ in 0..200_000 {
        let (a, mxcsr) = (random.f64(), random.mxcsr());
        let mut env = Env::mxcsr(mxcsr);
        let ours = super::convert::<F64, F32>(a, &mut env);
        let host = sse!(mxcsr, "cvtsd2ss xmm0, xmm0", "movsd", "movsd", a, a);
        let ours = (u64::from(ours), env.flags & flags::X86);
        let host = (host.0 & 0xffff_ffff, host.1);
        assert_eq!(ours, host, "cvtsd2ss {a:#x} mxcsr {mxcsr:#x}");

        let b = random.f32();
        let mut env = Env::mxcsr(mxcsr);
        let ours = (
            super::convert::<F32, F64>(b, &mut env),
            env.flags & flags::X86,
        );
        let host = sse!(
            mxcsr,
            "cvtss2sd xmm0, xmm0",
            "movsd",
            "movsd",
            u64::from(b),
            0u64
        );
        assert_eq!(ours, host, "cvtss2sd {b:#x} mxcsr {mxcsr:#x}");

        for bits in [32u32, 64] {
            let mut env = Env::mxcsr(mxcsr);
            let rounding = env.rounding;
            let ours = super::to_integer::<F64>(a, 0, true, bits, rounding, &mut env);
            let ours = (ours.unwrap_or(1 << (bits - 1)), env.flags & flags::X86);
            let host = if bits == 32 {
                let r = sse!(
                    mxcsr,
                    "cvtsd2si eax, xmm0\nmovd xmm0, eax",
                    "movsd",
                    "movsd",
                    a,
                    a
                );
                (r.0 & 0xffff_ffff, r.1)
            } else {
                sse!(
                    mxcsr,
                    "cvtsd2si rax, xmm0\nmovq xmm0, rax",
                    "movsd",
                    "movsd",
                    a,
                    a
                )
            };
            assert_eq!(ours, host, "cvtsd2si{bits} {a:#x} mxcsr {mxcsr:#x}");
        }

        let i = random.next() >> random.below(64);
        let mut env = Env::mxcsr(mxcsr);
        let (sign, magnitude) = ((i as i64) < 0, (i as i64).unsigned_abs());
        let ours = super::from_integer::<F64>(sign, magnitude, 0, &mut env);
        let ours = (ours, env.flags & flags::X86);
        let host = sse!(
            mxcsr,
            "movq rax, xmm0\ncvtsi2sd xmm0, rax",
            "movsd",
            "movsd",
            i,
            i
        );
        assert_eq!(ours, host, "cvtsi2sd {i:#x} mxcsr {mxcsr:#x}");
    }
}

#[test]
fn sse_compare() {
    let mut random = Random(11);
    for _ in 0..200_000 {
        let (mut a, b, mxcsr) = (random.f64(), random.f64(), random.mxcsr());
        if random.below(4) == 0 {
            a = b;
        }
        for signaling in [false, true] {
            let mut env = Env::mxcsr(mxcsr);
            let ours = super::compare::<F64>(a, b, signaling, &mut env);
            // ZF 6, PF 2, CF 0.
            let ours = match ours {
                Relation::Unordered => 0x45,
                Relation::Less => 0x01,
                Relation::Equal => 0x40,
                Relation::Greater => 0,
            };
            let ours = (ours, env.flags & flags::X86);
            let host = if signaling {
                sse!(
                    mxcsr,
                    "comisd xmm0, xmm1\nlahf\nmovq xmm0, rax",
                    "movsd",
                    "movsd",
                    a,
                    b
                )
            } else {
                sse!(
                    mxcsr,
                    "ucomisd xmm0, xmm1\nlahf\nmovq xmm0, rax",
                    "movsd",
                    "movsd",
                    a,
                    b
                )
            };
            let host = (host.0 >> 8 & 0x45, host.1);
            assert_eq!(ours, host, "compare {a:#x} {b:#x} {signaling} {mxcsr:#x}");
        }
    }
}

fn bytes(x: Ext) -> [u8; 16] {
    x.to_u128().to_le_bytes()
}

/// Runs x87 code with `a` in st(0) and `b` in st(1): st(0) and the status word.
macro_rules! x87 {
    ($control:expr, $insn:literal, $a:expr, $b:expr) => {{
        let (control, mut status) = ($control, 0u16);
        let (a, b) = (bytes($a), bytes($b));
        let mut r = [0u8; 16];
        // SAFETY: the unit is left as it is at the start of a process.
        unsafe {
            asm!(
                "fninit",
                "fldcw word ptr [{control}]",
                "fld tbyte ptr [{b}]",
                "fld tbyte ptr [{a}]",
                $insn,
                "fnstsw word ptr [{status}]",
                "fstp tbyte ptr [{r}]",
                "fninit",
                control = in(reg) &control,
                a = in(reg) &a,
                b = in(reg) &b,
                status = in(reg) &mut status,
                r = in(reg) &mut r,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        let r = Ext::from_u128(u128::from_le_bytes(r) & (u128::MAX >> 48));
        (r, status & flags::X86, status & 0x200 != 0)
    }};
}

fn soft(env: Env, r: Ext) -> (Ext, u16, bool) {
    let up = env.flags & (flags::INEXACT | flags::ROUNDED_UP);
    let up = up == flags::INEXACT | flags::ROUNDED_UP;
    (r, env.flags & flags::X86, up)
}

#[test]
fn x87_arithmetic() {
    let mut random = Random(12);
    for _ in 0..200_000 {
        let (a, b) = (random.x80(), random.x80());
        // Masked exceptions; precision 24, 53 or 64 bits.
        let precision = [0u16, 0x200, 0x300][random.below(3) as usize];
        let control = 0x3f | precision | (random.next() as u16 & 0xc00);
        macro_rules! check {
            ($name:literal, $insn:literal, $soft:expr) => {
                let mut env = Env::x87_control(control);
                #[allow(clippy::redundant_closure_call)]
                let r = $soft(&mut env);
                let host = x87!(control, $insn, a, b);
                let context = (a, b, control);
                assert_eq!(soft(env, r), host, "{} {context:x?}", $name);
            };
        }
        check!(
            "fadd",
            "fadd st(0), st(1)",
            |e: &mut Env| super::add::<X80>(a, b, e)
        );
        check!(
            "fsub",
            "fsub st(0), st(1)",
            |e: &mut Env| super::sub::<X80>(a, b, e)
        );
        check!(
            "fmul",
            "fmul st(0), st(1)",
            |e: &mut Env| super::mul::<X80>(a, b, e)
        );
        check!(
            "fdiv",
            "fdiv st(0), st(1)",
            |e: &mut Env| super::div::<X80>(a, b, e)
        );
        check!("fsqrt", "fsqrt", |e: &mut Env| super::sqrt::<X80>(a, e));
        check!("frndint", "frndint", |e: &mut Env| {
            let rounding = e.rounding;
            super::round_to_integral::<X80>(a, rounding, true, e)
        });
    }
}

#[test]
fn x87_conversions() {
    let mut random = Random(13);
    for _ in 0..200_000 {
        let a = random.x80();
        let control = 0x33f | (random.next() as u16 & 0xc00);
        let mut memory = 0u64;
        let narrow = |host: (Ext, u16, bool)| (host.1, host.2);
        // Store as double, single and 64-bit integer.
        let (mut status, image) = (0u16, bytes(a));
        macro_rules! store {
            ($insn:literal) => {{
                // SAFETY: as in `x87`; at most eight bytes are stored.
                unsafe {
                    asm!(
                        "fninit",
                        "fldcw word ptr [{control}]",
                        "fld tbyte ptr [{a}]",
                        $insn,
                        "fnstsw word ptr [{status}]",
                        "fninit",
                        control = in(reg) &control,
                        a = in(reg) &image,
                        m = in(reg) &mut memory,
                        status = in(reg) &mut status,
                        out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                        out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                    );
                }
                (memory, (status & flags::X86, status & 0x200 != 0))
            }};
        }
        let mut env = Env::x87_control(control);
        let r = super::convert::<X80, F64>(a, &mut env);
        // Stores never raise the denormal flag.
        env.flags &= !flags::DENORMAL;
        let host = store!("fstp qword ptr [{m}]");
        assert_eq!((r, narrow(soft(env, a))), host, "fst64 {a:x?} {control:x}");

        memory = 0;
        let mut env = Env::x87_control(control);
        let r = super::convert::<X80, F32>(a, &mut env);
        env.flags &= !flags::DENORMAL;
        let host = store!("fstp dword ptr [{m}]");
        assert_eq!(
            (r.into(), narrow(soft(env, a))),
            host,
            "fst32 {a:x?} {control:x}"
        );

        let mut env = Env::x87_control(control);
        let rounding = env.rounding;
        let r = super::to_integer::<X80>(a, 0, true, 64, rounding, &mut env);
        let host = store!("fistp qword ptr [{m}]");
        env.flags &= !flags::DENORMAL;
        let r = r.unwrap_or(1 << 63);
        assert_eq!((r, narrow(soft(env, a))), host, "fist64 {a:x?} {control:x}");
    }
}

/// Host arithmetic where it says it is good: same result, nothing but inexact.
#[test]
fn fast_paths() {
    let mut random = Random(14);
    let mut taken = 0;
    for _ in 0..300_000 {
        let (a, b, c) = (random.f64(), random.f64(), random.f64());
        let mut check = |fast: Option<u64>, exact: &dyn Fn(&mut Env) -> u64| {
            if let Some(fast) = fast {
                let mut env = Env::arm(0);
                assert_eq!(fast, exact(&mut env), "{a:#x} {b:#x} {c:#x}");
                let quiet = flags::INEXACT | flags::ROUNDED_DOWN | flags::ROUNDED_UP;
                assert_eq!(env.flags & !quiet, 0, "{a:#x} {b:#x} {c:#x}");
                taken += 1;
            }
        };
        check(fast::f64::add(a, b), &|e| super::add::<F64>(a, b, e));
        check(fast::f64::sub(a, b), &|e| super::sub::<F64>(a, b, e));
        check(fast::f64::mul(a, b), &|e| super::mul::<F64>(a, b, e));
        check(fast::f64::div(a, b), &|e| super::div::<F64>(a, b, e));
        check(fast::f64::sqrt(a), &|e| super::sqrt::<F64>(a, e));
        check(fast::f64::mul_add(a, b, c), &|e| {
            super::mul_add::<F64>(a, b, c, e)
        });
        check(fast::narrow(a).map(u64::from), &|e| {
            super::convert::<F64, F32>(a, e).into()
        });
        check(fast::f64::to_i64(a).map(|i| i as u64), &|e| {
            super::to_integer::<F64>(a, 0, true, 64, Rounding::Zero, e).unwrap()
        });
        let s = a as u32;
        check(fast::widen(s), &|e| super::convert::<F32, F64>(s, e));
    }
    assert!(taken > 500_000, "{taken}");
}

/// Fused multiply-add against the host's, by C's `fma` or the FMA unit.
#[test]
fn fused() {
    let mut random = Random(15);
    for _ in 0..300_000 {
        let (a, b, mut c) = (random.f64(), random.f64(), random.f64());
        if random.below(3) == 0 {
            // Cancellation.
            let product = -(f64::from_bits(a) * f64::from_bits(b));
            c = product
                .to_bits()
                .wrapping_add(random.below(3))
                .wrapping_sub(1);
        }
        let host = f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c));
        let ours = super::mul_add::<F64>(a, b, c, &mut Env::x86_sse());
        if host.is_nan() {
            assert!(f64::from_bits(ours).is_nan());
        } else {
            assert_eq!(ours, host.to_bits(), "{a:#x} {b:#x} {c:#x}");
        }
    }
}
