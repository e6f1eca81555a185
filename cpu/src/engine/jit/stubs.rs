//! How compiled code calls helpers: through a stub that preserves every
//! general register, so that a call on a cold path costs the hot path nothing.

use super::memory::CodeMemory;
use cranelift_codegen::isa::CallConv;

/// How compiled code calls the address that [`call_stub`] returns.
#[cfg(target_arch = "x86_64")]
pub(super) const HELPER: CallConv = CallConv::PreserveAll;
/// How compiled code calls the address that [`call_stub`] returns.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const HELPER: CallConv = CallConv::SystemV;

/// Whether stubs take the pointer that compiled code has to the CPU, or helpers
/// called without one the CPU's address.
pub(super) const TAKES_MIDDLE: bool = cfg!(target_arch = "x86_64");

/// The address by which compiled code calls `helper`. Vector registers are not
/// preserved: no vector may live across such a call. `middle` is where in the CPU
/// the pointer of compiled code points.
#[cfg(target_arch = "x86_64")]
pub(super) fn call_stub(memory: &mut CodeMemory, helper: u64, middle: i32) -> Option<u64> {
    let mut code = Vec::new();
    // push rcx, rdx, rsi, rdi, r8, r9, r10, r11; eight of them and the return
    // address leave the stack 8 off alignment.
    code.extend([
        0x51, 0x52, 0x56, 0x57, 0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53,
    ]);
    // sub rdi, middle
    code.extend([0x48, 0x81, 0xef]);
    code.extend(middle.to_le_bytes());
    // sub rsp, 8; mov rax, helper; call rax; add rsp, 8
    code.extend([0x48, 0x83, 0xec, 0x08, 0x48, 0xb8]);
    code.extend(helper.to_le_bytes());
    code.extend([0xff, 0xd0, 0x48, 0x83, 0xc4, 0x08]);
    // pop in reverse; ret
    code.extend([
        0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, 0x5f, 0x5e, 0x5a, 0x59, 0xc3,
    ]);
    memory.add(&code)
}

/// The address by which compiled code calls `helper`.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn call_stub(_: &mut CodeMemory, helper: u64, _: i32) -> Option<u64> {
    Some(helper)
}
