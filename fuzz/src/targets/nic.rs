//! A network device with a loopback behind it, in a machine without a CPU.

use bus::vm_memory::{Bytes, GuestAddress};
use devices::net::{Header, Loopback};
use devices::virtio::VirtioPci;
use devices::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use devices::virtio::net::{Net, NetSpec, feature};

/// Bytes of memory.
pub const RAM: u64 = 4 << 20;
/// Where buffers lie.
pub const DATA: u64 = 0x20_0000;
/// Descriptors of a queue.
pub const SIZE: u16 = 16;
/// The function's slot.
pub const SLOT: u8 = 3;

/// A device that its driver has started.
pub struct Nic {
    pub m: Machine,
    pub driver: Driver,
    /// Receive, transmit and control.
    pub queues: Vec<GuestQueue>,
    pairs: u16,
}

/// A machine with a network device of `pairs` queue pairs in [`SLOT`].
pub fn machine(pairs: u16) -> Machine {
    let mut m = Machine::new(RAM);
    let spec = NetSpec {
        queue_pairs: pairs,
        ..NetSpec::default()
    };
    let net = Box::new(Net::new(spec, Box::new(Loopback::new())));
    let function = VirtioPci::new(net, m.dma(SLOT), m.line()).expect("a function");
    m.add(SLOT, Box::new(function));
    m
}

impl Nic {
    /// Of `pairs` queue pairs, with as much of `wanted` as is offered and can
    /// be had together.
    pub fn new(pairs: u16, wanted: u64) -> Self {
        let mut m = machine(pairs);
        let mut driver = Driver::probe(&mut m, SLOT);
        driver.enable_msix(&mut m, 2 * pairs + 1);
        let queues = Self::start(&mut m, &mut driver, pairs, wanted);
        Self {
            m,
            driver,
            queues,
            pairs,
        }
    }
    fn start(m: &mut Machine, driver: &mut Driver, pairs: u16, wanted: u64) -> Vec<GuestQueue> {
        if !driver.negotiate(m, wanted) {
            assert!(driver.negotiate(m, u64::MAX), "all that is offered");
        }
        // Without MQ and RSS the control queue follows the first pair (virtio
        // 1.2, section 5.1.2).
        let control = match driver.features & (feature::MQ | feature::RSS) {
            0 => 2,
            _ => 2 * pairs,
        };
        let queues = [0, 1, control].map(|index| {
            let at = 0x10_0000 + u64::from(index) * 0x1_0000;
            driver.queue(m, index, SIZE, at)
        });
        driver.start(m);
        queues.into()
    }
    /// Resets the device and starts it again.
    pub fn restart(&mut self, wanted: u64) {
        self.queues = Self::start(&mut self.m, &mut self.driver, self.pairs, wanted);
    }
    /// Notifies queue `which` of [`Nic::queues`] without asking whether the
    /// device wants it.
    pub fn notify(&mut self, which: usize) {
        let index = self.queues[which].index;
        let at = self.driver.notify + self.driver.notify_step * u64::from(index);
        self.m.write(at, &index.to_le_bytes());
    }
    /// After a restart, a good frame crosses.
    pub fn still_works(&mut self) {
        self.restart(u64::MAX);
        let ram = self.m.ram.clone();
        // For everybody, on no VLAN, whatever the filters are.
        let mut frame = [0; 112];
        frame[..12].copy_from_slice(&Header::default().to_bytes());
        // With HASH_REPORT the header has eight bytes more.
        let header = match self.driver.features & feature::HASH_REPORT {
            0 => 12,
            _ => 20,
        };
        frame[header..header + 6].fill(0xff);
        ram.write_slice(&frame, GuestAddress(DATA)).expect("in RAM");
        for _ in 0..4 {
            self.queues[0].add(&[Buffer::writable(DATA + 0x1000, 2048)]);
        }
        self.driver.kick(&mut self.m, &mut self.queues[0]);
        self.queues[1].add(&[Buffer::readable(DATA, 112)]);
        self.driver.kick(&mut self.m, &mut self.queues[1]);
        assert!(self.queues[1].pop().is_some(), "sent");
        assert_eq!(self.queues[0].pop().map(|used| used.1), Some(112));
        assert_eq!(self.driver.status(&mut self.m), 15);
    }
}
