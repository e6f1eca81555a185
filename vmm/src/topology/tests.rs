//! A wrong topology must say what is wrong, where, and what to do.

mod good;
mod wrong;
