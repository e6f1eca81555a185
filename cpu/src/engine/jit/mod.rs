//! Tier 2: hot blocks compiled to host code by Cranelift.
//!
//! | file | idea |
//! |---|---|
//! | `lower` | what the instruction sets build code with |
//! | `access` | their accesses to guest memory |
//! | `dispatch` | from block to block, in and out |
//! | `control` | mode and signals; atomic accesses |
//! | `float` | host arithmetic in compiled code |
//! | `sticky` | the flags it raises |
//! | `lanes` | vectors as bytes |
//! | `helpers` | what compiled code calls in the engine |
//! | `calls` | which ops it calls there, counted |
//! | `stubs` | how it calls them |
//! | `memory` | where it lies |
//! | `region` | blocks that are compiled together |
//! | `run` | when blocks are compiled, and how code is entered and left |
//! | `worker` | a thread that compiles |
//!
//! Compiled code does what the run loop does with the same ops, link by link and
//! head by head, and comes back where it cannot: so everything that can be
//! seen, the instruction count first, is the same with and without it.

// Calls compiled code.
#![allow(unsafe_code)]

mod access;
mod calls;
mod control;
mod dispatch;
pub mod float;
mod helpers;
pub mod lanes;
mod lower;
mod memory;
mod region;
mod run;
pub mod sticky;
mod stubs;
mod worker;

pub use access::Host;
pub use cranelift_codegen::ir::Value;
use lower::flow_of;
pub use lower::{At, Lower};

use super::block::{Jump, Link, WaysBack};
use super::tlb::{Entry, MODE_BYTES, SLOT_MASK};
use super::{Cpu, Isa};
use access::Pages;
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{AbiParam, Signature, types};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use dispatch::field;
use memory::CodeMemory;
pub(super) use region::Source;
use std::mem::offset_of;
pub(super) use worker::Name;
use worker::Worker;

/// Entries of a block before it is compiled.
const THRESHOLD: u32 = 1000;
/// Bytes of compiled code before all of it is dropped.
const CODE_BYTES: usize = 64 << 20;

// What compiled code comes back with, apart from flows.

/// The block in `shared.block` has not begun: look at budget and signals.
pub(super) const HEAD: u32 = 0x80;
/// A block is done and was left by the link at `shared.link`.
pub(super) const LINK: u32 = 0x81;
/// A block is done, and where it jumped to is not known.
pub(super) const DISPATCH: u32 = 0x82;

/// What compiled code and the engine tell each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Address of the [`crate::Signal`].
    pub signal: u64,
    /// Address of the op that was left at.
    pub op: u64,
    /// Address of the block that was left.
    pub block: u64,
    /// Bytes of an access that the engine made; as many as code may store at once.
    pub buffer: [u128; 4],
    /// Address of the link that was left by.
    pub link: u64,
    /// The flow of that op.
    pub flow: u32,
    /// Whether the host's floating-point flags are the guest's; see [`sticky`].
    pub floats: u32,
}

/// Offsets and addresses that code is built with.
#[derive(Clone, Debug)]
pub struct Layout {
    op: u64,
    float_op: u64,
    load: u64,
    update: u64,
    flags: u64,
    floats: u64,
    bail: u64,
    back: WaysBack,
    tlb: i32,
    tlb_mode: i32,
    tlb_mask: i64,
    epochs: i32,
    link: LinkLayout,
    jump: JumpLayout,
}

#[derive(Clone, Copy, Debug)]
struct LinkLayout {
    epoch: i32,
    va: i32,
    code: i32,
}

#[derive(Clone, Copy, Debug)]
struct JumpLayout {
    table: i32,
    mask: i64,
    shift: i64,
    key: i32,
    epoch: i32,
    code: i32,
}

const _: () = assert!(size_of::<Jump>().is_power_of_two());

/// When blocks are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitConfig {
    /// Entries of a block before it is compiled; `None` for never.
    pub threshold: Option<u32>,
    /// Bytes of compiled code before all of it is dropped.
    pub code_bytes: usize,
    /// Compiles on a thread of its own: when code is there depends on the host.
    pub background: bool,
}

impl JitConfig {
    /// The default, or what the environment variable `VMM_JIT` says: `off`, or
    /// the threshold. The default is off on hosts that no test has run on. From
    /// threshold 2 on blocks are compiled in the background if that is `allowed`.
    pub fn from_env(allowed: bool) -> Self {
        let threshold = match std::env::var("VMM_JIT").as_deref() {
            Ok("off") => None,
            Ok(text) => Some(text.parse().unwrap_or(THRESHOLD).max(1)),
            Err(_) => cfg!(target_arch = "x86_64").then_some(THRESHOLD),
        };
        Self {
            threshold,
            code_bytes: CODE_BYTES,
            background: allowed && threshold > Some(1),
        }
    }
}

/// What turns ops into bytes of code.
pub(super) struct Compiler {
    isa: OwnedTargetIsa,
    context: Context,
    builder: FunctionBuilderContext,
    layout: Layout,
}

/// The compiler of one vCPU, and its code.
pub(super) struct Jit {
    compiler: Compiler,
    worker: Option<Worker>,
    memory: CodeMemory,
    enter: u64,
    calls: Option<calls::Calls>,
    /// Where links and jumps lead that lead to no compiled code.
    pub back: WaysBack,
    /// Blocks compiled.
    pub compiled: u64,
    /// Times that all code was dropped.
    pub dropped: u64,
}

impl Jit {
    /// A compiler for a CPU; `None` where the host has none.
    pub fn new<I: Isa>(size: usize, background: bool) -> Option<Box<Self>> {
        if cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))) {
            // `memory` does not know how others fetch what was written.
            return None;
        }
        let mut flags = settings::builder();
        for (name, value) in [
            ("opt_level", "none"),
            ("regalloc_algorithm", "backtracking"),
            ("preserve_frame_pointers", "true"),
            (
                "enable_verifier",
                if cfg!(debug_assertions) {
                    "true"
                } else {
                    "false"
                },
            ),
            ("enable_probestack", "false"),
            ("unwind_info", "false"),
            ("is_pic", "false"),
        ] {
            flags.set(name, value).ok()?;
        }
        let flags = settings::Flags::new(flags);
        let isa = || cranelift_native::builder().ok()?.finish(flags.clone()).ok();
        let mut memory = CodeMemory::new(size).ok()?;
        let middle = dispatch::middle::<I>();
        let stub = |memory: &mut CodeMemory, helper| stubs::call_stub(memory, helper, middle);
        let calls = calls::Calls::from_env::<I>();
        let (op, float_op) = match calls {
            None => (
                helpers::op::<I> as *const (),
                helpers::float_op::<I> as *const (),
            ),
            Some(_) => (
                calls::op::<I> as *const (),
                calls::float_op::<I> as *const (),
            ),
        };
        let layout = Layout {
            op: stub(&mut memory, op as u64)?,
            float_op: stub(&mut memory, float_op as u64)?,
            load: stub(&mut memory, helpers::load::<I> as *const () as u64)?,
            update: stub(&mut memory, helpers::update::<I> as *const () as u64)?,
            flags: stub(&mut memory, I::write_flags as *const () as u64)?,
            floats: stub(&mut memory, helpers::begin_floats::<I> as *const () as u64)?,
            bail: 0,
            back: WaysBack::default(),
            tlb: Cpu::<I>::tlb_offset() - middle,
            tlb_mode: MODE_BYTES as i32,
            tlb_mask: (SLOT_MASK * size_of::<Entry>()) as i64,
            epochs: Cpu::<I>::epochs_offset() - middle,
            link: LinkLayout {
                epoch: offset_of!(Link, epoch) as i32,
                va: offset_of!(Link, va) as i32,
                code: offset_of!(Link, code) as i32,
            },
            jump: JumpLayout {
                table: Cpu::<I>::jumps_offset() - middle,
                mask: super::block::JUMP_MASK as i64,
                shift: i64::from(size_of::<Jump>().trailing_zeros()),
                key: offset_of!(Jump, key) as i32,
                epoch: offset_of!(Jump, epoch) as i32,
                code: offset_of!(Jump, code) as i32,
            },
        };
        let mut jit = Box::new(Self {
            compiler: Compiler::new(isa()?, layout),
            worker: None,
            memory,
            enter: 0,
            calls,
            back: WaysBack::default(),
            compiled: 0,
            dropped: 0,
        });
        let ways = [
            (LINK, field!(shared.link)),
            (DISPATCH, field!(shared.link)),
            (HEAD, field!(shared.block)),
        ];
        let mut stubs = [0; 3];
        for (stub, (how, keep)) in stubs.iter_mut().zip(ways) {
            *stub = jit.build(lower::block_signature(), |b, _| {
                dispatch::back::<I>(b, how, keep)
            })?;
        }
        let [link, jump, bail] = stubs;
        jit.back = WaysBack { link, jump };
        let layout = &mut jit.compiler.layout;
        (layout.back, layout.bail) = (jit.back, bail);
        let mut sig = Signature::new(CallConv::triple_default(jit.compiler.isa.triple()));
        sig.params.extend([AbiParam::new(types::I64); 4]);
        sig.returns.push(AbiParam::new(types::I32));
        jit.enter = jit.build(sig, |b, _| dispatch::enter::<I>(b))?;
        jit.memory.keep();
        if background {
            let compiler = Compiler::new(isa()?, jit.compiler.layout.clone());
            jit.worker = Worker::start(compiler);
        }
        Some(jit)
    }

    /// Whether blocks are compiled elsewhere.
    pub fn is_background(&self) -> bool {
        self.worker.is_some()
    }
    /// Has a region compiled elsewhere; see [`Worker::ask`].
    pub fn ask<I: Isa>(&mut self, names: Vec<Name>, source: Source<I>) -> bool {
        let Some(worker) = &mut self.worker else {
            return false;
        };
        worker.ask(names, Box::new(move |compiler| compiler.region(&source)))
    }
    /// Code that was finished elsewhere.
    pub fn take(&mut self) -> Option<(Vec<Name>, Option<Vec<u8>>)> {
        self.worker.as_mut()?.take()
    }
    /// Puts code in place; `None` where the memory is full.
    pub fn place(&mut self, code: &[u8]) -> Option<u64> {
        let at = self.memory.add(code)?;
        self.compiled += 1;
        Some(at)
    }
    /// Compiles a region here and now.
    pub fn compile<I: Isa>(&mut self, source: &Source<I>) -> Option<Vec<u8>> {
        self.compiler.region(source)
    }

    fn build(
        &mut self,
        sig: Signature,
        body: impl FnOnce(FunctionBuilder<'_>, &Layout),
    ) -> Option<u64> {
        let code = self.compiler.build(sig, body)?;
        self.memory.add(&code)
    }

    /// Drops all code. Nobody may hold an address of it.
    pub fn clear(&mut self) {
        self.dropped += 1;
        self.memory.clear();
    }

    /// Bytes of code.
    pub fn used(&self) -> usize {
        self.memory.used()
    }

    /// How to enter code.
    pub fn enter<I: Isa>(&self) -> extern "C" fn(*mut Cpu<I>, u64, u64, u64) -> u32 {
        // SAFETY: the function that `dispatch::enter` built, with this signature.
        unsafe { std::mem::transmute(self.enter as *const ()) }
    }
}

impl Compiler {
    fn new(isa: OwnedTargetIsa, layout: Layout) -> Self {
        Self {
            isa,
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            layout,
        }
    }

    fn build(
        &mut self,
        sig: Signature,
        body: impl FnOnce(FunctionBuilder<'_>, &Layout),
    ) -> Option<Vec<u8>> {
        let context = &mut self.context;
        context.clear();
        context.func.signature = sig;
        body(
            FunctionBuilder::new(&mut context.func, &mut self.builder),
            &self.layout,
        );
        // All that `Context::compile` does but what finds nothing here:
        // unreachable code, constant parameters, aliases.
        let done = context.verify_if(&*self.isa);
        let done = done.and_then(|()| context.legalize(&*self.isa));
        let done = done.and_then(|()| {
            context.compute_cfg();
            context.compute_domtree();
            let control = &mut ControlPlane::default();
            self.isa
                .compile_function(&context.func, &context.domtree, false, control)
        });
        let code = match done {
            Ok(code) => code,
            Err(error) => {
                tracing::warn!("a block was not compiled: {error:?}");
                return None;
            }
        };
        if !code.buffer.relocs().is_empty() {
            tracing::warn!("a block was not compiled: it refers to a symbol");
            return None;
        }
        Some(code.buffer.data().to_vec())
    }

    /// The code of a region.
    fn region<I: Isa>(&mut self, source: &Source<I>) -> Option<Vec<u8>> {
        self.context.clear();
        self.context.func.signature = lower::block_signature();
        let b = FunctionBuilder::new(&mut self.context.func, &mut self.builder);
        let pages = Lower::new(b, source, &self.layout, Pages::default()).run();
        self.build(lower::block_signature(), |b, layout| {
            Lower::new(b, source, layout, pages.again()).run();
        })
    }
}
