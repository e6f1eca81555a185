//! MSI with 64-bit addresses and per-vector masks (PCI 3.0, section 6.8.1).

use super::ConfigSpace;
use bus::{DmaTarget, MsiMessage};
use std::sync::{Mutex, PoisonError};

/// Capability ID.
const ID: u8 = 0x05;
const CONTROL: usize = 2;
const ADDRESS: usize = 4;
const DATA: usize = 12;
const MASK: usize = 16;
const PENDING: usize = 20;

#[derive(Clone, Copy, Debug, Default)]
struct Regs {
    enabled: bool,
    message: MsiMessage,
    vectors: u8,
    mask: u32,
    pending: u32,
}

/// The MSI capability of one function.
#[derive(Debug)]
pub struct Msi {
    dma: DmaTarget,
    cap: usize,
    regs: Mutex<Regs>,
}

impl Msi {
    /// Adds the capability for `1 << log2_vectors` (0 to 5) vectors. `None`
    /// when configuration space has no room.
    pub fn new(config: &mut ConfigSpace, log2_vectors: u8, dma: DmaTarget) -> Option<Self> {
        let log2 = log2_vectors.min(5);
        let mut body = [0u8; 22];
        let control = u16::from(log2) << 1 | 1 << 7 | 1 << 8;
        body[..2].copy_from_slice(&control.to_le_bytes());
        let mut writable = [0u8; 22];
        writable[0] = 0x71;
        writable[2] = 0xfc;
        writable[3..12].fill(0xff);
        let mask = (1u64 << (1 << log2)) - 1;
        writable[14..18].copy_from_slice(&(mask as u32).to_le_bytes());
        let cap = config.add_capability(ID, &body, &writable)?;
        Some(Self {
            dma,
            cap,
            regs: Mutex::default(),
        })
    }
    /// Whether the guest switched MSI on.
    pub fn enabled(&self) -> bool {
        self.lock().enabled
    }
    /// Raises `vector` once; one that the guest has not allocated is folded
    /// into the ones it has.
    pub fn trigger(&self, vector: u8) {
        let mut regs = self.lock();
        if !regs.enabled {
            return;
        }
        let vector = vector & (regs.vectors.max(1) - 1);
        regs.pending |= 1 << vector;
        self.release(&mut regs);
    }
    /// Takes over what the guest wrote, and sends what became sendable.
    pub(crate) fn update(&self, config: &mut ConfigSpace) {
        let mut regs = self.lock();
        let control = config.u16(self.cap + CONTROL);
        let offered = control >> 1 & 7;
        regs.enabled = control & 1 != 0;
        regs.vectors = 1 << (control >> 4 & 7).min(offered).min(5);
        regs.message = MsiMessage {
            address: u64::from(config.u32(self.cap + ADDRESS))
                | u64::from(config.u32(self.cap + ADDRESS + 4)) << 32,
            data: u32::from(config.u16(self.cap + DATA)),
        };
        regs.mask = config.u32(self.cap + MASK);
        if !regs.enabled {
            regs.pending = 0;
        }
        self.release(&mut regs);
        config.set_u32(self.cap + PENDING, regs.pending);
    }
    pub(crate) fn reset(&self, config: &mut ConfigSpace) {
        config.write(self.cap + CONTROL, &[0; PENDING - CONTROL]);
        self.update(config);
    }
    fn release(&self, regs: &mut Regs) {
        let ready = regs.pending & !regs.mask;
        if !regs.enabled || ready == 0 || !self.dma.bus_master() {
            return;
        }
        for vector in (0..32).filter(|v| ready >> v & 1 != 0) {
            self.dma.send_msi(MsiMessage {
                address: regs.message.address,
                data: regs.message.data & !(u32::from(regs.vectors) - 1) | vector,
            });
        }
        regs.pending &= regs.mask;
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Regs> {
        self.regs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
