//! The engine against the host CPU: every user instruction form that the engine
//! decodes, with random operands from a fixed seed, run natively in a forked
//! child and on the engine, and all of the state compared.
//!
//! `X86_NATIVE_ONLY=addsd,mulsd` tests these mnemonics alone, `X86_NATIVE_SCALE=10`
//! ten times as many cases, `X86_NATIVE_SEED=n` other ones.

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[test]
fn native() {
    println!("SKIP: the host is no x86-64 Linux machine");
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod case;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod compare;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod families;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod generate;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod guest;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod random;
