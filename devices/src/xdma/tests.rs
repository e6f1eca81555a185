//! The function as a driver finds it: probe, and transfers by MSI-X, MSI, INTx
//! and polling.

mod load;

use super::*;
use crate::virtio::driver::Machine;
use bus::create_ram;
use fpga_sim::card::SimCardSpec;
use fpga_sim::dma::Descriptor;
use vm_memory::{Bytes, GuestAddress};

const SLOT: u8 = 3;
const RING: u64 = 0x1_0000;
const DDR: u64 = 0x300_0000;
const MASK: u32 = 0x00f8_3e1e;

struct Rig {
    m: Machine,
    card: Arc<SimCard>,
    line: IrqLine,
    user: u64,
    config: u64,
}

fn rig() -> Rig {
    let mut m = Machine::new(16 << 20);
    let ddr = Arc::new(create_ram(&[(0, 0x400_0000)]).unwrap());
    let card = SimCard::new(SimCardSpec::default(), ddr).unwrap();
    let line = IrqLine::null();
    let function = XdmaPci::new(card.clone(), m.dma(SLOT), line.clone()).unwrap();
    m.add(SLOT, Box::new(function));
    let bar = |m: &mut Machine, n: u64| u64::from(m.read32(Machine::config(SLOT, 0x10 + 4 * n)));
    let (user, config) = (bar(&mut m, 0), bar(&mut m, 1));
    let mut rig = Rig {
        m,
        card,
        line,
        user,
        config,
    };
    rig.command(0x6);
    rig
}

impl Rig {
    fn command(&mut self, value: u16) {
        self.m.write(Machine::config(SLOT, 4), &value.to_le_bytes());
    }
    fn capability(&mut self, id: u8) -> u64 {
        let mut at = u64::from(self.m.read::<1>(Machine::config(SLOT, 0x34))[0]);
        while at != 0 {
            let [found, next] = self.m.read(Machine::config(SLOT, at));
            if found == id {
                return at;
            }
            at = next.into();
        }
        panic!("no capability {id:#x}");
    }
    fn reg(&mut self, at: u64) -> u32 {
        self.m.read32(self.config + at)
    }
    fn set(&mut self, at: u64, value: u32) {
        self.m.write(self.config + at, &value.to_le_bytes());
    }
    fn init(&mut self) {
        for channel in [0x0000, 0x1000] {
            self.set(channel + 0x90, MASK);
        }
        self.set(0x20a0, 0x0302_0100);
        self.set(0x20a4, 0x0706_0504);
        self.set(0x2014, !0);
    }
    /// Starts one descriptor of `len` bytes on H2C 0.
    fn start(&mut self, host: u64, len: u32, control: u32) {
        let d = Descriptor {
            stop: true,
            completed: true,
            eop: true,
            length: len,
            source: host,
            destination: DDR,
            ..Descriptor::default()
        };
        let at = GuestAddress(RING);
        self.m.ram.write_slice(&d.to_bytes(), at).unwrap();
        self.set(0x4080, RING as u32);
        self.set(0x4084, 0);
        self.set(0x4088, 0);
        self.set(0x04, control);
    }
    /// What every handler does behind the interrupt.
    fn finish(&mut self) {
        assert_eq!(self.reg(0x44), 0x6);
        self.set(0x04, MASK);
        assert_eq!(self.reg(0x48), 1);
    }
    fn msix_on(&mut self) {
        for vector in 0..24u64 {
            let entry = 0x8000 + vector * 16;
            self.set(entry, 0xfee0_0000);
            self.set(entry + 8, 0x40 + vector as u32);
            self.set(entry + 12, 0);
        }
        let cap = self.capability(0x11);
        let control = Machine::config(SLOT, cap + 2);
        assert_eq!(self.m.read16(control), 31, "32 vectors");
        self.m.write(control, &0x8000u16.to_le_bytes());
    }
}

/// Spec sections 1 and 2: identity, the scan for the configuration BAR, where
/// the MSI-X table lies.
#[test]
fn probe() {
    let mut rig = rig();
    assert_eq!(rig.m.read32(Machine::config(SLOT, 0)), 0x903f_10ee);
    assert_eq!(rig.m.read32(Machine::config(SLOT, 8)) >> 8, 0x05_8000);
    assert_eq!(rig.m.read::<1>(Machine::config(SLOT, 0x3d)), [1], "INTA");
    for (bar, size) in [(0u64, 0x10_0000u32), (1, 0x1_0000)] {
        let at = Machine::config(SLOT, 0x10 + 4 * bar);
        let was = rig.m.read32(at);
        rig.m.write(at, &[0xff; 4]);
        assert_eq!(!(rig.m.read32(at) & !0xf) + 1, size);
        rig.m.write(at, &was.to_le_bytes());
    }
    // The user BAR answers the scan, but not with an identifier.
    let user = rig.user;
    assert_eq!(
        (rig.m.read32(user + 0x2000), rig.m.read32(user + 0x3000)),
        (0, 0)
    );
    assert_eq!(rig.reg(0x2000) >> 16, 0x1fc2);
    assert_eq!(rig.reg(0x3000) >> 16, 0x1fc3);
    let cap = rig.capability(0x11);
    assert_eq!(rig.m.read32(Machine::config(SLOT, cap + 4)), 0x8001);
    assert_eq!(rig.m.read32(Machine::config(SLOT, cap + 8)), 0x8fe1);
    rig.capability(0x05);
    let express = rig.capability(0x10);
    let capabilities = rig.m.read32(Machine::config(SLOT, express + 4));
    assert_ne!(capabilities & 1 << 28, 0, "function level reset");
}

#[test]
fn a_thousand_transfers_by_msix() {
    let mut rig = rig();
    rig.msix_on();
    rig.init();
    for n in 0..1000u32 {
        rig.m.ram.write_obj(n, GuestAddress(0x2_0000)).unwrap();
        rig.start(0x2_0000, 4, MASK | 1);
        let sent = rig.m.msi.take();
        assert_eq!(sent.len(), 1, "{n}: {sent:?}");
        assert_eq!((sent[0].address, sent[0].data), (0xfee0_0000, 0x40));
        rig.set(0x98, MASK);
        rig.reg(0x204c);
        rig.finish();
        rig.set(0x94, MASK);
        let got: u32 = rig.card.axi().ddr().read_obj(GuestAddress(DDR)).unwrap();
        assert_eq!(got, n);
        assert!(!rig.line.level(), "the pin is quiet while MSI-X is on");
    }
    assert!(rig.m.msi.take().is_empty());
}

#[test]
fn a_thousand_transfers_by_msi_and_by_intx() {
    for msi in [true, false] {
        let mut rig = rig();
        if msi {
            let cap = rig.capability(0x05);
            rig.m.write(
                Machine::config(SLOT, cap + 4),
                &0xfee0_1000u64.to_le_bytes(),
            );
            rig.m
                .write(Machine::config(SLOT, cap + 12), &0x77u16.to_le_bytes());
            rig.m
                .write(Machine::config(SLOT, cap + 2), &1u16.to_le_bytes());
        }
        rig.init();
        for n in 0..1000 {
            rig.start(0x2_0000, 64, MASK | 1);
            let sent = rig.m.msi.take();
            if msi {
                assert_eq!(sent.len(), 1, "{n}");
                assert_eq!((sent[0].address, sent[0].data), (0xfee0_1000, 0x77));
            }
            assert_eq!(
                (sent.len(), rig.line.level()),
                (usize::from(msi), !msi),
                "{n}"
            );
            assert_eq!(rig.reg(0x2044), 1);
            rig.set(0x2018, 1);
            assert!(!rig.line.level(), "masked");
            rig.finish();
            rig.set(0x2014, 1);
            assert!(!rig.line.level());
        }
    }
}

/// The command register's Interrupt Disable bit, and Bus Master Enable.
#[test]
fn the_command_register_rules() {
    let mut rig = rig();
    rig.init();
    rig.start(0x2_0000, 64, MASK | 1);
    assert!(rig.line.level());
    rig.command(0x406);
    assert!(!rig.line.level());
    rig.command(0x6);
    assert!(rig.line.level());
    rig.finish();
    rig.command(0x2);
    rig.m
        .ram
        .write_obj(0x1234_5678u32, GuestAddress(0x2_0000))
        .unwrap();
    rig.start(0x2_0000, 4, MASK | 1);
    rig.m.service();
    let ddr = |rig: &Rig| {
        rig.card
            .axi()
            .ddr()
            .read_obj::<u32>(GuestAddress(DDR))
            .unwrap()
    };
    assert_eq!(
        (ddr(&rig), rig.reg(0x40) & 1),
        (0, 1),
        "waits for bus master"
    );
    rig.command(0x6);
    assert_eq!((ddr(&rig), rig.reg(0x40)), (0x1234_5678, 0x6));
}

/// Function level reset under load: engine, vectors and pin are as at power-on.
#[test]
fn function_level_reset() {
    let mut rig = rig();
    rig.msix_on();
    rig.init();
    rig.command(0x2);
    rig.start(0x2_0000, 4 << 20, MASK | 1);
    let express = rig.capability(0x10);
    rig.m
        .write(Machine::config(SLOT, express + 8), &0xa810u16.to_le_bytes());
    rig.m.service();
    assert_eq!(rig.m.read16(Machine::config(SLOT, 4)), 0);
    for (bar, at) in [(0, rig.user), (1, rig.config)] {
        let register = Machine::config(SLOT, 0x10 + 4 * bar);
        rig.m.write(register, &(at as u32).to_le_bytes());
    }
    rig.command(0x6);
    rig.m.service();
    assert_eq!(
        (rig.reg(0x04), rig.reg(0x40), rig.reg(0x90), rig.reg(0x20a0)),
        (0, 0, 0, 0)
    );
    assert!(!rig.line.level() && rig.m.msi.take().is_empty());
    let cap = rig.capability(0x11);
    assert_eq!(rig.m.read16(Machine::config(SLOT, cap + 2)) & 0xc000, 0);
    rig.msix_on();
    rig.init();
    rig.start(0x2_0000, 64, MASK | 1);
    assert_eq!(rig.m.msi.take().len(), 1);
}

/// User BAR: the host's ends of the hard queues; user interrupts from logic.
#[test]
fn user_logic() {
    let mut rig = rig();
    rig.msix_on();
    rig.set(0x2080, 0x0b0a_0908);
    rig.set(0x2008, 0x1_ffff);
    let user = rig.user;
    rig.m.write(user + 0x2_0040, &0xfedc_ab78u32.to_le_bytes());
    let queue = rig.card.queue_from(fpga_sim::card::Side::Host).clone();
    assert_eq!(queue.try_pop(), Some(0xfedc_ab78));
    for n in 1..=3 {
        rig.card.set_user_irq(2, true);
        rig.card.set_user_irq(2, true);
        rig.m.service();
        assert_eq!(rig.m.msi.take().len(), 1, "one message a rise: {n}");
        assert_eq!(rig.reg(0x2048), 1 << 2);
        // The host itself takes it back, by the user BAR.
        rig.m.write(user + 0x3_0008, &4u32.to_le_bytes());
        rig.m.service();
        assert_eq!(rig.reg(0x2048), 0);
    }
}

#[test]
fn fuzz() {
    let rig = rig();
    let mut bus = rig.m.bus;
    let noise = bus::fuzz::noise(77, 300_000);
    let base = rig.config;
    let mut window = Window(&mut bus, base);
    bus::fuzz::drive(&mut window, CONFIG_BAR, &noise, |_| {
        rig.m.root.service(SimTime::ZERO);
    });
    // It still answers.
    let mut id = [0; 4];
    bus.read(base + 0x2000, &mut id).unwrap();
    assert_eq!(u32::from_le_bytes(id) >> 16, 0x1fc2);
}

/// A window of the bus as a device, for the fuzz driver.
struct Window<'a>(&'a mut bus::AddressSpace, u64);

impl BusDevice for Window<'_> {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        self.0.read(self.1 + offset, data)
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        self.0.write(self.1 + offset, data)
    }
}
