//! Expected values are those of ARM IHI 0048B (architecture) and DDI 0471B
//! (GIC-400), and of what Linux's irq-gic.c does at start.

use super::*;
use bus::{BusDevice, MsiMessage, MsiSink};

struct Rig {
    gic: Gic,
    outputs: Vec<CpuOutput>,
    spis: Vec<IrqLine>,
}

impl Rig {
    fn new(cpus: usize) -> Self {
        let outputs: Vec<_> = (0..cpus)
            .map(|_| CpuOutput {
                irq: IrqLine::null(),
                fiq: IrqLine::null(),
            })
            .collect();
        let gic = Gic::new(160, outputs.clone());
        let spis = (0..160).map(|n| gic.spi(n)).collect();
        Self { gic, outputs, spis }
    }
    /// As Linux sets the controller up: everything group 0, priority 0xa0.
    fn linux(cpus: usize) -> Self {
        let rig = Self::new(cpus);
        for word in 8..48 {
            rig.dw(0, 0x400 + 4 * word, 0xa0a0_a0a0);
            rig.dw(0, 0x800 + 4 * word, 0x0101_0101);
        }
        rig.dw(0, 0, 1);
        for cpu in 0..cpus {
            for word in 0..8 {
                rig.dw(cpu, 0x400 + 4 * word, 0xa0a0_a0a0);
            }
            rig.cw(cpu, 4, 0xf0);
            rig.cw(cpu, 0, 1);
        }
        rig
    }
    fn dw(&self, cpu: usize, offset: u64, value: u32) {
        let _ = self
            .gic
            .distributor(cpu)
            .write(offset, &value.to_le_bytes())
            .unwrap();
    }
    fn dr(&self, cpu: usize, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.gic.distributor(cpu).read(offset, &mut data).unwrap();
        u32::from_le_bytes(data)
    }
    fn cw(&self, cpu: usize, offset: u64, value: u32) {
        let _ = self
            .gic
            .cpu_interface(cpu)
            .write(offset, &value.to_le_bytes())
            .unwrap();
    }
    fn cr(&self, cpu: usize, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.gic.cpu_interface(cpu).read(offset, &mut data).unwrap();
        u32::from_le_bytes(data)
    }
    fn enable(&self, intid: u64) {
        self.dw(0, 0x100 + 4 * (intid / 32), 1 << (intid % 32));
    }
    fn edge(&self, intid: u64) {
        let at = 0xc00 + 4 * (intid / 16);
        self.dw(0, at, self.dr(0, at) | 2 << (2 * (intid % 16)));
    }
    fn priority(&self, intid: u64, value: u8) {
        let _ = self
            .gic
            .distributor(0)
            .write(0x400 + intid, &[value])
            .unwrap();
    }
    fn irq(&self, cpu: usize) -> bool {
        self.outputs[cpu].irq.level()
    }
}

#[test]
fn identification_and_reset_values() {
    let rig = Rig::new(1);
    for (offset, value, name) in [
        (0x000, 0, "CTLR"),
        (0x004, 5, "TYPER: 192 interrupts, one CPU, no security"),
        (0x008, 0x0200_143b, "IIDR"),
        (0x100, 0x0000_ffff, "SGIs are enabled"),
        (0xc00, 0xaaaa_aaaa, "SGIs are edge-triggered"),
        (0xc04, 0, "PPIs are level-sensitive"),
        (0x800, 0, "ITARGETSR reads as zero on a uniprocessor"),
        (0xfd0, 0x04, "PIDR4"),
        (0xfe0, 0x90, "PIDR0"),
        (0xfe4, 0xb4, "PIDR1"),
        (0xfe8, 0x2b, "PIDR2: architecture version 2"),
        (0xff0, 0x0d, "CIDR0"),
        (0xff4, 0xf0, "CIDR1"),
        (0xff8, 0x05, "CIDR2"),
        (0xffc, 0xb1, "CIDR3"),
    ] {
        assert_eq!(rig.dr(0, offset), value, "GICD {name}");
    }
    for (offset, value, name) in [
        (0x00, 0, "CTLR"),
        (0x04, 0, "PMR"),
        (0x08, 2, "BPR"),
        (0x0c, 1023, "IAR"),
        (0x14, 0xff, "RPR"),
        (0x18, 1023, "HPPIR"),
        (0x1c, 3, "ABPR"),
        (0xfc, 0x0202_143b, "IIDR"),
    ] {
        assert_eq!(rig.cr(0, offset), value, "GICC {name}");
    }
    assert_eq!(Rig::new(8).dr(3, 0x004), 5 | 7 << 5);
}

#[test]
fn unimplemented_priority_bits_read_as_zero() {
    let rig = Rig::new(1);
    rig.dw(0, 0x420, 0xffff_ffff);
    assert_eq!(rig.dr(0, 0x420), 0xf8f8_f8f8);
    rig.cw(0, 4, 0xff);
    assert_eq!(rig.cr(0, 4), 0xf8);
    for offset in [0x100 + 4 * 6, 0x400 + 192, 0xc00 + 4 * 12] {
        rig.dw(0, offset, !0);
        assert_eq!(rig.dr(0, offset), 0, "behind the last interrupt");
    }
}

#[test]
fn a_level_interrupt_is_pending_while_its_wire_is_high() {
    let rig = Rig::linux(1);
    let line = rig.gic.spi(1);
    rig.enable(33);
    line.set_level(true);
    assert!(rig.irq(0));
    assert_eq!(rig.dr(0, 0x204), 2);
    assert_eq!(rig.dr(0, 0xd04), 2, "SPISR shows the wire");
    line.set_level(false);
    assert!(!rig.irq(0));
    assert_eq!(rig.cr(0, 0x0c), 1023);
    line.set_level(true);
    assert_eq!(rig.cr(0, 0x18), 33);
    assert_eq!(rig.cr(0, 0x0c), 33);
    assert_eq!(rig.cr(0, 0x14), 0xa0);
    assert!(!rig.irq(0), "active, so not signalled again");
    assert_eq!((rig.dr(0, 0x304), rig.dr(0, 0x204)), (2, 2));
    rig.cw(0, 0x10, 33);
    assert!(rig.irq(0), "still high: taken again");
    assert_eq!(rig.cr(0, 0x0c), 33);
    line.set_level(false);
    rig.cw(0, 0x10, 33);
    assert!(!rig.irq(0));
    assert_eq!((rig.dr(0, 0x304), rig.cr(0, 0x14)), (0, 0xff));
}

#[test]
fn an_edge_is_latched_once_and_again_while_active() {
    let rig = Rig::linux(1);
    let line = rig.gic.spi(40);
    rig.edge(72);
    line.set_level(true);
    line.set_level(false);
    assert!(!rig.irq(0), "not enabled yet");
    rig.enable(72);
    assert!(rig.irq(0), "an edge before the enable is kept");
    assert_eq!(rig.cr(0, 0x0c), 72);
    line.set_level(true);
    assert_eq!(rig.dr(0, 0x208), 1 << 8, "active and pending");
    rig.cw(0, 0x10, 72);
    assert_eq!(rig.cr(0, 0x0c), 72);
    rig.cw(0, 0x10, 72);
    assert_eq!(rig.cr(0, 0x0c), 1023, "a high wire is no new edge");
    line.set_level(false);
    line.set_level(true);
    rig.dw(0, 0x288, 1 << 8);
    assert!(!rig.irq(0), "ICPENDR takes it back");
}

#[test]
fn software_pending_and_disable() {
    let rig = Rig::linux(1);
    rig.enable(50);
    rig.dw(0, 0x204, 1 << 18);
    assert!(rig.irq(0));
    rig.dw(0, 0x184, 1 << 18);
    assert!(!rig.irq(0));
    assert_eq!(rig.dr(0, 0x104), 0);
    rig.enable(50);
    assert_eq!(rig.cr(0, 0x0c), 50);
    rig.cw(0, 0x10, 50);
    assert_eq!(rig.cr(0, 0x0c), 1023, "acknowledging clears it");
}

#[test]
fn priority_decides_then_the_lower_number() {
    let rig = Rig::linux(1);
    for n in [5, 9, 100] {
        rig.enable(32 + n);
        rig.spis[n as usize].set_level(true);
    }
    rig.priority(132, 0x20);
    let order: Vec<_> = (0..3)
        .map(|_| {
            let id = rig.cr(0, 0x0c);
            rig.cw(0, 0x10, id);
            rig.dw(0, 0x180 + 4 * u64::from(id / 32), 1 << (id % 32));
            id
        })
        .collect();
    assert_eq!(order, [132, 37, 41]);
}

#[test]
fn preemption_and_running_priority() {
    let rig = Rig::linux(1);
    for (id, priority) in [(40, 0x80), (41, 0x80), (42, 0x40), (43, 0x78)] {
        rig.enable(id);
        rig.priority(id, priority);
    }
    rig.spis[8].set_level(true);
    assert_eq!(rig.cr(0, 0x0c), 40);
    rig.spis[9].set_level(true);
    assert!(!rig.irq(0), "equal priority does not preempt");
    assert_eq!(rig.cr(0, 0x0c), 1023);
    rig.spis[10].set_level(true);
    assert!(rig.irq(0), "higher priority does");
    assert_eq!(rig.cr(0, 0x0c), 42);
    assert_eq!(rig.cr(0, 0x14), 0x40);
    assert_eq!(rig.cr(0, 0xd0), 1 << 8 | 1 << 16, "APR: two active levels");
    rig.spis[10].set_level(false);
    rig.cw(0, 0x10, 42);
    assert_eq!(rig.cr(0, 0x14), 0x80);
    // Binary point 6: only bit 7 decides, 0x78 and 0x80 differ, 0x80 and 0x88 not.
    rig.cw(0, 0x08, 6);
    rig.spis[11].set_level(true);
    assert!(rig.irq(0));
    rig.priority(43, 0x88);
    assert!(!rig.irq(0));
    // Binary point 7: no preemption at all.
    rig.priority(43, 0x00);
    rig.cw(0, 0x08, 7);
    assert_eq!(rig.cr(0, 0x18), 43);
    rig.cw(0, 0x10, 40);
    assert_eq!(rig.cr(0, 0x0c), 43);
    rig.spis[8].set_level(true);
    assert!(!rig.irq(0));
}

#[test]
fn the_priority_mask_holds_back_lower_priorities() {
    let rig = Rig::linux(1);
    rig.enable(40);
    rig.spis[8].set_level(true);
    rig.cw(0, 4, 0xa0);
    assert!(!rig.irq(0), "0xa0 is not higher than 0xa0");
    assert_eq!(rig.cr(0, 0x0c), 1023);
    assert_eq!(rig.cr(0, 0x18), 40, "HPPIR does not look at the mask");
    rig.cw(0, 4, 0xa8);
    assert!(rig.irq(0));
}

#[test]
fn split_end_of_interrupt() {
    let rig = Rig::linux(1);
    rig.cw(0, 0, 1 | 1 << 9);
    rig.enable(40);
    rig.spis[8].set_level(true);
    assert_eq!(rig.cr(0, 0x0c), 40);
    rig.cw(0, 0x10, 40);
    assert_eq!(rig.cr(0, 0x14), 0xff, "EOIR drops the priority");
    assert_eq!(rig.dr(0, 0x304), 1 << 8, "and does not deactivate");
    assert!(!rig.irq(0));
    rig.cw(0, 0x1000, 40);
    assert!(rig.irq(0));
    rig.cw(0, 0, 1);
    assert_eq!(rig.cr(0, 0x0c), 40);
    rig.cw(0, 0x1000, 40);
    assert_eq!(rig.dr(0, 0x304), 1 << 8, "DIR means nothing in EOImode 0");
}

#[test]
fn groups_and_fiq() {
    let rig = Rig::linux(1);
    for id in [40, 41] {
        rig.enable(id);
    }
    rig.dw(0, 0x084, 1 << 9); // 41 in group 1
    rig.spis[9].set_level(true);
    assert!(!rig.irq(0), "group 1 is off");
    rig.dw(0, 0, 3);
    rig.cw(0, 0, 3 | 1 << 3);
    assert!(rig.irq(0) && !rig.outputs[0].fiq.level());
    assert_eq!(rig.cr(0, 0x18), 1022);
    assert_eq!(rig.cr(0, 0x0c), 1022, "IAR does not take group 1");
    assert_eq!(rig.cr(0, 0x28), 41);
    rig.priority(40, 0x90);
    rig.spis[8].set_level(true);
    assert!(!rig.irq(0) && rig.outputs[0].fiq.level());
    assert_eq!(rig.cr(0, 0x20), 1023, "AIAR does not take group 0");
    assert_eq!(rig.cr(0, 0x0c), 40);
    rig.spis[8].set_level(false);
    rig.cw(0, 0x10, 40);
    assert_eq!(rig.cr(0, 0x20), 41);
    assert_eq!((rig.cr(0, 0xd0), rig.cr(0, 0xe0)), (0, 1 << 20));
    rig.cw(0, 0x24, 41);
    assert_eq!(rig.cr(0, 0x14), 0xff);
    rig.cw(0, 0, 3 | 1 << 2);
    assert_eq!(rig.cr(0, 0x0c), 41, "AckCtl lets IAR take group 1");
}

#[test]
fn software_interrupts_between_cpus() {
    let rig = Rig::linux(4);
    rig.dw(0, 0xf00, 0b1010 << 16 | 3); // list: CPUs 1 and 3
    assert_eq!(
        (0..4).map(|n| rig.irq(n)).collect::<Vec<_>>(),
        [false, true, false, true]
    );
    rig.dw(2, 0xf00, 1 << 24 | 3); // all but self
    assert_eq!(rig.dr(1, 0xf20), 0b0101 << 24, "SPENDSGIR0 byte 3");
    assert_eq!(rig.cr(1, 0x0c), 3, "source 0 first");
    assert_eq!(rig.cr(1, 0x0c), 1023, "the same SGI is active");
    rig.cw(1, 0x10, 3);
    assert_eq!(rig.cr(1, 0x0c), 3 | 2 << 10);
    rig.cw(1, 0x10, 3 | 2 << 10);
    assert!(!rig.irq(1));
    assert!(rig.irq(0));
    rig.dw(0, 0xf10, 0xff << 24); // CPENDSGIR
    assert!(!rig.irq(0));
    rig.dw(3, 0xf00, 2 << 24 | 15); // self
    rig.cw(3, 0x10, 1023); // ignored
    assert_eq!(rig.cr(3, 0x0c), 3);
    rig.cw(3, 0x10, 3);
    assert_eq!(rig.cr(3, 0x0c), 3 | 2 << 10);
    rig.cw(3, 0x10, 3 | 2 << 10);
    assert_eq!(rig.cr(3, 0x0c), 15 | 3 << 10);
}

#[test]
fn private_and_targeted_interrupts() {
    let rig = Rig::linux(2);
    assert_eq!(rig.dr(0, 0x800), 0x0101_0101);
    assert_eq!(rig.dr(1, 0x81c), 0x0202_0202);
    rig.dw(1, 0x100, 1 << 27);
    assert_eq!(rig.dr(0, 0x100), 0xffff, "PPI enables are banked");
    rig.gic.ppi(1, 27).set_level(true);
    assert!(!rig.irq(0) && rig.irq(1));
    assert_eq!(rig.dr(1, 0xd00), 1 << 11, "PPISR");
    assert_eq!(rig.cr(1, 0x0c), 27);
    rig.enable(64);
    rig.spis[32].set_level(true);
    assert!(rig.irq(0));
    let _ = rig.gic.distributor(0).write(0x800 + 64, &[2]).unwrap();
    assert!(!rig.irq(0));
    rig.gic.ppi(1, 27).set_level(true);
    rig.cw(1, 0x10, 27);
    rig.dw(1, 0x180, 1 << 27);
    assert_eq!(rig.cr(1, 0x0c), 64);
    let _ = rig.gic.distributor(0).write(0x800 + 64, &[3]).unwrap();
    assert!(!rig.irq(0), "active on the other CPU");
}

#[test]
fn msi_frame() {
    let rig = Rig::linux(1);
    let mut frame = GicV2m::new(rig.gic.clone(), 0xf902_0000, 64, 64);
    let mut typer = [0; 4];
    frame.read(8, &mut typer).unwrap();
    assert_eq!(u32::from_le_bytes(typer), 96 << 16 | 64);
    for id in 96..160 {
        rig.edge(id);
        rig.enable(id);
    }
    let message = |address, data| MsiMessage { address, data };
    for (address, data) in [
        (0xf902_0040, 95),
        (0xf902_0040, 160),
        (0xf902_0044, 100),
        (0, 100),
    ] {
        frame.send(message(address, data));
        assert!(frame.bind(message(address, data)).is_none());
        assert!(!rig.irq(0), "{address:#x} {data}");
    }
    frame.send(message(0xf902_0040, 96));
    frame.send(message(0xf902_0040, 159));
    let _ = frame.write(0x40, &100u32.to_le_bytes()).unwrap();
    let _ = frame.write(0x40, &101u16.to_le_bytes()).unwrap();
    frame
        .bind(message(0xf902_0040, 102))
        .expect("a vector of the frame")
        .deliver();
    for id in [96, 100, 101, 102, 159, 1023] {
        assert_eq!(rig.cr(0, 0x0c), id);
        rig.cw(0, 0x10, id);
    }
}

#[test]
fn snapshot_round_trip() {
    let rig = Rig::linux(2);
    for id in [40, 41] {
        rig.enable(id);
        rig.spis[id as usize - 32].set_level(true);
    }
    assert_eq!(rig.cr(0, 0x0c), 40);
    let state = rig.gic.save();
    let mut other = Rig::new(2);
    other.gic.restore(state.clone()).unwrap();
    assert_eq!(other.gic.save(), state);
    other.cw(0, 0x10, 40);
    assert!(other.irq(0));
    let mut small = Rig::new(1);
    assert!(small.gic.restore(state).is_err());
    rig.gic.reset();
    assert!(!rig.irq(0));
    assert_eq!(rig.dr(0, 0xd04), 3 << 8, "wires outlive a reset");
}
