//! MSI-X: the vector table, the pending bits and their delivery
//! (PCI 3.0, section 6.8.2).

use bus::{DmaTarget, Interrupt, MsiMessage};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Capability ID.
pub(crate) const ID: u8 = 0x11;
/// Bytes of one table entry.
pub(crate) const ENTRY: u64 = 16;
const ENABLE: u8 = 1;
const MASK_ALL: u8 = 2;

#[derive(Debug, Default)]
struct Vector {
    message: MsiMessage,
    masked: bool,
    pending: bool,
    /// The machine's faster way for the message it was asked for.
    bound: Option<(MsiMessage, Option<Interrupt>)>,
}

/// The MSI-X vectors of one function. Devices [`trigger`](Msix::trigger) them
/// from any thread; the guest programs them through the table.
#[derive(Debug)]
pub struct Msix {
    dma: DmaTarget,
    control: AtomicU8,
    vectors: Box<[Mutex<Vector>]>,
}

impl Msix {
    /// `count` vectors (1 to 2048), all masked, MSI-X off.
    pub fn new(count: u16, dma: DmaTarget) -> Self {
        let masked = || {
            Mutex::new(Vector {
                masked: true,
                ..Vector::default()
            })
        };
        Self {
            dma,
            control: AtomicU8::new(0),
            vectors: (0..count.clamp(1, 2048)).map(|_| masked()).collect(),
        }
    }
    /// Number of vectors.
    pub fn count(&self) -> u16 {
        self.vectors.len() as u16
    }
    /// Whether the guest switched MSI-X on.
    pub fn enabled(&self) -> bool {
        self.control.load(Ordering::Acquire) & ENABLE != 0
    }
    /// Raises `vector` once. A masked vector becomes pending and is sent when
    /// it is unmasked. Nothing happens while MSI-X is off or when there is no
    /// such vector.
    pub fn trigger(&self, vector: u16) {
        let Some(mut entry) = self.lock(vector) else {
            return;
        };
        let control = self.control.load(Ordering::Acquire);
        if control & ENABLE == 0 {
            return;
        }
        if control & MASK_ALL != 0 || entry.masked || !self.dma.bus_master() {
            entry.pending = true;
        } else {
            self.send(&mut entry);
        }
    }
    /// Whether `vector` waits to be unmasked.
    pub fn pending(&self, vector: u16) -> bool {
        self.lock(vector).is_some_and(|entry| entry.pending)
    }
    /// The guest's Message Control: enable and mask-all bits.
    pub(crate) fn set_control(&self, enable: bool, mask_all: bool) {
        let new = (u8::from(enable) * ENABLE) | (u8::from(mask_all) * MASK_ALL);
        if self.control.swap(new, Ordering::AcqRel) != new {
            self.release();
        }
    }
    /// Sends what became sendable.
    pub(crate) fn release(&self) {
        if self.control.load(Ordering::Acquire) != ENABLE || !self.dma.bus_master() {
            return;
        }
        for vector in 0..self.count() {
            if let Some(mut entry) = self.lock(vector)
                && entry.pending
                && !entry.masked
            {
                self.send(&mut entry);
            }
        }
    }
    pub(crate) fn reset(&self) {
        self.control.store(0, Ordering::Release);
        for vector in 0..self.count() {
            if let Some(mut entry) = self.lock(vector) {
                *entry = Vector {
                    masked: true,
                    ..Vector::default()
                };
            }
        }
    }
    /// Reads the table.
    pub(crate) fn table_read(&self, offset: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            let at = offset + i as u64;
            *byte = self
                .lock((at / ENTRY) as u16)
                .map_or(0, |entry| image(&entry)[(at % ENTRY) as usize]);
        }
    }
    /// Writes the table. Only whole dwords count, as the specification allows.
    pub(crate) fn table_write(&self, offset: u64, data: &[u8]) {
        if !offset.is_multiple_of(4) || !data.len().is_multiple_of(4) {
            return;
        }
        for (i, dword) in data.chunks_exact(4).enumerate() {
            let at = offset + 4 * i as u64;
            let Some(mut entry) = self.lock((at / ENTRY) as u16) else {
                return;
            };
            let value = u32::from_le_bytes([dword[0], dword[1], dword[2], dword[3]]);
            match (at % ENTRY) / 4 {
                0 => {
                    entry.message.address =
                        entry.message.address & !0xffff_ffff | u64::from(value & !3);
                }
                1 => {
                    entry.message.address =
                        entry.message.address & 0xffff_ffff | u64::from(value) << 32;
                }
                2 => entry.message.data = value,
                _ => {
                    entry.masked = value & 1 != 0;
                    let open = self.control.load(Ordering::Acquire) == ENABLE;
                    if entry.pending && !entry.masked && open && self.dma.bus_master() {
                        self.send(&mut entry);
                    }
                }
            }
        }
    }
    /// Reads the pending bit array.
    pub(crate) fn pba_read(&self, offset: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            let first = (offset + i as u64) * 8;
            *byte = (0..8).fold(0, |bits, bit| {
                let vector = u16::try_from(first + bit).unwrap_or(u16::MAX);
                bits | u8::from(self.pending(vector)) << bit
            });
        }
    }
    fn lock(&self, vector: u16) -> Option<MutexGuard<'_, Vector>> {
        let entry = self.vectors.get(usize::from(vector))?;
        Some(entry.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn send(&self, entry: &mut Vector) {
        entry.pending = false;
        let message = entry.message;
        if entry.bound.as_ref().is_none_or(|bound| bound.0 != message) {
            entry.bound = Some((message, self.dma.msi().bind(message)));
        }
        match &entry.bound {
            Some((_, Some(fast))) => fast.deliver(),
            _ => self.dma.send_msi(message),
        }
    }
}

fn image(entry: &Vector) -> [u8; ENTRY as usize] {
    let mut out = [0; ENTRY as usize];
    out[..8].copy_from_slice(&entry.message.address.to_le_bytes());
    out[8..12].copy_from_slice(&entry.message.data.to_le_bytes());
    out[12] = u8::from(entry.masked);
    out
}
