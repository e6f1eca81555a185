//! The few ELF64 little-endian facts that image building needs (ELF gABI).

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*b.get(at..)?.first_chunk()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*b.get(at..)?.first_chunk()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*b.get(at..)?.first_chunk()?))
}

fn slice(b: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    let end = at.checked_add(usize::try_from(len).ok()?)?;
    b.get(at..end)
}

fn c_str(b: &[u8], at: u64) -> Option<String> {
    let tail = b.get(usize::try_from(at).ok()?..)?;
    let end = tail.iter().position(|&c| c == 0)?;
    Some(String::from_utf8_lossy(&tail[..end]).into_owned())
}

/// Whether the bytes start like an ELF64 little-endian file.
pub(crate) fn is_elf64_le(b: &[u8]) -> bool {
    b.starts_with(b"\x7fELF\x02\x01")
}

/// `e_machine`.
pub(crate) fn machine(b: &[u8]) -> Option<u16> {
    u16_at(b, 18)
}

/// Contents of the section called `name`.
pub(crate) fn section<'a>(b: &'a [u8], name: &str) -> Option<&'a [u8]> {
    if !is_elf64_le(b) {
        return None;
    }
    let (off, size) = (u64_at(b, 40)?, u64::from(u16_at(b, 58)?));
    let (count, names) = (u64::from(u16_at(b, 60)?), u64::from(u16_at(b, 62)?));
    let header = |i: u64| slice(b, off.checked_add(i.checked_mul(size)?)?, size);
    let body = |h: &[u8]| slice(b, u64_at(h, 24)?, u64_at(h, 32)?);
    let table = body(header(names)?)?;
    (0..count).find_map(|i| {
        let h = header(i)?;
        let found = c_str(table, u64::from(u32_at(h, 0)?))? == name;
        if found { body(h) } else { None }
    })
}

/// Shared objects that the file asks the dynamic loader for (`DT_NEEDED`),
/// and its loader (`PT_INTERP`, an absolute path).
pub(crate) fn needed(b: &[u8]) -> Vec<String> {
    needed_inner(b).unwrap_or_default()
}

fn needed_inner(b: &[u8]) -> Option<Vec<String>> {
    const PT_LOAD: u32 = 1;
    const PT_DYNAMIC: u32 = 2;
    const PT_INTERP: u32 = 3;
    const DT_NEEDED: u64 = 1;
    const DT_STRTAB: u64 = 5;
    if !is_elf64_le(b) {
        return None;
    }
    let (off, size) = (u64_at(b, 32)?, u64::from(u16_at(b, 54)?));
    let count = u64::from(u16_at(b, 56)?);
    let headers: Vec<&[u8]> = (0..count)
        .map_while(|i| slice(b, off.checked_add(i.checked_mul(size)?)?, size))
        .collect();
    let file_offset = |address: u64| {
        headers.iter().find_map(|h| {
            let (start, len) = (u64_at(h, 16)?, u64_at(h, 32)?);
            let inside = address.checked_sub(start)?;
            (u32_at(h, 0)? == PT_LOAD && inside < len)
                .then(|| u64_at(h, 8)?.checked_add(inside))
                .flatten()
        })
    };
    let mut out = Vec::new();
    for h in &headers {
        let body = slice(b, u64_at(h, 8)?, u64_at(h, 32)?);
        match u32_at(h, 0)? {
            PT_INTERP => out.extend(c_str(body?, 0)),
            PT_DYNAMIC => {
                let tags: Vec<(u64, u64)> = body?
                    .chunks_exact(16)
                    .filter_map(|c| Some((u64_at(c, 0)?, u64_at(c, 8)?)))
                    .collect();
                let strtab = tags.iter().find(|t| t.0 == DT_STRTAB)?.1;
                let strtab = file_offset(strtab)?;
                for (_, value) in tags.iter().filter(|t| t.0 == DT_NEEDED) {
                    out.extend(c_str(b, strtab.checked_add(*value)?));
                }
            }
            _ => {}
        }
    }
    Some(out)
}
