//! Loading an x86-64 `vmlinux` and entering it by the 64-bit boot protocol
//! (Documentation/x86/boot.rst).

use super::board::SplitMix;
use super::pc::{PcError, map};
use bus::GuestRam;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

/// Where the pieces went.
pub(super) struct Loaded {
    /// Physical address of `startup_64`.
    pub entry: u64,
}

const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
const SETUP_RNG_SEED: u32 = 9;

/// Loads `vmlinux`, the initrd, the command line and the tables.
pub(super) fn load(
    ram: &GuestRam,
    layout: &[(u64, u64)],
    vmlinux: &[u8],
    initrd: &[u8],
    cmdline: &str,
    acpi: &[u8],
    seed: u64,
) -> Result<Loaded, PcError> {
    let low_end = layout[0].0 + layout[0].1;
    let kernel = Elf::read(vmlinux)?;
    let room = 2 * initrd.len() as u64 + (48 << 20);
    let needed = kernel.end.saturating_add(room).div_ceil(1 << 20);
    let too_small = || PcError::TooSmall {
        memory: low_end >> 20,
        needed,
    };
    if needed > low_end >> 20 {
        return Err(too_small());
    }
    let put = |bytes: &[u8], at: u64| {
        ram.write_slice(bytes, GuestAddress(at))
            .map_err(|_| too_small())
    };
    for segment in &kernel.segments {
        put(
            &vmlinux[segment.offset..segment.offset + segment.file],
            segment.at,
        )?;
    }
    // High in low memory, page aligned, as boot loaders do.
    let initrd_at = (low_end - initrd.len() as u64) & !0xfff;
    put(initrd, initrd_at)?;
    put(acpi, map::ACPI)?;
    if cmdline.len() as u64 >= map::CMDLINE_MAX {
        return Err(PcError::Kernel(
            "the kernel command line is longer than 2047 bytes",
        ));
    }
    put(cmdline.as_bytes(), map::CMDLINE)?;
    put(&[0], map::CMDLINE + cmdline.len() as u64)?;
    put(&page_tables(), map::PAGE_TABLES)?;
    put(&gdt(), map::GDT)?;

    let mut random = SplitMix(seed);
    let mut data = vec![0u8; 16];
    data[8..12].copy_from_slice(&SETUP_RNG_SEED.to_le_bytes());
    data[12..16].copy_from_slice(&32u32.to_le_bytes());
    data.extend((0..4).flat_map(|_| random.next().to_le_bytes()));
    put(&data, map::SETUP_DATA)?;
    put(
        &zero_page(layout, initrd_at, initrd.len() as u64),
        map::ZERO_PAGE,
    )?;
    if !ram.check_range(GuestAddress(kernel.end.saturating_sub(1)), 1) {
        return Err(too_small());
    }
    Ok(Loaded {
        entry: kernel.entry,
    })
}

struct Segment {
    offset: usize,
    file: usize,
    at: u64,
}

struct Elf {
    entry: u64,
    end: u64,
    segments: Vec<Segment>,
}

impl Elf {
    /// Program headers of an ELF64 executable (ELF-64 Object File Format).
    fn read(elf: &[u8]) -> Result<Self, PcError> {
        let bad = PcError::Kernel;
        let get = |at: usize, len: usize| -> Option<u64> {
            let bytes = elf.get(at..at.checked_add(len)?)?;
            Some(
                bytes
                    .iter()
                    .rev()
                    .fold(0, |value, &byte| value << 8 | u64::from(byte)),
            )
        };
        if elf.get(..5) != Some(b"\x7fELF\x02") || get(18, 2) != Some(62) {
            return Err(bad("it is no 64-bit x86 ELF file"));
        }
        let truncated = || bad("its program headers are cut off");
        let entry = get(24, 8).ok_or_else(truncated)?;
        let table = get(32, 8).ok_or_else(truncated)?;
        let size = get(54, 2).ok_or_else(truncated)?;
        let count = get(56, 2).ok_or_else(truncated)?;
        let mut segments = Vec::new();
        let mut end = 0u64;
        for i in 0..count {
            let at = usize::try_from(table.saturating_add(i * size)).map_err(|_| truncated())?;
            if get(at, 4).ok_or_else(truncated)? != 1 {
                continue;
            }
            let field = |n: usize| get(at.saturating_add(n), 8).ok_or_else(truncated);
            let (offset, at, file, memory) = (field(8)?, field(24)?, field(32)?, field(40)?);
            let inside = offset
                .checked_add(file)
                .is_some_and(|e| e <= elf.len() as u64);
            if !inside || file > memory {
                return Err(bad("a segment is cut off"));
            }
            if at < map::KERNEL_MIN {
                return Err(bad("a segment lies below 1 MiB, where the boot tables are"));
            }
            end = end.max(
                at.checked_add(memory)
                    .ok_or_else(|| bad("a segment wraps around"))?,
            );
            segments.push(Segment {
                offset: offset as usize,
                file: file as usize,
                at,
            });
        }
        if segments.is_empty() || entry >= end {
            return Err(bad("it has no loadable segment that holds its entry point"));
        }
        Ok(Self {
            entry,
            end,
            segments,
        })
    }
}

/// Identity map of the first 4 GiB in 2 MiB pages: PML4, PDPT, four PDs.
fn page_tables() -> Vec<u8> {
    const PRESENT_WRITE: u64 = 3;
    const LARGE: u64 = 0x80;
    let mut words = vec![0u64; 6 * 512];
    words[0] = (map::PAGE_TABLES + 0x1000) | PRESENT_WRITE;
    for i in 0..4u64 {
        words[512 + i as usize] = (map::PAGE_TABLES + 0x2000 + i * 0x1000) | PRESENT_WRITE;
    }
    for i in 0..2048u64 {
        words[1024 + i as usize] = i << 21 | PRESENT_WRITE | LARGE;
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn gdt() -> Vec<u8> {
    cpu::x86_64::BOOT_GDT
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

fn zero_page(layout: &[(u64, u64)], initrd: u64, initrd_len: u64) -> Vec<u8> {
    let mut page = vec![0u8; 4096];
    let mut set = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    set(0x70, &map::ACPI.to_le_bytes());
    set(0x1fe, &0xaa55u16.to_le_bytes());
    set(0x202, b"HdrS");
    set(0x206, &0x020fu16.to_le_bytes());
    // An unassigned loader type, loaded high.
    set(0x210, &[0xff]);
    set(0x211, &[1]);
    set(0x218, &(initrd as u32).to_le_bytes());
    set(0x21c, &(initrd_len as u32).to_le_bytes());
    set(0x228, &(map::CMDLINE as u32).to_le_bytes());
    set(0x230, &0x0020_0000u32.to_le_bytes());
    set(0x238, &(map::CMDLINE_MAX as u32 - 1).to_le_bytes());
    set(0x250, &map::SETUP_DATA.to_le_bytes());
    let mut e820 = vec![
        (0, map::EBDA, E820_RAM),
        (map::EBDA, map::KERNEL_MIN - map::EBDA, E820_RESERVED),
    ];
    e820.push((map::KERNEL_MIN, layout[0].1 - map::KERNEL_MIN, E820_RAM));
    e820.push((map::ECAM, map::ECAM_LEN, E820_RESERVED));
    e820.extend(layout[1..].iter().map(|&(at, len)| (at, len, E820_RAM)));
    set(0x1e8, &[e820.len() as u8]);
    for (i, (at, len, kind)) in e820.into_iter().enumerate() {
        let entry = 0x2d0 + i * 20;
        set(entry, &at.to_le_bytes());
        set(entry + 8, &len.to_le_bytes());
        set(entry + 16, &kind.to_le_bytes());
    }
    page
}
