//! Makes instructions of every form, and states to run them from.

use crate::case::*;
use crate::random::Random;
use iced_x86::{
    Code, CpuidFeature, EncodingKind, FlowControl, Instruction, MemoryOperand, MemorySize,
    Mnemonic, OpCodeOperandKind as K, OpKind, Register,
};

/// An instruction to test.
#[derive(Clone)]
pub struct Test {
    pub instruction: Instruction,
    pub bytes: Vec<u8>,
}

const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CX8,
    CpuidFeature::CMPXCHG16B,
    CpuidFeature::CMOV,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::POPCNT,
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::FPU387,
    CpuidFeature::FXSR,
    CpuidFeature::CLFSH,
    CpuidFeature::MMX,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::SSE3,
    CpuidFeature::SSSE3,
    CpuidFeature::SSE4_1,
    CpuidFeature::SSE4_2,
];

/// Leave user mode, touch segments, or give results that no two CPUs share.
const LEFT_OUT: &[Mnemonic] = &[
    Mnemonic::Int,
    Mnemonic::Int3,
    Mnemonic::Int1,
    Mnemonic::Into,
    Mnemonic::Hlt,
    Mnemonic::Retf,
    Mnemonic::Iret,
    Mnemonic::Iretd,
    Mnemonic::Iretq,
    Mnemonic::Lar,
    Mnemonic::Lsl,
    Mnemonic::Verr,
    Mnemonic::Verw,
    Mnemonic::Sgdt,
    Mnemonic::Sidt,
    Mnemonic::Sldt,
    Mnemonic::Smsw,
    Mnemonic::Str,
    Mnemonic::Swapgs,
    Mnemonic::Lss,
    Mnemonic::Lfs,
    Mnemonic::Lgs,
    Mnemonic::Monitor,
    Mnemonic::Mwait,
    Mnemonic::Pushf,
    Mnemonic::Pushfq,
    Mnemonic::Popf,
    Mnemonic::Popfq,
    Mnemonic::Fdisi,
    Mnemonic::Feni,
    Mnemonic::Fndisi,
    Mnemonic::Fneni,
    Mnemonic::Fsetpm,
    Mnemonic::Fnsetpm,
    Mnemonic::Frstpm,
    // Memory operands of many sizes, tested elsewhere.
    Mnemonic::Sysenter,
    Mnemonic::Syscall,
    Mnemonic::Ud0,
    Mnemonic::Ud1,
    Mnemonic::Sysexit,
    Mnemonic::Fstdw,
    Mnemonic::Fstsg,
    // Undocumented, and not the same everywhere.
    Mnemonic::Fstpnce,
];

/// All forms that a user program may execute and this machine may run.
pub fn forms() -> Vec<Code> {
    Code::values()
        .filter(|code| {
            let info = code.op_code();
            let segment = |i| {
                matches!(
                    info.op_kind(i),
                    K::seg_reg | K::fs | K::gs | K::es | K::cs | K::ss | K::ds
                )
            };
            info.is_instruction()
                && info.encoding() == EncodingKind::Legacy
                && info.mode64()
                && info.cpl3()
                && !info.is_privileged()
                && !info.is_input_output()
                && !info.is_reserved_nop()
                && !info.fwait()
                && code.cpuid_features().iter().all(|f| FEATURES.contains(f))
                && !LEFT_OUT.contains(&info.mnemonic())
                && !(0..info.op_count()).any(segment)
                && !format!("{code:?}").starts_with("Loadall")
                && *code != Code::Bswap_r16
                && !matches!(info.op_kind(0), K::farbr2_2 | K::farbr4_2)
                && !(code.flow_control() == FlowControl::IndirectBranch
                    && code.is_jmp_far_indirect())
                && !code.is_call_far_indirect()
        })
        .collect()
}

const GPR8: [Register; 20] = [
    Register::AL,
    Register::CL,
    Register::DL,
    Register::BL,
    Register::SPL,
    Register::BPL,
    Register::SIL,
    Register::DIL,
    Register::R8L,
    Register::R9L,
    Register::R10L,
    Register::R11L,
    Register::R12L,
    Register::R13L,
    Register::R14L,
    Register::R15L,
    Register::AH,
    Register::CH,
    Register::DH,
    Register::BH,
];

/// One instruction of the form, with random operands; `None` if these operands
/// do not go together.
pub fn instruction(code: Code, random: &mut Random) -> Option<Test> {
    let info = code.op_code();
    let mut i = Instruction::default();
    i.set_code(code);
    // Often the same register twice.
    let twice = random.one_in(8).then(|| random.below(16) as u32);
    let number = |random: &mut Random| twice.unwrap_or_else(|| random.below(16) as u32);
    let high_ok = random.one_in(3);
    for n in 0..info.op_count() {
        let kind = info.op_kind(n);
        let memory = random.one_in(2);
        let mut set = |base: Register, number: u32| {
            i.set_op_kind(n, OpKind::Register);
            i.set_op_register(n, base + number);
        };
        match kind {
            K::r8_or_mem | K::r8_reg if !(kind == K::r8_or_mem && memory) => {
                let number = number(random) as usize;
                let register = if high_ok && number < 4 {
                    GPR8[16 + number]
                } else {
                    GPR8[number]
                };
                set(register, 0);
            }
            K::r8_opcode => set(GPR8[number(random) as usize], 0),
            K::r16_or_mem
            | K::r32_or_mem
            | K::r64_or_mem
            | K::mm_or_mem
            | K::xmm_or_mem
            | K::r8_or_mem
                if memory =>
            {
                address(&mut i, n, random, false);
            }
            K::mem | K::mem_mib => address(&mut i, n, random, false),
            K::mem_offs => address(&mut i, n, random, true),
            K::r16_or_mem | K::r16_reg | K::r16_reg_mem | K::r16_rm | K::r16_opcode => {
                set(Register::AX, number(random))
            }
            K::r32_or_mem | K::r32_reg | K::r32_reg_mem | K::r32_rm | K::r32_opcode => {
                set(Register::EAX, number(random))
            }
            K::r64_or_mem | K::r64_reg | K::r64_reg_mem | K::r64_rm | K::r64_opcode => {
                set(Register::RAX, number(random))
            }
            K::mm_or_mem | K::mm_reg | K::mm_rm => set(Register::MM0, number(random) & 7),
            K::xmm_or_mem | K::xmm_reg | K::xmm_rm => set(Register::XMM0, number(random)),
            K::al => set(Register::AL, 0),
            K::cl => set(Register::CL, 0),
            K::ax => set(Register::AX, 0),
            K::dx => set(Register::DX, 0),
            K::eax => set(Register::EAX, 0),
            K::rax => set(Register::RAX, 0),
            K::st0 => set(Register::ST0, 0),
            K::sti_opcode => set(Register::ST0, random.below(8) as u32),
            K::imm8 => {
                i.set_op_kind(n, OpKind::Immediate8);
                let small = random.below(20) as u8;
                i.set_immediate8(random.pick(&[small, small, random.0 as u8 ^ 0x5a]));
            }
            K::imm8_const_1 => {
                i.set_op_kind(n, OpKind::Immediate8);
                i.set_immediate8(1);
            }
            K::imm8sex16 => {
                i.set_op_kind(n, OpKind::Immediate8to16);
                i.set_immediate8to16(random.integer() as i8 as i16);
            }
            K::imm8sex32 => {
                i.set_op_kind(n, OpKind::Immediate8to32);
                i.set_immediate8to32(random.integer() as i8 as i32);
            }
            K::imm8sex64 => {
                i.set_op_kind(n, OpKind::Immediate8to64);
                i.set_immediate8to64(random.integer() as i8 as i64);
            }
            K::imm16 => {
                i.set_op_kind(n, OpKind::Immediate16);
                i.set_immediate16(random.integer() as u16);
                if matches!(code.mnemonic(), Mnemonic::Enter | Mnemonic::Ret) {
                    i.set_immediate16(random.below(64) as u16 * 8);
                }
            }
            K::imm32 => {
                i.set_op_kind(n, OpKind::Immediate32);
                i.set_immediate32(random.integer() as u32);
            }
            K::imm32sex64 => {
                i.set_op_kind(n, OpKind::Immediate32to64);
                i.set_immediate32to64(random.integer() as i32 as i64);
            }
            K::imm64 => {
                i.set_op_kind(n, OpKind::Immediate64);
                i.set_immediate64(random.integer());
            }
            K::seg_rSI => i.set_op_kind(n, OpKind::MemorySegRSI),
            K::es_rDI => i.set_op_kind(n, OpKind::MemoryESRDI),
            K::seg_rDI => i.set_op_kind(n, OpKind::MemorySegRDI),
            K::seg_rBX_al => {
                i.set_op_kind(n, OpKind::Memory);
                i.set_memory_base(Register::RBX);
                i.set_memory_index(Register::AL);
            }
            K::br64_1 | K::br64_4 => {
                i.set_op_kind(n, OpKind::NearBranch64);
                i.set_near_branch64(ENTRY + 20 + random.below(90));
            }
            _ => return None,
        }
    }
    if code.mnemonic() == Mnemonic::Enter {
        // Nesting level 0 only: what compilers never emit needs no speed.
        i.set_op_kind(1, OpKind::Immediate8_2nd);
        i.set_immediate8_2nd(0);
    }
    let to_memory = i.op_count() > 0 && i.op0_kind() == OpKind::Memory;
    if info.can_use_lock_prefix() && to_memory && random.one_in(3) {
        i.set_has_lock_prefix(true);
    }
    if info.can_use_rep_prefix() && i.is_string_instruction() {
        match random.below(3) {
            0 => i.set_has_rep_prefix(true),
            1 if info.can_use_repne_prefix() => i.set_has_repne_prefix(true),
            _ => {}
        }
    }
    let mut encoder = iced_x86::Encoder::new(64);
    encoder.encode(&i, ENTRY).ok()?;
    let bytes = encoder.take_buffer();
    // What the decoder makes of the bytes is what the engine will see.
    let mut decoder = iced_x86::Decoder::with_ip(64, &bytes, ENTRY, 0);
    let instruction = decoder.decode();
    (instruction.code() == code && instruction.len() == bytes.len() && bytes.len() <= 15)
        .then_some(Test { instruction, bytes })
}

fn address(i: &mut Instruction, n: u32, random: &mut Random, absolute: bool) {
    i.set_op_kind(n, OpKind::Memory);
    let target = WINDOW_VA + (random.below(40) + 8) * 16 + random.pick(&[0, 0, 4, 8, 1, 13]);
    let operand = if absolute {
        i.set_memory_displacement64(target);
        i.set_memory_displ_size(8);
        return;
    } else {
        let wide = !random.one_in(10);
        let first = if wide { Register::RAX } else { Register::EAX };
        let base = first + random.below(16) as u32;
        let index =
            first + random.pick(&[0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]) as u32;
        let displacement = random.pick(&[0i64, 8, -16, 100, -128, 127, 0x1234, -0x54321]);
        let scale = 1 << random.below(4);
        match random.below(8) {
            0..=3 => MemoryOperand::with_base_displ(base, displacement),
            4 => MemoryOperand::with_base(base),
            5 | 6 if base != index => {
                MemoryOperand::with_base_index_scale_displ_size(base, index, scale, displacement, 1)
            }
            _ if random.one_in(2) => MemoryOperand::with_base_displ(Register::RIP, target as i64),
            _ => MemoryOperand::with_displ(target, 4),
        }
    };
    i.set_memory_base(operand.base);
    i.set_memory_index(operand.index);
    i.set_memory_index_scale(operand.scale);
    i.set_memory_displacement64(operand.displacement as u64);
    i.set_memory_displ_size(operand.displ_size);
    if operand.displ_size == 0 && operand.displacement != 0 || operand.displ_size == 1 {
        i.set_memory_displ_size(8);
    }
}

fn alignment(size: MemorySize) -> u64 {
    match size.size() {
        0 => 16,
        n => (n as u64).next_power_of_two().min(16),
    }
}

/// A state to run `test` from.
pub fn state(test: &Test, which: u32, random: &mut Random) -> Case {
    let i = &test.instruction;
    let mut machine = Machine {
        gpr: [0; 16],
        rip: ENTRY,
        rflags: random.next() & 0x8d5,
        xmm: [0; 16],
        mxcsr: 0x1f80,
        fcw: 0x37f,
        fsw: 0,
        ftw: 0,
        st: [0; 8],
        mem: [0; WINDOW],
    };
    machine.gpr.fill_with(|| random.integer());
    machine.xmm.fill_with(|| random.vector());
    for chunk in machine.mem.chunks_exact_mut(16) {
        let value = match random.below(8) {
            0 => random.f80() | u128::from(random.next()) << 80,
            _ => random.vector(),
        };
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    // Control words: mostly the default.
    if random.one_in(2) {
        machine.mxcsr |= (random.below(4) as u32) << 13;
        machine.mxcsr |= random.next() as u32 & 0x3f;
        if random.one_in(4) {
            machine.mxcsr |= random.next() as u32 & 0x8040;
        }
        if random.one_in(4) {
            machine.mxcsr &= !(random.next() as u32 & 0x1f80 & random.next() as u32);
        }
    }
    if random.one_in(2) {
        machine.fcw |= (random.below(4) as u16) << 10;
        if random.one_in(3) {
            machine.fcw = machine.fcw & !0x300 | random.pick(&[0, 0x200, 0x300]);
        }
        if random.one_in(4) {
            machine.fcw &= !(random.next() as u16 & 0x3f & random.next() as u16);
        }
    }
    machine.fsw = (random.next() as u16) & 0x7f00;
    if random.one_in(2) {
        // Sticky flags; the summary bit follows the masks.
        machine.fsw |= random.next() as u16 & 0x7f & random.next() as u16;
        if random.one_in(3) || !i.code().op_code().is_fpu_no_wait() {
            machine.fsw &= machine.fcw | 0xffc0;
        }
        if machine.fsw & !machine.fcw & 0x3f != 0 {
            machine.fsw |= 0x8080;
        }
    }
    machine.ftw = random.pick(&[0xff, 0xff, 0xff, 0, random.0 as u8]);
    machine.st.fill_with(|| random.f80());
    if random.one_in(3) {
        // Two that lie close together.
        let (from, to) = (random.below(8) as usize, random.below(8) as usize);
        machine.st[to] =
            machine.st[from] ^ u128::from(random.below(16)) ^ u128::from(random.below(2)) << 79;
        machine.st[to] ^= u128::from(random.below(4)) << 64;
    }
    // Stack and string pointers lie in the window.
    let place = |random: &mut Random| WINDOW_VA + 256 + random.below(64) * 8;
    machine.gpr[4] = place(random);
    if i.is_string_instruction() {
        machine.gpr[6] = place(random) + random.pick(&[0, 0, 1, 3]);
        machine.gpr[7] = place(random) + random.pick(&[0, 0, 1, 5]);
        machine.gpr[1] = random.pick(&[0, 1, 2, 5, 8, 16, 17, 24]);
        if random.one_in(6) {
            // A run into the page that is not there.
            machine.gpr[1] = 100 + random.below(100);
        }
        machine.rflags |= random.below(2) << 10;
        let end = WINDOW_VA + WINDOW as u64;
        if random.one_in(8) {
            machine.gpr[7] = end - random.below(20);
        }
        let equal = random.one_in(2);
        if equal {
            // Compares and scans shall find something.
            let byte = random.next() as u8;
            machine.mem.fill(byte);
            machine.mem[random.below(WINDOW as u64) as usize] ^= 1;
            machine.gpr[0] = u64::from(byte) * 0x0101_0101_0101_0101;
        }
    }
    match i.mnemonic() {
        Mnemonic::Ret if machine.gpr[4] < WINDOW_VA + WINDOW as u64 => {
            let at = (machine.gpr[4] - WINDOW_VA) as usize;
            let to = ENTRY + 32 + random.below(64);
            machine.mem[at..at + 8].copy_from_slice(&to.to_le_bytes());
        }
        Mnemonic::Leave => machine.gpr[5] = place(random),
        Mnemonic::Xlatb => machine.gpr[3] = place(random) & !0xff,
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu => machine.gpr[7] = place(random),
        // Divisions that mostly do not overflow.
        Mnemonic::Div | Mnemonic::Idiv if !random.one_in(4) => {
            machine.gpr[2] = random.pick(&[0, 0, u64::MAX, random.0 & 0xff]);
        }
        _ => {}
    }
    memory_operands(i, &mut machine, random);
    if matches!(
        i.mnemonic(),
        Mnemonic::Fxrstor
            | Mnemonic::Fxrstor64
            | Mnemonic::Ldmxcsr
            | Mnemonic::Frstor
            | Mnemonic::Fldenv
    ) {
        images(i, &mut machine, random);
    }
    if i.mnemonic() == Mnemonic::Jmp || i.mnemonic() == Mnemonic::Call {
        branch_target(i, &mut machine, random);
    }
    let mut code = [0xcc; 16];
    code[..test.bytes.len()].copy_from_slice(&test.bytes);
    Case {
        code,
        len: test.bytes.len() as u8,
        which,
        input: machine,
    }
}

fn number(register: Register) -> Option<usize> {
    let full = register.full_register();
    (register != Register::None && (Register::RAX..=Register::R15).contains(&full))
        .then(|| full.number())
}

/// Sets the registers of the address so that it lies in the window.
fn memory_operands(i: &Instruction, machine: &mut Machine, random: &mut Random) {
    for n in 0..i.op_count() {
        if i.op_kind(n) != OpKind::Memory || i.is_ip_rel_memory_operand() {
            continue;
        }
        if i.mnemonic() == Mnemonic::Xlatb {
            continue;
        }
        let align = alignment(i.memory_size());
        let size = i.memory_size().size() as u64;
        let room = (WINDOW as u64 - size.max(16)) / align - 1;
        let mut at = WINDOW_VA + (1 + random.below(room)) * align;
        if random.one_in(6) {
            at += random.below(align);
        }
        if random.one_in(40) {
            // Over the edge.
            at = WINDOW_VA + WINDOW as u64 - random.below(size.max(2));
        }
        let bits = matches!(
            i.mnemonic(),
            Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
        );
        if bits && i.op1_kind() == OpKind::Register {
            // The bit offset moves the address.
            if let Some(bit) = number(i.op1_register()) {
                machine.gpr[bit] = random.below(2048).wrapping_sub(1024);
                at = WINDOW_VA + 256 + random.below(64) * 8;
                let high = random.next() << 16;
                if i.op1_register().size() == 2 {
                    machine.gpr[bit] = machine.gpr[bit] & 0xffff | high;
                }
            }
        }
        let index = number(i.memory_index());
        let mut rest = at.wrapping_sub(i.memory_displacement64());
        if let Some(index) = index {
            if !(bits && number(i.op1_register()) == Some(index)) {
                machine.gpr[index] = random.below(64).wrapping_sub(32);
            }
            rest =
                rest.wrapping_sub(machine.gpr[index].wrapping_mul(i.memory_index_scale().into()));
        }
        if let Some(base) = number(i.memory_base()) {
            machine.gpr[base] = rest;
            let narrow = i.memory_base().size() == 4;
            if narrow {
                machine.gpr[base] = rest & 0xffff_ffff | random.next() << 32;
                if base == 4 {
                    machine.gpr[base] &= 0xffff_ffff;
                }
            }
        }
    }
}

/// Address of the memory operand.
pub fn operand_address(i: &Instruction, machine: &Machine) -> Option<u64> {
    let n = (0..i.op_count()).find(|n| i.op_kind(*n) == OpKind::Memory)?;
    i.virtual_address(n, 0, |register, _, _| {
        let full = register.full_register();
        if let Some(n) = number(full) {
            let value = machine.gpr[n];
            return Some(match register.size() {
                1 => value & 0xff,
                4 => value & 0xffff_ffff,
                _ => value,
            });
        }
        Some(0)
    })
}

fn branch_target(i: &Instruction, machine: &mut Machine, random: &mut Random) {
    let target = ENTRY + 32 + random.below(64);
    match i.op0_kind() {
        OpKind::Register => {
            if let Some(n) = number(i.op0_register()) {
                if n == 4 {
                    return;
                }
                machine.gpr[n] = target;
            }
        }
        OpKind::Memory => {
            if let Some(at) = operand_address(i, machine) {
                let at = at.wrapping_sub(WINDOW_VA) as usize;
                if at <= WINDOW - 8 {
                    machine.mem[at..at + 8].copy_from_slice(&target.to_le_bytes());
                }
            }
        }
        _ => {}
    }
}

/// Images that the instruction accepts.
fn images(i: &Instruction, machine: &mut Machine, random: &mut Random) {
    let Some(at) = operand_address(i, machine) else {
        return;
    };
    let at = at.wrapping_sub(WINDOW_VA) as usize;
    let fcw = machine.fcw ^ (random.below(4) as u16) << 10;
    let fsw = machine.fsw ^ (random.next() as u16 & 0x7700);
    let mut set = |offset: usize, bytes: &[u8]| {
        if at + offset + bytes.len() <= WINDOW {
            machine.mem[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
        }
    };
    match i.mnemonic() {
        Mnemonic::Ldmxcsr => {
            let mut value = random.next() as u32 & 0xffff;
            if random.one_in(8) {
                value |= 1 << (18 + random.below(14));
            }
            set(0, &value.to_le_bytes());
        }
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => {
            set(0, &fcw.to_le_bytes());
            set(2, &fsw.to_le_bytes());
            set(4, &[random.next() as u8, 0]);
            set(24, &(random.next() as u32 & 0xffff).to_le_bytes());
        }
        _ => {
            let short = matches!(i.memory_size().size(), 14 | 94);
            let step = if short { 2 } else { 4 };
            set(0, &fcw.to_le_bytes());
            set(step, &fsw.to_le_bytes());
            set(2 * step, &(random.next() as u16).to_le_bytes());
        }
    }
}
