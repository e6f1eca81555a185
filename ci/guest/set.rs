//! A set of small programs for a guest: `set [REPEATS]` runs each and prints a
//! line with its name and the nanoseconds of its fastest run. The same work on
//! every machine, so that lines can be compared.
//!
//! One file and no crates: `rustc` makes a static program of it.

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::time::Instant;

unsafe extern "C" {
    fn fork() -> c_int;
    fn _exit(code: c_int) -> !;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn getppid() -> c_int;
    fn pipe(ends: *mut c_int) -> c_int;
    fn read(fd: c_int, to: *mut c_void, n: usize) -> isize;
    fn write(fd: c_int, from: *const c_void, n: usize) -> isize;
    fn mmap(at: *mut c_void, n: usize, p: c_int, f: c_int, fd: c_int, o: i64) -> *mut c_void;
    fn munmap(at: *mut c_void, n: usize) -> c_int;
}

const MIB: usize = 1 << 20;

/// Primes below half a million, four times.
fn sieve() {
    const N: usize = 500_000;
    for _ in 0..4 {
        let mut composite = vec![false; N];
        let mut primes = 0;
        for i in 2..N {
            if !composite[i] {
                primes += 1;
                for j in (i * i..N).step_by(i) {
                    composite[j] = true;
                }
            }
        }
        assert_eq!(black_box(primes), 41_538);
    }
}

#[derive(Clone)]
struct Record {
    kind: u32,
    number: u32,
    name: [u8; 30],
}

#[inline(never)]
fn assign(record: &mut Record, by: u32) {
    record.number = record.number.wrapping_add(by);
    record.kind = if record.kind == 2 { 0 } else { record.kind + 1 };
}

#[inline(never)]
fn same(a: &[u8; 30], b: &[u8; 30]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// As Dhrystone does: calls, records, text compared, divisions, branches.
fn dhrystone() {
    let mut one = Record {
        kind: 0,
        number: 1,
        name: *b"DHRYSTONE PROGRAM, SOME STRING",
    };
    let mut two = one.clone();
    let mut table = [0u32; 50];
    let mut equal = 0;
    for i in 0..500_000u32 {
        assign(black_box(&mut one), i);
        assign(black_box(&mut two), one.number / (one.kind + 7));
        two.name[29] = b'0' + (i % 3) as u8;
        equal += u32::from(same(black_box(&one.name), black_box(&two.name)));
        let slot = (two.number % 50) as usize;
        table[slot] = table[slot].wrapping_mul(3).wrapping_add(two.kind);
    }
    black_box((table, equal));
}

/// A matrix product and square roots in double precision.
fn fp() {
    const N: usize = 64;
    let cell = |k: f64| -> Vec<f64> { (0..N * N).map(|i| (i as f64 * k).sqrt()).collect() };
    let (a, b) = (black_box(cell(0.5)), black_box(cell(1.5)));
    for _ in 0..40 {
        let mut c = vec![0.0f64; N * N];
        for i in 0..N {
            for j in 0..N {
                let mut sum = 0.0;
                for k in 0..N {
                    sum += a[i * N + k] * b[k * N + j];
                }
                c[i * N + j] = sum / (1.0 + sum.abs());
            }
        }
        black_box(c);
    }
}

/// Loads, adds and stores over a quarter of a megabyte.
fn memory() {
    let mut words = vec![1u64; 32_768];
    for round in 0..200 {
        let mut last = round;
        for word in black_box(&mut words).iter_mut() {
            last = word.wrapping_add(last) ^ (last >> 3);
            *word = last;
        }
    }
    black_box(words);
}

fn copy() {
    let from = vec![7u8; MIB];
    let mut to = vec![0u8; MIB];
    for _ in 0..300 {
        black_box(&mut to).copy_from_slice(black_box(&from));
    }
}

fn set() {
    let mut to = vec![0u8; MIB];
    for i in 0..300u32 {
        black_box(&mut to).fill(i as u8);
    }
}

/// A cycle through sixteen megabytes.
fn chase() {
    const N: usize = 1 << 18;
    // A full period: the multiplier is 1 modulo 4, the increment odd.
    let mut next = vec![[0usize; 8]; N];
    for (i, line) in next.iter_mut().enumerate() {
        line[0] = (i * 1_664_525 + 1_013_904_223) % N;
    }
    let mut at = 0;
    for _ in 0..400_000 {
        at = next[at][0];
    }
    black_box(at);
}

fn syscalls() {
    for _ in 0..100_000 {
        // SAFETY: takes nothing.
        black_box(unsafe { getppid() });
    }
}

fn forks() {
    for _ in 0..200 {
        // SAFETY: the child ends at once.
        unsafe {
            let child = fork();
            if child == 0 {
                _exit(0);
            }
            assert!(child > 0);
            let mut status = 0;
            assert_eq!(waitpid(child, &mut status, 0), child);
        }
    }
}

/// Touches each page of sixteen megabytes of new memory.
fn faults() {
    for _ in 0..4 {
        // SAFETY: a new private mapping, written within its bounds.
        unsafe {
            let at = mmap(std::ptr::null_mut(), 16 * MIB, 3, 0x22, -1, 0);
            assert_ne!(at as isize, -1);
            for page in 0..16 * MIB / 4096 {
                at.cast::<u8>().add(page * 4096).write_volatile(1);
            }
            munmap(at, 16 * MIB);
        }
    }
}

/// A byte to and fro between two processes.
fn pipes() {
    let (mut there, mut back) = ([0; 2], [0; 2]);
    let mut byte = 0u8;
    // SAFETY: buffers of one byte; the child ends here.
    unsafe {
        assert_eq!(pipe(there.as_mut_ptr()) | pipe(back.as_mut_ptr()), 0);
        let child = fork();
        let (from, to) = if child == 0 {
            (there[0], back[1])
        } else {
            (back[0], there[1])
        };
        for _ in 0..5_000 {
            let at = (&raw mut byte).cast();
            if child == 0 {
                read(from, at, 1);
                write(to, at, 1);
            } else {
                write(to, at, 1);
                read(from, at, 1);
            }
        }
        if child == 0 {
            _exit(0);
        }
        let mut status = 0;
        waitpid(child, &mut status, 0);
    }
}

fn main() {
    let repeats = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    let only = std::env::args().nth(2);
    let all: [(&str, fn()); 11] = [
        ("sieve", sieve),
        ("dhrystone-like", dhrystone),
        ("fp", fp),
        ("memory loop", memory),
        ("memcpy", copy),
        ("memset", set),
        ("pointer chase", chase),
        ("syscall", syscalls),
        ("fork", forks),
        ("page fault", faults),
        ("pipe", pipes),
    ];
    for (name, work) in all {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let time = || {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos()
        };
        let best = (0..repeats).map(|_| time()).min();
        println!("{name}\t{}", best.unwrap_or(0));
    }
}
