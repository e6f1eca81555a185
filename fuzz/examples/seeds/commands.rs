//! Register accesses, as `bus::fuzz::drive` reads them.

use super::Seeds;

/// A list of accesses.
#[derive(Clone, Default)]
struct Commands(Vec<u8>);

impl Commands {
    fn access(mut self, write: bool, width: u8, offset: u64, data: &[u8]) -> Self {
        let aligned = offset.is_multiple_of(u64::from(width));
        let kind = u8::from(write) | (width.ilog2() as u8) << 1 | u8::from(!aligned) << 7;
        self.0.push(kind);
        self.0.extend((offset as u32).to_be_bytes());
        self.0.extend(data);
        self
    }
    fn r(self, width: u8, offset: u64) -> Self {
        self.access(false, width, offset, &[])
    }
    fn w(self, width: u8, offset: u64, value: u64) -> Self {
        self.access(true, width, offset, &value.to_le_bytes()[..width.into()])
    }
    /// Writes of 32 bits.
    fn w32(self, list: &[(u64, u64)]) -> Self {
        list.iter()
            .fold(self, |all, &(at, value)| all.w(4, at, value))
    }
    /// Writes of bytes.
    fn w8(self, list: &[(u64, u64)]) -> Self {
        list.iter()
            .fold(self, |all, &(at, value)| all.w(1, at, value))
    }
    /// Reads of 32 bits.
    fn r32(self, list: &[u64]) -> Self {
        list.iter().fold(self, |all, &at| all.r(4, at))
    }
    fn seed(self, name: &str, which: u8) -> (String, Vec<u8>) {
        let mut bytes = vec![which];
        bytes.extend(self.0);
        (name.to_owned(), bytes)
    }
}

pub fn devices() -> Seeds {
    let c = Commands::default;
    // GICv2 (IHI 0048B): as Linux sets it up; an interrupt's life.
    let set_up = c()
        .w32(&[(0, 0), (0x800, 0x0101_0101), (0x820, 0x0101_0101)])
        .w32(&[
            (0xc04, 0x5555_5555),
            (0x400, 0xa0a0_a0a0),
            (0x420, 0x80a0_90a0),
        ])
        .w32(&[
            (0x180, 0xffff_ffff),
            (0x184, 0xffff_ffff),
            (0x100, 0xffff),
            (0, 1),
        ]);
    let pending = c()
        .w32(&[
            (0x204, 0xf00f),
            (0x284, 0x000f),
            (0x304, 0xff),
            (0x384, 0xf0),
        ])
        .w32(&[
            (0xf00, 0x0001_0003),
            (0xf00, 0x0200_000f),
            (0xf10, 0xff),
            (0xf20, 0xff),
        ])
        .r32(&[0x204, 0x304, 0xd04, 0xf10]);
    let bytes = c()
        .w8(&[(0x420, 0x10), (0x8a0, 1), (0x8ff, 0xff), (0x400, 0x10)])
        .r(1, 0x421)
        .r(2, 0x422)
        .w(8, 0x100, u64::MAX);
    let identify = c().r32(&[0, 4, 8, 0xfe8, 0xfd0, 0xffc, 0x800, 0x81c]);
    let cpu = c()
        .r32(&[0x0c, 0x14, 0x18, 0x0c])
        .w32(&[(0x10, 0x20), (0x1000, 0x20)]);
    let cpu_split = c()
        .w32(&[(0, 0x201), (4, 0xf0), (8, 3)])
        .r32(&[0x0c, 0x20, 0x28, 0xd0, 0xfc])
        .w32(&[(0x10, 0x21), (0x1000, 0x21), (0x10, 1023), (0x24, 0x21)]);
    // By turns: acknowledge and end at the CPU, state at the distributor.
    let turns = c()
        .r(4, 0x0c)
        .r(4, 0x204)
        .w32(&[(0x10, 0x22), (0x280, 0xff), (0x10, 0x23)]);
    let frame = c()
        .r32(&[8, 0xfcc])
        .w(4, 0x40, 40)
        .w(2, 0x40, 33)
        .w(4, 0x40, 0xffff_ffff);
    // I/O APIC: version, redirection entries of all kinds, EOI.
    let entries = (0..24u64).fold(c(), |all, n| {
        let low = (0x30 + n) | (n & 1) << 15 | (n & 2) << 12 | (n & 7) << 8;
        all.w32(&[
            (0, 0x10 + 2 * n),
            (0x10, low),
            (0, 0x11 + 2 * n),
            (0x10, n << 24),
        ])
    });
    let eoi = c()
        .w32(&[(0, 0x12), (0x10, 0x8041), (0x40, 0x41), (0x40, 0x42)])
        .w32(&[(0, 0), (0x10, 0x0f00_0000), (0, 1)])
        .r32(&[0x10, 0x00, 0x40]);
    // CMOS: a date is read and set, in every format, with alarms.
    let date = [0u64, 2, 4, 6, 7, 8, 9, 0x32, 0x0a, 0x0b, 0x0c, 0x0d]
        .into_iter()
        .fold(c(), |all, index| all.w(1, 0, index).r(1, 1));
    let set = |b: u64| {
        let list = [
            (0x0bu64, b | 0x80),
            (0, 0x59),
            (2, 0x59),
            (4, 0x92),
            (6, 7),
            (7, 0x31),
            (8, 0x12),
        ];
        let all = list
            .iter()
            .fold(c(), |all, &(i, v)| all.w8(&[(0, i), (1, v)]));
        all.w8(&[(0, 9), (1, 0x99), (0, 0x0b), (1, b)])
            .w(1, 0, 0)
            .r(1, 1)
    };
    let nonsense = (0..64u64).fold(c(), |all, i| all.w8(&[(0, i * 2), (1, 0xff)]));
    // PL031: load, match, mask, clear.
    let alarm = c()
        .w32(&[(8, 0x6000_0000), (4, 0x6000_0002), (0x10, 1), (0xc, 1)])
        .r32(&[0, 0x14, 0x18])
        .w(4, 0x1c, 1)
        .r32(&[0xfe0, 0xff0]);
    let wrap = c()
        .w32(&[(8, u64::from(u32::MAX)), (4, 1), (0x10, 1)])
        .r32(&[0, 0x14]);
    // PL011: as Linux opens it; breaks of every register.
    let open = c()
        .w32(&[
            (0x30, 0),
            (0x24, 13),
            (0x28, 1),
            (0x2c, 0x70),
            (0x30, 0x301),
            (0x38, 0x50),
        ])
        .w32(&[(0, 0x41), (0, 0x42), (0x44, 0x7ff)])
        .r32(&[0x18, 0, 0, 0, 0x3c, 0x40, 0xfe0]);
    let loopback = c()
        .w32(&[
            (0x30, 0x381),
            (0x34, 0x3f),
            (0x38, 0x7ff),
            (0, 0x55),
            (0, 0x155),
        ])
        .r32(&[0x18, 0x3c, 0, 0]);
    let levels = (0..8u64).fold(c().w32(&[(0x30, 0x301), (0x2c, 0x70)]), |all, n| {
        all.w32(&[(0x34, n | n << 3), (0x38, 0x10)])
            .r32(&[0, 0, 0, 0, 0x18])
    });
    // 16550A: probe, divisor, FIFO levels, loopback, scratch.
    let probe = c()
        .w8(&[
            (1, 0),
            (3, 0x80),
            (0, 1),
            (1, 0),
            (3, 3),
            (2, 7),
            (4, 0xb),
            (7, 0xa5),
            (1, 5),
        ])
        .w8(&[(0, 0x41), (0, 0x42)])
        .r(1, 7)
        .r(1, 5)
        .r(1, 2)
        .r(1, 0)
        .r(1, 6);
    let echo = c()
        .w8(&[(4, 0x1f), (2, 0xc1), (1, 0xf), (0, 1), (0, 2), (0, 3)])
        .r(1, 5)
        .r(1, 0);
    // Hard queues: both windows, counts, overflow.
    let words = (0..70u64)
        .fold(c(), |all, n| all.w(4, 0x1000, n))
        .r32(&[0x1000, 0x1004, 0x1008]);
    let queue = (0..12u64).fold(c(), |all, n| all.w(4, 0, n).r(4, 0).r(4, 4).r(4, 8));
    vec![
        set_up.clone().seed("gicd_set_up", 0),
        pending.clone().seed("gicd_pending", 0),
        bytes.clone().seed("gicd_bytes", 12),
        identify.seed("gicd_identify", 0),
        cpu.seed("gicc_life", 1),
        cpu_split.seed("gicc_split_eoi", 13),
        frame.seed("gicv2m", 2),
        turns.seed("gic_by_turns", 3),
        set_up.seed("gic_by_turns_8_cpus", 87),
        entries.seed("ioapic_entries", 4),
        eoi.seed("ioapic_eoi", 4),
        date.seed("cmos_read", 5),
        set(2).seed("cmos_set_bcd", 5),
        set(6).seed("cmos_set_binary", 5),
        set(0).seed("cmos_set_12_hours", 5),
        nonsense.seed("cmos_nonsense", 5),
        alarm.seed("pl031_alarm", 6),
        wrap.seed("pl031_wrap", 6),
        open.clone().seed("pl011_open", 7),
        loopback.seed("pl011_loopback", 7),
        levels.seed("pl011_levels", 8),
        open.seed("pl011_whole_window", 8),
        probe.seed("uart_probe", 9),
        echo.seed("uart_loopback", 9),
        words.seed("user_bar", 10),
        queue.seed("queue_windows", 11),
    ]
}

/// Pieces for windows of the pci target, see there.
fn pieces(name: &str, pairs: u8, list: &[(u8, Commands)]) -> (String, Vec<u8>) {
    let mut bytes = vec![pairs];
    for (window, commands) in list {
        for piece in commands.0.chunks(255) {
            bytes.extend([*window, piece.len() as u8]);
            bytes.extend(piece);
        }
    }
    (name.to_owned(), bytes)
}

pub fn pci() -> Seeds {
    let c = Commands::default;
    let header = (0..16u64).fold(c(), |all, n| all.r(4, n * 4));
    let capabilities = (16..64u64).fold(c(), |all, n| all.r(4, n * 4));
    let size_bars = (0..6u64).fold(c(), |all, n| {
        all.w(4, 0x10 + 4 * n, 0xffff_ffff).r(4, 0x10 + 4 * n)
    });
    let move_bars = c()
        .w(2, 4, 0)
        .w32(&[(0x10, 0xc010_0000), (0x20, 0xd000_0000), (0x24, 0)])
        .w(2, 4, 7)
        .w32(&[(0x20, 0xffff_f000), (0x24, 0xffff_ffff)])
        .w32(&[(0x20, 0), (0x24, 0)]);
    let command = c()
        .w(2, 4, 0x407)
        .r(2, 6)
        .w(2, 4, 0)
        .w(1, 0x3c, 11)
        .w(2, 4, 6);
    let flr = (0x40..0x100u64)
        .step_by(8)
        .fold(c(), |all, at| all.w(2, at, 0x8000).w(2, at + 2, 0xc000));
    let ports = c()
        .w(4, 0, 0x8000_1800)
        .r(4, 4)
        .w(4, 0, 0x8000_1804)
        .w(2, 4, 7)
        .r(1, 7)
        .w(4, 0, 0x8000_1810)
        .w(4, 4, 0xffff_ffff)
        .r(4, 4)
        .w(4, 0, 0x1800)
        .r(4, 4);
    // Status by status, features, a queue, an index that is not there.
    let common = c()
        .w(1, 0x14, 0)
        .w(1, 0x14, 3)
        .w(4, 0, 1)
        .r(4, 4)
        .w32(&[(8, 0), (12, 0x0f), (8, 1), (12, 1)])
        .w(1, 0x14, 11)
        .w(2, 0x16, 0)
        .w(2, 0x18, 16)
        .w(2, 0x1a, 1)
        .w32(&[(0x20, 0x10_0000), (0x28, 0x10_0100), (0x30, 0x10_1000)])
        .w(2, 0x1c, 1)
        .w(1, 0x14, 15)
        .w(2, 0x16, 9)
        .r(2, 0x18);
    let reset_queue = c().w(2, 0x16, 0).w(2, 0x3a, 1).r(2, 0x3a).w(2, 0x1c, 1);
    let outside = c()
        .w(2, 0x16, 0)
        .w32(&[
            (0x20, 0xffff_fff0),
            (0x24, 0xffff_ffff),
            (0x28, 1),
            (0x30, 0x3f_fff8),
        ])
        .w(2, 0x1c, 1)
        .w(1, 0x14, 15);
    let window = (0..64u64).fold(c(), |all, n| all.w(4, n * 0x100, n).r(4, n * 0x100 + 4));
    let msix = (0..16u64).fold(c(), |all, n| {
        let at = 0x2000 + 16 * n;
        all.w(8, at, 0xfee0_0000)
            .w32(&[(at + 8, 0x40 + n), (at + 12, n & 1)])
    });
    let neighbours = c()
        .r(4, 0x1_8000 + 0x1000)
        .r(4, 0)
        .w(4, 0x10, 5)
        .r(4, 0xf_fffc)
        .r(8, 0x1_8000);
    let io = (0..16u64).fold(c(), |all, n| all.w(2, n * 0x1000, n).r(1, n * 0x1000 + 1));
    let time = c();
    let work = [(4, common.clone()), (7, time.clone()), (7, time.clone())];
    let one = |name: &str, window: u8, commands: &Commands| {
        pieces(name, 0, &[(window, commands.clone())])
    };
    let mut seeds = vec![
        one("header", 0, &header),
        one("capabilities", 0, &capabilities),
        one("size_bars", 0, &size_bars),
        one("move_bars", 0, &move_bars),
        one("command", 0, &command),
        one("function_reset", 0, &flr),
        one("extended", 1, &capabilities),
        one("neighbours", 2, &neighbours),
        one("ports", 3, &ports),
        one("common", 4, &common),
        one("reset_queue", 4, &reset_queue),
        one("rings_outside", 4, &outside),
        one("bar", 5, &window),
        one("msix", 5, &msix),
        one("io", 6, &io),
        pieces("work", 1, &work),
    ];
    let all = [
        (4, common),
        (5, msix),
        (0, move_bars),
        (5, window),
        (0, flr),
        (4, reset_queue),
        (7, time),
    ];
    seeds.push(pieces("everything", 3, &all));
    seeds
}
