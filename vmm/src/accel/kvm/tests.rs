//! Small payloads that need neither real mode nor SSE, so that they run on an
//! interpreting KVM too.

use super::*;
use crate::accel::{VmEntry, VmExit};
use bus::{GuestRam, MsiMessage, MsiSink, create_ram};
use std::sync::Arc;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

const CODE: u64 = 0x8000;
const MMIO: u64 = 0x1000_0000;

/// A VM that maps its first 2 MiB, with RAM, and 2 MiB of nothing at `MMIO`.
fn machine(code: &[u8], irqchip: bool) -> Option<(Arc<GuestRam>, Arc<KvmVm>, KvmVcpu)> {
    let ram = Arc::new(create_ram(&[(0, 2 << 20)]).unwrap());
    let words = [
        (0x1000, 0x2003u64),
        (0x2000, 0x3003),
        (0x3000, 0x83),
        (0x3000 + (MMIO >> 21) * 8, MMIO | 0x83),
        (0x510, 0x00af_9b00_0000_ffff),
        (0x518, 0x00cf_9300_0000_ffff),
    ];
    for (at, word) in words {
        ram.write_obj(word, GuestAddress(at)).unwrap();
    }
    ram.write_slice(code, GuestAddress(CODE)).unwrap();
    let vm = match KvmVm::new(ram.clone(), irqchip) {
        Ok(vm) => vm,
        Err(KvmError::Open(error)) => {
            println!("SKIP: /dev/kvm: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let vcpu = KvmVcpu::new(&vm, 0, 1, irqchip).unwrap();
    let boot = BootState {
        rip: CODE,
        rsi: 0x7000,
        cr3: 0x1000,
        gdt: 0x500,
        gdt_limit: 31,
        sse: false,
    };
    vcpu.boot(&boot).unwrap();
    Some((ram, vm, vcpu))
}

#[test]
fn port_and_memory_accesses_arrive() {
    // mov dx, 0x3f8; mov al, 'K'; out dx, al; in eax, 0x20; add eax, 1;
    // mov rbx, 0x10000000; mov [rbx+8], eax; mov rcx, [rbx+16];
    // mov [rbx], cx; hlt
    let code = [
        0x66, 0xba, 0xf8, 0x03, 0xb0, b'K', 0xee, 0xe5, 0x20, 0x83, 0xc0, 0x01, 0x48, 0xc7, 0xc3,
        0x00, 0x00, 0x00, 0x10, 0x89, 0x43, 0x08, 0x48, 0x8b, 0x4b, 0x10, 0x66, 0x89, 0x0b, 0xf4,
    ];
    let Some((_, _, mut vcpu)) = machine(&code, false) else {
        return;
    };
    assert_eq!(
        vcpu.run(VmEntry::Run),
        VmExit::IoWrite {
            port: 0x3f8,
            size: 1,
            data: b'K'.into()
        }
    );
    assert_eq!(
        vcpu.run(VmEntry::Done),
        VmExit::IoRead {
            port: 0x20,
            size: 4
        }
    );
    assert_eq!(
        vcpu.run(VmEntry::Value(0x1234_5678)),
        VmExit::MmioWrite {
            address: MMIO + 8,
            size: 4,
            data: 0x1234_5679
        }
    );
    assert_eq!(
        vcpu.run(VmEntry::Done),
        VmExit::MmioRead {
            address: MMIO + 16,
            size: 8
        }
    );
    assert_eq!(
        vcpu.run(VmEntry::Value(0xaaaa_bbbb_cccc_dddd)),
        VmExit::MmioWrite {
            address: MMIO,
            size: 2,
            data: 0xdddd
        }
    );
    assert_eq!(vcpu.run(VmEntry::Done), VmExit::Halt);
}

#[test]
fn string_accesses_come_one_element_at_a_time() {
    // mov esi, 0x9000; mov ecx, 3; mov dx, 0x3f8; rep outsw; mov edi, 0x9100;
    // mov ecx, 2; rep insd; mov eax, [0x9104]; out 0x10, eax
    let code = [
        0xbe, 0x00, 0x90, 0x00, 0x00, 0xb9, 0x03, 0x00, 0x00, 0x00, 0x66, 0xba, 0xf8, 0x03, 0xf3,
        0x66, 0x6f, 0xbf, 0x00, 0x91, 0x00, 0x00, 0xb9, 0x02, 0x00, 0x00, 0x00, 0xf3, 0x6d, 0x8b,
        0x04, 0x25, 0x04, 0x91, 0x00, 0x00, 0xe7, 0x10,
    ];
    let Some((ram, _, mut vcpu)) = machine(&code, false) else {
        return;
    };
    ram.write_slice(&[1, 2, 3, 4, 5, 6], GuestAddress(0x9000))
        .unwrap();
    let mut entry = VmEntry::Run;
    for data in [0x0201, 0x0403, 0x0605] {
        assert_eq!(
            vcpu.run(entry),
            VmExit::IoWrite {
                port: 0x3f8,
                size: 2,
                data
            }
        );
        entry = VmEntry::Done;
    }
    for value in [7, 0x8000_0009] {
        assert_eq!(
            vcpu.run(entry),
            VmExit::IoRead {
                port: 0x3f8,
                size: 4
            }
        );
        entry = VmEntry::Value(value);
    }
    assert_eq!(
        vcpu.run(entry),
        VmExit::IoWrite {
            port: 0x10,
            size: 4,
            data: 0x8000_0009
        }
    );
}

#[test]
fn a_triple_fault_is_reported_with_registers() {
    // mov eax, 0x4321; ud2, with an empty IDT
    let code = [0xb8, 0x21, 0x43, 0x00, 0x00, 0x0f, 0x0b];
    let Some((_, _, mut vcpu)) = machine(&code, false) else {
        return;
    };
    let VmExit::Crash(report) = vcpu.run(VmEntry::Run) else {
        panic!("no crash")
    };
    assert!(report.registers.contains("rip"), "{}", report.registers);
    assert!(
        report.reason.contains("triple fault") || report.reason.contains("internal error"),
        "{}",
        report.reason
    );
}

#[test]
fn a_kick_ends_a_busy_loop() {
    // 1: jmp 1b
    let Some((_, _, mut vcpu)) = machine(&[0xeb, 0xfe], false) else {
        return;
    };
    let kicker = vcpu.kicker().clone();
    let kick = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        kicker.kick();
    });
    assert_eq!(vcpu.enter(|vcpu| vcpu.run(VmEntry::Run)), VmExit::Attention);
    kick.join().unwrap();
    // A kick that comes before the entry is not lost.
    let kicker = vcpu.kicker().clone();
    let exit = vcpu.enter(|vcpu| {
        kicker.kick();
        vcpu.run(VmEntry::Run)
    });
    assert_eq!(exit, VmExit::Attention);
    // Nobody is there to be kicked.
    kicker.kick();
}

#[test]
fn written_pages_are_logged() {
    // mov [0x9000], eax; mov [0x1ff000], eax; hlt
    let code = [
        0x89, 0x04, 0x25, 0x00, 0x90, 0x00, 0x00, 0x89, 0x04, 0x25, 0x00, 0xf0, 0x1f, 0x00, 0xf4,
    ];
    let Some((_, vm, mut vcpu)) = machine(&code, false) else {
        return;
    };
    vm.set_dirty_log(true).unwrap();
    assert_eq!(vcpu.run(VmEntry::Run), VmExit::Halt);
    let dirty = vm.take_dirty().unwrap();
    // More may be in it: the processor sets accessed bits in the page tables,
    // and a KVM may count a page that it has mapped for writing.
    assert!(
        dirty.contains(&0x9000) && dirty.contains(&0x1f_f000),
        "{dirty:x?}"
    );
    assert!(
        dirty.iter().all(|at| *at < 0xa000 || *at == 0x1f_f000),
        "{dirty:x?}"
    );
    assert!(vm.take_dirty().unwrap().is_empty());
}

#[test]
fn messages_share_an_eventfd_and_give_it_back() {
    let Some((_, vm, _vcpu)) = machine(&[0xf4], true) else {
        return;
    };
    let irqs = KvmIrqs::with_routes(vm, 4).unwrap();
    let message = |data| MsiMessage {
        address: 0xfee0_0000,
        data,
    };
    let first = irqs.bind(message(0x41)).unwrap();
    let again = irqs.bind(message(0x41)).unwrap();
    assert!(Arc::ptr_eq(
        first.eventfd().unwrap(),
        again.eventfd().unwrap()
    ));
    // Many more than there are routes, one after the other.
    for data in 0x50..0x60 {
        assert!(irqs.bind(message(data)).is_some(), "{data:#x}");
    }
    // The one that is held is still there, and no more than four can be held.
    assert!(Arc::ptr_eq(
        first.eventfd().unwrap(),
        irqs.bind(message(0x41)).unwrap().eventfd().unwrap()
    ));
    let held: Vec<_> = (0x70..0x73)
        .map(|data| irqs.bind(message(data)).unwrap())
        .collect();
    assert!(irqs.bind(message(0x80)).is_none());
    drop(held);
    assert!(irqs.bind(message(0x80)).is_some());
    assert!(
        irqs.bind(MsiMessage {
            address: 0x1000,
            data: 0
        })
        .is_none()
    );
    irqs.send(message(0x41));
    irqs.send(MsiMessage {
        address: 0x1000,
        data: 0,
    });
}
