//! Right topologies: defaults, changes, round trips, and published documents.

use crate::topology::*;
use std::path::{Path, PathBuf};

fn read(text: &str, overrides: &[Override]) -> TopologySpec {
    let options = LoadOptions {
        overrides: overrides.to_vec(),
        machine_arch: "x86_64".into(),
    };
    parse(text, "t.yaml", Path::new("/base"), &options).unwrap_or_else(|e| panic!("{e}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every key that a topology can have, once.
const ALL: &str = r#"
version: 1
seed: 7
time: free
guests:
  host:
    arch: x86_64
    accel: auto
    memory: 1G
    vcpus: 2
    instruction_time: 500ps
    boot_timeout: 30s
    image: { kernel: ./vmlinuz, cmdline: "quiet splash" }
    packages: [iperf3, openssh-client]
    files: [{ from: ./a.bin, to: /root/a.bin, mode: 755 }, { from: /abs, to: /b, mode: 0600 }]
    nics:
      - { name: eth0, card: fpga0, address: 10.10.10.1/24, mac: "52:54:00:00:00:01", mtu: 1500 }
      - { name: eth1, tap: tap0 }
      - { vhost-net: tap1 }
      - { vhost-user: ./sock }
      - { vhost-user: { socket: ./listen, server: true }, queues: 4 }
      - { loopback: true }
      - { tap: tap2, address: "fd00::1/64", queue_size: 1024, link_state: down, transitional: true }
  board:
    nics: [{ name: eth0, card: fpga0, address: 10.10.10.5/24 }]
cards:
  fpga0:
    backend: sim
    host: host
    board: board
    expose: [virtio-net, xdma]
    link: { gen: 4, lanes: 16, max_payload: 512, max_read_request: 4096, latency: 1us }
    dma: { channels: 2, profile: xdma-gen3x8-irq }
    fifo: { slots: 64, bytes: 1M, on_full: drop-oldest }
    faults:
      - { kind: drop, where: h2c, when: { nth: 3, probability: 2.5%, min_size: 64, times: 1 } }
      - { kind: delay, duration: 3us, when: { every: 10, at: 1ms } }
capture: [host.eth0, fpga0, board.eth0]
checks:
  - ping: { from: host, to: board, size: [56, 2048], count: 5, interval: 20ms, max_loss: 1.5% }
  - iperf3: { from: host, to: board, protocol: udp, seconds: 2, size: 1400, rate: 100M, max_loss: 5% }
  - run:
      guest: host
      command: |
        lspci -nn
        echo "a: b # c"
      expect_output: "1af4"
      timeout: 5s
  - set: { nic: host.eth6, link: up }
"#;

#[test]
fn defaults_are_filled_in() {
    let t = read(
        "guests: { host: {}, board: {} }\ncards: { fpga0: {} }\n",
        &[],
    );
    assert_eq!((t.version, t.seed, t.time), (1, 1, TimeMode::Free));
    let (host, board) = (&t.guests["host"], &t.guests["board"]);
    assert_eq!((host.arch(), board.arch()), (Arch::X86_64, Arch::Aarch64));
    assert_eq!((host.memory, host.vcpus), (Size::mib(256), 1));
    assert_eq!(host.image, ImageSpec::Debian);
    let card = &t.cards["fpga0"];
    assert_eq!(
        (card.host.as_deref(), card.board.as_deref()),
        (Some("host"), Some("board"))
    );
    assert_eq!(card.expose, [Function::VirtioNet, Function::Xdma]);
    assert_eq!((card.link.generation, card.link.lanes), (3, 8));
    assert_eq!((card.fifo.slots, card.fifo.bytes), (1024, Size::mib(4)));
    assert_eq!(card.link.latency.to_string(), "500ns");
}

#[test]
fn everything_is_read_as_written() {
    let t = read(ALL, &[]);
    let host = &t.guests["host"];
    assert_eq!(host.memory, Size(1 << 30));
    let ImageSpec::Files(image) = &host.image else {
        panic!("{:?}", host.image);
    };
    assert_eq!(image.kernel.as_deref(), Some(Path::new("/base/vmlinuz")));
    assert_eq!(
        (host.files[0].mode, host.files[1].mode),
        (Mode(0o755), Mode(0o600))
    );
    assert_eq!(host.files[0].from, Path::new("/base/a.bin"));
    assert_eq!(host.files[1].from, Path::new("/abs"));
    let names: Vec<_> = host.nics.iter().map(NicSpec::name).collect();
    assert_eq!(
        names,
        ["eth0", "eth1", "eth2", "eth3", "eth4", "eth5", "eth6"]
    );
    let places = [&host.nics[3], &host.nics[4]].map(|nic| {
        let NicBackend::VhostUser(place) = nic.backend() else {
            panic!("{nic:?}");
        };
        (place.socket(), place.server(), nic.queues())
    });
    let [connect, listen] = places;
    assert_eq!(connect, (Path::new("/base/sock"), false, 1));
    assert_eq!(listen, (Path::new("/base/listen"), true, 4));
    assert_eq!(host.nics[2].backend(), NicBackend::VhostNet("tap1"));
    let device = |nic: &NicSpec| (nic.queue_size(), nic.link_state, nic.transitional);
    assert_eq!(device(&host.nics[5]), (256, LinkState::Up, false));
    assert_eq!(device(&host.nics[6]), (1024, LinkState::Down, true));
    let macs: std::collections::BTreeSet<_> = t
        .guests
        .values()
        .flat_map(|g| g.nics.iter().map(|n| n.mac))
        .collect();
    assert_eq!(macs.len(), 8, "each has an address of its own");
    let CheckSpec::Ping(ping) = &t.checks[0] else {
        panic!("{:?}", t.checks[0]);
    };
    assert_eq!(ping.size.values(), [56, 2048]);
    assert!((ping.max_loss.0 - 0.015).abs() < 1e-12);
    let CheckSpec::Run(run) = &t.checks[2] else {
        panic!("{:?}", t.checks[2]);
    };
    assert_eq!(run.command, "lspci -nn\necho \"a: b # c\"\n");
    assert_eq!(run.expect_output.as_deref(), Some("1af4"));
    let CheckSpec::Set(set) = &t.checks[3] else {
        panic!("{:?}", t.checks[3]);
    };
    assert_eq!((set.nic.as_str(), set.link), ("host.eth6", LinkState::Up));
    assert_eq!(t.guests["board"].packages, ["iperf3"], "the check needs it");
    assert_eq!(t.route("host", "board").unwrap().to_string(), "10.10.10.5");
    assert_eq!(t.route("board", "host").unwrap().to_string(), "10.10.10.1");
}

#[test]
fn shown_topologies_read_back_as_themselves() {
    let mut texts = vec![ALL.to_owned(), "guests: { a: {} }\n".to_owned()];
    texts.push("time: lockstep\nguests: { host: {}, board: {} }\ncards: { fpga0: {} }\n".into());
    texts.push(
        "guests: { host: {} }\ncards:\n  f: { backend: { xdma: { device: /dev/xdma1 } } }\n".into(),
    );
    for text in texts {
        let once = read(&text, &[]);
        let shown = once.to_yaml();
        let options = LoadOptions {
            machine_arch: "x86_64".into(),
            ..LoadOptions::default()
        };
        // Another base directory: the shown topology does not depend on its place.
        let again = parse(&shown, "shown.yaml", Path::new("/elsewhere"), &options)
            .unwrap_or_else(|e| panic!("{e}\n{shown}"));
        assert_eq!(again, once, "{shown}");
        assert_eq!(again.to_yaml(), shown);
    }
}

#[test]
fn changes_from_the_command_line() {
    let t = read(
        ALL,
        &[
            Override::set("guests.host.memory=512M"),
            Override::set("checks[0].ping.size=[100]"),
            Override::set("checks.1.iperf3.seconds=9"),
            Override::set("checks[4]={run: {guest: host, command: 'true'}}"),
            Override::set("cards.fpga0.link.latency=2us"),
            Override::set("guests.host.image=debian"),
            Override::set("capture="),
            Override::seed("99"),
            Override::accel("emulated"),
            Override::set("guests.host.vcpus=1"),
        ],
    );
    assert_eq!(t.guests["host"].memory, Size::mib(512));
    assert_eq!((t.checks.len(), t.seed, t.capture.len()), (5, 99, 0));
    assert!(t.guests.values().all(|g| g.accel == Accel::Emulated));
    assert_eq!(t.cards["fpga0"].link.latency.to_string(), "2us");
    assert_eq!(t.guests["host"].image, ImageSpec::Debian);
    let pair = "guests: { host: {}, board: {} }\ncards: { fpga0: {} }\n";
    let t = read(pair, &[Override::accel("kvm")]);
    assert_eq!(t.guests["host"].accel, Accel::Kvm);
    assert_eq!(t.guests["board"].accel, Accel::Auto, "no KVM for it here");
    let t = read(
        "guests: { a: {} }\n",
        &[
            Override::set("cards.f.host=a"),
            Override::set("guests.b={}"),
            Override::set("cards.f.board=b"),
            Override::time("lockstep"),
        ],
    );
    assert_eq!(t.quantum.unwrap().to_string(), "500ns");
    assert_eq!(t.guests["b"].arch(), Arch::Aarch64);
}

#[test]
fn yaml_anchors_work() {
    let t = read("guests:\n  a: &g { memory: 512M }\n  b: *g\n", &[]);
    assert_eq!(t.guests["b"].memory, Size::mib(512));
}

#[test]
fn the_topologies_of_the_repository_are_right() {
    for (name, guests, checks) in [
        ("pair.yaml", 2, 2),
        ("board.yaml", 1, 1),
        ("host.yaml", 1, 5),
    ] {
        let t = load(&root().join(name), &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((t.guests.len(), t.checks.len()), (guests, checks), "{name}");
    }
    let pair = load(&root().join("pair.yaml"), &LoadOptions::default()).unwrap();
    let rows: usize = pair
        .checks
        .iter()
        .map(|c| match c {
            CheckSpec::Ping(ping) => ping.size.values().len(),
            _ => 0,
        })
        .sum();
    assert_eq!(rows, 10, "ten ping checks");
}

/// The published documents are made from the types; `UPDATE_DOCS=1` writes them.
#[test]
fn published_documents_are_current() {
    let mut schema = serde_json::to_string_pretty(&json_schema()).unwrap();
    schema.push('\n');
    for (name, want) in [
        ("topology.schema.json", schema),
        ("topology.md", reference_page()),
    ] {
        let path = root().join("docs").join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(root().join("docs")).unwrap();
            std::fs::write(&path, &want).unwrap();
        }
        let have = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            have == want,
            "docs/{name} is old: run this test with UPDATE_DOCS=1"
        );
    }
}

/// What blows up when it is read is refused soon.
#[test]
fn bombs_are_refused() {
    let options = LoadOptions::default();
    let deep = "[".repeat(100_000);
    assert!(parse(&deep, "deep.yaml", Path::new("/"), &options).is_err());
    let mut laughs = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for i in 0..9 {
        let (old, new) = ((b'a' + i) as char, (b'b' + i) as char);
        laughs += &format!("{new}: &{new} [{}]\n", vec![format!("*{old}"); 9].join(","));
    }
    assert!(parse(&laughs, "laughs.yaml", Path::new("/"), &options).is_err());
}
