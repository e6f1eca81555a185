//! The device tree of the board.

use super::board::map;
use vm_fdt::{FdtReserveEntry, FdtWriter, FdtWriterResult};

/// What the tree says besides the fixed layout.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    /// Start and length of each piece of memory.
    pub layout: &'a [(u64, u64)],
    pub cmdline: &'a str,
    pub initrd: Option<(u64, u64)>,
    pub rng_seed: &'a [u8],
    pub kaslr_seed: u64,
}

const GIC: u32 = 1;
const V2M: u32 = 2;
const CLOCK: u32 = 3;

const SPI: u32 = 0;
const PPI: u32 = 1;
const LEVEL: u32 = 4;
/// GICv2 PPI flags: delivered to CPU 0, active high level.
const PPI_CPU0_LEVEL: u32 = 0x104;

fn cells(values: &[u64]) -> Vec<u32> {
    values
        .iter()
        .flat_map(|&v| [(v >> 32) as u32, v as u32])
        .collect()
}

/// Writes the tree.
pub(super) fn build(tree: &Tree<'_>) -> FdtWriterResult<Vec<u8>> {
    let reserve: [FdtReserveEntry; 0] = [];
    let mut fdt = FdtWriter::new_with_mem_reserv(&reserve)?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", "vmm,fpga-board")?;
    fdt.property_string("model", "vmm FPGA card, ARM64 side")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", GIC)?;
    fdt.property_null("dma-coherent")?;
    chosen(&mut fdt, tree)?;
    memory(&mut fdt, tree.layout)?;
    cpu(&mut fdt)?;
    gic(&mut fdt)?;
    peripherals(&mut fdt)?;
    pcie(&mut fdt)?;
    fdt.end_node(root)?;
    fdt.finish()
}

fn chosen(fdt: &mut FdtWriter, tree: &Tree<'_>) -> FdtWriterResult<()> {
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", tree.cmdline)?;
    fdt.property_string("stdout-path", "serial0")?;
    if let Some((start, end)) = tree.initrd {
        fdt.property_u64("linux,initrd-start", start)?;
        fdt.property_u64("linux,initrd-end", end)?;
    }
    fdt.property("rng-seed", tree.rng_seed)?;
    fdt.property_u64("kaslr-seed", tree.kaslr_seed)?;
    fdt.end_node(node)?;
    let node = fdt.begin_node("aliases")?;
    fdt.property_string("serial0", &format!("/serial@{:x}", map::UART[0]))?;
    fdt.property_string("serial1", &format!("/serial@{:x}", map::UART[1]))?;
    fdt.end_node(node)
}

fn memory(fdt: &mut FdtWriter, layout: &[(u64, u64)]) -> FdtWriterResult<()> {
    for &(start, len) in layout {
        let node = fdt.begin_node(&format!("memory@{start:x}"))?;
        fdt.property_string("device_type", "memory")?;
        fdt.property_array_u32("reg", &cells(&[start, len]))?;
        fdt.end_node(node)?;
    }
    let node = fdt.begin_node("reserved-memory")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_null("ranges")?;
    // The card's shared window and what lies below it: never Linux's own
    // memory, and open to /dev/mem because it has no mapping there.
    let card = fdt.begin_node("card@0")?;
    fdt.property_array_u32("reg", &cells(&[0, map::RESERVED]))?;
    fdt.property_null("no-map")?;
    fdt.end_node(card)?;
    fdt.end_node(node)
}

fn cpu(fdt: &mut FdtWriter) -> FdtWriterResult<()> {
    let node = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    let cpu = fdt.begin_node("cpu@0")?;
    fdt.property_string("device_type", "cpu")?;
    fdt.property_string("compatible", "arm,armv8")?;
    fdt.property_string("enable-method", "psci")?;
    fdt.property_u32("reg", 0)?;
    fdt.end_node(cpu)?;
    fdt.end_node(node)?;
    let node = fdt.begin_node("psci")?;
    fdt.property_string_list(
        "compatible",
        vec!["arm,psci-1.0".into(), "arm,psci-0.2".into()],
    )?;
    fdt.property_string("method", "hvc")?;
    fdt.end_node(node)?;
    let node = fdt.begin_node("timer")?;
    fdt.property_string("compatible", "arm,armv8-timer")?;
    fdt.property_null("always-on")?;
    // Secure, non-secure, virtual, hypervisor.
    let ppis = [13, 14, 11, 10].map(|ppi| [PPI, ppi, PPI_CPU0_LEVEL]);
    fdt.property_array_u32("interrupts", ppis.as_flattened())?;
    fdt.end_node(node)
}

fn gic(fdt: &mut FdtWriter) -> FdtWriterResult<()> {
    let node = fdt.begin_node(&format!("interrupt-controller@{:x}", map::GICD))?;
    fdt.property_string("compatible", "arm,gic-400")?;
    fdt.property_u32("#interrupt-cells", 3)?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_null("ranges")?;
    fdt.property_array_u32("reg", &cells(&[map::GICD, 0x1000, map::GICC, 0x2000]))?;
    fdt.property_phandle(GIC)?;
    let frame = fdt.begin_node(&format!("v2m@{:x}", map::GICV2M))?;
    fdt.property_string("compatible", "arm,gic-v2m-frame")?;
    fdt.property_null("msi-controller")?;
    fdt.property_array_u32("reg", &cells(&[map::GICV2M, 0x1000]))?;
    fdt.property_phandle(V2M)?;
    fdt.end_node(frame)?;
    fdt.end_node(node)
}

fn peripherals(fdt: &mut FdtWriter) -> FdtWriterResult<()> {
    let node = fdt.begin_node("clock")?;
    fdt.property_string("compatible", "fixed-clock")?;
    fdt.property_u32("#clock-cells", 0)?;
    fdt.property_u32("clock-frequency", 24_000_000)?;
    fdt.property_string("clock-output-names", "clk24mhz")?;
    fdt.property_phandle(CLOCK)?;
    fdt.end_node(node)?;
    for (uart, spi) in map::UART.into_iter().zip(map::UART_SPI) {
        let node = fdt.begin_node(&format!("serial@{uart:x}"))?;
        fdt.property_string_list(
            "compatible",
            vec!["arm,pl011".into(), "arm,primecell".into()],
        )?;
        fdt.property_array_u32("reg", &cells(&[uart, 0x1000]))?;
        fdt.property_array_u32("interrupts", &[SPI, spi, LEVEL])?;
        fdt.property_array_u32("clocks", &[CLOCK, CLOCK])?;
        fdt.property_string_list("clock-names", vec!["uartclk".into(), "apb_pclk".into()])?;
        fdt.end_node(node)?;
    }
    let node = fdt.begin_node(&format!("rtc@{:x}", map::RTC))?;
    fdt.property_string_list(
        "compatible",
        vec!["arm,pl031".into(), "arm,primecell".into()],
    )?;
    fdt.property_array_u32("reg", &cells(&[map::RTC, 0x1000]))?;
    fdt.property_array_u32("interrupts", &[SPI, map::RTC_SPI, LEVEL])?;
    fdt.property_u32("clocks", CLOCK)?;
    fdt.property_string("clock-names", "apb_pclk")?;
    fdt.end_node(node)
}

fn pcie(fdt: &mut FdtWriter) -> FdtWriterResult<()> {
    let node = fdt.begin_node(&format!("pcie@{:x}", map::ECAM))?;
    fdt.property_string("compatible", "pci-host-ecam-generic")?;
    fdt.property_string("device_type", "pci")?;
    fdt.property_array_u32("bus-range", &[0, 0])?;
    fdt.property_u32("#address-cells", 3)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("#interrupt-cells", 1)?;
    fdt.property_array_u32("reg", &cells(&[map::ECAM, map::ECAM_LEN]))?;
    let window =
        |kind: u32, pci: u64, cpu: u64, len: u64| [&[kind][..], &cells(&[pci, cpu, len])].concat();
    let ranges = [
        window(0x0100_0000, 0, map::PCI_IO, map::PCI_IO_LEN),
        window(0x0200_0000, map::PCI_MEM, map::PCI_MEM, map::PCI_MEM_LEN),
        window(
            0x4300_0000,
            map::PCI_MEM64,
            map::PCI_MEM64,
            map::PCI_MEM64_LEN,
        ),
    ]
    .concat();
    fdt.property_array_u32("ranges", &ranges)?;
    // Pins rotate with the slot number over four SPIs (PCI-to-PCI Bridge
    // Architecture 1.2, table 9-1).
    let mut intx = Vec::new();
    for slot in 0..4u32 {
        for pin in 0..4u32 {
            let spi = map::INTX_SPI + (slot + pin) % 4;
            intx.extend([slot << 11, 0, 0, pin + 1, GIC, 0, 0, SPI, spi, LEVEL]);
        }
    }
    fdt.property_array_u32("interrupt-map", &intx)?;
    fdt.property_array_u32("interrupt-map-mask", &[0x1800, 0, 0, 7])?;
    fdt.property_u32("msi-parent", V2M)?;
    fdt.property_null("dma-coherent")?;
    fdt.end_node(node)?;
    Ok(())
}
