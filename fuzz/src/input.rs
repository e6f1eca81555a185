//! Fuzz bytes read as fields.

/// Reads fields from the front of fuzz bytes; zeroes when they are used up.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    /// Whether all bytes are used up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// At most `len` bytes.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        front
    }
    /// What is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
    fn number(&mut self, len: usize) -> u64 {
        let mut raw = [0; 8];
        let bytes = self.bytes(len);
        raw[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(raw)
    }
    /// One byte.
    pub fn u8(&mut self) -> u8 {
        self.number(1) as u8
    }
    /// Two bytes, little endian.
    pub fn u16(&mut self) -> u16 {
        self.number(2) as u16
    }
    /// Four bytes, little endian.
    pub fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }
    /// Eight bytes, little endian.
    pub fn u64(&mut self) -> u64 {
        self.number(8)
    }
}
