//! One vCPU: runs guest code and turns KVM's exits into [`VmExit`]s.

// The page that a vCPU shares with the kernel.
#![allow(unsafe_code)]

use super::kick::Entered;
use super::{BootState, Kicker, KvmError, KvmVm, boot, cpuid};
use crate::accel::{CrashReport, VmEntry, VmExit};
use kvm_bindings::{
    KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_MMIO, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN,
    kvm_run, kvm_segment,
};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use vm_memory::{Bytes, GuestAddress};

/// An access of the guest that the machine is answering, one element at a time.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    read: bool,
    /// Port or guest physical address.
    port: bool,
    address: u64,
    /// Where the bytes are in the shared page.
    data: usize,
    /// Bytes in all, bytes of an element, and bytes done.
    len: usize,
    step: usize,
    done: usize,
}

/// A vCPU. One thread at a time may run it.
pub struct KvmVcpu {
    fd: VcpuFd,
    vm: Arc<KvmVm>,
    id: u8,
    kicker: Kicker,
    transfer: Option<Transfer>,
    asked: bool,
}

impl KvmVcpu {
    /// vCPU `id` of `count`. With in-kernel interrupt controllers, vCPUs other
    /// than 0 wait until the guest starts them.
    pub fn new(vm: &Arc<KvmVm>, id: u8, count: u8, irqchip: bool) -> Result<Self, KvmError> {
        let fd = vm
            .fd
            .create_vcpu(id.into())
            .map_err(KvmError::call("create a vCPU"))?;
        // Before the system registers: KVM checks them against it.
        cpuid::set(vm, &fd, id, count, irqchip)?;
        boot::set_msrs(&fd);
        Ok(Self {
            fd,
            vm: vm.clone(),
            id,
            kicker: Kicker::default(),
            transfer: None,
            asked: false,
        })
    }
    /// Sets the registers for the entry into a kernel.
    pub fn boot(&self, state: &BootState) -> Result<(), KvmError> {
        boot::enter(&self.fd, state)
    }
    /// Brings this vCPU back from guest code.
    pub fn kicker(&self) -> &Kicker {
        &self.kicker
    }
    /// Number of this vCPU.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Calls `body` with this vCPU, which can be kicked meanwhile. Only the
    /// calling thread may run the vCPU in it.
    pub fn enter<R>(&mut self, body: impl FnOnce(&mut Self) -> R) -> R {
        let run = self.run_page();
        // SAFETY: `immediate_exit` is a byte of the shared page, which is
        // mapped as long as `self.fd` lives; an `AtomicU8` has the layout of a
        // byte and the kernel only reads it.
        let flag = unsafe { &raw const (*run).immediate_exit }.cast::<AtomicU8>();
        let kicker = self.kicker.clone();
        // SAFETY: `self` is borrowed until `entered` is gone.
        let entered: Entered = unsafe { kicker.enter(flag) };
        let result = body(self);
        drop(entered);
        result
    }

    /// Runs until an exit. `entry` answers the exit before.
    /// [`VmExit::Attention`]: the vCPU was kicked.
    pub fn run(&mut self, entry: VmEntry) -> VmExit {
        self.answer(entry);
        loop {
            if let Some(exit) = self.ask() {
                return exit;
            }
            match self.fd.run() {
                Ok(
                    VcpuExit::IoIn(..)
                    | VcpuExit::IoOut(..)
                    | VcpuExit::MmioRead(..)
                    | VcpuExit::MmioWrite(..),
                ) => {
                    self.start_transfer();
                }
                Ok(VcpuExit::Hlt) => return VmExit::Halt,
                Ok(VcpuExit::Intr) => return VmExit::Attention,
                Ok(VcpuExit::IoapicEoi(vector)) => return VmExit::Eoi(vector),
                Ok(VcpuExit::SystemEvent(
                    KVM_SYSTEM_EVENT_SHUTDOWN | KVM_SYSTEM_EVENT_RESET,
                    _,
                )) => return VmExit::Reset,
                Ok(VcpuExit::Shutdown) => return self.crash("triple fault"),
                Ok(VcpuExit::InternalError) => {
                    let reason = self.internal_error();
                    return self.crash(&reason);
                }
                Ok(VcpuExit::FailEntry(why, cpu)) => {
                    return self.crash(&format!(
                        "the processor refused to enter the guest: reason {why:#x} on CPU {cpu}"
                    ));
                }
                Ok(VcpuExit::MemoryFault { gpa, .. }) => {
                    return self.crash(&format!("KVM cannot map guest memory at {gpa:#x}"));
                }
                Ok(other) => {
                    let reason = format!("unexpected exit {other:?}");
                    return self.crash(&reason);
                }
                Err(error) => match error.errno() {
                    libc::EINTR => {
                        self.clear_immediate_exit();
                        return VmExit::Attention;
                    }
                    // A vCPU that has just been started, among others.
                    libc::EAGAIN => {}
                    libc::EFAULT => return self.crash("KVM cannot reach guest memory (EFAULT)"),
                    _ => return self.crash(&format!("KVM_RUN: {error}")),
                },
            }
        }
    }

    fn run_page(&mut self) -> *mut kvm_run {
        self.fd.get_kvm_run()
    }
    fn clear_immediate_exit(&mut self) {
        let run = self.run_page();
        // SAFETY: as in `enter`.
        unsafe { &*(&raw const (*run).immediate_exit).cast::<AtomicU8>() }
            .store(0, Ordering::SeqCst);
    }

    /// Remembers the access that KVM came back with.
    fn start_transfer(&mut self) {
        let run = self.run_page();
        // SAFETY: the page is valid; the exit reason says which member of the
        // union the kernel has filled in.
        let transfer = unsafe {
            match (*run).exit_reason {
                KVM_EXIT_IO => {
                    let io = (*run).__bindgen_anon_1.io;
                    Some(Transfer {
                        read: u32::from(io.direction) == KVM_EXIT_IO_IN,
                        port: true,
                        address: io.port.into(),
                        data: io.data_offset as usize,
                        len: io.count as usize * usize::from(io.size),
                        step: usize::from(io.size),
                        done: 0,
                    })
                }
                KVM_EXIT_MMIO => {
                    let mmio = (*run).__bindgen_anon_1.mmio;
                    let len = (mmio.len as usize).min(8);
                    Some(Transfer {
                        read: mmio.is_write == 0,
                        port: false,
                        address: mmio.phys_addr,
                        data: (&raw const (*run).__bindgen_anon_1.mmio.data)
                            .cast::<u8>()
                            .offset_from(run.cast::<u8>()) as usize,
                        len,
                        // A piece of an access across pages can have any length.
                        step: if len.is_power_of_two() { len } else { 1 },
                        done: 0,
                    })
                }
                _ => None,
            }
        };
        self.transfer = transfer.filter(|t| matches!(t.step, 1 | 2 | 4 | 8));
    }
    /// The next element of the access that is being answered.
    fn ask(&mut self) -> Option<VmExit> {
        let t = self.transfer?;
        if t.done >= t.len {
            self.transfer = None;
            return None;
        }
        self.asked = true;
        let size = t.step as u8;
        let mut bytes = [0u8; 8];
        if !t.read {
            let page = self.run_page().cast::<u8>();
            // SAFETY: the kernel says that the access has `t.len` bytes at
            // `t.data` in its page; a step is at most 8.
            unsafe {
                std::ptr::copy_nonoverlapping(page.add(t.data + t.done), bytes.as_mut_ptr(), t.step)
            };
        }
        let data = u64::from_le_bytes(bytes);
        let address = t.address + t.done as u64;
        Some(match (t.port, t.read) {
            (true, true) => VmExit::IoRead {
                port: t.address as u16,
                size,
            },
            (true, false) => VmExit::IoWrite {
                port: t.address as u16,
                size,
                data: data as u32,
            },
            (false, true) => VmExit::MmioRead { address, size },
            (false, false) => VmExit::MmioWrite {
                address,
                size,
                data,
            },
        })
    }
    /// Takes the answer to the element that was asked for.
    fn answer(&mut self, entry: VmEntry) {
        if !std::mem::take(&mut self.asked) {
            return;
        }
        let page = self.run_page().cast::<u8>();
        let Some(t) = &mut self.transfer else { return };
        if let (true, VmEntry::Value(value)) = (t.read, entry) {
            let bytes = value.to_le_bytes();
            // SAFETY: as in `ask`.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.add(t.data + t.done), t.step)
            };
        }
        t.done += t.step;
    }

    fn internal_error(&mut self) -> String {
        let run = self.run_page();
        // SAFETY: the exit reason said that this member is filled in.
        let error = unsafe { (*run).__bindgen_anon_1.internal };
        let name = match error.suberror {
            1 => "emulation failure",
            2 => "exception while delivering an interrupt",
            3 => "interrupt delivery failed",
            4 => "unexpected exit of the processor",
            _ => "unknown error",
        };
        let mut text = format!("KVM internal error {}: {name}", error.suberror);
        for word in error
            .data
            .iter()
            .take((error.ndata as usize).min(error.data.len()))
        {
            let _ = write!(text, " {word:#x}");
        }
        text
    }
    fn crash(&self, reason: &str) -> VmExit {
        let reason = if self.id == 0 {
            reason.to_owned()
        } else {
            format!("{reason} (vCPU {})", self.id)
        };
        VmExit::Crash(Box::new(CrashReport {
            reason,
            registers: self.dump(),
            code: self.code(),
        }))
    }
    /// The bytes at RIP, as far as they can be read.
    fn code(&self) -> Vec<u8> {
        let Ok(regs) = self.fd.get_regs() else {
            return Vec::new();
        };
        let Ok(sregs) = self.fd.get_sregs() else {
            return Vec::new();
        };
        let linear = regs.rip.wrapping_add(sregs.cs.base);
        let mut code = Vec::new();
        for i in 0..16 {
            let Ok(at) = self.fd.translate_gva(linear.wrapping_add(i)) else {
                break;
            };
            let mut byte = [0];
            if at.valid == 0
                || self
                    .vm
                    .ram
                    .read_slice(&mut byte, GuestAddress(at.physical_address))
                    .is_err()
            {
                break;
            }
            code.push(byte[0]);
        }
        code
    }
    /// Register dump, for logs.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        let (Ok(r), Ok(s)) = (self.fd.get_regs(), self.fd.get_sregs()) else {
            return "registers cannot be read".to_owned();
        };
        let names = [
            [
                ("rax", r.rax),
                ("rbx", r.rbx),
                ("rcx", r.rcx),
                ("rdx", r.rdx),
            ],
            [
                ("rsi", r.rsi),
                ("rdi", r.rdi),
                ("rbp", r.rbp),
                ("rsp", r.rsp),
            ],
            [("r8", r.r8), ("r9", r.r9), ("r10", r.r10), ("r11", r.r11)],
            [
                ("r12", r.r12),
                ("r13", r.r13),
                ("r14", r.r14),
                ("r15", r.r15),
            ],
            [
                ("rip", r.rip),
                ("rflags", r.rflags),
                ("cr0", s.cr0),
                ("cr2", s.cr2),
            ],
            [
                ("cr3", s.cr3),
                ("cr4", s.cr4),
                ("efer", s.efer),
                ("apic", s.apic_base),
            ],
        ];
        for line in names {
            for (name, value) in line {
                let _ = write!(text, "{name:>6} {value:016x}");
            }
            text.push('\n');
        }
        for (name, g) in [
            ("cs", s.cs),
            ("ss", s.ss),
            ("ds", s.ds),
            ("es", s.es),
            ("fs", s.fs),
            ("gs", s.gs),
            ("tr", s.tr),
            ("ldt", s.ldt),
        ] {
            let _ = writeln!(text, "{name:>6} {}", selector(&g));
        }
        let _ = writeln!(
            text,
            "   gdt base {:x} limit {:x}   idt base {:x} limit {:x}",
            s.gdt.base, s.gdt.limit, s.idt.base, s.idt.limit
        );
        text
    }
}

fn selector(g: &kvm_segment) -> String {
    format!(
        "{:04x} base {:x} limit {:x} type {} dpl {} present {} long {}",
        g.selector, g.base, g.limit, g.type_, g.dpl, g.present, g.l
    )
}

impl fmt::Debug for KvmVcpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmVcpu")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
