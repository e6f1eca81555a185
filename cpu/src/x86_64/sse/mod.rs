//! MMX, SSE, SSE2, SSE3, SSSE3, SSE4.1 and SSE4.2.
//!
//! | file | idea |
//! |---|---|
//! | `lanes` | vectors as arrays of integers |
//! | `integer` | integer operations as functions of whole vectors |
//! | `float` | floating-point operations, MXCSR, host or soft arithmetic |
//! | `source` | where operands come from, and the generic handlers |
//! | `moves` | loads, stores, moves between registers |
//! | `scalar` | compares that set flags, conversions to and from integers |
//! | `mmx` | the MMX registers |
//! | `strings` | the string compares of SSE4.2 |
//! | `save` | MXCSR, `fxsave`, `fxrstor` |
//! | `lower` | from decoded instruction to op |

pub(super) mod float;
mod integer;
mod lanes;
mod lower;
mod mmx;
mod moves;
mod save;
mod scalar;
mod source;
mod strings;

pub(super) use lower::{lower, lower_crc32};
