//! A static AArch64 ELF file that runs many cases, made without a toolchain.
//!
//! The file holds a runner (below, as words with their assembly), one stub for
//! each case and one record for each case. The runner loads all registers from
//! a record, jumps to the stub, and the stub jumps back to `save`, which puts
//! the registers back into the record. In the end it writes all records to the
//! standard output. A signal (SIGILL and its like) sets the bit of the instruction in
//! the record's fault word and goes on behind the instruction.
//!
//! x28 always points to the record. The stub restores x30 itself.

use super::record::{RECORD, Record};

/// Where code lies.
pub const CODE: u64 = 0x40_0000;
/// Where records lie.
pub const DATA: u64 = 0x1000_0000;
/// Where the signal stack lies.
const STACK: u64 = 0x2000_0000;
/// Byte offset of `save`.
pub const SAVE: u64 = 0x88;
/// Index of the word that holds the end of the records.
const LAST: usize = 160;

#[rustfmt::skip]
const RUNNER: &[u32] = &[
    // start:
    0xd2801088, // mov x8, #0x84
    0x100012e0, // adr x0, 260 <altstack>
    0xd2800001, // mov x1, #0x0
    0xd4000001, // svc #0x0
    0xd2800094, // mov x20, #0x4
    0x94000009, // bl 38 <arm>
    0xd2800174, // mov x20, #0xb
    0x94000007, // bl 38 <arm>
    0xd28000f4, // mov x20, #0x7
    0x94000005, // bl 38 <arm>
    0xd28000b4, // mov x20, #0x5
    0x94000003, // bl 38 <arm>
    0x5800125c, // ldr x28, 278 <first>
    0x1400003e, // b 12c <load>
    // arm:
    0xd28010c8, // mov x8, #0x86
    0xaa1403e0, // mov x0, x20
    0x10001001, // adr x1, 240 <act>
    0xd2800002, // mov x2, #0x0
    0xd2800103, // mov x3, #0x8
    0xd4000001, // svc #0x0
    0xd65f03c0, // ret
    // handler:
    0xf940cc43, // ldr x3, [x2, #408]
    0xf940dc44, // ldr x4, [x2, #440]
    0xf9419066, // ldr x6, [x3, #800]
    0xcb060086, // sub x6, x4, x6
    0xd342fcc6, // lsr x6, x6, #2
    0xd2800027, // mov x7, #0x1
    0x9ac620e7, // lsl x7, x7, x6
    0xf9418c65, // ldr x5, [x3, #792]
    0xaa0700a5, // orr x5, x5, x7
    0xf9018c65, // str x5, [x3, #792]
    0x91001084, // add x4, x4, #0x4
    0xf900dc44, // str x4, [x2, #440]
    0xd65f03c0, // ret
    // save:
    0xa9000780, // stp x0, x1, [x28]
    0xa9010f82, // stp x2, x3, [x28, #16]
    0xa9021784, // stp x4, x5, [x28, #32]
    0xa9031f86, // stp x6, x7, [x28, #48]
    0xa9042788, // stp x8, x9, [x28, #64]
    0xa9052f8a, // stp x10, x11, [x28, #80]
    0xa906378c, // stp x12, x13, [x28, #96]
    0xa9073f8e, // stp x14, x15, [x28, #112]
    0xa9084790, // stp x16, x17, [x28, #128]
    0xa9094f92, // stp x18, x19, [x28, #144]
    0xa90a5794, // stp x20, x21, [x28, #160]
    0xa90b5f96, // stp x22, x23, [x28, #176]
    0xa90c6798, // stp x24, x25, [x28, #192]
    0xa90d6f9a, // stp x26, x27, [x28, #208]
    0xa90e779c, // stp x28, x29, [x28, #224]
    0xf9007b9e, // str x30, [x28, #240]
    0x910003e0, // mov x0, sp
    0xf9007f80, // str x0, [x28, #248]
    0xad080780, // stp q0, q1, [x28, #256]
    0xad090f82, // stp q2, q3, [x28, #288]
    0xad0a1784, // stp q4, q5, [x28, #320]
    0xad0b1f86, // stp q6, q7, [x28, #352]
    0xad0c2788, // stp q8, q9, [x28, #384]
    0xad0d2f8a, // stp q10, q11, [x28, #416]
    0xad0e378c, // stp q12, q13, [x28, #448]
    0xad0f3f8e, // stp q14, q15, [x28, #480]
    0xad104790, // stp q16, q17, [x28, #512]
    0xad114f92, // stp q18, q19, [x28, #544]
    0xad125794, // stp q20, q21, [x28, #576]
    0xad135f96, // stp q22, q23, [x28, #608]
    0xad146798, // stp q24, q25, [x28, #640]
    0xad156f9a, // stp q26, q27, [x28, #672]
    0xad16779c, // stp q28, q29, [x28, #704]
    0xad177f9e, // stp q30, q31, [x28, #736]
    0xd53b4200, // mrs x0, nzcv
    0xf9018380, // str x0, [x28, #768]
    0xd53b4400, // mrs x0, fpcr
    0xf9018780, // str x0, [x28, #776]
    0xd53b4420, // mrs x0, fpsr
    0xf9018b80, // str x0, [x28, #784]
    0x9120039c, // add x28, x28, #0x800
    // load:
    0x58000aa1, // ldr x1, 280 <last>
    0xeb01039f, // cmp x28, x1
    0x54000560, // b.eq 1e0 <done>
    0xd5033f5f, // clrex
    0xf9418380, // ldr x0, [x28, #768]
    0xd51b4200, // msr nzcv, x0
    0xf9418780, // ldr x0, [x28, #776]
    0xd51b4400, // msr fpcr, x0
    0xf9418b80, // ldr x0, [x28, #784]
    0xd51b4420, // msr fpsr, x0
    0xad480780, // ldp q0, q1, [x28, #256]
    0xad490f82, // ldp q2, q3, [x28, #288]
    0xad4a1784, // ldp q4, q5, [x28, #320]
    0xad4b1f86, // ldp q6, q7, [x28, #352]
    0xad4c2788, // ldp q8, q9, [x28, #384]
    0xad4d2f8a, // ldp q10, q11, [x28, #416]
    0xad4e378c, // ldp q12, q13, [x28, #448]
    0xad4f3f8e, // ldp q14, q15, [x28, #480]
    0xad504790, // ldp q16, q17, [x28, #512]
    0xad514f92, // ldp q18, q19, [x28, #544]
    0xad525794, // ldp q20, q21, [x28, #576]
    0xad535f96, // ldp q22, q23, [x28, #608]
    0xad546798, // ldp q24, q25, [x28, #640]
    0xad556f9a, // ldp q26, q27, [x28, #672]
    0xad56779c, // ldp q28, q29, [x28, #704]
    0xad577f9e, // ldp q30, q31, [x28, #736]
    0xf9407f80, // ldr x0, [x28, #248]
    0x9100001f, // mov sp, x0
    0xf941939e, // ldr x30, [x28, #800]
    0xa9400780, // ldp x0, x1, [x28]
    0xa9410f82, // ldp x2, x3, [x28, #16]
    0xa9421784, // ldp x4, x5, [x28, #32]
    0xa9431f86, // ldp x6, x7, [x28, #48]
    0xa9442788, // ldp x8, x9, [x28, #64]
    0xa9452f8a, // ldp x10, x11, [x28, #80]
    0xa946378c, // ldp x12, x13, [x28, #96]
    0xa9473f8e, // ldp x14, x15, [x28, #112]
    0xa9484790, // ldp x16, x17, [x28, #128]
    0xa9494f92, // ldp x18, x19, [x28, #144]
    0xa94a5794, // ldp x20, x21, [x28, #160]
    0xa94b5f96, // ldp x22, x23, [x28, #176]
    0xa94c6798, // ldp x24, x25, [x28, #192]
    0xa94d6f9a, // ldp x26, x27, [x28, #208]
    0xf940779d, // ldr x29, [x28, #232]
    0xd61f03c0, // br x30
    // done:
    0x580004d4, // ldr x20, 278 <first>
    // more:
    0xcb140382, // sub x2, x28, x20
    0xb4000122, // cbz x2, 20c <quit>
    0xd2800808, // mov x8, #0x40
    0xd2800020, // mov x0, #0x1
    0xaa1403e1, // mov x1, x20
    0xd4000001, // svc #0x0
    0xf100001f, // cmp x0, #0x0
    0x5400006d, // b.le 20c <quit>
    0x8b000294, // add x20, x20, x0
    0x17fffff7, // b 1e4 <more>
    // quit:
    0xd2800ba8, // mov x8, #0x5d
    0xd2800000, // mov x0, #0x0
    0xd4000001, // svc #0x0
    0xd503201f, // nop
    0xd503201f, // nop
    0xd503201f, // nop
    0xd503201f, // nop
    0xd503201f, // nop
    0xd503201f, // nop
    0xd503201f, // nop
    0xd503201f, // nop
    0xd503201f, // nop
    0xd503201f, // nop
    // act: handler, flags, restorer, mask
    0x00400054,
    0x00000000,
    0x48000004,
    0x00000000,
    0x00000000,
    0x00000000,
    0x00000000,
    0x00000000,
    // altstack: address, flags, size
    0x20000000,
    0x00000000,
    0x00000000,
    0x00000000,
    0x00010000,
    0x00000000,
    // first, last
    0x10000000,
    0x00000000,
    // last:
    0x00000000,
    0x00000000,
];

/// `ldr x30, [x28, #240]`
const RESTORE_LR: u32 = 0xf940_7b9e;

/// The code of all cases, and where each stub starts.
pub struct Code {
    /// The words of the code segment.
    pub words: Vec<u32>,
    /// Address of the first instruction of each case (behind the word that
    /// restores x30).
    pub starts: Vec<u64>,
}

/// Lays out the runner and the stubs, and puts their addresses into `records`.
pub fn code(cases: &[Vec<u32>], records: &mut [Record]) -> Code {
    let mut words = RUNNER.to_vec();
    let end = DATA + (records.len() * RECORD) as u64;
    words[LAST] = end as u32;
    let mut starts = Vec::new();
    for (case, record) in cases.iter().zip(records) {
        let stub = CODE + words.len() as u64 * 4;
        record.set_stub(stub);
        words.push(RESTORE_LR);
        starts.push(stub + 4);
        words.extend(case);
        let here = CODE + words.len() as u64 * 4;
        let distance = (CODE + SAVE).wrapping_sub(here) as u32 >> 2;
        words.push(0x1400_0000 | distance & 0x3ff_ffff);
    }
    Code { words, starts }
}

/// The ELF file.
pub fn elf(code: &Code, records: &[Record]) -> Vec<u8> {
    const HEADERS: usize = 0x1000;
    let text: Vec<u8> = code.words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let data: Vec<u8> = records.iter().flat_map(|r| r.0).collect();
    let data_at = (HEADERS + text.len()).next_multiple_of(0x1000);
    let mut file = vec![0u8; data_at + data.len()];
    file[..16].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut at = 16;
    let mut put = |bytes: &[u8]| {
        file[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&2u16.to_le_bytes()); // ET_EXEC
    put(&183u16.to_le_bytes()); // EM_AARCH64
    put(&1u32.to_le_bytes());
    put(&CODE.to_le_bytes());
    put(&64u64.to_le_bytes());
    put(&0u64.to_le_bytes());
    put(&0u32.to_le_bytes());
    for half in [64u16, 56, 3, 64, 0, 0] {
        put(&half.to_le_bytes());
    }
    // Flags: X 1, W 2, R 4.
    let segments = [
        (5u32, HEADERS, CODE, text.len(), text.len()),
        (6, data_at, DATA, data.len(), data.len()),
        (6, 0, STACK, 0, 0x10000),
    ];
    for (flags, offset, address, in_file, in_memory) in segments {
        put(&1u32.to_le_bytes());
        put(&flags.to_le_bytes());
        let numbers = [
            offset as u64,
            address,
            address,
            in_file as u64,
            in_memory as u64,
            0x1000,
        ];
        for number in numbers {
            put(&number.to_le_bytes());
        }
    }
    file[HEADERS..HEADERS + text.len()].copy_from_slice(&text);
    file[data_at..].copy_from_slice(&data);
    file
}
