//! Saving and restoring the state of a live object.

use serde::{Serialize, de::DeserializeOwned};

/// A state that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot restore {what}: {why}")]
pub struct SnapshotError {
    /// Which object.
    pub what: &'static str,
    /// What is wrong with its state.
    pub why: String,
}

/// An object whose whole guest-visible state is one plain value.
///
/// `restore` checks the state (it may come from a file) and leaves the object
/// unchanged when it returns an error.
pub trait Snapshot {
    /// The plain value. Its type has the suffix `State`.
    type State: Serialize + DeserializeOwned;
    /// The state now.
    fn save(&self) -> Self::State;
    /// Becomes `state`.
    fn restore(&mut self, state: Self::State) -> Result<(), SnapshotError>;
}
