use super::{Net, NetSpec, feature};
use crate::net::{Card, Header, LinkSpec, Loopback, NetBackend, Null, RateLimit, RateSpec, Switch};
use crate::virtio::driver::{Buffer, Driver, GuestQueue, Machine};
use crate::virtio::{VirtioPci, feature as common};
use fpga_sim::card::{Side, SimCard, SimCardSpec};
use vm_memory::{Bytes, GuestAddress};

pub(super) const RX_RING: u64 = 0x10_0000;
pub(super) const TX_RING: u64 = 0x12_0000;
pub(super) const RX_DATA: u64 = 0x20_0000;
pub(super) const TX_DATA: u64 = 0x80_0000;

pub(super) struct Nic {
    pub m: Machine,
    pub driver: Driver,
    pub rx: GuestQueue,
    pub tx: GuestQueue,
}

pub(super) fn machine(spec: NetSpec, backend: Box<dyn NetBackend>) -> Machine {
    let mut m = Machine::new(16 << 20);
    let net = Box::new(Net::new(spec, backend));
    let function = VirtioPci::new(net, m.dma(3), m.line()).unwrap();
    m.add(3, Box::new(function));
    m
}

pub(super) fn nic_with(spec: NetSpec, backend: Box<dyn NetBackend>, wanted: u64) -> Nic {
    let mut m = machine(spec, backend);
    let mut driver = Driver::probe(&mut m, 3);
    driver.enable_msix(&mut m, 3);
    assert!(driver.negotiate(&mut m, wanted));
    let rx = driver.queue(&mut m, 0, 256, RX_RING);
    let tx = driver.queue(&mut m, 1, 256, TX_RING);
    driver.start(&mut m);
    Nic { m, driver, rx, tx }
}

fn nic(wanted: u64) -> Nic {
    nic_with(NetSpec::default(), Box::new(Loopback::new()), wanted)
}

impl Nic {
    pub fn fill_rx(&mut self, count: u64, len: u32) {
        for _ in 0..count {
            let Some(head) = self.rx.next_head() else {
                break;
            };
            let at = RX_DATA + u64::from(head) * 4096;
            self.rx.add(&[Buffer::writable(at, len)]).unwrap();
        }
        self.driver.kick(&mut self.m, &mut self.rx);
    }
    pub fn send(&mut self, header: &Header, frame: &[u8]) {
        let slot = if frame.len() > 4000 {
            0
        } else {
            32 + u64::from(self.tx.next_head().unwrap())
        };
        let at = TX_DATA + slot * 4096;
        self.m
            .ram
            .write_slice(&header.to_bytes(), GuestAddress(at))
            .unwrap();
        self.m
            .ram
            .write_slice(frame, GuestAddress(at + 12))
            .unwrap();
        let len = frame.len() as u32 + 12;
        self.tx.add(&[Buffer::readable(at, len)]).unwrap();
        self.driver.kick(&mut self.m, &mut self.tx);
    }
    /// The next received frame, by the used ring alone.
    pub fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        let (head, used) = self.rx.pop()?;
        let mut bytes = vec![0; used as usize];
        let at = |head: u16| RX_DATA + u64::from(head) * 4096;
        self.m
            .ram
            .read_slice(&mut bytes, GuestAddress(at(head)))
            .unwrap();
        let header = Header::from_bytes(bytes.first_chunk::<12>()?);
        for _ in 1..header.num_buffers {
            let (head, used) = self.rx.pop().expect("merged buffers come together");
            let mut more = vec![0; used as usize];
            self.m
                .ram
                .read_slice(&mut more, GuestAddress(at(head)))
                .unwrap();
            bytes.extend(more);
        }
        Some((header, bytes.split_off(12)))
    }
    pub fn counter(&mut self, name: &str) -> u64 {
        let bdf = bus::Bdf::new(0, 3, 0);
        let counters = self
            .m
            .root
            .with(bdf, |function| function.counters())
            .unwrap();
        counters
            .iter()
            .find(|c| c.0 == name)
            .unwrap_or_else(|| panic!("no {name}"))
            .1
    }
}

fn frame(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

const PLAIN: u64 = common::VERSION_1;
pub(super) const ALL: u64 = u64::MAX;

#[test]
fn frames_of_all_sizes_loop_back() {
    for wanted in [
        PLAIN | feature::MRG_RXBUF,
        ALL,
        ALL & !common::EVENT_IDX,
        ALL & !common::INDIRECT_DESC,
    ] {
        let mut nic = nic(wanted);
        nic.fill_rx(200, 2048);
        for (i, len) in [14, 60, 64, 1500, 2035, 2036, 2037, 9014, 65_550]
            .into_iter()
            .enumerate()
        {
            let sent = frame(len, i as u8);
            nic.send(&Header::default(), &sent);
            let (header, got) = nic.receive().unwrap_or_else(|| panic!("{len} bytes lost"));
            assert_eq!(got, sent, "{len} bytes");
            assert_eq!(usize::from(header.num_buffers), (len + 12).div_ceil(2048));
            assert_eq!(nic.tx.pop().map(|used| used.1), Some(0));
        }
        assert_eq!(nic.counter("tx0.frames"), 9);
        assert_eq!(nic.counter("rx0.frames"), 9);
    }
}
#[test]
fn interrupts_come_by_msix_and_only_when_wanted() {
    let mut nic = nic(ALL);
    nic.fill_rx(8, 2048);
    nic.m.msi.take();
    nic.send(&Header::default(), &frame(60, 0));
    let mut data: Vec<u32> = nic.m.msi.take().iter().map(|m| m.data).collect();
    data.sort_unstable();
    assert_eq!(data, [0x41, 0x42], "receive and transmit queue, once each");
    assert!(nic.receive().is_some() && nic.tx.pop().is_some());
    nic.rx.set_interrupts(false);
    nic.tx.set_interrupts(false);
    nic.send(&Header::default(), &frame(60, 1));
    assert_eq!(nic.m.msi.take(), []);
    assert!(nic.receive().is_some());
    nic.rx.set_interrupts(true);
    nic.send(&Header::default(), &frame(60, 2));
    let sent = nic.m.msi.take();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].address, sent[0].data), (0xfee0_0000, 0x41));
}
#[test]
fn nothing_is_lost_when_the_guest_has_no_buffers() {
    let mut nic = nic(ALL);
    for i in 0..200u8 {
        nic.send(&Header::default(), &frame(1500, i));
        while nic.tx.pop().is_some() {}
    }
    let mut got = 0u8;
    while got < 200 {
        nic.fill_rx(3, 2048);
        let before = got;
        while let Some((_, bytes)) = nic.receive() {
            assert_eq!(bytes, frame(1500, got));
            got += 1;
        }
        assert!(got > before, "frozen after {got}");
    }
    assert!(nic.counter("tx0.backpressure") > 0);
    assert!(nic.counter("rx0.no_buffer") > 0);
    while nic.tx.pop().is_some() {}
    assert_eq!(nic.tx.free(), 256);
}
#[test]
fn null_takes_everything() {
    let mut nic = nic_with(NetSpec::default(), Box::new(Null::new()), ALL);
    for _ in 0..300 {
        nic.send(&Header::default(), &frame(100, 0));
        assert!(nic.tx.pop().is_some());
    }
    assert_eq!(nic.counter("backend.swallowed_frames"), 300);
}

/// Two machines, each with one device on a back end of the same wire.
pub(super) fn pair(backends: [Box<dyn NetBackend>; 2]) -> [Nic; 2] {
    backends.map(|backend| nic_with(NetSpec::default(), backend, ALL))
}

pub(super) fn service_both(nics: &mut [Nic; 2]) {
    while nics.iter().any(|nic| nic.m.root.has_work()) {
        for nic in nics.iter_mut() {
            nic.m.service();
        }
    }
}

fn check_pair(backends: [Box<dyn NetBackend>; 2]) {
    let mut nics = pair(backends);
    for nic in &mut nics {
        nic.fill_rx(64, 2048);
    }
    service_both(&mut nics);
    for (i, len) in [14, 60, 1500, 9014, 65_550].into_iter().enumerate() {
        for from in [0, 1] {
            let mut sent = frame(len, i as u8);
            sent[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1 - from as u8, 2, 0, 0, 0, 0, from as u8]);
            let header = Header {
                flags: 1,
                gso_type: 1,
                gso_size: 1448,
                hdr_len: 54,
                csum_offset: 0,
                ..Header::default()
            };
            nics[from].send(&header, &sent);
            service_both(&mut nics);
            let (got, bytes) = nics[1 - from]
                .receive()
                .unwrap_or_else(|| panic!("{len} lost"));
            assert_eq!(bytes, sent);
            assert_eq!((got.gso_type, got.gso_size, got.flags), (1, 1448, 1));
            assert!(nics[from].tx.pop().is_some());
            nics[1 - from].fill_rx(40, 2048);
            service_both(&mut nics);
        }
    }
}

#[test]
fn two_guests_on_a_switch() {
    let switch = Switch::new(LinkSpec::default());
    check_pair([0, 1].map(|_| Box::new(switch.port().unwrap()) as Box<dyn NetBackend>));
}
#[test]
fn two_guests_on_a_card() {
    let ddr = std::sync::Arc::new(bus::create_ram(&[(0, 0x0400_0000)]).unwrap());
    let card = SimCard::new(SimCardSpec::default(), ddr).unwrap();
    check_pair([Side::Host, Side::Board].map(|side| {
        let port = Box::new(card.port(side));
        Box::new(Card::new(card.clone(), side, port)) as Box<dyn NetBackend>
    }));
    assert_eq!(fpga_sim::card::Card::counters(&*card).check(), Ok(()));
}
#[test]
fn a_full_switch_port_holds_its_senders_back() {
    let switch = Switch::new(LinkSpec {
        port_bytes: 70_000,
        ..LinkSpec::default()
    });
    let mut nics = pair([0, 1].map(|_| Box::new(switch.port().unwrap()) as Box<dyn NetBackend>));
    for i in 0..220u8 {
        nics[0].send(&Header::default(), &broadcast(i));
        while nics[0].tx.pop().is_some() {}
    }
    assert!(
        nics[0].tx.free() < 200,
        "most frames wait in the sender's queue"
    );
    let mut got = 0u8;
    while got < 220 {
        nics[1].fill_rx(5, 2048);
        service_both(&mut nics);
        let before = got;
        while let Some((_, bytes)) = nics[1].receive() {
            assert_eq!(bytes, broadcast(got));
            got += 1;
        }
        assert!(got > before, "frozen after {got}");
    }
}

fn broadcast(seed: u8) -> Vec<u8> {
    let mut bytes = frame(1500, seed);
    bytes[..12].copy_from_slice(&[255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1]);
    bytes
}

pub(super) const CTRL_RING: u64 = 0x14_0000;
const CTRL_DATA: u64 = 0x18_0000;

pub(super) struct Control(pub GuestQueue);

impl Control {
    /// Sends a command; the device's answer, `None` when it gave none.
    pub fn send(&mut self, nic: &mut Nic, class: u8, command: u8, data: &[u8]) -> Option<u8> {
        let ram = nic.m.ram.clone();
        ram.write_slice(&[class, command], GuestAddress(CTRL_DATA))
            .unwrap();
        ram.write_slice(data, GuestAddress(CTRL_DATA + 16)).unwrap();
        ram.write_obj(0x55u8, GuestAddress(CTRL_DATA + 8)).unwrap();
        self.0
            .add(&[
                Buffer::readable(CTRL_DATA, 2),
                Buffer::readable(CTRL_DATA + 16, data.len() as u32),
                Buffer::writable(CTRL_DATA + 8, 1),
            ])
            .unwrap();
        nic.driver.kick(&mut nic.m, &mut self.0);
        let (_, written) = self.0.pop().expect("commands are answered at once");
        let answer = ram.read_obj(GuestAddress(CTRL_DATA + 8)).unwrap();
        (written == 1).then_some(answer)
    }
}

fn nic_with_control(spec: NetSpec) -> (Nic, Control) {
    let pairs = spec.queue_pairs;
    let mut m = machine(spec, Box::new(Loopback::new()));
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, ALL));
    let rx = driver.queue(&mut m, 0, 256, RX_RING);
    let tx = driver.queue(&mut m, 1, 256, TX_RING);
    let control = driver.queue(&mut m, 2 * pairs, 64, CTRL_RING);
    driver.start(&mut m);
    let mut nic = Nic { m, driver, rx, tx };
    nic.fill_rx(128, 2048);
    (nic, Control(control))
}

fn to(address: [u8; 6]) -> Vec<u8> {
    let mut bytes = frame(64, 0);
    bytes[..6].copy_from_slice(&address);
    bytes[12..14].copy_from_slice(&[0x08, 0]);
    bytes
}

#[test]
fn the_filter_filters() {
    let (mut nic, mut control) = nic_with_control(NetSpec::default());
    let own = NetSpec::default().mac;
    let passes = |nic: &mut Nic, bytes: &[u8]| {
        nic.send(&Header::default(), bytes);
        nic.tx.pop().unwrap();
        nic.receive().is_some()
    };
    let (other, group, all) = ([2, 9, 9, 9, 9, 9], [1, 0, 0x5e, 0, 0, 7], [0xff; 6]);
    // As a driver finds it: promiscuous.
    assert!(
        [own, other, group, all]
            .iter()
            .all(|mac| passes(&mut nic, &to(*mac)))
    );
    assert_eq!(control.send(&mut nic, 0, 0, &[0]), Some(0));
    let seen = [own, other, group, all].map(|mac| passes(&mut nic, &to(mac)));
    assert_eq!(seen, [true, false, false, true]);
    let mut tables = vec![1, 0, 0, 0];
    tables.extend(other);
    tables.extend([1, 0, 0, 0]);
    tables.extend(group);
    assert_eq!(control.send(&mut nic, 1, 0, &tables), Some(0));
    let seen = [own, other, group, all].map(|mac| passes(&mut nic, &to(mac)));
    assert_eq!(seen, [true; 4]);
    assert_eq!(control.send(&mut nic, 1, 0, &[0; 8]), Some(0));
    for (mode, want) in [
        (1, [true, false, true, true]),
        (2, [true, true, false, true]),
        (3, [true, false, false, true]),
        (4, [false, false, false, true]),
        (5, [true, false, false, false]),
    ] {
        assert_eq!(control.send(&mut nic, 0, mode, &[1]), Some(0));
        let seen = [own, other, group, all].map(|mac| passes(&mut nic, &to(mac)));
        assert_eq!(seen, want, "mode {mode}");
        assert_eq!(control.send(&mut nic, 0, mode, &[0]), Some(0));
    }
    // A new address takes the place of the old one, in the configuration too.
    assert_eq!(control.send(&mut nic, 1, 1, &other), Some(0));
    let seen = [own, other].map(|mac| passes(&mut nic, &to(mac)));
    assert_eq!(seen, [false, true]);
    let device = nic.driver.device;
    assert_eq!(nic.m.read::<6>(device), other);
    assert!(nic.counter("rx0.filtered") > 8);
    let mut tagged = to(other);
    tagged[12..16].copy_from_slice(&[0x81, 0, 0x20, 5]);
    assert!(!passes(&mut nic, &tagged));
    assert_eq!(control.send(&mut nic, 2, 0, &[5, 0]), Some(0));
    assert!(passes(&mut nic, &tagged));
    assert_eq!(control.send(&mut nic, 2, 1, &[5, 0]), Some(0));
    assert!(!passes(&mut nic, &tagged));
}
#[test]
fn bad_commands_are_refused() {
    let (mut nic, mut control) = nic_with_control(NetSpec::default());
    for (class, command, data) in [
        (0, 6, &[1][..]),
        (1, 0, &[1, 0, 0, 0, 1]),
        (1, 0, &[255, 255, 255, 255, 0, 0, 0, 0]),
        (1, 1, &[1, 2, 3]),
        (2, 0, &[0, 16]),
        (2, 7, &[0, 1]),
        (4, 0, &[1, 0]),
        (5, 0, &[0x80, 0, 0, 0, 0, 0, 0, 0]),
        (5, 0, &[0, 0, 1, 0, 0, 0, 0, 0]),
        (6, 0, &[1, 0, 0, 0]),
        (6, 2, &[9, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]),
        (6, 3, &[9, 0]),
        (77, 0, &[0]),
    ] {
        let answer = control.send(&mut nic, class, command, data);
        assert_eq!(answer, Some(1), "{class} {command} {data:?}");
    }
    // No room for an answer.
    control.0.add(&[Buffer::readable(CTRL_DATA, 3)]).unwrap();
    nic.driver.kick(&mut nic.m, &mut control.0);
    assert_eq!(control.0.pop().map(|used| used.1), Some(0));
    assert_eq!(nic.counter("bad_commands"), 1);
    let status = nic.driver.status(&mut nic.m);
    assert_eq!(status, 15);
}
#[test]
fn frames_come_back_on_the_pair_that_sent_them() {
    let spec = NetSpec {
        queue_pairs: 2,
        ..NetSpec::default()
    };
    let mut m = machine(spec, Box::new(Loopback::new()));
    let mut driver = Driver::probe(&mut m, 3);
    assert!(driver.negotiate(&mut m, ALL & !feature::HASH_REPORT));
    assert_eq!(m.read16(driver.device + 8), 2, "max_virtqueue_pairs");
    let mut queues: Vec<GuestQueue> = (0..4)
        .map(|i| driver.queue(&mut m, i, 64, RX_RING + u64::from(i) * 0x4000))
        .collect();
    let mut control = Control(driver.queue(&mut m, 4, 64, CTRL_RING));
    driver.start(&mut m);
    for i in [0, 2] {
        for slot in 0..32u64 {
            let at = RX_DATA + (i as u64 * 32 + slot) * 4096;
            queues[i].add(&[Buffer::writable(at, 2048)]).unwrap();
        }
        driver.kick(&mut m, &mut queues[i]);
    }
    let spare = |i| GuestQueue::new(&m.ram, i, 16, 0x1c_0000, ALL);
    let (rx, tx) = (spare(0), spare(1));
    let mut nic = Nic { m, driver, rx, tx };
    assert_eq!(control.send(&mut nic, 4, 0, &[2, 0]), Some(0));
    assert_eq!(control.send(&mut nic, 4, 0, &[3, 0]), Some(1));
    assert_eq!(control.send(&mut nic, 4, 0, &[0, 0]), Some(1));
    for (pair, port) in [(0, 1u8), (1, 2), (0, 3), (1, 4), (1, 1)] {
        let mut bytes = to([2, 0, 0, 0, 0, 1]);
        bytes[14..38].copy_from_slice(&[
            0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 9, port, 9, 9,
        ]);
        nic.m
            .ram
            .write_slice(&[0; 12], GuestAddress(TX_DATA))
            .unwrap();
        nic.m
            .ram
            .write_slice(&bytes, GuestAddress(TX_DATA + 12))
            .unwrap();
        let queue = &mut queues[2 * pair + 1];
        queue.add(&[Buffer::readable(TX_DATA, 76)]).unwrap();
        nic.driver.kick(&mut nic.m, queue);
        assert!(queues[2 * pair + 1].pop().is_some());
        assert!(
            queues[2 * pair].pop().is_some(),
            "port {port} on pair {pair}"
        );
        assert!(queues[2 * (1 - pair)].pop().is_none());
    }
}

#[test]
fn too_few_buffers_for_a_long_frame() {
    for wanted in [ALL, ALL & !common::EVENT_IDX] {
        let mut nic = nic(wanted);
        let sent = frame(9000, 5);
        nic.fill_rx(2, 2048);
        nic.send(&Header::default(), &sent);
        for _ in 0..2 {
            assert!(nic.receive().is_none());
            nic.fill_rx(1, 2048);
        }
        assert!(nic.receive().is_none());
        nic.fill_rx(1, 2048);
        assert_eq!(nic.receive().map(|got| got.1), Some(sent));
    }
}

#[test]
fn a_rate_limit_holds_back_and_loses_nothing() {
    let spec = RateSpec {
        frames: 1000,
        frame_burst: 2,
        ..RateSpec::default()
    };
    let limited = RateLimit::new(Box::new(Loopback::new()), spec, RateSpec::default());
    let mut nic = nic_with(NetSpec::default(), Box::new(limited), ALL);
    nic.fill_rx(64, 2048);
    for i in 0..40u8 {
        nic.send(&Header::default(), &frame(100, i));
    }
    nic.m.service();
    let got: Vec<_> = std::iter::from_fn(|| nic.receive()).collect();
    assert_eq!(got.len(), 40);
    assert!(got.iter().zip(0..).all(|(got, i)| got.1 == frame(100, i)));
    // Two at once, then one every millisecond.
    let ms = nic.m.now.as_us() as f64 / 1000.0;
    assert!((37.0..=38.1).contains(&ms), "{ms} ms");

    let spec = RateSpec {
        bits: 8_000_000,
        bit_burst: 8,
        ..RateSpec::default()
    };
    let limited = RateLimit::new(Box::new(Loopback::new()), RateSpec::default(), spec);
    let mut nic = nic_with(NetSpec::default(), Box::new(limited), ALL);
    nic.fill_rx(64, 2048);
    for i in 0..10u8 {
        nic.send(&Header::default(), &frame(1000, i));
    }
    nic.m.service();
    assert_eq!(std::iter::from_fn(|| nic.receive()).count(), 10);
    // A megabyte per second: a millisecond for each frame but the last.
    let ms = nic.m.now.as_us() as f64 / 1000.0;
    assert!((8.9..=9.1).contains(&ms), "{ms} ms");
}

#[test]
fn interrupts_are_moderated() {
    let (mut nic, mut control) = nic_with_control(NetSpec::default());
    nic.driver.enable_msix(&mut nic.m, 4);
    let ms = |n: u64| bus::SimTime::from_ms(n);
    // Four frames or a millisecond for what is received; nothing else tells.
    nic.tx.set_interrupts(false);
    let limits = [4, 0, 0, 0, 0xe8, 3, 0, 0];
    assert_eq!(control.send(&mut nic, 6, 1, &limits), Some(0));
    nic.m.msi.take();
    let quiet_send = |nic: &mut Nic| {
        let slot = TX_DATA + 4096;
        nic.tx.add(&[Buffer::readable(slot, 112)]).unwrap();
        nic.tx.publish();
        let at = nic.driver.notify + nic.driver.notify_step;
        let _ = nic.m.bus.write(at, &[1, 0]);
        let mut next = nic.m.root.service(nic.m.now);
        if let bus::Next::Before(_) = next {
            // A busy sender's frames wait for each other.
            next = nic.m.root.service(nic.m.now);
        }
        (next, nic.m.msi.take().len())
    };
    nic.m.now = ms(10);
    for _ in 0..3 {
        assert_eq!(quiet_send(&mut nic), (bus::Next::At(ms(11)), 0));
    }
    assert_eq!(quiet_send(&mut nic), (bus::Next::OnKick, 1), "the fourth");
    while nic.rx.pop().is_some() {}
    nic.rx.set_interrupts(true);
    assert_eq!(quiet_send(&mut nic), (bus::Next::At(ms(11)), 0));
    nic.m.now = ms(11);
    assert_eq!(nic.m.root.service(ms(11)), bus::Next::OnKick);
    assert_eq!(nic.m.msi.take().len(), 1, "the millisecond");
    // Of one queue, and read back.
    let limits = [1, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0];
    assert_eq!(control.send(&mut nic, 6, 2, &limits), Some(0));
    let ram = nic.m.ram.clone();
    ram.write_slice(&[6, 3, 1, 0, 0, 0], GuestAddress(CTRL_DATA))
        .unwrap();
    control
        .0
        .add(&[
            Buffer::readable(CTRL_DATA, 6),
            Buffer::writable(CTRL_DATA + 32, 1),
            Buffer::writable(CTRL_DATA + 40, 8),
        ])
        .unwrap();
    nic.driver.kick(&mut nic.m, &mut control.0);
    assert_eq!(control.0.pop().map(|used| used.1), Some(9));
    let mut got = [0; 8];
    ram.read_slice(&mut got, GuestAddress(CTRL_DATA + 40))
        .unwrap();
    assert_eq!(got, [7, 0, 0, 0, 9, 0, 0, 0]);
}

/// Each guest on its own thread, both sending at once, serviced only when woken.
fn two_threads(backends: [Box<dyn NetBackend>; 2]) {
    const FRAMES: u32 = 20_000;
    let up = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        for (me, backend) in backends.into_iter().enumerate() {
            let up = &up;
            scope.spawn(move || {
                let mut nic = nic_with(NetSpec::default(), backend, ALL);
                nic.fill_rx(64, 2048);
                nic.m.service();
                up.wait();
                let mut bytes = frame(300, 0);
                bytes[..12]
                    .copy_from_slice(&[255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, me as u8]);
                let (mut sent, mut got, mut idle) = (0u32, 0u32, 0u32);
                while sent < FRAMES || got < FRAMES || nic.tx.free() < 256 {
                    let before = (sent, got, nic.tx.free());
                    while sent < FRAMES && nic.tx.free() > 0 {
                        bytes[20..24].copy_from_slice(&sent.to_le_bytes());
                        nic.send(&Header::default(), &bytes);
                        sent += 1;
                    }
                    if nic.m.root.has_work() {
                        nic.m.service();
                    }
                    while nic.tx.pop().is_some() {}
                    while let Some((_, bytes)) = nic.receive() {
                        assert_eq!(bytes[20..24], got.to_le_bytes(), "in order, none lost");
                        got += 1;
                    }
                    nic.fill_rx(64, 2048);
                    if before == (sent, got, nic.tx.free()) {
                        idle += 1;
                        std::thread::yield_now();
                        assert!(idle < 20_000_000, "stuck: sent {sent}, got {got}");
                    } else {
                        idle = 0;
                    }
                }
                // The other side may still send to this one.
                up.wait();
            });
        }
    });
}
#[test]
fn a_switch_between_threads() {
    let switch = Switch::new(LinkSpec {
        port_bytes: 100_000,
        ..LinkSpec::default()
    });
    two_threads([0, 1].map(|_| Box::new(switch.port().unwrap()) as Box<dyn NetBackend>));
}
#[test]
fn a_card_between_threads() {
    let ddr = std::sync::Arc::new(bus::create_ram(&[(0, 0x0400_0000)]).unwrap());
    let card = SimCard::new(SimCardSpec::default(), ddr).unwrap();
    two_threads([Side::Host, Side::Board].map(|side| {
        let port = Box::new(card.port(side));
        Box::new(Card::new(card.clone(), side, port)) as Box<dyn NetBackend>
    }));
}

#[test]
fn checksums_are_finished_for_a_guest_that_takes_no_partial_ones() {
    let mut nic = nic(ALL
        & !feature::GUEST_CSUM
        & !feature::GUEST_TSO4
        & !feature::GUEST_TSO6
        & !feature::GUEST_ECN
        & !feature::GUEST_USO4
        & !feature::GUEST_USO6);
    nic.fill_rx(4, 2048);
    let mut sent = frame(14, 0);
    // The example of RFC 1071, section 3, and a field of zero behind it.
    sent.extend([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7, 0, 0]);
    let header = Header {
        flags: Header::NEEDS_CSUM,
        csum_start: 14,
        csum_offset: 8,
        ..Header::default()
    };
    nic.send(&header, &sent);
    let (header, got) = nic.receive().unwrap();
    assert_eq!(header.flags, 0);
    sent[22..24].copy_from_slice(&[0x22, 0x0d]);
    assert_eq!(got, sent);
}
