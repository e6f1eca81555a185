//! Back ends that do not keep to the protocol.

use super::echo::Running;
use super::tests::{Guest, find};
use super::{Role, VhostUser};
use proptest::prelude::*;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Requests that have an answer of their own, and its size.
const ASKS: [(u32, usize); 4] = [(1, 8), (15, 8), (17, 8), (11, 8)];

/// How a back end answers its `nth` message, given the correct answer (empty
/// when there is none to give). `None` closes the connection.
type Answer = Box<dyn FnMut(usize, Vec<u8>) -> Option<Vec<u8>> + Send>;

/// Serves connections to `path`, one after another, by `answer`, until it is
/// told to stop.
fn serve(
    path: &Path,
    answer: impl FnMut(usize, Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
) -> Served {
    let listener = UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let mut answer: Answer = Box::new(answer);
    let thread = std::thread::spawn(move || {
        let mut message = 0;
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            match listener.accept() {
                Ok((stream, _)) => talk(stream, &mut answer, &mut message),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    });
    Served {
        stop: Some(stop),
        thread: Some(thread),
    }
}

struct Served {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn talk(mut stream: UnixStream, answer: &mut Answer, message: &mut usize) {
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(250)))
        .unwrap();
    loop {
        let mut header = [0; 12];
        if stream.read_exact(&mut header).is_err() {
            return;
        }
        let word = |at: usize| u32::from_ne_bytes(*header[at..].first_chunk().unwrap());
        let (request, flags, size) = (word(0), word(4), word(8));
        let mut body = vec![0; size as usize];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let asks = ASKS.iter().any(|ask| ask.0 == request);
        let correct = if asks || flags & 8 != 0 {
            let value: u64 = match request {
                1 => 1 << 15 | 1 << 28 | 1 << 29 | 1 << 30 | 1 << 32,
                15 => 1 << 3,
                17 => 1,
                11 => u64::from_ne_bytes(*body.first_chunk().unwrap()),
                _ => 0,
            };
            let mut reply = Vec::new();
            for word in [request, 5, 8] {
                reply.extend(u32::to_ne_bytes(word));
            }
            reply.extend(value.to_ne_bytes());
            reply
        } else {
            Vec::new()
        };
        let reply = answer(*message, correct);
        *message += 1;
        match reply {
            Some(bytes) if stream.write_all(&bytes).is_ok() => {}
            _ => return,
        }
    }
}

/// The guest goes on with a good back end after the bad one.
fn recovers(mut guest: Guest, path: &Path) {
    let _ = std::fs::remove_file(path);
    let server = Running::server(path, 0);
    guest.until("link up", |guest| {
        guest.counter("connects") > 0 && server.is_finished() && guest.link_up()
    });
    let _back_end = server.join().unwrap();
    let sent = guest.send();
    assert!(sent);
    guest.until("a frame's return", |guest| guest.receive().is_some());
}

fn quietly() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    (dir, path)
}

#[test]
fn the_test_back_end_is_one_that_works() {
    let (_dir, path) = quietly();
    let served = serve(&path, |_, correct| Some(correct));
    let mut guest = Guest::new(find(&path, Role::Client));
    assert!(guest.link_up());
    guest.start();
    assert_eq!(guest.counter("losses"), 0);
    drop(served);
}
#[test]
fn closing_at_any_message_is_survived() {
    // Getting acquainted takes 4 messages, starting about 20 more.
    for end in (4..40).step_by(3) {
        let (_dir, path) = quietly();
        let served = serve(&path, move |n, correct| (n != end).then_some(correct));
        let mut guest = Guest::new(find(&path, Role::Client));
        guest.turn();
        guest.start();
        guest.turn();
        assert!(guest.counter("losses") > 0 || end > 30, "message {end}");
        drop(served);
        recovers(guest, &path);
    }
}
#[test]
fn silence_costs_the_guest_little_time() {
    let (_dir, path) = quietly();
    let served = serve(&path, |n, correct| {
        Some(if n < 6 { correct } else { Vec::new() })
    });
    let begin = now();
    let mut guest = Guest::new(find(&path, Role::Client));
    for _ in 0..20 {
        guest.turn();
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(guest.counter("losses"), 1);
    assert!(!guest.link_up());
    drop(served);
    recovers(guest, &path);
}
#[test]
fn an_answer_byte_by_byte_is_not_waited_for() {
    let (_dir, path) = quietly();
    let listener = UnixListener::bind(&path).unwrap();
    let drip = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..40 {
            if stream.write_all(&[1]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let begin = now();
    let error = VhostUser::new(&path, Role::Client, 1).unwrap().open();
    assert!(error.unwrap_err().to_string().contains("answer"));
    assert!(begin.elapsed() < Duration::from_secs(4));
    drip.join().unwrap();
}
#[test]
fn talking_without_being_asked_ends_the_connection() {
    let (_dir, path) = quietly();
    let listener = UnixListener::bind(&path).unwrap();
    let (send, receive) = mpsc::channel();
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        send.send(stream.try_clone().unwrap()).unwrap();
        let mut answer: Answer = Box::new(|_, correct| Some(correct));
        talk(stream, &mut answer, &mut 0);
    });
    let mut guest = Guest::new(find(&path, Role::Client));
    let mut stream = receive.recv().unwrap();
    assert!(guest.link_up());
    stream.write_all(&[0; 64]).unwrap();
    guest.until("link down", |guest| !guest.link_up());
    drop(stream);
    served.join().unwrap();
    recovers(guest, &path);
}

/// Tests measure the time that they take.
#[allow(clippy::disallowed_methods)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Whatever a back end answers, the monitor neither panics nor hangs.
    #[test]
    fn wrong_answers_are_survived(
        from in 0usize..30,
        change in prop::collection::vec((0usize..24, any::<u8>()), 1..4),
        cut in prop::option::of(0usize..20),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (_dir, path) = quietly();
        let served = serve(&path, move |n, mut correct| {
            if n >= from && !correct.is_empty() {
                for (at, value) in &change {
                    if let Some(byte) = correct.get_mut(*at) {
                        *byte ^= value;
                    }
                }
                correct.truncate(cut.map_or(correct.len(), |cut| cut.max(1)));
                correct.extend(&tail);
            }
            Some(correct)
        });
        let begin = now();
        if let Ok(Ok(vhost)) = VhostUser::new(&path, Role::Client, 1).unwrap().open() {
            let mut guest = Guest::new(vhost);
            guest.turn();
            guest.start();
            guest.turn();
            drop(served);
            // The first answer is what the device promises its driver.
            if from > 0 {
                recovers(guest, &path);
            }
        }
        prop_assert!(begin.elapsed() < Duration::from_secs(20));
    }
}
