//! One PCI function: the trait a device implements, and the state every
//! function has.

use super::config::{CONFIG_SIZE, reg};
use super::{ConfigSpace, Identity, Intx, Msi, Msix, PciError, express, msix};
use bus::{Action, DmaTarget, IoError, IrqLine, Next, SimTime, Wake};
use std::sync::Arc;

/// What a BAR decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes this BAR and the next.
    Memory64,
}

#[derive(Clone, Copy, Debug)]
struct Bar {
    kind: BarKind,
    size: u64,
}

/// A decoded BAR: where it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decode {
    pub bar: u8,
    pub io: bool,
    pub start: u64,
    pub len: u64,
}

#[derive(Clone, Copy, Debug)]
struct MsixPlace {
    cap: usize,
    bar: u8,
    table: u64,
    pba: u64,
}

/// What every function has: configuration space, BARs, interrupts and its
/// identity on the bus.
#[derive(Debug)]
pub struct FunctionState {
    /// Configuration space.
    pub config: ConfigSpace,
    /// Guest memory and MSIs, gated by Bus Master Enable.
    pub dma: DmaTarget,
    /// The INTx pin.
    pub intx: Arc<Intx>,
    /// MSI-X vectors, if the function has them.
    pub msix: Option<Arc<Msix>>,
    /// MSI, if the function has it.
    pub msi: Option<Arc<Msi>>,
    bars: [Option<Bar>; 6],
    msix_place: Option<MsixPlace>,
    express: Option<usize>,
}

impl FunctionState {
    /// A function with `identity` and no BARs. `line` is where its INTA pin goes.
    pub fn new(identity: Identity, dma: DmaTarget, line: IrqLine) -> Self {
        Self {
            config: ConfigSpace::new(identity),
            dma,
            intx: Arc::new(Intx::new(line)),
            msix: None,
            msi: None,
            bars: [None; 6],
            msix_place: None,
            express: None,
        }
    }
    /// Gives the function an INTA pin.
    pub fn add_intx(&mut self) {
        self.config.set(reg::INTERRUPT_PIN, &[1]);
    }
    /// Adds a BAR of `size` bytes (rounded up to a power of two; at least 16
    /// for memory and 4 for I/O).
    pub fn add_bar(&mut self, index: u8, kind: BarKind, size: u64) -> Result<(), PciError> {
        let at = usize::from(index);
        let wide = kind == BarKind::Memory64;
        let least = if kind == BarKind::Io { 4 } else { 16 };
        let size = size.max(least).checked_next_power_of_two();
        let free = |i: usize| {
            self.bars.get(i).is_some_and(Option::is_none)
                && !(i > 0 && matches!(self.bars[i - 1], Some(b) if b.kind == BarKind::Memory64))
        };
        let (Some(size), true) = (size, free(at) && (!wide || free(at + 1))) else {
            return Err(PciError::Bar(index));
        };
        if size > 1 << 31 && !wide {
            return Err(PciError::Bar(index));
        }
        let (flags, mask) = match kind {
            BarKind::Io => (1u64, !(size - 1) & 0xffff_fffc),
            BarKind::Memory32 => (0, !(size - 1) & 0xffff_fff0),
            BarKind::Memory64 => (4 | 8, !(size - 1)),
        };
        let bytes = if wide { 8 } else { 4 };
        let offset = reg::BAR0 + 4 * at;
        self.config.set(offset, &flags.to_le_bytes()[..bytes]);
        self.config
            .set_writable(offset, &mask.to_le_bytes()[..bytes]);
        self.bars[at] = Some(Bar { kind, size });
        Ok(())
    }
    /// Adds MSI-X with `count` vectors, its table and pending bits alone in a
    /// new 32-bit memory BAR.
    pub fn add_msix(&mut self, bar: u8, count: u16) -> Result<Arc<Msix>, PciError> {
        let table = u64::from(count.max(1)) * msix::ENTRY;
        let pba = table.next_multiple_of(2048);
        let bytes = pba + u64::from(count).div_ceil(64) * 8;
        self.add_bar(bar, BarKind::Memory32, bytes.max(4096))?;
        self.add_msix_at(bar, 0, pba, count)
    }
    /// Adds MSI-X whose table and pending bits lie at given offsets (multiples
    /// of 8) of a BAR that exists already.
    pub fn add_msix_at(
        &mut self,
        bar: u8,
        table: u64,
        pba: u64,
        count: u16,
    ) -> Result<Arc<Msix>, PciError> {
        let vectors = Arc::new(Msix::new(count, self.dma.clone()));
        let mut body = [0u8; 10];
        body[..2].copy_from_slice(&(vectors.count() - 1).to_le_bytes());
        body[2..6].copy_from_slice(&(table as u32 & !7 | u32::from(bar)).to_le_bytes());
        body[6..10].copy_from_slice(&(pba as u32 & !7 | u32::from(bar)).to_le_bytes());
        let cap = self
            .config
            .add_capability(msix::ID, &body, &[0, 0xc0])
            .ok_or(PciError::NoRoom)?;
        self.msix = Some(Arc::clone(&vectors));
        self.msix_place = Some(MsixPlace {
            cap,
            bar,
            table,
            pba,
        });
        Ok(vectors)
    }
    /// Adds MSI with `1 << log2_vectors` vectors.
    pub fn add_msi(&mut self, log2_vectors: u8) -> Result<Arc<Msi>, PciError> {
        let msi = Msi::new(&mut self.config, log2_vectors, self.dma.clone());
        let msi = Arc::new(msi.ok_or(PciError::NoRoom)?);
        self.msi = Some(Arc::clone(&msi));
        Ok(msi)
    }
    /// Adds the PCI Express capability, with function level reset.
    pub fn add_express(&mut self) -> Result<(), PciError> {
        self.express = Some(express::add(&mut self.config).ok_or(PciError::NoRoom)?);
        Ok(())
    }
    /// Size in bytes and kind of a BAR.
    pub fn bar(&self, index: u8) -> Option<(BarKind, u64)> {
        let bar = (*self.bars.get(usize::from(index))?)?;
        Some((bar.kind, bar.size))
    }
    /// Where the guest put a BAR, whether it is decoded or not.
    pub fn bar_address(&self, index: u8) -> Option<u64> {
        let (kind, size) = self.bar(index)?;
        let at = reg::BAR0 + 4 * usize::from(index);
        let low = u64::from(self.config.u32(at));
        let high = match kind {
            BarKind::Memory64 => u64::from(self.config.u32(at + 4)),
            _ => 0,
        };
        Some((low | high << 32) & !(size - 1) & !0x3)
    }
    /// The windows that the function decodes now.
    pub(crate) fn decodes(&self) -> impl Iterator<Item = Decode> + '_ {
        let command = self.config.command();
        (0..6u8).filter_map(move |bar| {
            let (kind, len) = self.bar(bar)?;
            let io = kind == BarKind::Io;
            let gate = if io {
                reg::COMMAND_IO
            } else {
                reg::COMMAND_MEMORY
            };
            let start = self.bar_address(bar)?;
            let used = command & gate != 0 && start != 0 && start.checked_add(len).is_some();
            used.then_some(Decode {
                bar,
                io,
                start,
                len,
            })
        })
    }
    /// Whether MSI-X answers at this place of a BAR. If so the read is done.
    pub(crate) fn msix_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> bool {
        match self.msix_at(bar, offset) {
            Some((msix, offset, true)) => msix.table_read(offset, data),
            Some((msix, offset, false)) => msix.pba_read(offset, data),
            None => return false,
        }
        true
    }
    /// As `msix_read`, for a write; pending bits are read-only.
    pub(crate) fn msix_write(&self, bar: u8, offset: u64, data: &[u8]) -> bool {
        match self.msix_at(bar, offset) {
            Some((msix, offset, true)) => msix.table_write(offset, data),
            Some(_) => {}
            None => return false,
        }
        true
    }
    fn msix_at(&self, bar: u8, offset: u64) -> Option<(&Msix, u64, bool)> {
        let place = self.msix_place.filter(|place| place.bar == bar)?;
        let msix = self.msix.as_deref()?;
        let table = u64::from(msix.count()) * msix::ENTRY;
        let pba = u64::from(msix.count()).div_ceil(64) * 8;
        if (place.table..place.table + table).contains(&offset) {
            Some((msix, offset - place.table, true))
        } else if (place.pba..place.pba + pba).contains(&offset) {
            Some((msix, offset - place.pba, false))
        } else {
            None
        }
    }
    /// Passes on what a write at `offset` may have changed. Returns whether the
    /// guest asked for a function level reset.
    fn apply(&mut self, offset: usize, len: usize) -> bool {
        let touches = |at: usize, n: usize| offset < at + n && at < offset + len;
        if touches(reg::COMMAND, 2) {
            let command = self.config.command();
            self.intx.set_disabled(command & reg::COMMAND_INTX_OFF != 0);
            self.dma.set_bus_master(command & reg::COMMAND_MASTER != 0);
            if let Some(msix) = &self.msix {
                msix.release();
            }
        }
        if let (Some(place), Some(msix)) = (self.msix_place, &self.msix)
            && touches(place.cap + 2, 2)
        {
            let control = self.config.u16(place.cap + 2);
            msix.set_control(control & 0x8000 != 0, control & 0x4000 != 0);
        }
        if let Some(msi) = &self.msi {
            msi.update(&mut self.config);
        }
        self.express
            .is_some_and(|cap| touches(cap + 8, 2) && express::take_reset(&mut self.config, cap))
    }
    /// Back to the state after power-on.
    fn reset(&mut self) {
        self.config.reset_header();
        self.dma.set_bus_master(false);
        self.intx.set(false);
        self.intx.set_disabled(false);
        if let (Some(msix), Some(place)) = (&self.msix, self.msix_place) {
            self.config.write(place.cap + 2, &[0, 0]);
            msix.reset();
        }
        if let Some(msi) = &self.msi {
            msi.reset(&mut self.config);
        }
        if let Some(cap) = self.express {
            express::reset(&mut self.config, cap);
        }
    }
}

/// A PCI function. Called by its [`Root`](super::Root) only, one call at a time.
pub trait PciFunction: Send + std::any::Any {
    /// The common state.
    fn state(&mut self) -> &mut FunctionState;
    /// Reads a BAR. `offset + data.len()` lies in it; MSI-X is done already.
    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), IoError>;
    /// Writes a BAR, under the same conditions.
    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> Result<Action, IoError>;
    /// Back to the power-on state: function level reset, machine reset.
    fn reset(&mut self);
    /// Does a bounded amount of work; see [`bus::Service`].
    fn service(&mut self, _now: SimTime) -> Next {
        Next::OnKick
    }
    /// What the function wakes when it has work from outside the guest.
    fn set_wake(&mut self, _wake: Wake) {}
    /// Registers that only tell the function to look at a queue: BAR and offset
    /// of each. Their writes may come as [`PciFunction::ring`] instead.
    fn doorbells(&self) -> Vec<(u8, u64)> {
        Vec::new()
    }
    /// Doorbell `index` of [`PciFunction::doorbells`] was written.
    fn ring(&mut self, _index: u16) -> Action {
        Action::None
    }
    /// Counters by name, for results.
    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
    /// Called before the guest reads configuration space at `offset`.
    fn config_reading(&mut self, _offset: usize, _len: usize) {}
    /// Called after the guest wrote configuration space at `offset`.
    fn config_written(&mut self, _offset: usize, _len: usize) -> Action {
        Action::None
    }
}

pub(crate) fn config_read(function: &mut dyn PciFunction, offset: usize, data: &mut [u8]) {
    function.config_reading(offset, data.len());
    let state = function.state();
    state.config.read(offset, data);
    let status = reg::STATUS;
    if state.intx.asserted() && (offset..offset + data.len()).contains(&status) {
        data[status - offset] |= reg::STATUS_INTX as u8;
    }
}

/// Writes configuration space. The second value tells whether the windows that
/// the function decodes may have changed.
pub(crate) fn config_write(
    function: &mut dyn PciFunction,
    offset: usize,
    data: &[u8],
) -> (Action, bool) {
    if offset >= CONFIG_SIZE {
        return (Action::None, false);
    }
    let state = function.state();
    state.config.write(offset, data);
    let mut moved = offset < reg::BAR_END && offset + data.len() > reg::COMMAND;
    if state.apply(offset, data.len()) {
        reset(function);
        moved = true;
    }
    let action = function.config_written(offset, data.len());
    // A function that becomes a bus master may find work that waited for it.
    let master = moved && function.state().dma.bus_master();
    if action == Action::None && master {
        return (Action::Service, moved);
    }
    (action, moved)
}

pub(crate) fn reset(function: &mut dyn PciFunction) {
    function.reset();
    function.state().reset();
}
