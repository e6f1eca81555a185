//! Rewrites a function and calls it, again and again: `rewrite TIMES`. Each call
//! must give the number that was written last.
//!
//! One file and no crates: `rustc` makes a static program of it.

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn mmap(at: *mut c_void, n: usize, p: c_int, f: c_int, fd: c_int, o: i64) -> *mut c_void;
}

/// `mov eax, n; ret`
#[cfg(target_arch = "x86_64")]
fn function(n: u16) -> [u8; 8] {
    [0xb8, n as u8, (n >> 8) as u8, 0, 0, 0xc3, 0x90, 0x90]
}
#[cfg(target_arch = "x86_64")]
fn publish(_: *mut u8) {}

/// `mov w0, #n; ret`
#[cfg(target_arch = "aarch64")]
fn function(n: u16) -> [u8; 8] {
    let mov = 0x5280_0000 | u64::from(n) << 5;
    (mov | 0xd65f_03c0 << 32).to_le_bytes()
}
/// What the architecture asks for between the write and the call (Arm ARM B2.4.4).
#[cfg(target_arch = "aarch64")]
fn publish(at: *mut u8) {
    // SAFETY: cache maintenance by address changes no memory.
    unsafe {
        std::arch::asm!(
            "dc cvau, {0}", "dsb ish", "ic ivau, {0}", "dsb ish", "isb",
            in(reg) at
        );
    }
}

fn main() {
    let times: u32 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    // SAFETY: a new private mapping that may be written and run.
    let page = unsafe { mmap(std::ptr::null_mut(), 8192, 7, 0x22, -1, 0) }.cast::<u8>();
    assert_ne!(page as isize, -1);
    for n in 0..times {
        // Many places, one of them across two pages; each is hot before it changes.
        let at = page.wrapping_add([0, 8, 64, 4092, 4096][n as usize % 5]);
        let value = (n.wrapping_mul(40_503) >> 3) as u16;
        // SAFETY: eight bytes within the mapping, then a function that is whole.
        let got = unsafe {
            at.copy_from_nonoverlapping(function(value).as_ptr(), 8);
            publish(at);
            publish(at.wrapping_add(7));
            let call: extern "C" fn() -> u32 = std::mem::transmute(at);
            for _ in 0..n % 7 {
                call();
            }
            call()
        };
        assert_eq!(got, u32::from(value), "call {n}");
    }
    println!("rewritten {times} times");
}
