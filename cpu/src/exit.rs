//! Why a vCPU came back, and with what it goes on: exits are data.

/// What to hand to a vCPU when it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmEntry {
    /// Start, or go on after an exit that asked for nothing.
    Run,
    /// The value that a read or a hypercall asked for.
    Value(u64),
    /// The write was carried out.
    Done,
}

/// Why a vCPU came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmExit {
    /// Wants `size` bytes (1, 2, 4, 8) at a guest physical address: go on with
    /// [`VmEntry::Value`].
    MmioRead {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        size: u8,
    },
    /// Writes the low `size` bytes of `data`: go on with [`VmEntry::Done`].
    MmioWrite {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        size: u8,
        /// The value.
        data: u64,
    },
    /// Wants `size` bytes (1, 2, 4) at an x86 port: go on with [`VmEntry::Value`].
    IoRead {
        /// Port number.
        port: u16,
        /// Bytes.
        size: u8,
    },
    /// Writes to an x86 port: go on with [`VmEntry::Done`].
    IoWrite {
        /// Port number.
        port: u16,
        /// Bytes.
        size: u8,
        /// The value.
        data: u32,
    },
    /// A hypercall (PSCI by HVC): go on with [`VmEntry::Value`], the result
    /// register.
    Hypercall {
        /// Function and arguments (x0 to x3).
        args: [u64; 4],
    },
    /// Waits for an interrupt (WFI, HLT).
    Halt,
    /// The instruction budget is used up.
    Budget,
    /// Somebody set the attention bits of the [`crate::Signal`]: devices want
    /// service, or the machine is to stop.
    Attention,
    /// End of interrupt for a level-triggered x86 vector, for the IOAPIC.
    Eoi(u8),
    /// The guest asked for a reset in a way that only the CPU sees (triple fault).
    Reset,
    /// The vCPU cannot go on.
    Crash(Box<CrashReport>),
}

/// State of a vCPU that cannot go on, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashReport {
    /// What happened.
    pub reason: String,
    /// Register dump, one line each.
    pub registers: String,
    /// The bytes at the program counter, if they can be read.
    pub code: Vec<u8>,
}
