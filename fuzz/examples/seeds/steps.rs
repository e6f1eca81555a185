//! Steps of the targets that act on rings, see each target for its format.

use super::Seeds;

/// A list of little-endian fields.
#[derive(Clone, Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn b(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
    fn h(self, value: u16) -> Self {
        self.b(&value.to_le_bytes())
    }
    fn w(self, value: u32) -> Self {
        self.b(&value.to_le_bytes())
    }
    fn d(self, value: u64) -> Self {
        self.b(&value.to_le_bytes())
    }
    fn seed(self, name: &str) -> (String, Vec<u8>) {
        (name.to_owned(), self.0)
    }
}

const RX: u8 = 0;
const TX: u8 = 0x10;
const NEXT: u8 = 1;
const WRITE: u8 = 2;
const INDIRECT: u8 = 4;

impl Fields {
    /// A descriptor at `offset` of the buffers.
    fn descriptor(self, queue: u8, index: u8, flags: u8, offset: u16, len: u32, next: u8) -> Self {
        self.b(&[queue, index, flags, 0])
            .h(offset)
            .w(len)
            .b(&[next])
    }
    /// A good chain of equal buffers.
    fn chain(self, queue: u8, buffers: u8, offset: u16, len: u16) -> Self {
        (0..buffers).fold(self.b(&[queue | 7, buffers - 1]), |all, n| {
            all.h(offset + u16::from(n) * len / 8).h(len)
        })
    }
    fn kick(self, queue: u8) -> Self {
        self.b(&[queue | 14])
    }
    fn offer(self, queue: u8, head: u8) -> Self {
        self.b(&[queue | 4, head, queue | 9])
    }
    /// Bytes at `offset` of the buffers.
    fn poke(self, offset: u16, bytes: &[u8]) -> Self {
        self.b(&[3, 0]).h(offset).b(&[bytes.len() as u8]).b(bytes)
    }
}

pub fn virtqueue() -> Seeds {
    let all = || Fields::default().d(u64::MAX);
    let plain = || Fields::default().d(1 << 32);
    let header = |flags: u8, kind: u8, size: u16, start: u16| {
        let mut raw = vec![flags, kind, 54, 0];
        raw.extend(size.to_le_bytes());
        raw.extend(start.to_le_bytes());
        raw.extend([6, 0, 0, 0]);
        raw
    };
    let sent = |f: Fields| {
        f.chain(RX, 1, 0x400, 2048)
            .kick(RX)
            .chain(TX, 1, 0, 112)
            .kick(TX)
    };
    let mut seeds = vec![
        sent(all()).seed("one_frame"),
        sent(plain()).seed("one_frame_plain"),
        sent(sent(all())).b(&[10]).seed("two_frames"),
        all()
            .chain(RX, 4, 0x400, 600)
            .kick(RX)
            .chain(TX, 4, 0, 500)
            .kick(TX)
            .seed("scattered"),
        all()
            .chain(TX, 1, 0, 112)
            .kick(TX)
            .chain(RX, 1, 0x400, 2048)
            .kick(RX)
            .seed("late_buffer"),
        all()
            .chain(RX, 1, 0x400, 20)
            .kick(RX)
            .chain(TX, 1, 0, 112)
            .kick(TX)
            .seed("small_buffer"),
        all()
            .poke(0, &header(1, 1, 100, 34))
            .chain(RX, 4, 0x400, 2000)
            .kick(RX)
            .chain(TX, 1, 0, 1500)
            .kick(TX)
            .seed("segmentation"),
        all()
            .poke(0, &header(1, 0, 0, 0xffff))
            .chain(TX, 1, 0, 112)
            .kick(TX)
            .seed("bad_checksum_start"),
        all()
            .poke(0, &header(0xff, 0xff, 0xffff, 0xffff))
            .chain(TX, 1, 0, 112)
            .kick(TX)
            .seed("bad_header"),
        all()
            .descriptor(TX, 0, NEXT, 0, 100, 0)
            .offer(TX, 0)
            .seed("loop_of_one"),
        all()
            .descriptor(TX, 0, NEXT, 0, 100, 1)
            .descriptor(TX, 1, NEXT, 0, 100, 0)
            .offer(TX, 0)
            .seed("loop_of_two"),
        all()
            .descriptor(TX, 0, NEXT, 0, 100, 99)
            .offer(TX, 0)
            .seed("next_outside"),
        all()
            .descriptor(TX, 0, 0, 0, 0, 0)
            .offer(TX, 0)
            .seed("empty"),
        all()
            .descriptor(TX, 0, 0x80, 0, u32::MAX, 0)
            .offer(TX, 0)
            .seed("huge"),
        all()
            .descriptor(RX, 0, WRITE | NEXT, 0, 9, 1)
            .descriptor(RX, 1, 0, 0, 9, 0)
            .offer(RX, 0)
            .seed("readable_behind_writable"),
        all()
            .b(&[TX, 0, 0, 4])
            .h(0x20)
            .w(0x100)
            .b(&[0])
            .offer(TX, 0)
            .seed("across_the_end_of_memory"),
        all()
            .b(&[TX, 0, 0, 6])
            .h(0x20)
            .w(0x100)
            .b(&[0])
            .offer(TX, 0)
            .seed("wraps_around"),
        all()
            .b(&[TX, 0, 0, 5])
            .h(0)
            .w(0x100)
            .b(&[0])
            .offer(TX, 0)
            .seed("frame_in_the_ring"),
        all()
            .b(&[RX, 0, WRITE, 5])
            .h(0)
            .w(0x800)
            .b(&[0])
            .offer(RX, 0)
            .chain(TX, 1, 0, 112)
            .kick(TX)
            .seed("receives_into_the_ring"),
        // Indirect: entry, then the descriptor that points at the table.
        all()
            .b(&[2 | TX, 0, 0, 0, 0])
            .h(0x800)
            .h(112)
            .b(&[0])
            .descriptor(TX, 0, INDIRECT, 0, 16, 0)
            .offer(TX, 0)
            .seed("indirect"),
        all()
            .b(&[2 | TX, 0, 0, INDIRECT, 0])
            .h(0)
            .h(16)
            .b(&[0])
            .descriptor(TX, 0, INDIRECT, 0, 16, 0)
            .offer(TX, 0)
            .seed("indirect_in_indirect"),
        all()
            .b(&[2 | TX, 0, 0, NEXT, 0])
            .h(0)
            .h(9)
            .b(&[0])
            .descriptor(TX, 0, INDIRECT, 0, 16, 0)
            .offer(TX, 0)
            .seed("indirect_loop"),
        all()
            .descriptor(TX, 0, INDIRECT, 0, 24, 0)
            .offer(TX, 0)
            .seed("indirect_crooked"),
        all()
            .descriptor(TX, 0, INDIRECT | NEXT, 0, 16, 1)
            .offer(TX, 0)
            .seed("indirect_with_next"),
        all().b(&[TX | 5]).h(16).b(&[TX | 9]).seed("head_outside"),
        all()
            .b(&[TX | 6])
            .h(17)
            .b(&[TX | 9])
            .b(&[TX | 10])
            .seed("index_too_far"),
        all()
            .b(&[RX | 6])
            .h(0x8000)
            .b(&[RX | 9])
            .seed("index_backwards"),
        sent(sent(all()).b(&[12, 0])).seed("restart_between"),
        all()
            .b(&[13, 0x1c, 0, 0])
            .b(&[13, 0x14, 0, 0])
            .chain(TX, 1, 0, 112)
            .kick(TX)
            .seed("registers"),
        sent(all().b(&[11, TX | 11, 0x2b])).seed("no_interrupts"),
    ];
    // The ring wraps.
    let wrap = (0..20).fold(all(), |f, _| sent(f));
    seeds.push(wrap.seed("twenty_frames"));
    seeds
}

/// A command for the control queue: how it is cut, room, bytes.
fn command(f: Fields, cut: u8, room: u8, bytes: &[u8]) -> Fields {
    f.h(bytes.len() as u16).b(&[cut, room]).b(bytes)
}

pub fn virtio_control() -> Seeds {
    let all = || Fields::default().d(u64::MAX);
    let one = |name: &str, bytes: &[u8]| command(all(), 2, 1, bytes).seed(name);
    let mut tables = vec![1, 0, 2, 0, 0, 0];
    tables.extend([
        0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1,
    ]);
    let mut full = vec![1, 0, 40, 0, 0, 0];
    full.extend((0..40u8).flat_map(|n| [0x52, 0x54, 0, 0, 1, n]));
    full.extend([0; 4]);
    let mut seeds = vec![
        one("promiscuous", &[0, 0, 1]),
        one("all_multicast", &[0, 1, 1]),
        one("no_broadcast", &[0, 5, 1]),
        one("mode_unknown", &[0, 9, 1]),
        one("mac_tables", &tables),
        one("mac_tables_full", &full),
        one(
            "mac_table_too_long",
            &[1, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3],
        ),
        one("mac_address", &[1, 1, 0x52, 0x54, 0, 9, 9, 9]),
        one("vlan_add", &[2, 0, 5, 0]),
        one("vlan_delete", &[2, 1, 0xff, 0xff]),
        one("announce", &[3, 0]),
        one("pairs", &[4, 0, 2, 0]),
        one("pairs_too_many", &[4, 0, 0, 0x80]),
        one("pairs_none", &[4, 0, 0, 0]),
        one("offloads", &[5, 0, 0x82, 0, 0, 0, 0, 0, 0, 0]),
        one(
            "offloads_unknown",
            &[5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        one("coalescing", &[6, 0, 8, 0, 0, 0, 0x10, 0, 0, 0]),
        one(
            "coalescing_queue",
            &[6, 2, 1, 0, 0, 0, 8, 0, 0, 0, 0x10, 0, 0, 0],
        ),
        one(
            "coalescing_queue_unknown",
            &[6, 2, 0xff, 0xff, 0, 0, 8, 0, 0, 0, 0x10, 0, 0, 0],
        ),
        command(all(), 2, 9, &[6, 3, 1, 0, 0, 0]).seed("coalescing_get"),
        command(all(), 2, 3, &[6, 3, 1, 0, 0, 0]).seed("answer_cut"),
        command(all(), 0, 0, &[0, 0, 1]).seed("no_room"),
        command(all(), 0x82, 1, &[0, 0, 1]).seed("answer_first"),
        command(all(), 1, 1, &[0, 0, 1]).seed("cut_in_the_header"),
        command(all(), 0, 1, &[0]).seed("too_short"),
        command(all(), 0, 1, &[]).seed("empty"),
        command(Fields::default().d(1 << 32), 2, 1, &[0, 0, 1]).seed("not_negotiated"),
    ];
    let many = (0..20u8).fold(all(), |f, n| command(f, n, 1, &[n % 7, n % 3, n, 0, 0, 0]));
    seeds.push(many.seed("twenty_commands"));
    seeds
}

pub fn frame_ring() -> Seeds {
    let card = |how: u8, slots: u8, size: u8| Fields::default().b(&[how, slots, size]);
    let host = 0u8;
    let board = 0x10u8;
    let send = |f: Fields, side: u8, len: u16| f.b(&[side]).h(len).b(&[side | 7]);
    let take = |f: Fields, side: u8| f.b(&[side | 4, side | 7]);
    let wait = |f: Fields, tens: u16| f.b(&[10]).h(tens);
    let cross = |f: Fields, side: u8, len: u16| take(wait(send(f, side, len), 5000), side ^ 0x10);
    let word = |f: Fields, word: u8, bits: u64| f.b(&[14, word]).d(bits);
    let flip = |f: Fields, word: u8, bit: u64| f.b(&[13, word]).d(bit);
    let mut seeds = vec![
        cross(card(0, 7, 63), host, 64).seed("one_frame"),
        cross(card(4, 7, 63), host, 64).seed("one_frame_timed"),
        cross(cross(card(0, 7, 63), host, 1514), board, 1514).seed("both_ways"),
        cross(card(0, 7, 255), board, 65_535).seed("longest"),
        send(send(card(0, 0, 0), host, 900), host, 900).seed("full"),
        send(send(card(2, 0, 0), host, 900), host, 900).seed("full_drop_new"),
        send(send(card(3, 0, 0), host, 900), host, 900).seed("full_drop_oldest"),
        send(card(0, 7, 63), host, 3).seed("too_short"),
        cross(card(0, 7, 63).b(&[11, 12]), host, 64).seed("host_restarts"),
        cross(send(card(0, 7, 63), host, 64).b(&[0x1b, 0x1c]), host, 70).seed("board_restarts"),
        wait(send(card(4, 7, 63), host, 64), 1)
            .b(&[0x1b])
            .seed("leaves_with_a_frame_under_way"),
    ];
    for n in [0u8, 1, 8, 9, 16, 17, 0x88] {
        let f = send(card(n & 4, 7, 63), host, 64);
        let f = cross(word(f, n, u64::MAX), host, 80);
        seeds.push(cross(word(f, n, 0), board, 90).seed(&format!("word_{n:02x}")));
        let f = flip(send(card(3, 7, 3), host, 64), n, u64::from(n) * 5);
        seeds.push(cross(f, host, 80).seed(&format!("flip_{n:02x}")));
    }
    let record = send(card(0, 7, 63), host, 64)
        .b(&[15])
        .w(0x1000)
        .b(&[16])
        .b(&[0xff; 16]);
    seeds.push(take(record, board).seed("record_overwritten"));
    let wrap = (0..30u16).fold(card(0, 3, 3), |f, n| {
        cross(f, (n % 2 * 16) as u8, 100 + n * 30)
    });
    seeds.push(wrap.seed("wraps"));
    seeds
}

/// A descriptor: control, length, source, destination, next (PG195).
fn descriptor(f: Fields, control: u32, len: u32, from: u64, to: u64, next: u64) -> Fields {
    f.w(control).w(len).d(from).d(to).d(next)
}

pub fn dma_engine() -> Seeds {
    const MAGIC: u32 = 0xad4b_0000;
    const LAST: u32 = MAGIC | 0x13;
    const START: u32 = 0x00f8_3e1f;
    const POLL: u32 = 0x04f8_3e1f;
    const RING: u64 = 0x1_0000;
    const DDR: u64 = 0x30_0000;
    let start = |h2c: u32, c2h: u32, adjacent: u8, breaks: u8| {
        Fields::default()
            .w(h2c)
            .b(&[adjacent, 0])
            .w(c2h)
            .b(&[adjacent, 1])
            .d(0x800)
            .b(&[breaks])
    };
    let one = |control: u32, len: u32, from: u64, to: u64| {
        descriptor(start(START, 0, 0, 0), control, len, from, to, 0)
    };
    let mut list = start(START, 0, 63, 0);
    for n in 0..40u64 {
        let adjacent = (38 - n.min(38)) as u32;
        let control = if n == 39 { LAST } else { MAGIC | adjacent << 8 };
        list = descriptor(
            list,
            control,
            100,
            0x2_0000 + n * 4096,
            DDR + n * 100,
            RING + (n + 1) * 32,
        );
    }
    let pair = |f: Fields| {
        let f = descriptor(f, LAST, 0x1000, 0x2_0000, DDR, 0);
        descriptor(f, LAST, 0x1000, DDR, 0x3_0000, 0)
    };
    vec![
        one(LAST, 0x1000, 0x2_0000, DDR).seed("one_page"),
        one(LAST, 1, 0x2_0001, DDR + 3).seed("one_byte"),
        one(LAST, 0x0fff_ffff, 0x2_0000, DDR).seed("longest"),
        one(LAST, 0, 0x2_0000, DDR).seed("nothing"),
        one(LAST, 0x1000, 0xf_f800, DDR).seed("into_the_hole"),
        one(LAST, 0x1000, 0x2_0000, DDR + 0xf_f800).seed("past_ddr"),
        one(LAST, 0x1000, 0x2_0000, 0x10_0000).seed("below_the_window"),
        one(LAST, 0x1000, u64::MAX - 0x7ff, DDR).seed("wraps_around"),
        one(0x1234_0013, 0x1000, 0x2_0000, DDR).seed("bad_magic"),
        one(MAGIC, 0x1000, 0x2_0000, DDR).seed("runs_into_zeroes"),
        descriptor(start(START, 0, 0, 0), MAGIC, 64, 0x2_0000, DDR, RING).seed("loop"),
        descriptor(
            start(START, 0, 0, 0),
            MAGIC | 0x3f00,
            64,
            0x2_0000,
            DDR,
            RING,
        )
        .seed("loop_adjacent"),
        descriptor(start(START, 0, 0, 0), MAGIC, 64, 0x2_0000, DDR, 0xf_fff0)
            .seed("next_across_the_hole"),
        descriptor(start(START, 0, 0, 0), MAGIC, 64, 0x2_0000, DDR, 7).seed("next_unaligned"),
        pair(start(START, START, 0, 0)).seed("both_ways"),
        pair(start(POLL, POLL, 0, 0)).seed("poll_mode"),
        pair(start(START, START, 1, 1)).seed("bus_master_off"),
        pair(start(START, START, 1, 65)).seed("stopped"),
        pair(start(START, START, 1, 129)).seed("reset"),
        pair(start(START | 1 << 25, START | 1 << 25, 0, 0)).seed("fixed_address"),
        pair(start(u32::MAX, u32::MAX, 255, 0)).seed("all_control_bits"),
        list.seed("forty_pages"),
    ]
}
