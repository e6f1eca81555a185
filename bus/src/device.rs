//! The register side and the work side of a device.

use crate::SimTime;

/// Why a register access was not carried out. The machine decides what the
/// guest sees (all ones and an external abort are the usual answers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// Nothing answers at this offset.
    #[error("nothing answers at offset {0:#x}")]
    Unmapped(u64),
    /// The device has no register of this width at this offset.
    #[error("{1}-byte access at offset {0:#x} is not supported")]
    Size(u64, usize),
}

/// What the machine should do after a register write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Nothing more.
    #[default]
    None,
    /// Call this device's [`Service::service`] before the guest runs on.
    Service,
    /// The address map of the device changed (a BAR moved): map it anew.
    Remap,
    /// Power the machine off.
    PowerOff,
    /// Reset the machine.
    Reset,
}

/// A window of device registers.
///
/// Offsets are from the start of the window. `data` is 1, 2, 4 or 8 bytes,
/// little endian, and never reaches past the window. An implementation must
/// answer every offset and length without a panic.
pub trait BusDevice: Send {
    /// Reads registers into `data`.
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError>;
    /// Writes `data` to registers.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError>;
}

/// When a device wants to be serviced again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At this time, or when kicked before.
    At(SimTime),
    /// At this time at the latest, at any service before, and before the
    /// machine's processor idles: work that waits for more of its kind.
    Before(SimTime),
    /// Only when somebody kicks it.
    OnKick,
}

impl Next {
    /// The earlier of two wishes.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::OnKick, next) | (next, Self::OnKick) => next,
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::At(a) | Self::Before(a), Self::At(b) | Self::Before(b)) => {
                Self::Before(a.min(b))
            }
        }
    }
}

/// Work that a device does outside register accesses.
pub trait Service: Send {
    /// Does a bounded amount of pending work at virtual time `now`. A device
    /// that has more to do at once returns `Next::At(now)`.
    fn service(&mut self, now: SimTime) -> Next;
}
