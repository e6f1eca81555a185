//! Debian's QEMU as something to compare with: the same kernels, the same
//! initramfs and the same commands, in TCG.

#![allow(clippy::disallowed_methods)] // It measures host time.

use guest_images::agent::{AgentEvent, Client};
use guest_images::{
    Arch, Cache, GuestNic, GuestSetup, ImageSpec, OverlayEntry, Silent, overlay_cpio,
};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Error = Box<dyn std::error::Error>;

/// How the two guests are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// `-netdev stream` over a Unix socket.
    Stream,
    /// Two taps on a bridge, in a network namespace of their own. Needs root.
    Taps,
}

/// One guest.
#[derive(Debug)]
struct Guest {
    process: Child,
    line: UnixStream,
    client: Client,
    requests: u64,
}

/// The x86-64 host and the ARM64 board, 10.10.10.1 and 10.10.10.5.
#[derive(Debug)]
pub struct QemuPair {
    host: Guest,
    board: Guest,
    started: Instant,
    // Behind the guests: what goes away after them.
    _space: Option<Space>,
    _dir: tempfile::TempDir,
}

/// A network namespace with two taps on a bridge.
#[derive(Debug)]
struct Space(String);

impl Space {
    fn new() -> Result<Self, Error> {
        let name = format!("vmmbench{}", std::process::id());
        let ip = |words: &str| -> Result<(), Error> {
            let status = Command::new("ip").args(words.split(' ')).status()?;
            if status.success() {
                Ok(())
            } else {
                Err(format!("ip {words}").into())
            }
        };
        ip(&format!("netns add {name}"))?;
        let space = Self(name);
        let inside = |words: &str| ip(&format!("-n {} {words}", space.0));
        inside("link add br0 type bridge")?;
        for tap in ["tap0", "tap1"] {
            inside(&format!("tuntap add dev {tap} mode tap"))?;
            inside(&format!("link set {tap} master br0 up"))?;
        }
        inside("link set br0 up")?;
        Ok(space)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

impl QemuPair {
    /// Starts both and waits until their agents answer.
    ///
    /// # Errors
    /// What is missing, such as the programs or the right to make taps.
    pub fn start(joint: Joint) -> Result<Self, Error> {
        let dir = tempfile::tempdir()?;
        let space = match joint {
            Joint::Stream => None,
            Joint::Taps => Some(Space::new()?),
        };
        let cache = Cache::open_default()?;
        let wire = dir.path().join("wire");
        let started = Instant::now();
        let mut ends = Vec::new();
        for (index, arch) in [Arch::Aarch64, Arch::X86_64].into_iter().enumerate() {
            let net = match joint {
                Joint::Stream => format!(
                    "stream,id=n0,server={},addr.type=unix,addr.path={}",
                    if index == 0 { "on" } else { "off" },
                    wire.display()
                ),
                Joint::Taps => format!("tap,id=n0,ifname=tap{index},script=no,downscript=no"),
            };
            ends.push(spawn(
                &cache,
                arch,
                "",
                &net,
                space.as_ref(),
                dir.path(),
                &[],
            )?);
            if joint == Joint::Stream {
                wait_for(&wire)?;
            }
        }
        let (Some(mut host), Some(mut board)) = (ends.pop(), ends.pop()) else {
            return Err("no guests".into());
        };
        board.ready()?;
        host.ready()?;
        Ok(Self {
            host,
            board,
            started,
            _space: space,
            _dir: dir,
        })
    }
    /// Seconds since the start of the processes.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
    /// Runs a command on the host guest and returns what it printed.
    ///
    /// # Errors
    /// The guest does not answer.
    pub fn host(&mut self, command: &str) -> Result<String, Error> {
        self.host.run(command)
    }
    /// The same on the board.
    ///
    /// # Errors
    /// The guest does not answer.
    pub fn board(&mut self, command: &str) -> Result<String, Error> {
        self.board.run(command)
    }
    /// Most memory that both processes had, in MiB.
    pub fn rss_mib(&self) -> f64 {
        [&self.host, &self.board]
            .map(|guest| super::peak_mib(guest.process.id()).unwrap_or(0.0))
            .iter()
            .sum()
    }
}

/// One guest with no network, and files put into it.
#[derive(Debug)]
pub struct QemuGuest {
    guest: Guest,
    _dir: tempfile::TempDir,
}

impl QemuGuest {
    /// Starts it, with more `words` for its kernel, and waits until its agent
    /// answers.
    ///
    /// # Errors
    /// What is missing, such as the program.
    pub fn start(arch: Arch, words: &str, files: &[OverlayEntry]) -> Result<Self, Error> {
        let dir = tempfile::tempdir()?;
        let cache = Cache::open_default()?;
        let net = "hubport,id=n0,hubid=0";
        let mut guest = spawn(&cache, arch, words, net, None, dir.path(), files)?;
        guest.ready()?;
        Ok(Self { guest, _dir: dir })
    }
    /// Runs a command and returns what it printed.
    ///
    /// # Errors
    /// The guest does not answer.
    pub fn run(&mut self, command: &str) -> Result<String, Error> {
        self.guest.run(command)
    }
    /// CPU time of the process so far, in seconds; `None` when it has ended.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let path = format!("/proc/{}/stat", self.guest.process.id());
        let stat = std::fs::read_to_string(path).ok()?;
        // proc(5): utime and stime are fields 14 and 15, counted from behind the
        // name, which is in parentheses; in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok());
        Some((ticks(11)? + ticks(12)?) / 100.0)
    }
}

fn wait_for(path: &Path) -> Result<(), Error> {
    for _ in 0..2000 {
        if path.exists() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("QEMU made no {}", path.display()).into())
}

/// QEMU listens a moment after the socket is there.
fn connect(path: &Path) -> Result<UnixStream, Error> {
    wait_for(path)?;
    for _ in 0..200 {
        if let Ok(line) = UnixStream::connect(path) {
            return Ok(line);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(UnixStream::connect(path)?)
}

fn spawn(
    cache: &Cache,
    arch: Arch,
    more: &str,
    net: &str,
    space: Option<&Space>,
    dir: &Path,
    files: &[OverlayEntry],
) -> Result<Guest, Error> {
    let mut spec = ImageSpec::new(arch);
    spec.packages = vec!["iperf3".to_owned()];
    let image = cache.ensure(&spec, &Silent)?;
    let name = arch.name();
    let (program, kernel, last, machine, words) = match arch {
        Arch::X86_64 => (
            "qemu-system-x86_64",
            &image.vmlinuz,
            1,
            vec!["-M", "pc", "-cpu", "max"],
            "console=ttyS0 vmm.agent=ttyS1 cryptomgr.notests",
        ),
        Arch::Aarch64 => (
            "qemu-system-aarch64",
            &image.kernel,
            5,
            vec!["-M", "virt", "-cpu", "cortex-a57"],
            "console=ttyAMA0 vmm.agent=hvc0 cryptomgr.notests",
        ),
    };
    let setup = GuestSetup {
        hostname: name.to_owned(),
        nics: vec![GuestNic {
            mac: [0x52, 0x54, 0, 0, 0, last],
            name: "eth0".to_owned(),
            address: Some(format!("10.10.10.{last}/24")),
            mtu: None,
        }],
        hosts: Vec::new(),
    };
    let mut initrd = std::fs::read(&image.initrd)?;
    initrd.resize(initrd.len().next_multiple_of(512), 0);
    let mut entries = setup.entries();
    entries.extend_from_slice(files);
    initrd.extend(overlay_cpio(&entries)?);
    let path = |what: &str| dir.join(format!("{what}-{name}")).display().to_string();
    std::fs::write(path("initrd"), initrd)?;
    let agent = format!("socket,id=agent,path={},server=on,wait=off", path("agent"));
    let mut command = match space {
        Some(space) => {
            let mut ip = Command::new("ip");
            ip.args(["netns", "exec", &space.0, program]);
            ip
        }
        None => Command::new(program),
    };
    command
        .args(["-accel", "tcg", "-m", "256", "-smp", "1"])
        .args(["-display", "none", "-no-reboot", "-nodefaults"])
        .args(machine)
        .args(["-serial", &format!("file:{}", path("console"))])
        .args(["-chardev", &agent]);
    match arch {
        Arch::X86_64 => command.args(["-serial", "chardev:agent"]),
        Arch::Aarch64 => command.args([
            "-device",
            "virtio-serial-pci",
            "-device",
            "virtconsole,chardev=agent",
        ]),
    };
    let device = format!("virtio-net-pci,netdev=n0,mac=52:54:00:00:00:{last:02x},romfile=");
    let process = command
        .args(["-netdev", net, "-device", &device])
        .arg("-kernel")
        .arg(kernel)
        .args(["-initrd", &path("initrd"), "-append"])
        .arg(format!("{words} {more} panic=-1"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let line = connect(Path::new(&path("agent")))?;
    line.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(Guest {
        process,
        line,
        client: Client::new(last.into()),
        requests: 0,
    })
}

impl Guest {
    fn wait<T>(&mut self, want: impl Fn(AgentEvent) -> Option<T>) -> Result<T, Error> {
        let end = Instant::now() + Duration::from_secs(300);
        let mut buffer = [0; 65536];
        while Instant::now() < end {
            match self.line.read(&mut buffer) {
                Ok(0) => return Err("QEMU ended".into()),
                Ok(n) => {
                    if let Some(found) = self.client.feed(&buffer[..n]).into_iter().find_map(&want)
                    {
                        return Ok(found);
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err("a guest in QEMU does not answer".into())
    }
    fn ready(&mut self) -> Result<(), Error> {
        self.wait(|event| matches!(event, AgentEvent::Ready { .. }).then_some(()))
    }
    fn run(&mut self, command: &str) -> Result<String, Error> {
        self.requests += 1;
        let id = self.requests;
        let bytes = self.client.request(id, command)?;
        self.line.write_all(&bytes)?;
        self.wait(|event| match event {
            AgentEvent::Done(done) if done.id == id => {
                Some(String::from_utf8_lossy(&done.output).into_owned())
            }
            _ => None,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
