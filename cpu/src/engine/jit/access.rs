//! Accesses of compiled code to guest memory: by the soft TLB in place, and by a
//! helper where it misses.
//!
//! Accesses of a block at constant distances from one value, such as those to a
//! stack frame, look the TLB up once: the block is lowered twice, and the first
//! time finds out which these are.

use super::dispatch::own;
use super::{At, Lower};
use crate::engine::tlb::Entry;
use crate::engine::{Access, Isa, PAGE_MASK, PAGE_SIZE};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, MemFlags, Type, Value, types::I32, types::I64};
use std::mem::offset_of;

/// Bytes that accesses by one look-up may span: the more, the more often they
/// do not lie in one page, and all of them miss.
const SPAN: i64 = 512;

/// What an access does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Load,
    Store,
    Update,
}

impl Kind {
    fn access(self) -> Access {
        match self {
            Self::Load => Access::Read,
            Self::Store | Self::Update => Access::Write,
        }
    }
}

/// Accesses by one look-up.
#[derive(Clone, Copy, Debug)]
struct Group {
    base: Value,
    /// The first byte and the one behind the last.
    range: (i64, i64),
    write: bool,
    members: u32,
}

/// The host address of the first byte of each group that was looked up on the
/// way here, or 0 where it may not be accessed.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<Option<Value>>);

/// The accesses of a block in their order.
#[derive(Debug, Default)]
pub(super) struct Pages {
    groups: Vec<Group>,
    // The group of each access.
    of: Vec<u32>,
    hosts: Hosts,
    // The first group that accesses may still join.
    open: usize,
    // The next access, once the groups are known.
    next: Option<usize>,
}

impl Pages {
    /// For the second time: the accesses will be the same ones.
    pub fn again(mut self) -> Self {
        self.next = Some(0);
        self
    }
    /// What was looked up on the way here.
    pub fn hosts(&self) -> Hosts {
        self.hosts.clone()
    }
    /// Goes on where that was looked up.
    pub fn set_hosts(&mut self, hosts: Hosts) {
        self.hosts = hosts;
    }
    fn host(&mut self, group: usize) -> &mut Option<Value> {
        let hosts = &mut self.hosts.0;
        hosts.resize(hosts.len().max(group + 1), None);
        &mut hosts[group]
    }
    /// What was looked up is good no longer.
    pub fn forget(&mut self) {
        self.open = self.groups.len();
        self.hosts = Hosts::default();
    }
    /// Notes an access.
    fn note(&mut self, at: At, bytes: i64, write: bool) {
        let range = (at.offset, at.offset.saturating_add(bytes));
        let joined = |group: &Group| (group.range.0.min(range.0), group.range.1.max(range.1));
        let found = self.groups[self.open..].iter().rposition(|group| {
            let (low, high) = joined(group);
            group.base == at.base && high.checked_sub(low).is_some_and(|span| span <= SPAN)
        });
        let found = found.map(|n| self.open + n);
        let index = found.unwrap_or_else(|| {
            self.groups.push(Group {
                base: at.base,
                range,
                write: false,
                members: 0,
            });
            self.groups.len() - 1
        });
        let range = joined(&self.groups[index]);
        let group = &mut self.groups[index];
        group.range = range;
        group.write |= write;
        group.members += 1;
        self.of.push(index as u32);
    }
    /// The group of the next access, if it is not alone in it.
    fn next(&mut self) -> Option<usize> {
        let next = self.next.as_mut()?;
        let group = *self.of.get(*next)? as usize;
        *next += 1;
        (self.groups[group].members > 1).then_some(group)
    }
}

/// Where bytes are in the host's memory, for an access that was looked up.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    base: Value,
    offset: i32,
}

/// Flags of an access to guest memory: any alignment.
fn guest() -> MemFlags {
    MemFlags::new().with_notrap()
}

impl<I: Isa> Lower<'_, I> {
    /// The sum.
    pub fn sum(&mut self, at: At) -> Value {
        match at.offset {
            0 => at.base,
            offset => self.b.ins().iadd_imm(at.base, offset),
        }
    }

    /// Looks the page of `bytes` bytes up: whether they lie in it and may be
    /// accessed, and the host address of the first.
    pub(super) fn look_up(&mut self, at: At, bytes: i64, access: Access) -> (Value, Value) {
        let va = self.sum(at);
        let shift = PAGE_SIZE.trailing_zeros() - size_of::<Entry>().trailing_zeros();
        let slot = self.b.ins().ushr_imm(va, i64::from(shift));
        let slot = self.b.ins().band_imm(slot, self.layout.tlb_mask);
        let entry = self.b.ins().iadd(self.cpu, slot);
        let last = self.sum(at.plus(bytes - 1));
        let page = self.b.ins().band_imm(last, PAGE_MASK as i64);
        let table = self.layout.tlb + self.layout.tlb_mode * i32::from(self.block.mode);
        let tag = match access {
            Access::Read => offset_of!(Entry, read),
            Access::Write => offset_of!(Entry, write),
            Access::Fetch => offset_of!(Entry, exec),
        };
        let tag = table + tag as i32;
        let tag = self.b.ins().load(I64, own(), entry, tag);
        let hit = self.b.ins().icmp(IntCC::Equal, page, tag);
        let addend = table + offset_of!(Entry, addend) as i32;
        let addend = self.b.ins().load(I64, own(), entry, addend);
        (hit, self.b.ins().iadd(va, addend))
    }

    /// Where `size` bytes at `at` are.
    fn access(&mut self, at: At, size: u64, kind: Kind) -> Host {
        let bytes = (size & !super::helpers::PAIR) as i64;
        if self.pages.next.is_none() {
            self.pages.note(at, bytes, kind != Kind::Load);
        }
        let group = self.pages.next();
        let (hit, host, offset) = match group {
            None => {
                let (hit, host) = self.look_up(at, bytes, kind.access());
                (hit, host, 0)
            }
            Some(index) => {
                let group = self.pages.groups[index];
                let (low, high) = group.range;
                let known = *self.pages.host(index);
                let host = known.unwrap_or_else(|| {
                    let first = At { offset: low, ..at };
                    let access = if group.write {
                        Access::Write
                    } else {
                        Access::Read
                    };
                    let (hit, host) = self.look_up(first, high - low, access);
                    let none = self.constant(0);
                    self.b.ins().select(hit, host, none)
                });
                *self.pages.host(index) = Some(host);
                (host, host, (at.offset - low) as i32)
            }
        };
        let (cold, join) = (self.b.create_block(), self.b.create_block());
        let found = self.b.append_block_param(join, I64);
        self.b.set_cold_block(cold);
        self.b
            .ins()
            .brif(hit, join, &[BlockArg::Value(host)], cold, &[]);
        self.b.switch_to_block(cold);
        self.sync();
        let cpu = self.helper_cpu();
        let va = self.sum(at);
        let size = self.constant(size);
        let host = match kind {
            Kind::Load => {
                let stub = self.constant(self.layout.load);
                let args = [cpu, va, size];
                let call = self.b.ins().call_indirect(self.helper_3, stub, &args);
                self.b.inst_results(call)[0]
            }
            Kind::Store => self.call_op(),
            Kind::Update => {
                let stub = self.constant(self.layout.update);
                let op = self.op_address();
                let block = self.block_address();
                let args = [cpu, op, block, va, size];
                let call = self.b.ins().call_indirect(self.helper_5, stub, &args);
                self.b.inst_results(call)[0]
            }
        };
        // No buffer lies so low that this gives 0.
        let back = self.sum(At {
            base: host,
            offset: i64::from(-offset),
        });
        self.go_or_exit(host, join, &[BlockArg::Value(back)]);
        self.b.switch_to_block(join);
        Host {
            base: found,
            offset,
        }
    }
    /// Loads from guest memory. May leave the block: nothing of the op may be
    /// done before.
    pub fn load(&mut self, at: impl Into<At>, ty: Type) -> Value {
        let host = self.access(at.into(), u64::from(ty.bytes()), Kind::Load);
        self.take(host, ty, 0)
    }
    /// As [`Lower::load`], for bytes to [`Lower::take`] in parts before anything
    /// else is accessed.
    pub fn load_later(&mut self, at: impl Into<At>, bytes: u64) -> Host {
        self.access(at.into(), bytes, Kind::Load)
    }
    /// A part of what [`Lower::load_later`] loaded.
    pub fn take(&mut self, host: Host, ty: Type, at: i32) -> Value {
        self.b.ins().load(ty, guest(), host.base, host.offset + at)
    }
    /// Loads 16 bytes as two halves.
    pub fn load_16(&mut self, at: impl Into<At>) -> [Value; 2] {
        let host = self.access(at.into(), 16, Kind::Load);
        [0, 8].map(|at| self.take(host, I64, at))
    }
    /// Loads two words, which are two accesses where they are no plain memory.
    pub fn load_words(&mut self, at: impl Into<At>) -> [Value; 2] {
        let host = self.access(at.into(), 8 | super::helpers::PAIR, Kind::Load);
        [0, 4].map(|at| self.take(host, I32, at))
    }
    /// Stores to guest memory. May leave the block, or have the handler carry
    /// the whole op out: nothing of the op may be done before, and what is done
    /// after has to be what the handler did.
    pub fn store(&mut self, at: impl Into<At>, value: Value) {
        let bytes = self.b.func.dfg.value_type(value).bytes();
        let host = self.access(at.into(), bytes.into(), Kind::Store);
        self.put(host, value);
    }
    /// As [`Lower::store`], for a value that is read only now: gives where to
    /// [`Lower::put`] it.
    pub fn store_later(&mut self, at: impl Into<At>, bytes: u64) -> Host {
        self.access(at.into(), bytes, Kind::Store)
    }
    /// Stores zeros; as [`Lower::store`].
    pub fn store_zeros(&mut self, at: impl Into<At>, bytes: u64) {
        let host = self.access(at.into(), bytes, Kind::Store);
        let zero = self.constant(0);
        for at in (0..bytes as i32).step_by(8) {
            self.put_at(host, zero, at);
        }
    }
    /// As [`Lower::store`], for two adjacent values of one type.
    pub fn store_two(&mut self, at: impl Into<At>, values: [Value; 2]) {
        let bytes = self.b.func.dfg.value_type(values[0]).bytes();
        let host = self.access(at.into(), 2 * u64::from(bytes), Kind::Store);
        for (n, value) in values.into_iter().enumerate() {
            self.put_at(host, value, n as i32 * bytes as i32);
        }
    }
    /// Loads what the op is going to store to; gives the value and where to
    /// [`Lower::put`] the new one. As for [`Lower::store`].
    pub fn update(&mut self, at: impl Into<At>, ty: Type) -> (Value, Host) {
        let host = self.access(at.into(), u64::from(ty.bytes()), Kind::Update);
        (self.take(host, ty, 0), host)
    }
    /// The second half of [`Lower::update`] and [`Lower::store_later`].
    pub fn put(&mut self, host: Host, value: Value) {
        self.put_at(host, value, 0);
    }
    /// As [`Lower::put`], so many bytes further on.
    pub fn put_at(&mut self, host: Host, value: Value, at: i32) {
        self.b
            .ins()
            .store(guest(), value, host.base, host.offset + at);
    }
}
