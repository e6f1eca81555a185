//! The root complex: which function answers where, and which ones want work.

use super::function::{self, Decode};
use super::{BarKind, FunctionState, PciFunction};
use bus::{Action, Bdf, IoError, Next, SimTime, Wake};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Most functions of one root.
const MAX_FUNCTIONS: usize = 64;

/// A function or a BAR that cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PciError {
    /// The slot holds a function, or is not on bus 0.
    #[error("PCI slot {0} is taken or not on bus 0")]
    Slot(Bdf),
    /// The root is full.
    #[error("a PCI root holds at most 64 functions")]
    Full,
    /// BAR number or size.
    #[error("BAR {0} is taken, does not exist or is too large for its kind")]
    Bar(u8),
    /// Capabilities need more than 192 bytes.
    #[error("configuration space has no room for another capability")]
    NoRoom,
    /// The window is too small for the BARs.
    #[error("{0} does not fit in the PCI window {1:#x}..{2:#x}")]
    Window(Bdf, u64, u64),
}

/// A register of a function that only asks it to look at a queue, and where it
/// is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doorbell {
    /// Address on the bus.
    pub address: u64,
    /// The function.
    pub bdf: Bdf,
    /// Which of its doorbells.
    pub index: u16,
}

/// Is told where all doorbells are whenever one may have moved.
type Moved = Box<dyn Fn(&[Doorbell]) + Send>;

type Shared = Arc<Mutex<Box<dyn PciFunction>>>;

struct Slot {
    bdf: Bdf,
    function: Shared,
}

#[derive(Clone, Copy)]
struct Route {
    slot: usize,
    decode: Decode,
}

#[derive(Default)]
struct Tables {
    slots: Vec<Slot>,
    routes: Vec<Route>,
}

impl Tables {
    fn find(&self, io: bool, address: u64, len: usize) -> Option<(&Shared, usize, u8, u64)> {
        let route = self.routes.iter().find(|route| {
            let d = &route.decode;
            d.io == io && address >= d.start && address - d.start < d.len
        })?;
        let offset = address - route.decode.start;
        let inside = offset + len as u64 <= route.decode.len;
        let slot = self.slots.get(route.slot).filter(|_| inside)?;
        Some((&slot.function, route.slot, route.decode.bar, offset))
    }
    fn slot(&self, bdf: Bdf) -> Option<(usize, &Slot)> {
        self.slots.iter().enumerate().find(|(_, s)| s.bdf == bdf)
    }
}

#[derive(Default)]
struct Inner {
    tables: RwLock<Tables>,
    /// Bit per slot: the function wants to be serviced.
    pending: AtomicU64,
    /// When each function wants to be serviced next.
    due: Mutex<Vec<Next>>,
    machine: Mutex<Option<Wake>>,
    /// Held while routes change, so that the last word is the newest.
    moved: Mutex<Option<Moved>>,
}

/// A root complex with bus 0. Cloning gives another handle.
#[derive(Clone, Default)]
pub struct Root(Arc<Inner>);

impl Root {
    /// An empty bus.
    pub fn new() -> Self {
        Self::default()
    }
    /// What to wake when a function has work from outside its guest. Must be
    /// set before traffic; a wake before that is kept as pending work.
    pub fn set_wake(&self, wake: Wake) {
        *lock(&self.0.machine) = Some(wake);
    }
    /// Calls `moved` now, and whenever the guest moves doorbells in memory, or
    /// switches them on or off. It must not call this root.
    pub fn watch_doorbells(&self, moved: impl Fn(&[Doorbell]) + Send + 'static) {
        *lock(&self.0.moved) = Some(Box::new(moved));
        self.reroute();
    }
    /// A doorbell was rung without a write through the windows. Whether the
    /// function wants to be serviced now.
    pub fn ring(&self, bdf: Bdf, index: u16) -> bool {
        let tables = self.tables();
        let Some((slot, found)) = tables.slot(bdf) else {
            return false;
        };
        let action = lock(&found.function).ring(index);
        self.note(action, slot) == Action::Service
    }
    /// Puts `function` in the slot `bdf` of bus 0.
    pub fn add(&self, bdf: Bdf, mut function: Box<dyn PciFunction>) -> Result<(), PciError> {
        let mut tables = self
            .0
            .tables
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if bdf.bus() != 0 || tables.slot(bdf).is_some() {
            return Err(PciError::Slot(bdf));
        }
        let index = tables.slots.len();
        if index == MAX_FUNCTIONS {
            return Err(PciError::Full);
        }
        let inner = Arc::downgrade(&self.0);
        function.set_wake(Wake::from_fn(move || {
            if let Some(inner) = inner.upgrade()
                && inner.pending.fetch_or(1 << index, Ordering::AcqRel) & 1 << index == 0
            {
                let machine = lock(&inner.machine).clone();
                if let Some(machine) = machine {
                    machine.wake();
                }
            }
        }));
        lock(&self.0.due).push(Next::OnKick);
        tables.slots.push(Slot {
            bdf,
            function: Arc::new(Mutex::new(function)),
        });
        if bdf.function() != 0 {
            mark_multifunction(&tables, bdf);
        }
        Ok(())
    }
    /// The slots in use, in the order they were added.
    pub fn slots(&self) -> Vec<Bdf> {
        self.tables().slots.iter().map(|slot| slot.bdf).collect()
    }
    /// Runs `f` on the function at `bdf`.
    pub fn with<R>(&self, bdf: Bdf, f: impl FnOnce(&mut dyn PciFunction) -> R) -> Option<R> {
        let function = Arc::clone(&self.tables().slot(bdf)?.1.function);
        let mut function = lock(&function);
        Some(f(&mut **function))
    }
    /// Whether any function waits for [`Root::service`].
    pub fn has_work(&self) -> bool {
        self.0.pending.load(Ordering::Acquire) != 0
    }
    /// Marks the function at `bdf` as one that wants to be serviced.
    pub fn request(&self, bdf: Bdf) {
        if let Some((index, _)) = self.tables().slot(bdf) {
            self.0.pending.fetch_or(1 << index, Ordering::AcqRel);
        }
    }
    /// Services the functions that were kicked or are due at `now`.
    pub fn service(&self, now: SimTime) -> Next {
        let mut ready = self.0.pending.swap(0, Ordering::AcqRel);
        let mut due = lock(&self.0.due);
        for (index, next) in due.iter().enumerate() {
            if matches!(next, Next::Before(_)) || matches!(next, Next::At(at) if *at <= now) {
                ready |= 1 << index;
            }
        }
        while ready != 0 {
            let index = ready.trailing_zeros() as usize;
            ready &= ready - 1;
            let function = self
                .tables()
                .slots
                .get(index)
                .map(|s| Arc::clone(&s.function));
            if let (Some(function), Some(due)) = (function, due.get_mut(index)) {
                *due = lock(&function).service(now);
            }
        }
        due.iter().fold(Next::OnKick, |a, b| a.min(*b))
    }
    /// Resets every function (machine reset).
    pub fn reset(&self) {
        let functions: Vec<_> = {
            let tables = self.tables();
            tables
                .slots
                .iter()
                .map(|s| Arc::clone(&s.function))
                .collect()
        };
        for function in functions {
            function::reset(&mut **lock(&function));
        }
        self.0.pending.store(0, Ordering::Release);
        lock(&self.0.due).fill(Next::OnKick);
        self.reroute();
    }
    /// Gives every BAR an address, as a firmware does. Decoding stays off until
    /// the guest's kernel turns it on.
    pub fn assign_bars(
        &self,
        memory32: Range<u64>,
        memory64: Range<u64>,
        io: Range<u64>,
    ) -> Result<(), PciError> {
        let mut free = [memory32, memory64, io];
        for bdf in self.slots() {
            let done = self.with(bdf, |f| assign(bdf, f.state(), &mut free));
            done.unwrap_or(Ok(()))?;
        }
        self.reroute();
        Ok(())
    }

    pub(super) fn config_read(&self, bdf: Bdf, offset: usize, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((_, slot)) = self.tables().slot(bdf) {
            function::config_read(&mut **lock(&slot.function), offset, data);
        }
    }
    pub(super) fn config_write(&self, bdf: Bdf, offset: usize, data: &[u8]) -> Action {
        let (action, moved, index) = {
            let tables = self.tables();
            let Some((index, slot)) = tables.slot(bdf) else {
                return Action::None;
            };
            let mut function = lock(&slot.function);
            let (action, moved) = function::config_write(&mut **function, offset, data);
            (action, moved, index)
        };
        if moved {
            self.reroute();
        }
        self.note(action, index)
    }
    pub(super) fn read(&self, io: bool, at: u64, data: &mut [u8]) -> Result<(), IoError> {
        let tables = self.tables();
        let (function, _, bar, offset) = tables
            .find(io, at, data.len())
            .ok_or(IoError::Unmapped(at))?;
        let mut function = lock(function);
        if function.state().msix_read(bar, offset, data) {
            return Ok(());
        }
        function.bar_read(bar, offset, data)
    }
    pub(super) fn write(&self, io: bool, at: u64, data: &[u8]) -> Result<Action, IoError> {
        let tables = self.tables();
        let (function, index, bar, offset) = tables
            .find(io, at, data.len())
            .ok_or(IoError::Unmapped(at))?;
        let mut function = lock(function);
        if function.state().msix_write(bar, offset, data) {
            return Ok(Action::None);
        }
        let action = function.bar_write(bar, offset, data)?;
        Ok(self.note(action, index))
    }

    fn tables(&self) -> std::sync::RwLockReadGuard<'_, Tables> {
        self.0.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn note(&self, action: Action, index: usize) -> Action {
        if action == Action::Service {
            self.0.pending.fetch_or(1 << index, Ordering::AcqRel);
        }
        action
    }
    fn reroute(&self) {
        let moved = lock(&self.0.moved);
        let mut routes = Vec::new();
        let mut doorbells = Vec::new();
        {
            let mut tables = self
                .0
                .tables
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            for (slot, s) in tables.slots.iter().enumerate() {
                let mut function = lock(&s.function);
                let first = routes.len();
                let decodes = function.state().decodes();
                routes.extend(decodes.map(|decode| Route { slot, decode }));
                if moved.is_none() {
                    continue;
                }
                for (index, (bar, offset)) in (0..).zip(function.doorbells()) {
                    let mut own = routes.iter().skip(first);
                    if let Some(route) = own.find(|r| r.decode.bar == bar && !r.decode.io) {
                        doorbells.push(Doorbell {
                            address: route.decode.start + offset,
                            bdf: s.bdf,
                            index,
                        });
                    }
                }
            }
            tables.routes = routes;
        }
        if let Some(moved) = &*moved {
            moved(&doorbells);
        }
    }
}

/// Function 0 says that the device has more functions.
fn mark_multifunction(tables: &Tables, bdf: Bdf) {
    let first = Bdf::new(0, bdf.device(), 0);
    if let Some((_, slot)) = tables.slot(first) {
        lock(&slot.function).state().config.set(0x0e, &[0x80]);
    }
}

fn assign(bdf: Bdf, state: &mut FunctionState, free: &mut [Range<u64>; 3]) -> Result<(), PciError> {
    for bar in 0..6u8 {
        let Some((kind, size)) = state.bar(bar) else {
            continue;
        };
        let window = match kind {
            BarKind::Memory32 => 0,
            BarKind::Memory64 if free[1].is_empty() => 0,
            BarKind::Memory64 => 1,
            BarKind::Io => 2,
        };
        let window = &mut free[window];
        let start = window.start.checked_next_multiple_of(size);
        let end = start.and_then(|start| start.checked_add(size));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= window.end)) else {
            return Err(PciError::Window(bdf, window.start, window.end));
        };
        window.start = end;
        let at = 0x10 + 4 * usize::from(bar);
        let bytes = if kind == BarKind::Memory64 { 8 } else { 4 };
        state.config.write(at, &start.to_le_bytes()[..bytes]);
    }
    Ok(())
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("slots", &self.slots())
            .finish()
    }
}
