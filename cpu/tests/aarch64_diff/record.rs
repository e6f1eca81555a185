//! The state of one case: registers, flags and a scratch buffer.

use cpu::aarch64::Aarch64State;

/// Bytes of a record.
pub const RECORD: usize = 2048;
/// Offset of the scratch buffer, which takes the rest.
pub const SCRATCH: usize = 1024;

const SP: usize = 248;
const V: usize = 256;
const NZCV: usize = 768;
const FPCR: usize = 776;
const FPSR: usize = 784;
const FAULTS: usize = 792;
const STUB: usize = 800;

/// One record, as it lies in the runner's memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Record(pub [u8; RECORD]);

impl Record {
    pub fn new() -> Self {
        Self([0; RECORD])
    }
    fn get(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }
    fn set(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    pub fn x(&self, n: usize) -> u64 {
        self.get(n * 8)
    }
    pub fn set_x(&mut self, n: usize, value: u64) {
        self.set(n * 8, value);
    }
    pub fn set_sp(&mut self, value: u64) {
        self.set(SP, value);
    }
    pub fn v(&self, n: usize) -> u128 {
        u128::from(self.get(V + n * 16)) | u128::from(self.get(V + n * 16 + 8)) << 64
    }
    pub fn set_v(&mut self, n: usize, value: u128) {
        self.set(V + n * 16, value as u64);
        self.set(V + n * 16 + 8, (value >> 64) as u64);
    }
    pub fn set_nzcv(&mut self, value: u32) {
        self.set(NZCV, value.into());
    }
    pub fn set_fpcr(&mut self, value: u32) {
        self.set(FPCR, value.into());
    }
    pub fn set_fpsr(&mut self, value: u32) {
        self.set(FPSR, value.into());
    }
    pub fn set_stub(&mut self, value: u64) {
        self.set(STUB, value);
    }
    pub fn scratch_mut(&mut self) -> &mut [u8] {
        &mut self.0[SCRATCH..]
    }

    /// Puts the registers into `state`.
    pub fn load(&self, state: &mut Aarch64State) {
        for n in 0..31 {
            state.r.set(n as u8, self.x(n));
        }
        state.set_sp(self.get(SP));
        for n in 0..32 {
            state.v[n] = self.v(n);
        }
        state.set_nzcv(self.get(NZCV) as u32);
        state.fpcr = self.get(FPCR) as u32;
        state.fpsr = self.get(FPSR) as u32;
        state.exclusive = Default::default();
    }
    /// Takes the registers from `state`; `faults` has the bits of the
    /// instructions that were undefined.
    pub fn save(&mut self, state: &Aarch64State, faults: u64) {
        for n in 0..31 {
            self.set_x(n, state.r.get(n as u8));
        }
        self.set_sp(state.sp());
        for n in 0..32 {
            self.set_v(n, state.v[n]);
        }
        self.set_nzcv(state.nzcv());
        self.set_fpcr(state.fpcr);
        self.set_fpsr(state.fpsr);
        self.set(FAULTS, faults);
    }
    /// The instructions that were undefined, as bits.
    pub fn faults(&self) -> u64 {
        self.get(FAULTS)
    }
    /// The fields that differ, one line each.
    pub fn diff(&self, name: &str, other: &Self, other_name: &str) -> String {
        let mut out = String::new();
        let mut line = |field: String, a: u128, b: u128| {
            if a != b {
                out += &format!("  {field}: {name} {a:#x}, {other_name} {b:#x}\n");
            }
        };
        for n in 0..31 {
            line(format!("x{n}"), self.x(n).into(), other.x(n).into());
        }
        for n in 0..32 {
            line(format!("v{n}"), self.v(n), other.v(n));
        }
        for (field, at) in [("sp", SP), ("nzcv", NZCV), ("fpcr", FPCR), ("fpsr", FPSR)] {
            line(field.into(), self.get(at).into(), other.get(at).into());
        }
        line(
            "undefined".into(),
            self.get(FAULTS).into(),
            other.get(FAULTS).into(),
        );
        for at in (SCRATCH..RECORD).step_by(8) {
            let field = format!("memory x28+{at:#x}");
            line(field, self.get(at).into(), other.get(at).into());
        }
        out
    }
    /// The registers that an instruction may look at, for a report.
    pub fn inputs(&self, insn: u32) -> String {
        let mut out = format!(
            "  nzcv {:#x} fpcr {:#x} fpsr {:#x} sp {:#x}\n",
            self.get(NZCV),
            self.get(FPCR),
            self.get(FPSR),
            self.get(SP)
        );
        let fields = [insn & 31, insn >> 5 & 31, insn >> 10 & 31, insn >> 16 & 31];
        for n in fields.map(|n| n as usize) {
            let x = if n < 31 { self.x(n) } else { 0 };
            out += &format!("  x{n} {x:#x}  v{n} {:#034x}\n", self.v(n));
        }
        out
    }
}
