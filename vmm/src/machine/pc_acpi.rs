//! The ACPI tables of the x86-64 host: a hardware-reduced machine.

use super::pc::map;
use acpi_tables::aml::{self, AddressSpace, AddressSpaceCacheable, Path};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace as GasSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};

const OEM: [u8; 6] = *b"VMM   ";
const TABLE: [u8; 8] = *b"VMMHOST ";

/// All tables, to be loaded at [`map::ACPI`]; the RSDP comes first.
pub(super) fn build(vcpus: u8) -> Vec<u8> {
    let dsdt = dsdt();
    let mut tables = Vec::new();
    let mut place = |bytes: Vec<u8>| -> u64 {
        let at = map::ACPI + 64 + tables.len() as u64;
        tables.extend(bytes);
        tables.resize(tables.len().next_multiple_of(16), 0);
        at
    };
    let dsdt_at = place(dsdt);
    let fadt_at = place(fadt(dsdt_at));
    let madt_at = place(madt(vcpus));
    let mcfg_at = place(mcfg());
    let mut xsdt = XSDT::new(OEM, TABLE, 1);
    for at in [fadt_at, madt_at, mcfg_at] {
        xsdt.add_entry(at);
    }
    let xsdt_at = place(bytes(&xsdt));
    let mut all = bytes(&Rsdp::new(OEM, xsdt_at));
    all.resize(64, 0);
    all.extend(tables);
    all
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    struct Sink(Vec<u8>);
    impl AmlSink for Sink {
        fn byte(&mut self, byte: u8) {
            self.0.push(byte);
        }
    }
    let mut sink = Sink(Vec::new());
    table.to_aml_bytes(&mut sink);
    sink.0
}

fn port(port: u16) -> GAS {
    GAS::new(
        GasSpace::SystemIo,
        8,
        0,
        AccessSize::ByteAccess,
        port.into(),
    )
}

fn fadt(dsdt: u64) -> Vec<u8> {
    let mut fadt = FADTBuilder::new(OEM, TABLE, 1)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::Wbinvd);
    // ACPI 6.5, table 5.11: no VGA (4), no CMOS RTC (32), no 8042.
    fadt.iapc_boot_arch = (4u16 | 32).into();
    fadt.reset_reg = port(map::RESET_PORT);
    fadt.reset_value = map::RESET_VALUE;
    fadt.sleep_control_reg = port(map::SLEEP_PORT);
    fadt.sleep_status_reg = port(map::SLEEP_PORT + 1);
    bytes(&fadt.finalize())
}

fn madt(vcpus: u8) -> Vec<u8> {
    let mut madt = MADT::new(
        OEM,
        TABLE,
        1,
        LocalInterruptController::Address(map::LAPIC as u32),
    );
    for id in 0..vcpus {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, map::IOAPIC as u32, 0));
    bytes(&madt)
}

fn mcfg() -> Vec<u8> {
    let mut mcfg = MCFG::new(OEM, TABLE, 1);
    mcfg.add_ecam(map::ECAM, 0, 0, 0);
    bytes(&mcfg)
}

fn dsdt() -> Vec<u8> {
    let mut code = Vec::new();
    // \_S5_: the value for the sleep control register.
    code.extend(bytes(&aml::Name::new(
        "_S5_".into(),
        &aml::Package::new(vec![&map::S5]),
    )));
    code.extend(pci());
    for (i, (base, irq)) in [
        (map::COM[0], map::COM_IRQ[0]),
        (map::COM[1], map::COM_IRQ[1]),
    ]
    .into_iter()
    .enumerate()
    {
        code.extend(com(i as u8 + 1, base, irq));
    }
    // The ECAM window is nobody's to hand out.
    code.extend(bytes(&aml::Device::new(
        Path::new("_SB_.MB00"),
        vec![
            &aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0C02")),
            &aml::Name::new(
                "_CRS".into(),
                &aml::ResourceTemplate::new(vec![&aml::Memory32Fixed::new(
                    true,
                    map::ECAM as u32,
                    map::ECAM_LEN as u32,
                )]),
            ),
        ],
    )));
    let mut table = Sdt::new(*b"DSDT", 36, 6, OEM, TABLE, 1);
    table.append_slice(&code);
    table.as_slice().to_vec()
}

fn com(number: u8, base: u16, irq: u32) -> Vec<u8> {
    let name = format!("_SB_.COM{number}");
    bytes(&aml::Device::new(
        Path::new(&name),
        vec![
            &aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0501")),
            &aml::Name::new("_UID".into(), &number),
            &aml::Name::new(
                "_CRS".into(),
                &aml::ResourceTemplate::new(vec![
                    &aml::Interrupt::new(true, true, false, false, irq),
                    &aml::IO::new(base, base, 1, 8),
                ]),
            ),
        ],
    ))
}

fn pci() -> Vec<u8> {
    // Pins rotate with the slot over four I/O APIC pins.
    let mut entries = Vec::new();
    for slot in 0..32u32 {
        for pin in 0..4u32 {
            entries.push((slot << 16 | 0xffff, pin, map::INTX_GSI + (slot + pin) % 4));
        }
    }
    let mut routes = aml::PackageBuilder::new();
    for (address, pin, gsi) in &entries {
        routes.add_element(&aml::Package::new(vec![address, pin, &0u8, gsi]));
    }
    let mem32_end = (map::PCI_MEM + map::PCI_MEM_LEN - 1) as u32;
    bytes(&aml::Device::new(
        Path::new("_SB_.PCI0"),
        vec![
            &aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0A08")),
            &aml::Name::new("_CID".into(), &aml::EISAName::new("PNP0A03")),
            &aml::Name::new("_UID".into(), &0u8),
            &aml::Name::new("_SEG".into(), &0u8),
            &aml::Name::new("_BBN".into(), &0u8),
            &aml::Name::new("_CCA".into(), &1u8),
            &aml::Name::new(
                "_CRS".into(),
                &aml::ResourceTemplate::new(vec![
                    &AddressSpace::new_bus_number(0u16, 0u16),
                    &aml::IO::new(0xcf8, 0xcf8, 1, 8),
                    &AddressSpace::new_io(0u16, 0x0cf7u16, None),
                    &AddressSpace::new_io(
                        map::PCI_IO as u16,
                        (map::PCI_IO + map::PCI_IO_LEN - 1) as u16,
                        None,
                    ),
                    &AddressSpace::new_memory(
                        AddressSpaceCacheable::NotCacheable,
                        true,
                        map::PCI_MEM as u32,
                        mem32_end,
                        None,
                    ),
                    &AddressSpace::new_memory(
                        AddressSpaceCacheable::NotCacheable,
                        true,
                        map::PCI_MEM64,
                        map::PCI_MEM64 + map::PCI_MEM64_LEN - 1,
                        None,
                    ),
                ]),
            ),
            &aml::Name::new("_PRT".into(), &routes),
        ],
    ))
}
