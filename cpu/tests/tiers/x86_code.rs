//! Random x86-64 instructions.

use crate::noise::Noise;

/// ModRM and what follows: a register, or memory near where pointers lead.
fn operand(noise: &mut Noise, code: &mut Vec<u8>, reg: u8) {
    if noise.below(2) == 0 {
        code.push(0xc0 | reg << 3 | noise.below(8) as u8);
        return;
    }
    let mut disp = (noise.below(32) as i8 - 16) as u8;
    if noise.below(2) == 0 {
        disp &= 0xf0;
    }
    match noise.below(8) {
        // [rip + disp32], into the program.
        0 => {
            code.push(reg << 3 | 5);
            code.extend(((noise.below(256) as i32) - 64).to_le_bytes());
        }
        // [base + index * scale + disp8]; no index four times of five.
        1 => {
            let index = if noise.once_in(5) { 0 } else { 4 };
            let sib = (noise.below(4) as u8) << 6 | index << 3 | noise.pick(&[3, 5, 6, 7]);
            code.extend([0x44 | reg << 3, sib, disp]);
        }
        _ => {
            let base = noise.pick(&[3, 5, 6, 7]);
            code.extend([0x40 | reg << 3 | base, disp]);
        }
    }
}

/// Appends an instruction, once in `vectors` times of vectors; the bytes of a jump's displacement at its end.
pub fn instruction(noise: &mut Noise, code: &mut Vec<u8>, vectors: u64) -> Option<usize> {
    let any = |noise: &mut Noise| noise.next() as u8;
    let cc = noise.below(16) as u8;
    if vectors != 1 && noise.once_in(5) {
        return match noise.below(9) {
            0 => {
                code.extend([0xeb, 0]);
                Some(1)
            }
            1 => {
                code.extend([0xe8, 0, 0, 0, 0]);
                Some(4)
            }
            2 => {
                code.push(0xc3);
                None
            }
            3 => {
                // jmp or call through a register or memory.
                let reg = noise.pick(&[2, 4]);
                code.push(0xff);
                operand(noise, code, reg);
                None
            }
            4 => {
                // LOOP and its kin.
                code.extend([0xe0 | cc & 3, 0]);
                Some(1)
            }
            5 | 6 => {
                code.extend([0x70 | cc, 0]);
                Some(1)
            }
            _ => {
                code.extend([0x0f, 0x80 | cc, 0, 0, 0, 0]);
                Some(4)
            }
        };
    }
    if vectors != 1 && noise.once_in(12) {
        system(noise, code);
        return None;
    }
    if vectors != 1 && noise.once_in(12) {
        locked(noise, code);
        return None;
    }
    if noise.once_in(vectors) {
        // Vectors: moves, logic, arithmetic, compares, conversions.
        if noise.once_in(if vectors == 1 { 40 } else { 12 }) {
            // LDMXCSR, STMXCSR, FXSAVE, FXRSTOR.
            code.extend([0x0f, 0xae]);
            let reg = noise.pick(&[2, 3, 3, 3, 3, 0, 1]);
            operand(noise, code, reg);
            return None;
        }
        if vectors == 1 {
            // Arithmetic of few registers.
            code.extend([noise.pick(&[0xf2, 0xf2, 0xf3, 0x66]), 0x0f]);
            code.push(noise.pick(&[
                0x58, 0x59, 0x5c, 0x5e, 0x51, 0x2e, 0x2f, 0x5a, 0x2c, 0x2a, 0x58, 0x59,
            ]));
            code.push(0xc0 | any(noise) & 0x1b);
            return None;
        }
        if noise.once_in(3) {
            // Moves of lanes, shifts by an immediate, compares.
            const LANES: [u8; 27] = [
                0x60, 0x61, 0x62, 0x68, 0x69, 0x6a, 0x6c, 0x6d, 0x64, 0x65, 0x66, 0xea, 0xee, 0xd5,
                0x12, 0x13, 0x16, 0x17, 0x14, 0x15, 0x70, 0x70, 0xc6, 0x71, 0x72, 0x73, 0x73,
            ];
            match noise.below(6) {
                0 => {}
                n => code.push([0x66, 0x66, 0x66, 0xf2, 0xf3][n as usize - 1]),
            }
            let form = noise.pick(&LANES);
            let reg = noise.below(8) as u8;
            if noise.once_in(8) {
                // PALIGNR.
                code.extend([0x0f, 0x3a, 0x0f]);
                operand(noise, code, reg);
                code.push(any(noise) & 0x3f);
                return None;
            }
            code.extend([0x0f, form]);
            match form {
                0x71..=0x73 => {
                    let kind = noise.pick(&[2, 3, 6, 7]);
                    code.push(0xc0 | kind << 3 | reg);
                    code.push(any(noise) & 0x4f);
                }
                0x70 | 0xc6 => {
                    operand(noise, code, reg);
                    code.push(any(noise));
                }
                _ => operand(noise, code, reg),
            }
            return None;
        }
        const FORMS: [u8; 48] = [
            0x10, 0x11, 0x12, 0x14, 0x15, 0x16, 0x28, 0x29, 0x2a, 0x2c, 0x2e, 0x2f, 0x50, 0x51,
            0x54, 0x55, 0x56, 0x57, 0x58, 0x58, 0x59, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x6c, 0x6d,
            0x6e, 0x6f, 0x74, 0x75, 0x76, 0x7e, 0x7f, 0xd6, 0xd7, 0xda, 0xdb, 0xde, 0xdf, 0xeb,
            0xef, 0xf8, 0xfb, 0xfc, 0xfe, 0xd4,
        ];
        match noise.below(4) {
            0 => {}
            n => code.push([0x66, 0xf2, 0xf3][n as usize - 1]),
        }
        if noise.below(3) == 0 {
            code.push(0x48);
        }
        code.extend([0x0f, noise.pick(&FORMS)]);
        let reg = noise.below(8) as u8;
        operand(noise, code, reg);
        return None;
    }
    if noise.once_in(40) {
        code.push(noise.pick(&[0xf0, 0xf2, 0xf3, 0x64, 0x65, 0x67]));
    }
    let short = noise.once_in(7);
    if short {
        code.push(0x66);
    }
    if noise.below(5) < 3 {
        // REX: W often, R, X and B as the base register allows.
        let w = noise.pick(&[0, 8, 8]);
        code.push(0x40 | w | noise.pick(&[0, 0, 4]) | u8::from(noise.once_in(8)));
    }
    let reg = noise.below(8) as u8;
    let immediate = if short { 2 } else { 4 };
    match noise.below(26) {
        0..=4 => {
            code.push((any(noise) & 7) << 3 | cc & 3);
            operand(noise, code, reg);
        }
        5 | 6 => {
            let form = noise.pick(&[0x80, 0x81, 0x83]);
            code.push(form);
            operand(noise, code, reg);
            let n = if form == 0x81 { immediate } else { 1 };
            code.extend(noise.bytes(n));
        }
        7..=9 => {
            code.push(0x88 | cc & 3);
            operand(noise, code, reg);
        }
        10 => {
            let form = 0xc6 | cc & 1;
            code.push(form);
            operand(noise, code, 0);
            code.extend(noise.bytes(if form == 0xc7 { immediate } else { 1 }));
        }
        11 => {
            code.push(noise.pick(&[0x84, 0x85, 0x86, 0x87, 0x8d, 0x63]));
            operand(noise, code, reg);
        }
        12 => {
            // F6 and F7: TEST has an immediate.
            let (form, kind) = (cc & 1, noise.pick(&[0, 2, 3, 4, 5, 6, 7]));
            code.push(0xf6 | form);
            operand(noise, code, kind);
            if kind == 0 {
                code.extend(noise.bytes(if form == 1 { immediate } else { 1 }));
            }
        }
        13 => {
            code.push(0xfe | cc & 1);
            operand(noise, code, cc >> 1 & 1);
        }
        14 | 15 => {
            let form = noise.pick(&[0xc0, 0xc1, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3]);
            code.push(form);
            operand(noise, code, reg);
            if form < 0xd0 {
                code.push(noise.pick(&[0, 1, 4, 7, 8, 12, 15, 16, 31, 32, 63, 0x83]));
            }
        }
        16 => {
            code.extend([0x0f, noise.pick(&[0xb6, 0xb7, 0xbe, 0xbf])]);
            operand(noise, code, reg);
        }
        17 => {
            code.extend([0x0f, noise.pick(&[0x90, 0x40]) | cc]);
            operand(noise, code, reg);
        }
        18 => {
            code.extend([0x0f, 0xaf]);
            operand(noise, code, reg);
        }
        19 => {
            let form = noise.pick(&[0x69, 0x6b]);
            code.push(form);
            operand(noise, code, reg);
            code.extend(noise.bytes(if form == 0x69 { immediate } else { 1 }));
        }
        20 => code.push(noise.pick(&[0x50, 0x58]) | noise.pick(&[0, 1, 2, 3, 5])),
        21 => match noise.below(3) {
            0 => code.extend([0x6a, any(noise)]),
            1 => code.push(0xc9),
            _ => {
                code.push(0x68);
                code.extend(noise.bytes(immediate));
            }
        },
        22 => {
            let form = noise.pick(&[0xa3, 0xab, 0xb3, 0xba, 0xbc, 0xbd, 0xa4, 0xac]);
            code.extend([0x0f, form]);
            operand(noise, code, if form == 0xba { 4 | reg & 3 } else { reg });
            if matches!(form, 0xba | 0xa4 | 0xac) {
                code.push(any(noise));
            }
        }
        23 => {
            code.extend([0x0f, noise.pick(&[0xb0, 0xb1, 0xc0, 0xc1])]);
            operand(noise, code, reg);
        }
        24 => match noise.below(3) {
            0 => code.extend([0x0f, 0xc8 | reg]),
            1 => code.push(noise.pick(&[
                0x90, 0x98, 0x99, 0xf5, 0xf8, 0xf9, 0xfc, 0x9e, 0x9f, 0xa4, 0xa5, 0xaa, 0xab, 0xac,
                0xa6, 0xae, 0xd7,
            ])),
            _ => {
                code.push(0xb0 | cc);
                // Four bytes too few with REX.W: the next instruction lends them.
                code.extend(noise.bytes(if cc < 8 { 1 } else { immediate }));
            }
        },
        _ => {
            // SSE moves and logic; prefixes make others of them.
            let form = [
                0x10, 0x11, 0x28, 0x29, 0x6e, 0x6f, 0x7e, 0x7f, 0xef, 0xfe, 0x57, 0xd6,
            ];
            code.extend([0x0f, noise.pick(&form)]);
            operand(noise, code, reg);
        }
    }
    None
}

/// Appends what changes privilege, flags and segments.
fn system(noise: &mut Noise, code: &mut Vec<u8>) {
    match noise.below(14) {
        0 => code.extend([0x0f, 0x05]),
        1 => code.extend([0x48, 0x0f, 0x07]),
        2 => code.extend([0x0f, 0x01, 0xf8]),
        3 => code.push(0xfa),
        4 | 10..=13 => code.push(0xfb),
        5 => code.push(0x9c),
        6 => code.push(noise.pick(&[0x9c, 0x9d])),
        7 => {
            // MOV from a segment register; PUSH of memory.
            code.push(0x8c);
            let n = noise.below(6) as u8;
            operand(noise, code, n);
        }
        8 => {
            code.push(0xff);
            operand(noise, code, 6);
        }
        _ => {
            // Fences, prefetches.
            let n = noise.pick(&[0xe8, 0xf0, 0xf8]);
            match noise.below(2) {
                0 => code.extend([0x0f, 0xae, n]),
                _ => code.extend([0x0f, 0x18, 0x43 | n & 0x10, 0]),
            }
        }
    }
}

/// Appends an instruction that changes memory atomically, or seldom one that
/// may not be locked.
fn locked(noise: &mut Noise, code: &mut Vec<u8>) {
    if noise.below(4) == 0 {
        code.push(noise.pick(&[0x64, 0x65, 0x66, 0x67]));
    }
    if !noise.once_in(3) {
        code.push(0xf0);
    }
    if noise.below(3) != 0 {
        code.push(0x40 | noise.pick(&[0, 8, 8]) | noise.pick(&[0, 4]));
    }
    let reg = noise.below(8) as u8;
    let wide = noise.below(2) as u8;
    let mut last = 0;
    match noise.below(7) {
        0 => code.push((noise.below(8) as u8) << 3 | wide),
        1 => {
            code.push(0x83);
            last = 1;
        }
        2 => code.push(0xfe | wide),
        3 => code.push(0x86 | wide),
        4 => code.extend([0x0f, noise.pick(&[0xb0, 0xc0]) | wide]),
        5 => code.extend([0x0f, noise.pick(&[0xab, 0xb3, 0xbb])]),
        _ => {
            code.extend([0x0f, 0xba]);
            last = 1;
        }
    }
    let kind = match code.last() {
        Some(0xba) => 4 | reg & 3,
        Some(0xfe | 0xff) => reg & 1,
        _ => reg,
    };
    operand(noise, code, kind);
    code.extend(noise.bytes(last));
}
