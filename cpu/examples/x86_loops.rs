//! Micro benchmarks of the x86-64 interpreter: million instructions per second
//! in small loops. `cargo run --release -p cpu --example x86_loops`

use bus::create_ram;
use cpu::x86_64::{BOOT_GDT, Boot64, Extra, LapicInbox, X86, boot_state_64};
use cpu::{Clock, Cpu, Signal, VmEntry};
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

/// Processor time of this process, which a busy machine does not disturb much.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let ns: f64 = text
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    ns * 1e-9
}

const CODE: u64 = 0x10_0000;

fn measure(name: &str, code: &[u8]) {
    let ram = create_ram(&[(0, 16 << 20)]).expect("memory");
    let write = |at: u64, v: u64| ram.write_obj(v, GuestAddress(at)).expect("in RAM");
    write(0x1000, 0x2003);
    write(0x2000, 0x3003);
    for n in 0..8 {
        write(0x3000 + n * 8, n << 21 | 0x1e3);
    }
    for (n, entry) in BOOT_GDT.iter().enumerate() {
        write(0x4000 + n as u64 * 8, *entry);
    }
    ram.write_slice(code, GuestAddress(CODE)).expect("in RAM");
    let signal = Arc::new(Signal::default());
    let inbox = Arc::new(LapicInbox::new(signal.clone()));
    let mut state = boot_state_64(&Boot64 {
        rip: CODE,
        cr3: 0x1000,
        gdt: 0x4000,
        gdt_limit: 31,
        ..Boot64::default()
    });
    state.gpr[4] = 0x20_0000;
    state.gpr[6] = 0x30_0000;
    let clock = Clock::instructions(1000);
    let mut cpu = Cpu::<X86>::new(state, Extra::new(inbox), &ram, signal, clock);
    const N: u64 = 300_000_000;
    cpu.run(VmEntry::Run, Some(1_000_000));
    let start = cpu_seconds();
    let exit = cpu.run(VmEntry::Run, Some(N));
    let seconds = cpu_seconds() - start;
    println!(
        "{name:<10} {:>7.1} M/s   {exit:?}",
        N as f64 / seconds / 1e6
    );
}

fn main() {
    // 1: add rax, rcx; lea rdx, [rax+rcx*2]; xor ebx, edx; shr rbx, 3;
    //    inc rcx; cmp rcx, rsi; jne 1b; jmp 1b
    measure(
        "integer",
        &[
            0x48, 0x01, 0xc8, 0x48, 0x8d, 0x14, 0x48, 0x31, 0xd3, 0x48, 0xc1, 0xeb, 0x03, 0x48,
            0xff, 0xc1, 0x48, 0x39, 0xf1, 0x75, 0xeb, 0xeb, 0xe9,
        ],
    );
    // 1: mov rax, [rsi]; add rax, 1; mov [rsi+8], rax; mov ecx, [rsi+16];
    //    movzx edx, byte [rsi+3]; test edx, edx; jmp 1b
    measure(
        "memory",
        &[
            0x48, 0x8b, 0x06, 0x48, 0x83, 0xc0, 0x01, 0x48, 0x89, 0x46, 0x08, 0x8b, 0x4e, 0x10,
            0x0f, 0xb6, 0x56, 0x03, 0x85, 0xd2, 0xeb, 0xea,
        ],
    );
    // 1: call 2f; jmp 1b; 2: push rbx; mov ebx, eax; pop rbx; ret
    measure(
        "call/ret",
        &[
            0xe8, 0x02, 0x00, 0x00, 0x00, 0xeb, 0xf9, 0x53, 0x89, 0xc3, 0x5b, 0xc3,
        ],
    );
}
