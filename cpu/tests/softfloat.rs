//! The arithmetic against Berkeley SoftFloat 3e, an independent implementation
//! of IEEE 754: every operation, format and rounding mode, and tininess before
//! and after rounding. NaNs are compared as NaNs: which one comes out is not
//! IEEE's affair, and is tested against processors.

// SoftFloat is C, with its modes in thread-local variables.
#![allow(unsafe_code)]

use bus::fuzz::Noise;
use cpu::softfloat::{
    Env, Ext, F16, F32, F64, Format, NanRule, Relation, Rounding, X80, add, compare, convert, div,
    flags, from_integer, mul, mul_add, round_to_integral, sqrt, sub, to_integer,
};
use softfloat_sys as c;

/// Cases of each operation, format, mode and kind of tininess.
const CASES: u32 = 4000;

const MODES: [(Rounding, u8); 6] = [
    (Rounding::Nearest, c::softfloat_round_near_even),
    (Rounding::Zero, c::softfloat_round_minMag),
    (Rounding::Down, c::softfloat_round_min),
    (Rounding::Up, c::softfloat_round_max),
    (Rounding::NearestAway, c::softfloat_round_near_maxMag),
    (Rounding::Odd, c::softfloat_round_odd),
];

/// IEEE's five exceptions in SoftFloat's bits.
fn ieee(env: &Env) -> u8 {
    [
        (flags::INEXACT, c::softfloat_flag_inexact),
        (flags::UNDERFLOW, c::softfloat_flag_underflow),
        (flags::OVERFLOW, c::softfloat_flag_overflow),
        (flags::DIV_BY_ZERO, c::softfloat_flag_infinite),
        (flags::INVALID, c::softfloat_flag_invalid),
    ]
    .iter()
    .filter(|(ours, _)| env.flags & ours != 0)
    .fold(0, |all, (_, theirs)| all | theirs)
}

/// One setting of the modes.
#[derive(Clone, Copy, Debug)]
struct Mode {
    rounding: Rounding,
    theirs: u8,
    tiny_before: bool,
    precision: u8,
}

impl Mode {
    fn all() -> impl Iterator<Item = Self> {
        MODES.into_iter().flat_map(|(rounding, theirs)| {
            [false, true].map(|tiny_before| Self {
                rounding,
                theirs,
                tiny_before,
                precision: 64,
            })
        })
    }
    fn env(self) -> Env {
        Env {
            rounding: self.rounding,
            tiny_before_rounding: self.tiny_before,
            precision: self.precision,
            ..Env::x86_sse()
        }
    }
    /// Runs `f`; its result and the exceptions.
    fn run<T>(self, f: impl FnOnce() -> T) -> (T, u8) {
        // SAFETY: these set thread-local variables.
        unsafe {
            c::softfloat_roundingMode_write_helper(self.theirs);
            c::softfloat_detectTininess_write_helper(u8::from(!self.tiny_before));
            c::softfloat_exceptionFlags_write_helper(0);
            c::extF80_roundingPrecision_write_helper(match self.precision {
                24 => 32,
                53 => 64,
                _ => 80,
            });
        }
        let result = f();
        // SAFETY: as above.
        (result, unsafe { c::softfloat_exceptionFlags_read_helper() })
    }
}

/// A format as both sides know it.
trait Both: Format {
    type C: Copy;
    const NAME: &'static str;
    fn random(noise: &mut Noise) -> Self::Bits;
    fn c(bits: Self::Bits) -> Self::C;
    fn bits(c: Self::C) -> Self::Bits;
    fn is_nan(bits: Self::Bits) -> bool;
}

/// Sign, exponent field and fraction, often at an edge.
fn number(noise: &mut Noise, exp: u32, fraction: u32) -> (bool, u64, u64) {
    let max = (1u64 << exp) - 1;
    let bias = max >> 1;
    let mut below = |n: u64| noise.below(n as usize) as u64;
    let field = match below(8) {
        0 => 0,
        1 => max,
        2 => [1, 2, max - 1, max - 2][below(4) as usize],
        3 => bias + below(u64::from(fraction) + 12).min(bias),
        4 => bias - below(u64::from(fraction) + 3).min(bias),
        5 => bias,
        _ => below(max + 1),
    };
    let ones = u64::MAX >> (64 - fraction);
    let bits = match below(6) {
        0 => 0,
        1 => 1,
        2 => ones,
        3 => 1 << below(fraction.into()),
        4 => noise.next() & ones & !(ones >> 4),
        _ => noise.next() & ones,
    };
    (noise.next() >> 63 != 0, field, bits)
}

macro_rules! both {
    ($format:ty, $bits:ty, $c:ident, $name:literal, $exp:literal, $fraction:literal) => {
        impl Both for $format {
            type C = c::$c;
            const NAME: &'static str = $name;
            fn random(noise: &mut Noise) -> $bits {
                let (sign, field, bits) = number(noise, $exp, $fraction);
                (u64::from(sign) << ($exp + $fraction) | field << $fraction | bits) as $bits
            }
            fn c(v: $bits) -> c::$c {
                c::$c { v }
            }
            fn bits(c: c::$c) -> $bits {
                c.v
            }
            fn is_nan(bits: $bits) -> bool {
                let infinity: $bits = ((1 << $exp) - 1) << $fraction;
                bits & (<$bits>::MAX >> 1) > infinity
            }
        }
    };
}
both!(F16, u16, float16_t, "f16", 5, 10);
both!(F32, u32, float32_t, "f32", 8, 23);
both!(F64, u64, float64_t, "f64", 11, 52);

impl Both for X80 {
    type C = c::extFloat80_t;
    const NAME: &'static str = "x80";
    /// With the integer bit that belongs to the exponent: what the others mean
    /// is x87's affair.
    fn random(noise: &mut Noise) -> Ext {
        let (sign, field, bits) = number(noise, 15, 63);
        Ext {
            sig: u64::from(field != 0) << 63 | bits,
            sign_exp: u16::from(sign) << 15 | field as u16,
        }
    }
    fn c(bits: Ext) -> c::extFloat80_t {
        c::extFloat80_t {
            signif: bits.sig,
            signExp: bits.sign_exp,
        }
    }
    fn bits(c: c::extFloat80_t) -> Ext {
        Ext {
            sig: c.signif,
            sign_exp: c.signExp,
        }
    }
    fn is_nan(bits: Ext) -> bool {
        bits.sign_exp & 0x7fff == 0x7fff && bits.sig << 1 != 0
    }
}

/// Compares `ours` with SoftFloat's `theirs` on random operands.
fn check<F: Both, G: Both>(
    name: &str,
    mode: Mode,
    ours: impl Fn([F::Bits; 3], &mut Env) -> G::Bits,
    theirs: impl Fn([F::C; 3]) -> G::C,
) {
    let mut noise = Noise::new(0x5eed ^ u64::from(mode.theirs) << 8);
    for _ in 0..CASES {
        let mut operands = [(); 3].map(|()| F::random(&mut noise));
        if noise.below(8) == 0 {
            // Cancellation and equality.
            operands[1] = operands[0];
        }
        let (wanted, exceptions) = mode.run(|| theirs(operands.map(F::c)));
        let wanted = G::bits(wanted);
        let mut env = mode.env();
        let got = ours(operands, &mut env);
        let same = got == wanted || G::is_nan(got) && G::is_nan(wanted);
        assert!(
            same && ieee(&env) == exceptions,
            "{name} {} -> {} {operands:x?} {mode:?}: {got:x?} {:#x}, SoftFloat {wanted:x?} {exceptions:#x}",
            F::NAME,
            G::NAME,
            ieee(&env),
        );
    }
}

macro_rules! arithmetic {
    ($test:ident, $format:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $sqrt:ident,
     $precisions:expr) => {
        #[test]
        fn $test() {
            for mode in Mode::all() {
                for precision in $precisions {
                    let mode = Mode { precision, ..mode };
                    // SAFETY: plain arithmetic on values.
                    unsafe {
                        check::<$format, $format>(
                            "add",
                            mode,
                            |x, e| add::<$format>(x[0], x[1], e),
                            |x| c::$add(x[0], x[1]),
                        );
                        check::<$format, $format>(
                            "sub",
                            mode,
                            |x, e| sub::<$format>(x[0], x[1], e),
                            |x| c::$sub(x[0], x[1]),
                        );
                        check::<$format, $format>(
                            "mul",
                            mode,
                            |x, e| mul::<$format>(x[0], x[1], e),
                            |x| c::$mul(x[0], x[1]),
                        );
                        check::<$format, $format>(
                            "div",
                            mode,
                            |x, e| div::<$format>(x[0], x[1], e),
                            |x| c::$div(x[0], x[1]),
                        );
                        check::<$format, $format>(
                            "sqrt",
                            mode,
                            |x, e| sqrt::<$format>(x[0], e),
                            |x| c::$sqrt(x[0]),
                        );
                    }
                }
            }
        }
    };
}
arithmetic!(
    half,
    F16,
    f16_add,
    f16_sub,
    f16_mul,
    f16_div,
    f16_sqrt,
    [64]
);
arithmetic!(
    single,
    F32,
    f32_add,
    f32_sub,
    f32_mul,
    f32_div,
    f32_sqrt,
    [64]
);
arithmetic!(
    double,
    F64,
    f64_add,
    f64_sub,
    f64_mul,
    f64_div,
    f64_sqrt,
    [64]
);
arithmetic!(
    extended,
    X80,
    extF80_add,
    extF80_sub,
    extF80_mul,
    extF80_div,
    extF80_sqrt,
    [24, 53, 64]
);

#[test]
fn fused() {
    macro_rules! fused {
        ($($format:ident $c:ident)*) => {$(
            for mode in Mode::all() {
                check::<$format, $format>(
                    "mul_add",
                    mode,
                    |x, e| {
                        // Infinity times zero plus a quiet NaN: IEEE leaves it
                        // open, Arm and SoftFloat call it invalid.
                        e.nan = NanRule::Arm;
                        mul_add::<$format>(x[0], x[1], x[2], e)
                    },
                    // SAFETY: plain arithmetic on values.
                    |x| unsafe { c::$c(x[0], x[1], x[2]) },
                );
            }
        )*};
    }
    fused!(F16 f16_mulAdd F32 f32_mulAdd F64 f64_mulAdd);
}

#[test]
fn between_formats() {
    macro_rules! conversions {
        ($($from:ident $to:ident $c:ident)*) => {$(
            for mode in Mode::all() {
                check::<$from, $to>(
                    "convert",
                    mode,
                    |x, e| convert::<$from, $to>(x[0], e),
                    // SAFETY: plain arithmetic on values.
                    |x| unsafe { c::$c(x[0]) },
                );
            }
        )*};
    }
    conversions!(
        F16 F32 f16_to_f32  F16 F64 f16_to_f64  F16 X80 f16_to_extF80
        F32 F16 f32_to_f16  F32 F64 f32_to_f64  F32 X80 f32_to_extF80
        F64 F16 f64_to_f16  F64 F32 f64_to_f32  F64 X80 f64_to_extF80
        X80 F16 extF80_to_f16  X80 F32 extF80_to_f32  X80 F64 extF80_to_f64
    );
}

#[test]
fn to_integral_numbers() {
    macro_rules! integral {
        ($($format:ident $c:ident)*) => {$(
            for mode in Mode::all() {
                for exact in [false, true] {
                    check::<$format, $format>(
                        "round",
                        mode,
                        |x, e| round_to_integral::<$format>(x[0], mode.rounding, exact, e),
                        // SAFETY: plain arithmetic on values.
                        |x| unsafe { c::$c(x[0], mode.theirs, exact) },
                    );
                }
            }
        )*};
    }
    integral!(F16 f16_roundToInt F32 f32_roundToInt F64 f64_roundToInt X80 extF80_roundToInt);
}

#[test]
fn to_integers_and_back() {
    macro_rules! integers {
        ($($format:ident $signed:literal $bits:literal $to:ident $from:ident $int:ty;)*) => {$(
            let mut noise = Noise::new(3);
            for mode in Mode::all() {
                for _ in 0..CASES {
                    let a = $format::random(&mut noise);
                    let (wanted, exceptions) = mode.run(|| {
                        // SAFETY: plain arithmetic on values.
                        unsafe { c::$to($format::c(a), mode.theirs, true) }
                    });
                    let mut env = mode.env();
                    let got = to_integer::<$format>(a, 0, $signed, $bits, mode.rounding, &mut env);
                    assert_eq!(ieee(&env), exceptions, "{} {a:x?} {mode:?}", stringify!($to));
                    match got {
                        Ok(got) => assert_eq!(got as $int, wanted as $int, "{} {a:x?}", stringify!($to)),
                        Err(_) => assert_eq!(exceptions, c::softfloat_flag_invalid),
                    }
                    let i = (noise.next() >> noise.below(64)) as $int;
                    // SAFETY: as above.
                    let (wanted, exceptions) = mode.run(|| unsafe { c::$from(i) });
                    let wide = i as i128;
                    let mut env = mode.env();
                    let got = from_integer::<$format>(wide < 0, wide.unsigned_abs() as u64, 0, &mut env);
                    assert_eq!(
                        (got, ieee(&env)),
                        ($format::bits(wanted), exceptions),
                        "{} {i} {mode:?}",
                        stringify!($from)
                    );
                }
            }
        )*};
    }
    integers!(
        F16 true 32 f16_to_i32 i32_to_f16 i32;
        F16 true 64 f16_to_i64 i64_to_f16 i64;
        F16 false 32 f16_to_ui32 ui32_to_f16 u32;
        F16 false 64 f16_to_ui64 ui64_to_f16 u64;
        F32 true 32 f32_to_i32 i32_to_f32 i32;
        F32 true 64 f32_to_i64 i64_to_f32 i64;
        F32 false 32 f32_to_ui32 ui32_to_f32 u32;
        F32 false 64 f32_to_ui64 ui64_to_f32 u64;
        F64 true 32 f64_to_i32 i32_to_f64 i32;
        F64 true 64 f64_to_i64 i64_to_f64 i64;
        F64 false 32 f64_to_ui32 ui32_to_f64 u32;
        F64 false 64 f64_to_ui64 ui64_to_f64 u64;
        X80 true 32 extF80_to_i32 i32_to_extF80 i32;
        X80 true 64 extF80_to_i64 i64_to_extF80 i64;
        X80 false 32 extF80_to_ui32 ui32_to_extF80 u32;
        X80 false 64 extF80_to_ui64 ui64_to_extF80 u64;
    );
}

#[test]
fn comparisons() {
    macro_rules! comparisons {
        ($($format:ident $eq:ident $lt:ident $le:ident $eq_loud:ident $lt_quiet:ident $le_quiet:ident;)*) => {$(
            let mut noise = Noise::new(4);
            for _ in 0..20 * CASES {
                let a = $format::random(&mut noise);
                let b = if noise.below(4) == 0 { a } else { $format::random(&mut noise) };
                let (x, y) = ($format::c(a), $format::c(b));
                for signaling in [false, true] {
                    let mode = Mode::all().next().expect("a mode");
                    // SAFETY: plain arithmetic on values.
                    let (wanted, exceptions) = mode.run(|| unsafe {
                        match signaling {
                            false => [c::$eq(x, y), c::$lt_quiet(x, y), c::$le_quiet(x, y)],
                            true => [c::$eq_loud(x, y), c::$lt(x, y), c::$le(x, y)],
                        }
                    });
                    let mut env = mode.env();
                    let got = compare::<$format>(a, b, signaling, &mut env);
                    let got = [
                        got == Relation::Equal,
                        got == Relation::Less,
                        matches!(got, Relation::Less | Relation::Equal),
                    ];
                    assert_eq!((got, ieee(&env)), (wanted, exceptions), "{a:x?} {b:x?}");
                }
            }
        )*};
    }
    comparisons!(
        F16 f16_eq f16_lt f16_le f16_eq_signaling f16_lt_quiet f16_le_quiet;
        F32 f32_eq f32_lt f32_le f32_eq_signaling f32_lt_quiet f32_le_quiet;
        F64 f64_eq f64_lt f64_le f64_eq_signaling f64_lt_quiet f64_le_quiet;
        X80 extF80_eq extF80_lt extF80_le extF80_eq_signaling extF80_lt_quiet extF80_le_quiet;
    );
}
