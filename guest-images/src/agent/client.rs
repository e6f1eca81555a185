//! The state machine.

use thiserror::Error;

use super::encode;

/// Longest command in bytes.
pub const MAX_COMMAND: usize = 64 << 10;
/// Default limit of a command's output in bytes; the rest is cut.
pub const MAX_OUTPUT: usize = 16 << 20;
/// Unit of the output limit.
const BLOCK: usize = 64 << 10;
/// Longest line of the protocol.
const MAX_LINE: usize = 128;

const MARK: &[u8] = b"@vmm ";

/// What the guest said.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentEvent {
    /// The agent is up (again, if a guest restarted it).
    Ready {
        /// Guest time since its kernel started, in seconds.
        uptime: f64,
    },
    /// A command has started.
    Started {
        /// Id of the request.
        id: u64,
    },
    /// A command has ended.
    Done(Done),
    /// The guest is powering off.
    PoweringOff,
    /// Bytes outside the protocol, or a cut frame; already skipped.
    Malformed(String),
}

/// Result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Id of the request.
    pub id: u64,
    /// Exit code; 128 + N after signal N, so 137 for a killed command.
    pub exit: i32,
    /// Stdout and stderr together.
    pub output: Vec<u8>,
    /// The output reached its limit and may be cut.
    pub truncated: bool,
}

/// Why a request cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// [`AgentEvent::Ready`] has not come.
    #[error("the guest's agent is not ready")]
    NotReady,
    /// One command runs at a time.
    #[error("the guest's agent is busy with request {0}")]
    Busy(u64),
    /// Longer than [`MAX_COMMAND`].
    #[error("command of {0} bytes is too long (at most {MAX_COMMAND})")]
    TooLong(usize),
    /// A NUL byte cannot be in a shell command.
    #[error("command contains a NUL byte")]
    Nul,
}

#[derive(Debug)]
enum State {
    /// Looking for lines of the protocol.
    Lines,
    /// Inside the output of a command, up to the line that `end` begins.
    Output {
        id: u64,
        end: Vec<u8>,
        scanned: usize,
    },
}

#[derive(Debug)]
struct Running {
    id: u64,
    token: u64,
    limit: usize,
}

/// The monitor's side of one guest's command channel.
#[derive(Debug)]
pub struct Client {
    state: State,
    buffer: Vec<u8>,
    skipped: usize,
    ready: bool,
    running: Option<Running>,
    token: u64,
    limit: usize,
}

impl Default for Client {
    fn default() -> Self {
        Client::new(0)
    }
}

impl Client {
    /// A client before the guest's first word. `seed` makes the tokens.
    pub fn new(seed: u64) -> Client {
        Client {
            state: State::Lines,
            buffer: Vec::new(),
            skipped: 0,
            ready: false,
            running: None,
            token: seed,
            limit: MAX_OUTPUT,
        }
    }

    /// Limits the output of later requests, rounded up to 64 KiB.
    pub fn set_output_limit(&mut self, bytes: usize) {
        self.limit = bytes.max(1).next_multiple_of(BLOCK);
    }

    /// Whether a request may be sent.
    pub fn is_idle(&self) -> bool {
        self.ready && self.running.is_none()
    }

    /// Whether the agent has said that it is ready.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// The bytes that make the guest run `command` in a shell.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing changes then.
    pub fn request(&mut self, id: u64, command: &str) -> Result<Vec<u8>, RequestError> {
        if !self.ready {
            return Err(RequestError::NotReady);
        }
        if let Some(running) = &self.running {
            return Err(RequestError::Busy(running.id));
        }
        if command.len() > MAX_COMMAND {
            return Err(RequestError::TooLong(command.len()));
        }
        if command.contains('\0') {
            return Err(RequestError::Nul);
        }
        let token = self.next_token();
        let blocks = (self.limit / BLOCK) as u64;
        self.running = Some(Running {
            id,
            token,
            limit: self.limit,
        });
        Ok(encode::run(id, token, blocks, command))
    }

    /// The bytes that kill the running command; its `Done` follows.
    pub fn kill(&self) -> Vec<u8> {
        b"\n@vmm K\n".to_vec()
    }

    /// The bytes that ask for a new `Ready`.
    pub fn hello(&self) -> Vec<u8> {
        b"\n@vmm H\n".to_vec()
    }

    /// The bytes that make the guest power off.
    pub fn poweroff(&self) -> Vec<u8> {
        b"\n@vmm P\n".to_vec()
    }

    /// Forgets the running command, so that another may be sent; its late
    /// answer is skipped.
    pub fn abandon(&mut self) -> Option<u64> {
        self.state = State::Lines;
        self.running.take().map(|running| running.id)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next_token(&mut self) -> u64 {
        self.token = self.token.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.token;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Takes bytes from the guest, in any pieces.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<AgentEvent> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while match self.state {
            State::Lines => self.take_lines(&mut events),
            State::Output { .. } => self.take_output(&mut events),
        } {}
        self.report_skipped(&mut events);
        events
    }

    /// Handles whole lines up to one that begins an output; false when more
    /// bytes are needed.
    fn take_lines(&mut self, events: &mut Vec<AgentEvent>) -> bool {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            match line.strip_prefix(MARK) {
                Some(words) if self.handle(words, events) => {}
                _ if line.is_empty() => {}
                _ => self.skipped += line.len() + 1,
            }
            if matches!(self.state, State::Output { .. }) {
                self.buffer = rest.to_vec();
                return true;
            }
        }
        if rest.len() > MAX_LINE {
            self.skipped += rest.len();
            rest = &[];
        }
        self.buffer = rest.to_vec();
        false
    }

    fn report_skipped(&mut self, events: &mut Vec<AgentEvent>) {
        if self.skipped > 0 {
            let count = std::mem::take(&mut self.skipped);
            events.push(AgentEvent::Malformed(format!(
                "{count} bytes outside the protocol"
            )));
        }
    }

    /// Acts on a line after its mark; false if it means nothing.
    fn handle(&mut self, line: &[u8], events: &mut Vec<AgentEvent>) -> bool {
        let Ok(text) = std::str::from_utf8(line) else {
            return false;
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["R", version, uptime] => {
                let (Ok(1), Ok(uptime)) = (version.parse::<u32>(), uptime.parse::<f64>()) else {
                    return false;
                };
                self.report_skipped(events);
                self.ready = true;
                events.push(AgentEvent::Ready { uptime });
                true
            }
            ["S", id] => match (id.parse(), &self.running) {
                (Ok(id), Some(running)) if running.id == id => {
                    events.push(AgentEvent::Started { id });
                    true
                }
                _ => false,
            },
            ["O", id, token] => match &self.running {
                Some(r) if is(id, r.id) && is_hex(token, r.token) => {
                    let end = format!("\n@vmm E {} {:016x} ", r.id, r.token);
                    self.state = State::Output {
                        id: r.id,
                        end: end.into_bytes(),
                        scanned: 0,
                    };
                    true
                }
                _ => false,
            },
            ["P"] => {
                events.push(AgentEvent::PoweringOff);
                true
            }
            _ => false,
        }
    }

    /// Looks for the end of the output; false when more bytes are needed.
    fn take_output(&mut self, events: &mut Vec<AgentEvent>) -> bool {
        let State::Output { id, end, scanned } = &mut self.state else {
            return false;
        };
        let limit = self.running.as_ref().map_or(self.limit, |r| r.limit);
        let from = *scanned;
        let Some(at) = find(&self.buffer[from..], end).map(|at| from + at) else {
            *scanned = self.buffer.len().saturating_sub(end.len());
            if self.buffer.len() > limit + MAX_LINE {
                return self.lose("the output is longer than its limit", events);
            }
            return false;
        };
        let tail = &self.buffer[at + end.len()..];
        let Some(stop) = tail.iter().position(|&b| b == b'\n') else {
            if tail.len() > MAX_LINE {
                return self.lose("the end of the output is cut", events);
            }
            *scanned = at;
            return false;
        };
        let exit = std::str::from_utf8(&tail[..stop]).ok();
        let Some(exit) = exit.and_then(|text| text.trim().parse().ok()) else {
            return self.lose("the exit code is not a number", events);
        };
        let rest = self.buffer.split_off(at + end.len() + stop + 1);
        let mut output = std::mem::replace(&mut self.buffer, rest);
        output.truncate(at);
        let truncated = output.len() >= limit;
        let id = *id;
        self.state = State::Lines;
        self.running = None;
        events.push(AgentEvent::Done(Done {
            id,
            exit,
            output,
            truncated,
        }));
        true
    }

    /// Gives up the frame at hand and looks for the next line.
    fn lose(&mut self, why: &str, events: &mut Vec<AgentEvent>) -> bool {
        events.push(AgentEvent::Malformed(why.to_string()));
        self.state = State::Lines;
        true
    }
}

fn is(text: &str, value: u64) -> bool {
    text.parse() == Ok(value)
}

fn is_hex(text: &str, value: u64) -> bool {
    u64::from_str_radix(text, 16) == Ok(value)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|&b| b == first) {
        let at = from + at;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}
