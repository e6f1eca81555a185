//! A real card behind the device nodes of Xilinx's driver.
//!
//! `/dev/xdmaN_h2c_C` and `/dev/xdmaN_c2h_C` move bytes by `pread` and `pwrite`,
//! where the position is the card's address; `/dev/xdmaN_user` is the user BAR.
//! The driver copies a shared file position back behind the caller's back, so
//! nothing here ever uses one, and each thread should open nodes of its own.

use crate::queue::BAR_CONSUMER;
use crate::ring::{RingFault, RingMemory};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which card, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesSpec {
    /// Device node without its suffix, such as `/dev/xdma0`.
    pub device: PathBuf,
    /// Card address of the shared window.
    pub ddr: u64,
    /// Bytes of the shared window.
    pub bytes: u64,
    /// H2C channel.
    pub h2c: u8,
    /// C2H channel.
    pub c2h: u8,
}

/// Why a card does not answer.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no such node.
    #[error(
        "{0} does not exist: load Xilinx's driver (insmod xdma.ko), and see with 'lspci -d 10ee:' \
         whether the card is there and has this channel"
    )]
    Missing(PathBuf),
    /// No permission.
    #[error(
        "no permission for {0}: run as root, or let a udev rule give the xdma nodes to your group"
    )]
    Denied(PathBuf),
    /// All reads give ones.
    #[error(
        "the PCIe link of {0} is down: its registers read as all ones; was the FPGA reprogrammed \
         or reset? Rescan the bus or reload the driver"
    )]
    LinkDown(PathBuf),
    /// A transfer failed although the link is up.
    #[error("{what} of {bytes} bytes at card address {at:#x} on {node} failed: {source}")]
    Transfer {
        /// `read` or `write`.
        what: &'static str,
        /// Bytes that were asked for.
        bytes: usize,
        /// Card address.
        at: u64,
        /// The node.
        node: PathBuf,
        /// What the driver said.
        source: io::Error,
    },
    /// Outside the shared window.
    #[error("card address {0:#x} is outside the shared window; correct 'ddr' and 'bytes'")]
    Outside(u64),
}

#[derive(Debug)]
struct Node {
    path: PathBuf,
    file: File,
}

impl Node {
    fn open(device: &Path, suffix: &str, write: bool, read: bool) -> Result<Self, NodeError> {
        let mut name = device.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        match OpenOptions::new().read(read).write(write).open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(NodeError::Denied(path))
            }
            Err(_) => Err(NodeError::Missing(path)),
        }
    }
}

/// The nodes of one pair of channels. A clone shares them.
#[derive(Clone, Debug)]
pub struct XdmaNodes {
    spec: Arc<NodesSpec>,
    h2c: Arc<Node>,
    c2h: Arc<Node>,
    user: Option<Arc<Node>>,
    /// A transfer has failed since [`XdmaNodes::probe`] last succeeded.
    failed: Arc<AtomicBool>,
}

impl XdmaNodes {
    /// Opens the nodes and looks whether the card answers. The user node may be
    /// missing, when the design has no user BAR.
    pub fn open(spec: NodesSpec) -> Result<Self, NodeError> {
        let device = &spec.device;
        let h2c = Node::open(device, &format!("_h2c_{}", spec.h2c), true, false)?;
        let c2h = Node::open(device, &format!("_c2h_{}", spec.c2h), false, true)?;
        let user = match Node::open(device, "_user", true, true) {
            Ok(node) => Some(Arc::new(node)),
            Err(NodeError::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        let nodes = Self {
            spec: Arc::new(spec),
            h2c: Arc::new(h2c),
            c2h: Arc::new(c2h),
            user,
            failed: Arc::new(AtomicBool::new(false)),
        };
        nodes.probe()?;
        Ok(nodes)
    }
    /// Which card it is.
    pub fn spec(&self) -> &NodesSpec {
        &self.spec
    }
    /// Whether a transfer has failed since the last good [`XdmaNodes::probe`].
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
    /// Looks whether the card answers: its registers are not all ones and its
    /// memory can be read.
    pub fn probe(&self) -> Result<(), NodeError> {
        self.link()?;
        self.read_card(self.spec.ddr, &mut [0; 8])?;
        self.failed.store(false, Ordering::Relaxed);
        Ok(())
    }
    /// A register that can never be all ones: the flags of a hard queue. Reads
    /// of a card that has left the bus are completed with ones.
    fn link(&self) -> Result<(), NodeError> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        let mut flags = [0; 4];
        match user.file.read_at(&mut flags, BAR_CONSUMER) {
            Ok(4) if flags != [0xff; 4] => Ok(()),
            _ => Err(NodeError::LinkDown(user.path.clone())),
        }
    }
    fn check(&self, at: u64, bytes: usize) -> Result<(), NodeError> {
        let end = at.checked_add(bytes as u64);
        let limit = self.spec.ddr.saturating_add(self.spec.bytes);
        if at < self.spec.ddr || end.is_none_or(|end| end > limit) {
            return Err(NodeError::Outside(at));
        }
        Ok(())
    }

    /// Reads card memory over the C2H channel.
    pub fn read_card(&self, at: u64, into: &mut [u8]) -> Result<(), NodeError> {
        self.check(at, into.len())?;
        let (mut done, bytes) = (0, into.len());
        while done < bytes {
            let moved = self.c2h.file.read_at(&mut into[done..], at + done as u64);
            done += self.moved(moved, "read", &self.c2h, at, bytes)?;
        }
        Ok(())
    }
    /// Writes card memory over the H2C channel.
    pub fn write_card(&self, at: u64, from: &[u8]) -> Result<(), NodeError> {
        self.check(at, from.len())?;
        let (mut done, bytes) = (0, from.len());
        while done < bytes {
            let moved = self.h2c.file.write_at(&from[done..], at + done as u64);
            done += self.moved(moved, "write", &self.h2c, at, bytes)?;
        }
        Ok(())
    }
    /// A partial transfer goes on where it ended; an error, or none at all, is
    /// explained by the link where it is down.
    fn moved(
        &self,
        moved: io::Result<usize>,
        what: &'static str,
        node: &Node,
        at: u64,
        bytes: usize,
    ) -> Result<usize, NodeError> {
        let source = match moved {
            Ok(0) => ErrorKind::UnexpectedEof.into(),
            Ok(n) => return Ok(n),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(0),
            Err(error) => error,
        };
        self.failed.store(true, Ordering::Relaxed);
        self.link()?;
        Err(NodeError::Transfer {
            what,
            bytes,
            at,
            node: node.path.clone(),
            source,
        })
    }
}

impl RingMemory for XdmaNodes {
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), RingFault> {
        self.read_card(at, into).map_err(|_| RingFault(at))
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<(), RingFault> {
        self.write_card(at, from).map_err(|_| RingFault(at))
    }
    fn load(&self, at: u64) -> Result<u64, RingFault> {
        let mut word = [0; 8];
        self.read(at, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }
    fn store(&self, at: u64, word: u64) -> Result<(), RingFault> {
        self.write(at, &word.to_le_bytes())
    }
    fn load_line(&self, at: u64, words: &mut [u64]) -> Result<(), RingFault> {
        let mut line = [0; 64];
        for (words, at) in words.chunks_mut(8).zip((at..).step_by(64)) {
            let bytes = &mut line[..words.len() * 8];
            self.read(at, bytes)?;
            for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Side;
    use crate::ring::{Batched, End, Geometry, META_LEN};

    /// The nodes as sparse files with the same semantics: positions are card
    /// addresses, one file behind both directions.
    struct Stand {
        dir: tempfile::TempDir,
        spec: NodesSpec,
    }

    fn stand() -> Stand {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("xdma0");
        let node = |suffix: &str| dir.path().join(format!("xdma0{suffix}"));
        let memory = File::create(node("_h2c_1")).unwrap();
        memory.set_len(0x400_0000).unwrap();
        std::fs::hard_link(node("_h2c_1"), node("_c2h_1")).unwrap();
        let user = File::create(node("_user")).unwrap();
        user.set_len(1 << 20).unwrap();
        let spec = NodesSpec {
            device,
            ddr: 0x300_0000,
            bytes: 16 << 20,
            h2c: 1,
            c2h: 1,
        };
        Stand { dir, spec }
    }

    #[test]
    fn bytes_go_where_they_belong() {
        let stand = stand();
        let nodes = XdmaNodes::open(stand.spec.clone()).unwrap();
        let data = bus::fuzz::noise(3, 100_000);
        for offset in [0, 1, 4095, 0x12_3457] {
            nodes.write_card(0x300_0000 + offset, &data).unwrap();
            let mut back = vec![0; data.len()];
            nodes.read_card(0x300_0000 + offset, &mut back).unwrap();
            assert!(back == data);
        }
        for (at, len) in [(0x2ff_ffff, 8), (0x3ff_fff9, 8), (u64::MAX, 8)] {
            let error = nodes.write_card(at, &data[..len]).unwrap_err();
            assert!(matches!(error, NodeError::Outside(_)), "{error}");
        }
    }

    /// Two threads on one channel, each with descriptors of its own.
    #[test]
    fn two_threads_share_a_channel() {
        let stand = stand();
        std::thread::scope(|scope| {
            for thread in 0..2u64 {
                let spec = stand.spec.clone();
                scope.spawn(move || {
                    let nodes = XdmaNodes::open(spec).unwrap();
                    for round in 0..2000u64 {
                        let at = 0x300_0000 + thread * 64;
                        nodes.store(at, round << 1 | thread).unwrap();
                        assert_eq!(nodes.load(at).unwrap(), round << 1 | thread);
                    }
                });
            }
        });
    }

    #[test]
    fn messages_say_what_to_do() {
        let stand = stand();
        let mut spec = stand.spec.clone();
        spec.c2h = 3;
        let error = XdmaNodes::open(spec).unwrap_err().to_string();
        assert!(error.contains("xdma0_c2h_3 does not exist") && error.contains("insmod"));
    }

    /// A card that leaves the bus reads as ones; its return is noticed.
    #[test]
    fn link_down_and_back() {
        let stand = stand();
        let nodes = XdmaNodes::open(stand.spec.clone()).unwrap();
        let user = OpenOptions::new()
            .write(true)
            .open(stand.dir.path().join("xdma0_user"));
        let user = user.unwrap();
        // Transfers end early, as they do when the driver gives up.
        let memory = OpenOptions::new()
            .write(true)
            .open(stand.dir.path().join("xdma0_c2h_1"));
        let memory = memory.unwrap();
        memory.set_len(0x300_0000).unwrap();
        let error = nodes.load(0x300_0000).unwrap_err();
        assert_eq!(error, RingFault(0x300_0000));
        assert!(nodes.failed());
        let error = nodes.probe().unwrap_err().to_string();
        assert!(
            error.contains("read of 8 bytes at card address 0x3000000"),
            "{error}"
        );
        user.write_all_at(&[0xff; 4], BAR_CONSUMER).unwrap();
        let error = nodes.probe().unwrap_err().to_string();
        assert!(
            error.contains("link") && error.contains("all ones"),
            "{error}"
        );
        user.write_all_at(&[1, 0, 0, 0], BAR_CONSUMER).unwrap();
        memory.set_len(0x400_0000).unwrap();
        nodes.probe().unwrap();
        assert!(!nodes.failed());
    }

    /// Both ends of the rings over the nodes: nothing is lost over the sizes of
    /// the matrix, and a restarted peer is followed.
    #[test]
    fn frames_over_the_nodes() {
        let stand = stand();
        let [h2c, c2h] = Geometry::pair(0x300_0000, 1024, 4 << 20).unwrap();
        let end = |side: Side| {
            let nodes = Batched::new(XdmaNodes::open(stand.spec.clone()).unwrap());
            match side {
                Side::Host => End::attach(nodes, h2c, c2h).unwrap(),
                Side::Board => End::attach(nodes, c2h, h2c).unwrap(),
            }
        };
        let (mut host, mut board) = (end(Side::Host), end(Side::Board));
        let data = bus::fuzz::noise(8, 70_000);
        let mut bytes = Vec::new();
        for round in 0..2 {
            for side in 0..4 {
                for end in [&mut host, &mut board] {
                    end.flush().unwrap();
                    while let Some(frame) = end.peek().unwrap() {
                        end.discard(&frame).unwrap();
                    }
                }
                let (from, to) = match side % 2 {
                    0 => (&mut host, &mut board),
                    _ => (&mut board, &mut host),
                };
                for size in [14usize, 56, 1024, 1472, 1473, 2048, 65_507, 65_550] {
                    for n in 0..8u8 {
                        let meta = [n; META_LEN];
                        let frame = &data[usize::from(n)..usize::from(n) + size];
                        assert!(from.send(&meta, frame).unwrap());
                    }
                    from.flush().unwrap();
                    for n in 0..8u8 {
                        let frame = to.peek().unwrap().unwrap_or_else(|| panic!("{size} {n}"));
                        assert_eq!(frame.meta, [n; META_LEN]);
                        assert!(to.take(&frame, &mut bytes).unwrap());
                        assert!(bytes == data[usize::from(n)..usize::from(n) + size]);
                    }
                    assert_eq!(to.peek().unwrap(), None);
                    to.flush().unwrap();
                }
            }
            if round == 0 {
                board = end(Side::Board);
            }
        }
        assert!(host.counters().restarts > 0 && host.has_peer());
    }
}
