//! Boots the default images in QEMU and runs commands through the agent.
// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use guest_images::agent::{AgentEvent, Client, Done};
use guest_images::{Arch, Cache, GuestNic, GuestSetup, ImageSpec, OverlayEntry, overlay_cpio};

const TICK: Duration = Duration::from_millis(100);
const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 7];

struct Guest {
    qemu: Child,
    line: UnixStream,
    client: Client,
    next: u64,
    dir: tempfile::TempDir,
}

impl Guest {
    fn boot(spec: &ImageSpec) -> Option<Guest> {
        let cache = Cache::open_default().unwrap();
        let image = common::image(&cache, spec)?;
        let dir = tempfile::tempdir().unwrap();
        let setup = GuestSetup {
            hostname: "probe".to_string(),
            nics: vec![GuestNic {
                mac: MAC,
                name: "card0".to_string(),
                address: Some("10.10.10.5/22".to_string()),
                mtu: Some(1400),
            }],
            hosts: Vec::new(),
        };
        let mut entries = setup.entries();
        entries.push(OverlayEntry::file(
            "/root/given.bin",
            0o751,
            b"given".to_vec(),
        ));
        let mut initrd = fs::read(&image.initrd).unwrap();
        initrd.extend(overlay_cpio(&entries).unwrap());
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("initrd"), initrd).unwrap();
        let socket = format!("socket,id=agent,path={},server=on,wait=off", path("agent"));
        let (program, kernel, machine, words) = match spec.arch {
            Arch::X86_64 => (
                "qemu-system-x86_64",
                &image.vmlinuz,
                vec!["-chardev", &socket, "-serial", "chardev:agent"],
                "console=ttyS0 vmm.agent=ttyS1",
            ),
            Arch::Aarch64 => (
                "qemu-system-aarch64",
                &image.kernel,
                vec![
                    "-M",
                    "virt",
                    "-cpu",
                    "cortex-a57",
                    "-chardev",
                    &socket,
                    "-device",
                    "virtio-serial-pci",
                    "-device",
                    "virtconsole,chardev=agent",
                ],
                "console=ttyAMA0 vmm.agent=hvc0 cryptomgr.notests",
            ),
        };
        let qemu = Command::new(program)
            .args(["-m", "256", "-display", "none", "-no-reboot", "-nodefaults"])
            .args(["-serial", &format!("file:{}", path("console"))])
            .args(machine)
            .args(["-device", "virtio-net-pci,mac=52:54:00:00:00:07,romfile="])
            .arg("-kernel")
            .arg(kernel)
            .args([
                "-initrd",
                &path("initrd"),
                "-append",
                &format!("{words} panic=-1"),
            ])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut qemu = match qemu {
            Ok(child) => child,
            Err(e) => {
                println!("SKIP: no {program}: {e}");
                return None;
            }
        };
        let Some(line) = (0..100).find_map(|_| {
            sleep(TICK);
            UnixStream::connect(path("agent")).ok()
        }) else {
            let _ = qemu.kill();
            panic!("{program} opened no socket");
        };
        line.set_read_timeout(Some(TICK)).unwrap();
        let mut guest = Guest {
            qemu,
            line,
            client: Client::new(1),
            next: 0,
            dir,
        };
        guest.wait("boot", 900, |e| {
            matches!(e, AgentEvent::Ready { .. }).then_some(())
        });
        Some(guest)
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.dir.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for an event, at most `ticks` quiet tenths of a second.
    fn wait<T>(&mut self, what: &str, ticks: u32, want: impl Fn(AgentEvent) -> Option<T>) -> T {
        let mut quiet = 0;
        let mut buffer = [0; 65536];
        while quiet < ticks {
            match self.line.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    for event in self.client.feed(&buffer[..n]) {
                        assert!(
                            !matches!(event, AgentEvent::Malformed(_)),
                            "{what}: {event:?}"
                        );
                        if let Some(found) = want(event) {
                            return found;
                        }
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    quiet += 1;
                }
                Err(e) => panic!("{what}: {e}"),
            }
        }
        panic!("{what}: no answer; console:\n{}", self.console());
    }

    fn send(&mut self, command: &str) {
        self.next += 1;
        let bytes = self.client.request(self.next, command).unwrap();
        self.line.write_all(&bytes).unwrap();
    }

    fn done(&mut self, what: &str) -> Done {
        let id = self.next;
        self.wait(what, 300, |e| match e {
            AgentEvent::Done(done) if done.id == id => Some(done),
            _ => None,
        })
    }

    fn run(&mut self, command: &str) -> (i32, String) {
        self.send(command);
        let done = self.done(&command[..command.len().min(60)]);
        (
            done.exit,
            String::from_utf8_lossy(&done.output).into_owned(),
        )
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn exercise(arch: Arch) {
    let Some(mut guest) = Guest::boot(&ImageSpec::new(arch)) else {
        return;
    };
    let ok = |text: &str| (0, text.to_string());
    assert_eq!(guest.run("uname -m"), ok(&format!("{arch}\n")));
    assert_eq!(guest.run("hostname; exit 3"), (3, "probe\n".to_string()));
    assert_eq!(guest.run("echo out; echo err >&2"), ok("out\nerr\n"));
    assert_eq!(
        guest.run("printf 'a\\\\b\\n'\nprintf %s \"$0 'q'\" | wc -c; :"),
        ok("a\\b\n20\n")
    );
    assert_eq!(
        guest.run("ls -l /root | awk '{print $1, $5, $9}' | tail -1"),
        ok("-rwxr-x--x 5 given.bin\n")
    );
    // The interface, by its MAC address; and the real ping and ip.
    let (_, text) = guest.run("ip -br addr show card0; cat /sys/class/net/card0/mtu");
    assert!(
        text.contains("10.10.10.5/22") && text.ends_with("1400\n"),
        "{text}"
    );
    let (exit, text) = guest.run("ping -c 1 10.10.10.5 && ping -V; timeout 5 ping -V");
    assert_eq!((exit, text.matches("iputils").count()), (0, 2), "{text}");
    // Many small commands, each sent as soon as the last has answered.
    for i in 0..50 {
        assert_eq!(
            guest.run(&format!("echo number {i}")),
            ok(&format!("number {i}\n"))
        );
    }
    // 64 KiB of command with quotes and newlines.
    let line = "echo \"it's $((6*7))\" >/dev/null # \\ \u{e4}\n";
    let mut long = line.repeat((64 << 10) / line.len());
    long.truncate((64 << 10) - 8 - line.len());
    long.truncate(long.rfind('\n').unwrap() + 1);
    long.push_str("echo end");
    assert_eq!(guest.run(&long), ok("end\n"));
    // 1 MiB of random bytes.
    let (_, sum) = guest.run("head -c 1048576 /dev/urandom >/tmp/r; crc32 /tmp/r | cut -c1-8");
    guest.send("cat /tmp/r");
    let done = guest.done("1 MiB");
    assert_eq!(done.output.len(), 1 << 20);
    let mut crc = flate2::Crc::new();
    crc.update(&done.output);
    assert_eq!(sum.trim(), format!("{:08x}", crc.sum()));
    // A command that hangs, with children in and out of its process group.
    guest.send("echo before; (sleep 1000) & timeout 999 sleep 999 & while :; do sleep 1; done");
    sleep(Duration::from_secs(2));
    let kill = guest.client.kill();
    guest.line.write_all(&kill).unwrap();
    let done = guest.done("kill");
    assert_eq!((done.exit, &done.output[..]), (137, &b"before\n"[..]));
    assert_eq!(guest.run("ps | grep -c '[s]leep'"), (1, "0\n".to_string()));
    // Kernel messages stay on the console.
    assert_eq!(
        guest.run("echo hello from the test >/dev/kmsg; echo ok"),
        ok("ok\n")
    );
    assert!(guest.console().contains("hello from the test"));
    assert_eq!(
        guest.run("modprobe tun && modprobe 8021q && lsmod | grep -c -e ^tun -e ^8021q"),
        ok("2\n")
    );
    let bytes = guest.client.poweroff();
    guest.line.write_all(&bytes).unwrap();
    guest.wait("poweroff", 100, |e| {
        (e == AgentEvent::PoweringOff).then_some(())
    });
    for _ in 0..300 {
        if let Some(status) = guest.qemu.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        sleep(TICK);
    }
    panic!("no power off; console:\n{}", guest.console());
}

#[test]
fn arm64_guest() {
    exercise(Arch::Aarch64);
}

#[test]
fn x86_64_guest() {
    exercise(Arch::X86_64);
}

/// Debian's full kernel has some of the modules built in.
#[test]
fn full_arm64_kernel_and_a_package() {
    let mut spec = ImageSpec::new(Arch::Aarch64);
    spec.kernel_package = Some("linux-image-arm64".to_string());
    spec.packages.push("iperf3".to_string());
    let Some(mut guest) = Guest::boot(&spec) else {
        return;
    };
    let (_, text) = guest.run("uname -r; iperf3 --version | head -1; ip -br addr show card0");
    assert!(!text.contains("cloud"), "{text}");
    assert!(
        text.contains("iperf 3") && text.contains("10.10.10.5/22"),
        "{text}"
    );
}
