//! Which NaN comes out.

use super::env::{Env, NanRule, flags};
use super::format::{Class, Format, Value};

/// The NaN of an invalid operation.
pub fn default_nan<F: Format>(rule: NanRule) -> F::Bits {
    let sign = matches!(rule, NanRule::Sse | NanRule::X87);
    F::join(sign, F::EXP_MAX, 3 << 62)
}

/// Raises invalid and gives the default NaN.
pub(super) fn invalid<F: Format>(env: &mut Env) -> F::Bits {
    env.raise(flags::INVALID);
    default_nan::<F>(env.nan)
}

pub(super) fn quieted<F: Format>(value: &Value) -> F::Bits {
    F::join(value.sign, F::EXP_MAX, value.sig | 3 << 62)
}

/// The result of an operation on `operands`, at least one of which is a NaN.
#[cold]
#[inline(never)]
pub(super) fn propagate<F: Format>(operands: &[Value], env: &mut Env) -> F::Bits {
    let any = |class| operands.iter().any(|v| v.class == class);
    if any(Class::Unsupported) {
        return invalid::<F>(env);
    }
    if any(Class::Signaling) {
        env.raise(flags::INVALID);
    }
    let first = |class| operands.iter().find(|v| v.class == class);
    let chosen = match env.nan {
        NanRule::ArmDefault => None,
        NanRule::Arm => first(Class::Signaling).or_else(|| first(Class::Quiet)),
        NanRule::Sse => operands.iter().find(|v| v.is_nan()),
        NanRule::X87 => {
            operands
                .iter()
                .filter(|v| v.is_nan())
                .reduce(|a, b| match (a.class, b.class) {
                    (Class::Signaling, Class::Quiet) => b,
                    (Class::Quiet, Class::Signaling) => a,
                    _ if a.sig != b.sig => {
                        if a.sig > b.sig {
                            a
                        } else {
                            b
                        }
                    }
                    _ if a.sign => b,
                    _ => a,
                })
        }
    };
    match chosen {
        Some(value) => quieted::<F>(value),
        None => default_nan::<F>(env.nan),
    }
}
