//! Guests: names, processors, memory, image, files.

use super::{Context, bad_name};
use crate::topology::spec::{Accel, Arch, GuestSpec, ImageSpec};
use crate::topology::units::Size;
use bus::SimTime;
use std::collections::BTreeSet;

/// A GICv2 has eight CPUs; the PC's tables have room for more, but nobody asked.
const MOST_VCPUS: u32 = 8;
const MOST_MEMORY: Size = Size(64 << 30);

pub(super) fn check(context: &mut Context<'_>) {
    let topology = context.topology;
    if topology.guests.is_empty() {
        let hint = "add one, such as 'guests: { board: { arch: aarch64 } }'";
        context.problem("guests", "there is no guest", hint);
    }
    for (name, guest) in &topology.guests {
        let path = format!("guests.{name}");
        if bad_name(name) {
            let what = format!("'{name}' cannot be a guest's name");
            let hint = "use 1 to 32 small letters, digits and inner '-'";
            context.problem(&path, what, hint);
        }
        processors(context, &path, name, guest);
        memory(context, &path, guest);
        files(context, &path, guest);
    }
}

fn processors(context: &mut Context<'_>, path: &str, name: &str, guest: &GuestSpec) {
    let arch = guest.arch();
    if guest.accel == Accel::Kvm && arch.name() != context.machine_arch {
        let what = format!(
            "accel: kvm cannot run guest '{name}', which is {}, on this {} machine",
            arch.name(),
            context.machine_arch
        );
        context.problem(
            &format!("{path}.accel"),
            what,
            "write 'accel: auto' or 'emulated'",
        );
    } else if guest.accel == Accel::Kvm && context.lockstep() {
        let what = "accel: kvm cannot run in lockstep";
        let hint = "write 'accel: emulated', or 'time: free'";
        context.problem(&format!("{path}.accel"), what, hint);
    }
    let vcpus = format!("{path}.vcpus");
    let emulated =
        guest.accel == Accel::Emulated || arch.name() != context.machine_arch || context.lockstep();
    if guest.vcpus == 0 || guest.vcpus > MOST_VCPUS {
        let what = format!("a guest cannot have {} processors", guest.vcpus);
        context.problem(&vcpus, what, format!("write 1 to {MOST_VCPUS}"));
    } else if guest.vcpus > 1 && emulated {
        let what = format!("an emulated guest cannot have {} processors", guest.vcpus);
        let hint = "write 'vcpus: 1', or use 'accel: kvm' on a machine that has it";
        context.problem(&vcpus, what, hint);
    }
    let step = guest.instruction_time.0;
    if step < SimTime::from_ps(10) || step > SimTime::from_us(1) {
        let what = format!("an instruction cannot take {step}");
        let hint = "write 10ps to 1us, such as 1ns";
        context.problem(&format!("{path}.instruction_time"), what, hint);
    }
    if guest.strict_alignment && arch != Arch::Aarch64 {
        let what = format!(
            "'strict_alignment' means nothing for an {} guest",
            arch.name()
        );
        context.problem(&format!("{path}.strict_alignment"), what, "remove it");
    }
    if guest.boot_timeout.0 == SimTime::ZERO {
        let what = "a guest cannot boot in no time";
        context.problem(&format!("{path}.boot_timeout"), what, "write 120s or so");
    }
}

fn memory(context: &mut Context<'_>, path: &str, guest: &GuestSpec) {
    let (arch, memory) = (guest.arch(), guest.memory);
    let path = format!("{path}.memory");
    if memory < arch.min_memory() {
        let what = format!("{memory} is too little memory for an {} guest", arch.name());
        context.problem(
            &path,
            what,
            format!("it needs {} at least", arch.min_memory()),
        );
    } else if memory > MOST_MEMORY {
        let what = format!("{memory} is too much memory");
        context.problem(&path, what, format!("the most is {MOST_MEMORY}"));
    } else if memory.0 % (1 << 20) != 0 {
        let what = format!("memory of {memory} is not a whole number of MiB");
        let near = Size::mib(memory.0.div_ceil(1 << 20));
        context.problem(&path, what, format!("write {near}"));
    }
}

fn files(context: &mut Context<'_>, path: &str, guest: &GuestSpec) {
    let mut targets = BTreeSet::new();
    for (i, file) in guest.files.iter().enumerate() {
        let at = format!("{path}.files.{i}");
        let odd = file.to.split('/').any(|p| p == "..");
        if !file.to.starts_with('/') || file.to.ends_with('/') || odd {
            let what = format!("'{}' is not the absolute path of a file", file.to);
            context.problem(&format!("{at}.to"), what, "write one like /root/a.bin");
        } else if !targets.insert(&file.to) {
            let what = format!("two files go to {}", file.to);
            context.problem(&format!("{at}.to"), what, "give each a path of its own");
        }
    }
    for (i, package) in guest.packages.iter().enumerate() {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        let first = package.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !first || !package.chars().all(ok) {
            let what = format!("'{package}' cannot be a Debian package's name");
            let hint = "write the name as apt knows it, such as iperf3";
            context.problem(&format!("{path}.packages.{i}"), what, hint);
        }
    }
    if let ImageSpec::Files(image) = &guest.image {
        if image.kernel.is_some() && image.package.is_some() {
            let what = "there are two kernels, a file and a package";
            context.problem(
                &format!("{path}.image.package"),
                what,
                "write one of 'kernel' and 'package'",
            );
        }
        if image
            .kernel
            .as_ref()
            .is_some_and(|kernel| kernel.as_os_str().is_empty())
        {
            let what = "the kernel's path is empty";
            context.problem(
                &format!("{path}.image.kernel"),
                what,
                "write the path of a kernel",
            );
        }
        if image.initrd.is_some() && !guest.packages.is_empty() {
            let what = "packages cannot be added to an initrd of your own";
            let hint = "leave out 'packages', or leave out 'initrd' to have one made";
            context.problem(&format!("{path}.packages"), what, hint);
        }
    }
    if guest.arch() == Arch::Aarch64 && guest.memory.0 > 32 << 30 {
        let what = format!("{} is too much memory for a board", guest.memory);
        context.problem(&format!("{path}.memory"), what, "the most is 32G");
    }
}
