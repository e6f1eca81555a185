//! Each case is a topology with one mistake; its snapshot is the exact message.

use crate::topology::{LoadOptions, Override, parse};
use std::path::Path;

/// The message for `text`, which must be refused.
fn message(text: &str, overrides: &[Override]) -> String {
    let options = LoadOptions {
        overrides: overrides.to_vec(),
        machine_arch: "x86_64".into(),
    };
    match parse(text, "pair.yaml", Path::new("/base"), &options) {
        Ok(topology) => panic!("accepted:\n{}", topology.to_yaml()),
        Err(error) => error.to_string(),
    }
}

macro_rules! wrong {
    ($($name:ident: $text:expr;)*) => {$(
        #[test]
        fn $name() {
            let text = $text;
            insta::with_settings!({
                description => text,
                omit_expression => true,
                prepend_module_to_snapshot => false,
                snapshot_path => "snapshots",
            }, {
                insta::assert_snapshot!(stringify!($name), message(text, &[]));
            });
        }
    )*};
}

macro_rules! wrong_set {
    ($($name:ident: $set:expr;)*) => {$(
        #[test]
        fn $name() {
            let set: &[Override] = &$set;
            insta::with_settings!({
                description => PAIR,
                omit_expression => true,
                prepend_module_to_snapshot => false,
                snapshot_path => "snapshots",
            }, {
                insta::assert_snapshot!(stringify!($name), message(PAIR, set));
            });
        }
    )*};
}

/// Two guests on a card, right as it stands.
const PAIR: &str = "\
guests:
  host:
    memory: 256M
    nics: [{ card: fpga0, address: 10.10.10.1/24 }]
  board:
    arch: aarch64
    nics: [{ card: fpga0, address: 10.10.10.5/24 }]
cards:
  fpga0: {}
checks:
  - ping: { from: host, to: board }
";

wrong! {
    empty_file: "";
    not_yaml: "guests:\n  host: [1, 2\n";
    tab_indentation: "guests:\n\thost: {}\n";
    two_documents: "guests: { a: {} }\n---\nguests: { b: {} }\n";
    a_list_at_the_top: "- guests\n";
    no_guests_key: "seed: 3\n";
    no_guests: "guests: {}\n";
    unknown_version: "version: 2\nguests: { a: {} }\n";
    unknown_key_top: "guests: { a: {} }\nchecsk: []\n";
    unknown_key_guest: "guests:\n  host:\n    memroy: 256M\n";
    unknown_key_far_from_all: "guests:\n  host:\n    colour: red\n";
    unknown_key_in_card: "guests: { host: {}, board: {} }\ncards:\n  fpga0:\n    link: { gen: 3, speed: 8 }\n";
    duplicate_key: "guests:\n  host:\n    memory: 256M\n    vcpus: 1\n    memory: 512M\n";
    memory_without_sense: "guests:\n  host:\n    memory: lots\n";
    memory_negative: "guests:\n  host:\n    memory: -5M\n";
    memory_too_small: "guests:\n  board:\n    arch: aarch64\n    memory: 64M\n";
    memory_as_plain_number: "guests:\n  host:\n    memory: 256\n";
    memory_not_whole: "guests:\n  host:\n    memory: 300000K\n";
    memory_as_list: "guests:\n  host:\n    memory: [256M]\n";
    memory_empty: "guests:\n  host:\n    memory:\n    vcpus: 1\n";
    seed_negative: "seed: -1\nguests: { a: {} }\n";
    vcpus_as_word: "guests:\n  host:\n    vcpus: two\n";
    vcpus_zero: "guests:\n  host:\n    vcpus: 0\n";
    vcpus_emulated: "guests:\n  host:\n    accel: emulated\n    vcpus: 2\n";
    vcpus_foreign: "guests:\n  board:\n    arch: aarch64\n    vcpus: 2\n";
    arch_unknown: "guests:\n  host:\n    arch: x86-64\n";
    accel_unknown: "guests:\n  host:\n    accel: kmv\n";
    kvm_for_foreign_arch: "guests:\n  board:\n    arch: aarch64\n    accel: kvm\n";
    kvm_in_lockstep: "time: lockstep\nguests:\n  host:\n    accel: kvm\n";
    time_unknown: "time: fast\nguests: { a: {} }\n";
    image_unknown: "guests:\n  host:\n    image: fedora\n";
    image_with_two_kernels: "guests:\n  host:\n    image: { kernel: ./Image, package: linux-image-amd64 }\n";
    strict_alignment_on_x86: "guests:\n  host: { strict_alignment: true }\n";
    image_unknown_key: "guests:\n  host:\n    image: { kernel: ./vmlinuz, cmd: quiet }\n";
    packages_with_own_initrd: "guests:\n  host:\n    image: { kernel: k, initrd: i }\n    packages: [iperf3]\n";
    package_name: "guests:\n  host:\n    packages: [\"Open SSH\"]\n";
    file_to_relative: "guests:\n  host:\n    files: [{ from: a, to: root/a }]\n";
    file_without_from: "guests:\n  host:\n    files:\n      - to: /root/a\n";
    file_mode: "guests:\n  host:\n    files: [{ from: a, to: /a, mode: rwx }]\n";
    guest_name: "guests:\n  Host_1: {}\n";
    nic_without_backend: "guests:\n  host:\n    nics: [{ name: eth0 }]\n";
    nic_with_two_backends: "guests:\n  host:\n    nics:\n      - { name: eth0, tap: tap0, loopback: true }\n";
    nic_duplicate_name: "guests:\n  host:\n    nics:\n      - { name: eth0, loopback: true }\n      - { name: eth0, tap: tap0 }\n";
    nic_unknown_card: "guests:\n  host:\n    nics: [{ card: fpga1 }]\n  board: {}\ncards: { fpga0: {} }\n";
    nic_card_without_cards: "guests:\n  host:\n    nics: [{ card: fpga0 }]\n";
    nic_two_on_one_card: "guests:\n  host:\n    nics: [{ card: fpga0 }, { card: fpga0 }]\n  board: {}\ncards: { fpga0: {} }\n";
    third_guest_on_a_card: "guests:\n  host: {}\n  board: {}\n  extra:\n    nics: [{ card: fpga0 }]\ncards:\n  fpga0: {}\n";
    tap_name_too_long: "guests:\n  host:\n    nics: [{ tap: a-very-long-tap-name }]\n";
    tap_used_twice: "guests:\n  a:\n    nics: [{ tap: tap0 }]\n  b:\n    nics: [{ vhost-net: tap0 }]\n";
    nic_with_too_many_queues: "guests:\n  host:\n    nics: [{ tap: tap0, queues: 17 }]\n";
    vhost_user_unknown_key: "guests:\n  host:\n    nics: [{ vhost-user: { socket: ./s, listen: true } }]\n";
    capture_of_a_vhost_nic: "guests:\n  host:\n    nics: [{ vhost-net: tap0 }]\ncapture: [host.eth0]\n";
    tap_in_lockstep: "time: lockstep\nguests:\n  a:\n    nics: [{ tap: tap0 }]\n";
    address_without_prefix: "guests:\n  a:\n    nics: [{ tap: t, address: 10.0.0.1 }]\n";
    address_not_an_address: "guests:\n  a:\n    nics: [{ tap: t, address: 10.0.0.300/24 }]\n";
    address_of_the_network: "guests:\n  a:\n    nics: [{ tap: t, address: 10.0.0.0/24 }]\n";
    address_outside_the_subnet: "\
guests:
  host:
    nics: [{ card: fpga0, address: 10.10.10.1/24 }]
  board:
    nics: [{ card: fpga0, address: 10.10.11.5/24 }]
cards: { fpga0: {} }
";
    address_twice: "\
guests:
  host:
    nics: [{ card: fpga0, address: 10.10.10.1/24 }]
  board:
    nics: [{ card: fpga0, address: 10.10.10.1/24 }]
cards: { fpga0: {} }
";
    mac_twice: "\
guests:
  a:
    nics: [{ tap: t0, mac: \"52:54:00:00:00:01\" }]
  b:
    nics: [{ tap: t1, mac: \"52:54:00:00:00:01\" }]
";
    mac_multicast: "guests:\n  a:\n    nics: [{ tap: t0, mac: \"01:00:5e:00:00:01\" }]\n";
    mac_malformed: "guests:\n  a:\n    nics: [{ tap: t0, mac: \"52:54:00\" }]\n";
    queue_size_is_no_power_of_two: "guests:\n  a:\n    nics: [{ tap: t0, queue_size: 100 }]\n";
    queue_size_too_large: "guests:\n  a:\n    nics: [{ tap: t0, queue_size: 2048 }]\n";
    link_state_is_a_word: "guests:\n  a:\n    nics: [{ tap: t0, link_state: off }]\n";
    set_of_an_unknown_nic: "guests:\n  a:\n    nics: [{ tap: t0 }]\nchecks:\n  - set: { nic: a.eth1, link: down }\n";
    set_of_nothing: "guests:\n  a:\n    nics: [{ tap: t0 }]\nchecks:\n  - set: { nic: a.eth0 }\n";
    mtu_too_small: "guests:\n  a:\n    nics: [{ tap: t0, mtu: 60 }]\n";
    mtu_too_large: "guests:\n  a:\n    nics: [{ tap: t0, mtu: 70000 }]\n";
    card_without_board: "guests:\n  host: {}\ncards:\n  fpga0: {}\n";
    card_with_wrong_guest: "guests:\n  host: {}\n  arm: { arch: aarch64 }\ncards:\n  fpga0:\n    board: arms\n";
    card_same_guest_twice: "guests:\n  host: {}\ncards:\n  fpga0: { board: host }\n";
    card_board_is_x86: "guests:\n  host: {}\n  board: { arch: x86_64 }\ncards:\n  fpga0: {}\n";
    card_board_of_two: "guests: { host: {}, board: {} }\ncards:\n  fpga0: {}\n  fpga1: {}\n";
    card_named_like_a_guest: "guests: { host: {}, board: {} }\ncards:\n  host: {}\n";
    card_backend_unknown: "guests: { host: {}, board: {} }\ncards:\n  fpga0:\n    backend: real\n";
    card_xdma_without_keys: "guests: { host: {}, board: {} }\ncards:\n  fpga0:\n    backend: xdma\n";
    card_link: "guests: { host: {}, board: {} }\ncards:\n  fpga0:\n    link:\n      gen: 7\n      lanes: 3\n      max_payload: 300\n";
    card_link_latency: "guests: { host: {}, board: {} }\ncards:\n  fpga0:\n    link: { latency: 500 }\n";
    card_fifo: "guests: { host: {}, board: {} }\ncards:\n  fpga0:\n    fifo: { slots: 0, bytes: 1K, on_full: explode }\n";
    card_channels: "guests: { host: {}, board: {} }\ncards:\n  fpga0:\n    dma: { channels: 5 }\n    fifo: { bytes: 1K }\n";
    card_without_network_function: "guests:\n  host:\n    nics: [{ card: fpga0 }]\n  board: {}\ncards:\n  fpga0: { expose: [xdma] }\n";
    quantum_above_latency: "time: lockstep\nquantum: 1us\nguests: { host: {}, board: {} }\ncards:\n  fpga0:\n    link: { latency: 500ns }\n";
    quantum_in_free_mode: "quantum: 1us\nguests: { host: {} }\n";
    lockstep_without_latency: "time: lockstep\nguests: { host: {}, board: {} }\ncards:\n  fpga0:\n    link: { latency: 0ns }\n";
    capture_unknown: "guests:\n  host:\n    nics: [{ tap: t0 }]\ncapture: [host.eth1]\n";
    check_unknown: "guests: { host: {} }\nchecks:\n  - pnig: { from: host, to: board }\n";
    check_not_a_map: "guests: { host: {} }\nchecks:\n  - ping\n";
    check_missing_guest: "guests: { host: {} }\nchecks:\n  - run: { guest: hots, command: ls }\n";
    check_missing_key: "guests: { host: {} }\nchecks:\n  - run:\n      guest: host\n";
    check_without_route: "guests: { host: {}, board: {} }\nchecks:\n  - ping: { from: host, to: board }\n";
    check_with_itself: "guests: { host: {} }\nchecks:\n  - ping: { from: host, to: host }\n";
    two_mistakes: "\
guests:
  host:
    memory: 16M
    nics: [{ card: fpga0, address: 10.10.10.1/24 }]
  board:
    nics: [{ card: fpga0, address: 10.10.10.5/24 }]
cards: { fpga0: {} }
checks:
  - ping: { from: host, to: bord, count: 0, size: [] }
";
}

wrong_set! {
    ping_size: [Override::set("checks[0].ping.size=[56, 70000]")];
    ping_size_as_word: [Override::set("checks[0].ping.size=big")];
    ping_interval: [Override::set("checks[0].ping.interval=1.5us")];
    ping_preload: [Override::set("checks[0].ping.preload=0")];
    ping_loss: [Override::set("checks[0].ping.max_loss=120%")];
    ping_loss_as_number: [Override::set("checks[0].ping.max_loss=0.1")];
    set_without_equals: [Override::set("guests.host.memory")];
    set_unknown_key: [Override::set("guests.host.memroy=1G")];
    set_list_index: [Override::set("checks[7].ping.count=3")];
    set_list_word: [Override::set("checks.ping.count=3")];
    set_into_a_scalar: [Override::set("guests.host.memory.size=3")];
    set_bad_value: [Override::set("guests.host.memory=1Q")];
    set_bad_yaml: [Override::set("guests.host.nics=[")];
    set_empty_part: [Override::set("guests..memory=1G")];
    accel_option: [Override::accel("kvm"), Override::set("guests.host.arch=aarch64")];
    time_option: [Override::time("slow")];
    seed_option: [Override::seed("abc")];
}

#[test]
fn the_pair_itself_is_right() {
    let base = Path::new("/base");
    parse(PAIR, "pair.yaml", base, &LoadOptions::default()).unwrap();
}
