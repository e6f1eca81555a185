//! Coverage feedback, in a build instrumented by the compiler
//! (SanitizerCoverage, inline 8-bit counters): see `docs/fuzzing.md`. Any other
//! build has no counters, and nothing is new.

// The compiler's instrumentation calls a C function with raw pointers.
#![allow(unsafe_code)]

use std::sync::{Mutex, PoisonError};

/// A table of counters, one byte for each edge of the program.
struct Table {
    start: *mut u8,
    /// Which counts each edge has had, one bit for each power of two.
    seen: Vec<u8>,
}

// SAFETY: the counters are static memory of this process; they are read and
// written under the lock of `TABLES`, and racing increments by other threads
// lose counts at most.
unsafe impl Send for Table {}

static TABLES: Mutex<Vec<Table>> = Mutex::new(Vec::new());

/// Called by the instrumentation before `main`, once for each object.
///
/// # Safety
/// `start..stop` are counters of the instrumentation, which live for ever.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let len = (stop as usize).saturating_sub(start as usize);
    if len > 0 && tables.iter().all(|table| table.start != start) {
        tables.push(Table {
            start,
            seen: vec![0; len],
        });
    }
}

/// Whether the program did something new since the last call. Clears the
/// counters.
pub(crate) fn is_new() -> bool {
    let mut new = false;
    for table in &mut *TABLES.lock().unwrap_or_else(PoisonError::into_inner) {
        for (i, seen) in table.seen.iter_mut().enumerate() {
            // SAFETY: `i` is below the number of counters that the
            // instrumentation gave; volatile because it writes them unseen.
            let count = unsafe {
                let counter = table.start.add(i);
                let count = counter.read_volatile();
                if count != 0 {
                    counter.write_volatile(0);
                }
                count
            };
            if count != 0 {
                let bit = 1u8 << count.ilog2();
                new |= *seen & bit == 0;
                *seen |= bit;
            }
        }
    }
    new
}
