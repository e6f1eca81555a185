//! Payloads in a whole machine: threads, service, stopping.

use super::*;
use crate::accel::kvm::{BootState, KvmError, KvmIrqs, KvmVm};
use bus::{Bdf, BusDevice, DmaTarget, IrqLine, MsiMessage, MsiSink, create_ram};
use devices::pci::{BarKind, FunctionState, Identity, PciFunction};
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

const CODE: u64 = 0x8000;
const POWER: u64 = 0x600;
const DOORBELL: u64 = 0x700;

/// Two ports: any write to them does `0`.
struct Port(Action);

impl BusDevice for Port {
    fn read(&mut self, _: u64, data: &mut [u8]) -> Result<(), IoError> {
        data.fill(0x5a);
        Ok(())
    }
    fn write(&mut self, _: u64, _: &[u8]) -> Result<Action, IoError> {
        Ok(self.0)
    }
}

/// A machine that runs `code` with one service, and its interrupts.
fn machine(code: &[u8], service: ServiceFn) -> Option<(KvmMachine, Arc<KvmIrqs>)> {
    let (parts, vm) = parts(code, service)?;
    let irqs = KvmIrqs::new(vm).unwrap();
    Some((KvmMachine::new(parts), irqs))
}

/// The parts of such a machine. Behind its RAM, at 2 MiB, are 2 MiB of nothing.
fn parts(code: &[u8], service: ServiceFn) -> Option<(KvmParts, Arc<KvmVm>)> {
    let ram = Arc::new(create_ram(&[(0, 2 << 20)]).unwrap());
    let words = [
        (0x1000, 0x2003u64),
        (0x2000, 0x3003),
        (0x3000, 0x83),
        (0x3008, 0x20_0083),
        (0x510, 0x00af_9b00_0000_ffff),
        (0x518, 0x00cf_9300_0000_ffff),
    ];
    for (at, word) in words {
        ram.write_obj(word, GuestAddress(at)).unwrap();
    }
    ram.write_slice(code, GuestAddress(CODE)).unwrap();
    let vm = match KvmVm::new(ram, true) {
        Ok(vm) => vm,
        Err(KvmError::Open(error)) => {
            println!("SKIP: /dev/kvm: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    // A second vCPU that nobody starts.
    let vcpus: Vec<_> = (0..2)
        .map(|id| KvmVcpu::new(&vm, id, 2, true).unwrap())
        .collect();
    let boot = BootState {
        rip: CODE,
        cr3: 0x1000,
        gdt: 0x500,
        gdt_limit: 31,
        ..BootState::default()
    };
    vcpus[0].boot(&boot).unwrap();
    let mut pio = AddressSpace::new();
    pio.map(POWER, 2, Arc::new(Mutex::new(Port(Action::PowerOff))))
        .unwrap();
    pio.map(DOORBELL, 2, Arc::new(Mutex::new(Port(Action::Service))))
        .unwrap();
    let parts = KvmParts {
        doorbells: None,
        vcpus,
        mmio: AddressSpace::new(),
        pio,
        services: vec![service],
        signal: Arc::new(Signal::default()),
        clock: Arc::new(crate::clock::HostClock::start()),
    };
    Some((parts, vm))
}

/// A function with one doorbell, which may ring by eventfd only.
struct Bell(FunctionState, Arc<AtomicU64>);

impl PciFunction for Bell {
    fn state(&mut self) -> &mut FunctionState {
        &mut self.0
    }
    fn bar_read(&mut self, _: u8, _: u64, data: &mut [u8]) -> Result<(), IoError> {
        data.fill(0);
        Ok(())
    }
    fn bar_write(&mut self, _: u8, _: u64, _: &[u8]) -> Result<Action, IoError> {
        panic!("the write of a doorbell came as an exit")
    }
    fn reset(&mut self) {}
    fn doorbells(&self) -> Vec<(u8, u64)> {
        vec![(0, 0x10)]
    }
    fn ring(&mut self, index: u16) -> Action {
        assert_eq!(index, 0);
        self.1.fetch_add(1, Ordering::SeqCst);
        Action::Service
    }
}

#[test]
fn a_doorbell_rings_without_an_exit() {
    // mov edi, 0x200010; mov [rdi], ax; 1: jmp 1b
    let code = [0xbf, 0x10, 0x00, 0x20, 0x00, 0x66, 0x89, 0x07, 0xeb, 0xfe];
    let rung = Arc::new(AtomicU64::new(0));
    let (seen, done) = (rung.clone(), Arc::new(AtomicU64::new(0)));
    let served = done.clone();
    let service = move |_| {
        served.store(seen.load(Ordering::SeqCst), Ordering::SeqCst);
        Next::OnKick
    };
    let Some((mut parts, vm)) = parts(&code, Box::new(service)) else {
        return;
    };
    let root = Root::new();
    let bdf = Bdf::new(0, 1, 0);
    let identity = Identity {
        vendor: 1,
        device: 1,
        revision: 0,
        class: 0,
        subsystem_vendor: 0,
        subsystem: 0,
    };
    let dma = DmaTarget::new(
        bdf,
        Arc::new(create_ram(&[(0, 4096)]).unwrap()),
        KvmIrqs::new(vm.clone()).unwrap(),
    );
    let mut state = FunctionState::new(identity, dma, IrqLine::from_fn(|_| {}));
    state.add_bar(0, BarKind::Memory32, 4096).unwrap();
    state.config.write(4, &[2]);
    root.add(bdf, Box::new(Bell(state, rung.clone()))).unwrap();
    root.assign_bars(0x20_0000..0x30_0000, 0..0, 0..0).unwrap();
    parts.doorbells = Some((KvmDoorbells::new(vm).unwrap(), root));
    let mut machine = KvmMachine::new(parts);
    let signal = machine.signal().clone();
    let watched = done.clone();
    let stop = std::thread::spawn(move || {
        for _ in 0..1000 {
            if watched.load(Ordering::SeqCst) > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        signal.raise(Signal::STOP);
    });
    assert!(matches!(machine.run(), Pause::Stopped));
    stop.join().unwrap();
    assert_eq!(rung.load(Ordering::SeqCst), 1);
    assert_eq!(
        done.load(Ordering::SeqCst),
        1,
        "and the devices were serviced"
    );
    assert_eq!(machine.unmapped(), 0);
}

fn stop_after(machine: &KvmMachine, time: Duration) -> std::thread::JoinHandle<()> {
    let signal = machine.signal().clone();
    std::thread::spawn(move || {
        std::thread::sleep(time);
        signal.raise(Signal::STOP);
    })
}

#[test]
fn a_busy_guest_and_a_waiting_one_stop() {
    // 1: jmp 1b, and 1: hlt; jmp 1b
    for code in [&[0xeb, 0xfe][..], &[0xf4, 0xeb, 0xfd]] {
        let Some((mut machine, irqs)) = machine(code, Box::new(|_| Next::OnKick)) else {
            return;
        };
        let stop = stop_after(&machine, Duration::from_millis(30));
        irqs.send(MsiMessage {
            address: 0xfee0_0000,
            data: 0x41,
        });
        let start = crate::clock::now();
        assert!(matches!(machine.run(), Pause::Stopped));
        assert!(start.elapsed() < Duration::from_secs(5));
        stop.join().unwrap();
    }
}

#[test]
fn a_guest_powers_off_and_its_accesses_are_answered() {
    // mov dx, 0x700; in al, dx; cmp al, 0x5a; jne 1f; mov dx, 0x600; out dx, al;
    // 1: jmp 1b
    let code = [
        0x66, 0xba, 0x00, 0x07, 0xec, 0x3c, 0x5a, 0x75, 0x05, 0x66, 0xba, 0x00, 0x06, 0xee, 0xeb,
        0xfe,
    ];
    let Some((mut machine, _)) = machine(&code, Box::new(|_| Next::OnKick)) else {
        return;
    };
    let stop = stop_after(&machine, Duration::from_secs(10));
    assert!(matches!(machine.run(), Pause::Ended(Ending::PowerOff)));
    assert_eq!(machine.unmapped(), 0);
    drop(stop);
}

#[test]
fn a_doorbell_is_serviced_before_the_guest_runs_on() {
    // mov ecx, 100; mov dx, 0x700; 1: out dx, al; in al, 0x80; loop 1b;
    // mov dx, 0x600; out dx, al; 2: jmp 2b
    let code = [
        0xb9, 0x64, 0x00, 0x00, 0x00, 0x66, 0xba, 0x00, 0x07, 0xee, 0xe4, 0x80, 0xe2, 0xfb, 0x66,
        0xba, 0x00, 0x06, 0xee, 0xeb, 0xfe,
    ];
    let calls = Arc::new(AtomicU64::new(0));
    let seen = calls.clone();
    let service = move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        Next::OnKick
    };
    let Some((mut machine, _)) = machine(&code, Box::new(service)) else {
        return;
    };
    assert!(matches!(machine.run(), Pause::Ended(Ending::PowerOff)));
    assert!(calls.load(Ordering::SeqCst) >= 100);
    assert_eq!(machine.unmapped(), 100, "nothing is at port 0x80");
}

#[test]
fn work_that_could_wait_for_more_is_done_before_the_guest_runs_on() {
    // mov ecx, 100; mov dx, 0x700; 1: out dx, al; loop 1b;
    // mov dx, 0x600; out dx, al; 2: jmp 2b
    let code = [
        0xb9, 0x64, 0x00, 0x00, 0x00, 0x66, 0xba, 0x00, 0x07, 0xee, 0xe2, 0xfd, 0x66, 0xba, 0x00,
        0x06, 0xee, 0xeb, 0xfe,
    ];
    // Like a NIC that gathers frames: at a doorbell it holds them, at the next
    // service it sends them.
    let sent = Arc::new(AtomicU64::new(0));
    let (count, mut held) = (sent.clone(), false);
    let service = move |now: SimTime| {
        held = !held;
        if held {
            return Next::Before(now + SimTime::from_secs(100));
        }
        count.fetch_add(1, Ordering::SeqCst);
        Next::OnKick
    };
    let Some((mut machine, _)) = machine(&code, Box::new(service)) else {
        return;
    };
    assert!(matches!(machine.run(), Pause::Ended(Ending::PowerOff)));
    assert!(sent.load(Ordering::SeqCst) >= 100);
}

#[test]
fn a_device_is_serviced_at_its_time_and_when_kicked() {
    let calls = Arc::new(AtomicU64::new(0));
    let seen = calls.clone();
    let service = move |now: SimTime| {
        // Three times by time, then only when kicked.
        match seen.fetch_add(1, Ordering::SeqCst) {
            0..3 => Next::At(now + SimTime::from_ms(5)),
            _ => Next::OnKick,
        }
    };
    // 1: hlt; jmp 1b
    let Some((mut machine, _)) = machine(&[0xf4, 0xeb, 0xfd], Box::new(service)) else {
        return;
    };
    let signal = machine.signal().clone();
    let watched = calls.clone();
    let kicks = std::thread::spawn(move || {
        while watched.load(Ordering::SeqCst) < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        signal.raise(Signal::DEVICE);
        while watched.load(Ordering::SeqCst) < 5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        signal.raise(Signal::STOP);
    });
    assert!(matches!(machine.run(), Pause::Stopped));
    kicks.join().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 5);
}

#[test]
fn a_panic_of_a_device_ends_the_guest_alone() {
    // mov dx, 0x700; 1: out dx, al; jmp 1b
    let code = [0x66, 0xba, 0x00, 0x07, 0xee, 0xeb, 0xfd];
    let mut first = true;
    let service = move |_| {
        assert!(std::mem::take(&mut first), "a device bug");
        Next::OnKick
    };
    let Some((mut machine, _)) = machine(&code, Box::new(service)) else {
        return;
    };
    let Pause::Ended(Ending::Crash(report)) = machine.run() else {
        panic!("no crash")
    };
    assert!(report.reason.contains("a device bug"), "{}", report.reason);
}
