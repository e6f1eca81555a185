//! Operation numbers of the integer and system instructions.

// Numbers back to operations.
#![cfg_attr(feature = "jit", allow(unsafe_code))]

/// Operation numbers of scalar floating point start here.
pub const FP_CODES: u16 = 0x400;
/// Operation numbers of AdvSIMD and V-register loads and stores start here.
pub const SIMD_CODES: u16 = 0x800;

/// What an op does, apart from its operands.
///
/// Operands: `a` is the destination (or the stored or tested register), `b`
/// and `c` are sources, `d` a shift amount, condition or fourth register, `e`
/// the variant. Register operands are indices of [`super::Regs`]. In data
/// processing, bit 0 of `e` says 64 bits, and bits 1 and up hold the shift kind
/// (none, LSL, LSR, ASR, ROR) or the extension option. A branch has its target
/// in `imm`, from the start of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// Not an instruction: raises the undefined exception.
    Undefined,
    /// The program counter is not aligned.
    Misaligned,
    /// Floating point is off: raises the trap of CPACR_EL1.FPEN.
    FpOff,
    /// Nothing: hints, prefetches.
    Nop,
    /// `a` = `imm`.
    Constant,
    /// `a` = `b`.
    MovReg,
    /// `a` = `b` with 16 bits at `c` replaced by those of `imm`.
    Movk,
    /// `a` = address of the instruction + `imm`.
    Adr,
    /// `a` = address of the page + `imm`.
    Adrp,
    /// `a` = `b` + `imm`.
    AddImm,
    /// With flags.
    AddsImm,
    /// `a` = `b` - `imm`.
    SubImm,
    /// With flags.
    SubsImm,
    /// `a` = `b` & `imm`.
    AndImm,
    /// With flags.
    AndsImm,
    /// `a` = `b` | `imm`.
    OrrImm,
    /// `a` = `b` ^ `imm`.
    EorImm,
    /// `b` shifted left by `c`, then arithmetically right by `d`.
    Sbfm,
    /// As `Sbfm`, logically.
    Ubfm,
    /// Bits `imm` of `a` (read as `d`) from `b` rotated right by `c`.
    Bfm,
    /// `a` = low word of `b`, sign-extended.
    Sxtw,
    /// `a` = `b` >> `d`.
    LsrImm,
    /// `a` = `b` << `c`.
    LslImm,
    /// `a` = 64 or 32 bits at bit `d` of `b`:`c`.
    Extr,
    /// `a` = `b` & shifted `c`.
    AndReg,
    /// `a` = `b` & !shifted `c`.
    BicReg,
    /// `a` = `b` | shifted `c`.
    OrrReg,
    /// `a` = `b` | !shifted `c`.
    OrnReg,
    /// `a` = `b` ^ shifted `c`.
    EorReg,
    /// `a` = `b` ^ !shifted `c`.
    EonReg,
    /// As `AndReg`, with flags.
    AndsReg,
    /// As `BicReg`, with flags.
    BicsReg,
    /// `a` = `b` + shifted `c`.
    AddReg,
    /// With flags.
    AddsReg,
    /// `a` = `b` - shifted `c`.
    SubReg,
    /// With flags.
    SubsReg,
    /// `a` = `b` + extended `c`.
    AddExt,
    /// With flags.
    AddsExt,
    /// `a` = `b` - extended `c`.
    SubExt,
    /// With flags.
    SubsExt,
    /// `a` = `b` + `c` + carry.
    Adc,
    /// With flags.
    Adcs,
    /// `a` = `b` - `c` - not carry.
    Sbc,
    /// With flags.
    Sbcs,
    /// CCMP and CCMN: `d` condition, `a` flags otherwise; `e` bit 1 negative,
    /// bit 2: `c` is the operand itself.
    CondCompare,
    /// `a` = `b` if condition `d`, else `c`.
    Csel,
    /// Else `c` + 1.
    Csinc,
    /// Else !`c`.
    Csinv,
    /// Else -`c`.
    Csneg,
    /// Bits reversed.
    Rbit,
    /// Bytes reversed in each half-word.
    Rev16,
    /// Bytes reversed in each word of 64 bits.
    Rev32,
    /// Bytes reversed.
    Rev,
    /// Leading zeros.
    Clz,
    /// Leading bits that equal the sign, less one.
    Cls,
    /// Unsigned quotient, zero when divided by zero.
    Udiv,
    /// Signed quotient.
    Sdiv,
    /// Variable shift left.
    Lslv,
    /// Variable shift right.
    Lsrv,
    /// Variable arithmetic shift right.
    Asrv,
    /// Variable rotation right.
    Rorv,
    /// `a` = `b` * `c`.
    Mul,
    /// `a` = `d` + `b` * `c`.
    Madd,
    /// `a` = `d` - `b` * `c`.
    Msub,
    /// Of signed words, 64 bits.
    Smaddl,
    /// Of signed words, 64 bits.
    Smsubl,
    /// Of unsigned words, 64 bits.
    Umaddl,
    /// Of unsigned words, 64 bits.
    Umsubl,
    /// Upper half of the signed product.
    Smulh,
    /// Upper half of the unsigned product.
    Umulh,
    /// Load of `a`: bits 3 to 0 of `e` are size and opc, bits 6 to 4 the
    /// addressing (offset, post, pre, unprivileged, register); base `b`, offset
    /// `disp`, or index `c` with `d` bits 1 to 0 UXTW, LSL, SXTW and bit 2 scaled.
    Load,
    /// Store of `a`, likewise.
    Store,
    /// Load from the instruction's address + `disp`; `e` as in `Load`.
    LoadLiteral,
    /// Loads `a` and `c`: bits 1 to 0 of `e` are opc, above them the index mode
    /// (1 post, 2 offset, 3 pre).
    LoadPair,
    /// Stores `a` and `c`.
    StorePair,
    /// Loads `a` exclusively; `e` size.
    LoadExclusive,
    /// Stores `a` exclusively, status to `c`.
    StoreExclusive,
    /// Loads `a` and `d` exclusively.
    LoadExclusivePair,
    /// Stores `a` and `d` exclusively, status to `c`.
    StoreExclusivePair,
    /// Ordered load.
    LoadAcquire,
    /// Ordered store.
    StoreRelease,
    /// Compare field `c` and swap with `a`.
    Cas,
    /// Compare and swap a pair; `a` and `c` are fields.
    CasPair,
    /// Atomic operation `d` (ADD, CLR, EOR, SET, SMAX, SMIN, UMAX, UMIN, SWP) of
    /// size `e` with operand `c`, old value to `a`.
    Atomic,
    /// Branch.
    B,
    /// Branch with link.
    Bl,
    /// Branch on condition `d`.
    BCond,
    /// CBZ, or CBNZ when bit 1 of `e` is set.
    CompareBranch,
    /// TBZ or TBNZ of bit `d`.
    TestBranch,
    /// Branch to register.
    Br,
    /// Branch to register with link.
    Blr,
    /// Return.
    Ret,
    /// Exception return.
    Eret,
    /// Supervisor call.
    Svc,
    /// Hypervisor call.
    Hvc,
    /// Breakpoint instruction.
    Brk,
    /// Wait for interrupt.
    Wfi,
    /// Clears the exclusive monitor.
    Clrex,
    /// DSB or DMB; `a` is the option.
    Barrier,
    /// Instruction barrier.
    Isb,
    /// Selects the stack pointer.
    SpSel,
    /// `a` the value.
    Pan,
    /// DAIFSet (`d` 6) or DAIFClr (`d` 7) of `a`.
    Daif,
    /// Read of the system register `disp`.
    Mrs,
    /// Write of the system register `disp`.
    Msr,
    /// Clears 64 bytes.
    DcZva,
    /// Other cache maintenance.
    Cache,
    /// Address translation.
    At,
    /// TLB maintenance.
    Tlbi,
}

impl Code {
    /// The operation of an op; `None` for floating point and AdvSIMD.
    #[cfg(feature = "jit")]
    pub(super) fn of(code: u16) -> Option<Self> {
        // SAFETY: the numbers from the first to the last are all there.
        (code <= Self::Tlbi as u16).then(|| unsafe { std::mem::transmute(code) })
    }
}
