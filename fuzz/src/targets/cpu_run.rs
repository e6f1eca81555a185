//! What both CPU targets share: running code in slices.

use bus::GuestRam;
use bus::vm_memory::{Bytes, GuestAddress};
use cpu::{Cpu, Isa, VmEntry, VmExit};

/// Most exits of a run that ask something of the machine.
const EXITS: u32 = 300;

/// Runs `cpu` for `total` instructions, at most `slice` at a time. Devices
/// answer with numbers that depend on what was asked. `next_slot` is called
/// when the code has ended in an exception or a halt for ever; it starts the
/// CPU somewhere else, or says that the run is over.
pub fn run<I: Isa>(
    cpu: &mut Cpu<I>,
    total: u64,
    slice: u64,
    mut next_slot: impl FnMut(&mut Cpu<I>) -> bool,
) {
    let mut entry = VmEntry::Run;
    let mut exits = 0;
    let answer = |asked: u64, exits: u32| {
        let x = (asked ^ u64::from(exits) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        VmEntry::Value(x ^ x >> 29)
    };
    while cpu.icount() < total && exits < EXITS {
        let budget = slice.min(total - cpu.icount());
        let exit = cpu.run(std::mem::replace(&mut entry, VmEntry::Run), Some(budget));
        exits += u32::from(exit != VmExit::Budget);
        let goes_on = match exit {
            VmExit::Budget | VmExit::Attention | VmExit::Eoi(_) => true,
            VmExit::MmioRead { address, size } => {
                assert!(matches!(size, 1 | 2 | 4 | 8), "{size} bytes");
                entry = answer(address, exits);
                true
            }
            VmExit::IoRead { port, size } => {
                assert!(matches!(size, 1 | 2 | 4), "{size} bytes");
                entry = answer(port.into(), exits);
                true
            }
            VmExit::MmioWrite { .. } | VmExit::IoWrite { .. } => {
                entry = VmEntry::Done;
                true
            }
            VmExit::Halt => {
                let next = I::next_timer(cpu);
                if !I::wakes(cpu) && next == bus::SimTime::MAX {
                    next_slot(cpu)
                } else {
                    cpu.advance(next);
                    true
                }
            }
            VmExit::Hypercall { .. } => {
                entry = VmEntry::Value(0);
                next_slot(cpu)
            }
            VmExit::Reset | VmExit::Crash(_) => next_slot(cpu),
        };
        if !goes_on {
            return;
        }
    }
    assert!(
        cpu.icount() <= total,
        "{} of {total} instructions",
        cpu.icount()
    );
}

/// Whether the first `len` bytes of two memories are equal.
pub fn same(a: &GuestRam, b: &GuestRam, len: u64) -> bool {
    let mut pages = [[0u8; 4096]; 2];
    (0..len).step_by(4096).all(|at| {
        for (page, ram) in pages.iter_mut().zip([a, b]) {
            ram.read_slice(page, GuestAddress(at)).expect("in RAM");
        }
        pages[0] == pages[1]
    })
}
