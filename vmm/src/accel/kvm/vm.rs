//! A VM: its memory slots and dirty log.

// Guest memory is mapped into the VM by host address.
#![allow(unsafe_code)]

use super::KvmError;
use bus::{GuestRam, RamRegion, ram_regions};
use kvm_bindings::{
    CpuId, KVM_API_VERSION, KVM_MAX_CPUID_ENTRIES, KVM_MEM_LOG_DIRTY_PAGES,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, Kvm, VmFd};
use std::fmt;
use std::sync::Arc;

/// Three pages that VT-x without "unrestricted guest" needs below 4 GiB, away
/// from RAM and devices; the identity map's page lies below them.
const TSS: usize = 0xfffb_d000;
const IDENTITY_MAP: u64 = 0xfffb_c000;

/// A virtual machine with its memory. The memory lives as long as the VM.
pub struct KvmVm {
    // Dropped before the memory.
    pub(super) fd: VmFd,
    kvm: Kvm,
    regions: Vec<RamRegion>,
    pub(super) ram: Arc<GuestRam>,
}

impl KvmVm {
    /// A VM with `ram` in it, and the in-kernel interrupt controllers if
    /// `irqchip` is set.
    pub fn new(ram: Arc<GuestRam>, irqchip: bool) -> Result<Arc<Self>, KvmError> {
        let kvm = retry(Kvm::new).map_err(KvmError::Open)?;
        let version = kvm.get_api_version();
        if version != KVM_API_VERSION as i32 {
            return Err(KvmError::Version(version));
        }
        for (cap, name) in [
            (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
            (Cap::SetTssAddr, "KVM_CAP_SET_TSS_ADDR"),
            (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
            (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
        ] {
            if !kvm.check_extension(cap) {
                return Err(KvmError::Capability(name));
            }
        }
        let fd = retry(|| kvm.create_vm()).map_err(KvmError::call("create a VM"))?;
        fd.set_tss_address(TSS)
            .map_err(KvmError::call("place the TSS"))?;
        if kvm.check_extension(Cap::SetIdentityMapAddr) {
            fd.set_identity_map_address(IDENTITY_MAP)
                .map_err(KvmError::call("place the identity map"))?;
        }
        if irqchip {
            for (cap, name) in [
                (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
                (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI"),
            ] {
                if !kvm.check_extension(cap) {
                    return Err(KvmError::Capability(name));
                }
            }
            fd.create_irq_chip()
                .map_err(KvmError::call("create the interrupt controllers"))?;
        }
        let vm = Self {
            fd,
            kvm,
            regions: ram_regions(&ram),
            ram,
        };
        vm.set_dirty_log(false)?;
        Ok(Arc::new(vm))
    }
    /// Whether the kernel has a capability.
    pub fn has(&self, cap: Cap) -> bool {
        self.kvm.check_extension(cap)
    }
    /// Most vCPUs that a VM can have.
    pub fn max_vcpus(&self) -> usize {
        self.kvm.get_max_vcpus()
    }
    /// What KVM and the processor together offer a guest.
    pub(super) fn supported_cpuid(&self) -> Result<CpuId, KvmError> {
        self.kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(KvmError::call("read the supported CPUID"))
    }

    /// Starts or ends the log of pages that the guest's vCPUs write to.
    pub fn set_dirty_log(&self, on: bool) -> Result<(), KvmError> {
        for (slot, region) in self.regions.iter().enumerate() {
            let slot = kvm_userspace_memory_region {
                slot: slot as u32,
                flags: if on { KVM_MEM_LOG_DIRTY_PAGES } else { 0 },
                guest_phys_addr: region.start,
                memory_size: region.len,
                userspace_addr: region.host as u64,
            };
            // SAFETY: the range is a mapping that `self.ram` keeps alive until
            // after the VM is gone; nobody holds a reference into guest memory.
            unsafe { self.fd.set_user_memory_region(slot) }
                .map_err(KvmError::call("map guest memory"))?;
        }
        Ok(())
    }
    /// Guest physical addresses of the 4 KiB pages that vCPUs wrote to since
    /// the log was started or last taken. Writes of devices are not among them.
    pub fn take_dirty(&self) -> Result<Vec<u64>, KvmError> {
        let mut pages = Vec::new();
        for (slot, region) in self.regions.iter().enumerate() {
            let words = self
                .fd
                .get_dirty_log(slot as u32, region.len as usize)
                .map_err(KvmError::call("read the dirty log"))?;
            for (i, mut word) in words.into_iter().enumerate() {
                while word != 0 {
                    let page = i as u64 * 64 + u64::from(word.trailing_zeros());
                    pages.push(region.start + page * 4096);
                    word &= word - 1;
                }
            }
        }
        Ok(pages)
    }
}

/// Calls again when a signal came in between: creating a VM can take a while.
fn retry<T>(
    mut call: impl FnMut() -> Result<T, kvm_ioctls::Error>,
) -> Result<T, kvm_ioctls::Error> {
    loop {
        match call() {
            Err(error) if error.errno() == libc::EINTR => {}
            done => return done,
        }
    }
}

impl fmt::Debug for KvmVm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmVm")
            .field("regions", &self.regions)
            .finish_non_exhaustive()
    }
}
