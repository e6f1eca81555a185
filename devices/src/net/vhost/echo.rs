//! A vhost-user back end for tests, by an implementation of the protocol that
//! is not ours: it gives every frame back.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use vhost::vhost_user::Listener;
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost_user_backend::{
    ShutdownHandle, VhostUserBackendMut, VhostUserDaemon, VringMutex, VringT,
};
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// `VIRTIO_NET_F_MRG_RXBUF`, `VIRTIO_F_VERSION_1`, event indexes and protocol
/// features.
const FEATURES: u64 = 1 << 15 | 1 << 32 | 1 << 29 | 1 << 28 | 1 << 30;

pub(super) struct Echo {
    memory: Option<Memory>,
    features: u64,
    event_idx: bool,
    exit: (EventConsumer, EventNotifier),
}

impl Echo {
    fn echo(&mut self, vrings: &[VringMutex]) -> Option<()> {
        let memory = self.memory.as_ref()?.memory();
        let (rx, tx) = (vrings.first()?, vrings.get(1)?);
        loop {
            let _ = tx.disable_notification();
            loop {
                // Without a buffer to put it into the frame stays where it is.
                let mut rx_state = rx.get_mut();
                let Some(to) = rx_state
                    .get_queue_mut()
                    .pop_descriptor_chain(memory.clone())
                else {
                    break;
                };
                let mut tx_state = tx.get_mut();
                let Some(from) = tx_state
                    .get_queue_mut()
                    .pop_descriptor_chain(memory.clone())
                else {
                    rx_state.get_queue_mut().go_to_previous_position();
                    break;
                };
                let head = from.head_index();
                let mut bytes = Vec::new();
                for part in from {
                    let at = bytes.len();
                    bytes.resize(at + part.len() as usize, 0);
                    memory.read_slice(&mut bytes[at..], part.addr()).ok()?;
                }
                // One buffer of the driver holds it.
                bytes[10] = 1;
                let used = to.head_index();
                let mut rest = &bytes[..];
                for part in to {
                    let n = rest.len().min(part.len() as usize);
                    memory
                        .write_slice(&rest[..n], GuestAddress(part.addr().0))
                        .ok()?;
                    rest = &rest[n..];
                }
                rx_state.add_used(used, bytes.len() as u32).ok()?;
                tx_state.add_used(head, 0).ok()?;
            }
            for ring in [rx, tx] {
                if ring.needs_notification().unwrap_or(true) {
                    let _ = ring.signal_used_queue();
                }
            }
            let _ = rx.enable_notification();
            if !tx.enable_notification().unwrap_or(false) {
                return Some(());
            }
            let state = rx.get_ref();
            if state
                .get_queue()
                .avail_idx(&*memory, std::sync::atomic::Ordering::Acquire)
                .ok()?
                .0
                == state.get_queue().next_avail()
            {
                return Some(());
            }
        }
    }
}

impl VhostUserBackendMut for Echo {
    type Bitmap = ();
    type Vring = VringMutex;

    fn num_queues(&self) -> usize {
        2
    }
    fn max_queue_size(&self) -> usize {
        1024
    }
    fn features(&self) -> u64 {
        self.features
    }
    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::REPLY_ACK
    }
    fn set_event_idx(&mut self, enabled: bool) {
        self.event_idx = enabled;
    }
    fn update_memory(&mut self, memory: Memory) -> io::Result<()> {
        self.memory = Some(memory);
        Ok(())
    }
    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        Some((self.exit.0.try_clone().ok()?, self.exit.1.try_clone().ok()?))
    }
    fn handle_event(
        &mut self,
        _event: u16,
        _set: EventSet,
        vrings: &[VringMutex],
        _thread: usize,
    ) -> io::Result<()> {
        self.echo(vrings);
        Ok(())
    }
}

/// A running back end. It goes away when this is dropped.
pub(super) struct Running {
    daemon: VhostUserDaemon<Arc<Mutex<Echo>>>,
    handle: Option<ShutdownHandle>,
}

fn daemon(features: u64) -> VhostUserDaemon<Arc<Mutex<Echo>>> {
    let echo = Echo {
        memory: None,
        features: FEATURES & !features,
        event_idx: false,
        exit: new_event_consumer_and_notifier(EventFlag::NONBLOCK).unwrap(),
    };
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    VhostUserDaemon::new("echo".into(), Arc::new(Mutex::new(echo)), memory).unwrap()
}

impl Running {
    /// Listens at `path`, and serves the first who connects. `without` are
    /// features that it lacks.
    pub fn server(path: &Path, without: u64) -> std::thread::JoinHandle<Self> {
        let mut listener = Listener::new(path, true).unwrap();
        std::thread::spawn(move || {
            let mut daemon = daemon(without);
            daemon.start(&mut listener).unwrap();
            let handle = daemon.shutdown_handle();
            Self { daemon, handle }
        })
    }
    /// Connects to `path`.
    pub fn client(path: &Path) -> Self {
        let mut daemon = daemon(0);
        daemon.start_client(path.to_str().unwrap()).unwrap();
        let handle = daemon.shutdown_handle();
        Self { daemon, handle }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.shutdown();
        }
        let _ = self.daemon.wait();
    }
}
