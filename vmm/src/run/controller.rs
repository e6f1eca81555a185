//! Looks after the guests of a run: waits for their agents, runs jobs, shuts
//! the guests down.

use super::job::{Job, JobResult, Outcome};
use crate::machine::build::LinkSwitch;
use crate::machine::{Ending, SharedSink};
use bus::SimTime;
use devices::serial::SerialInput;
use guest_images::agent::{AgentEvent, Client};
use std::collections::{BTreeMap, VecDeque};

/// The agent line of one guest.
#[derive(Debug)]
pub struct GuestLink {
    /// Name in the topology.
    pub name: String,
    /// Protocol state.
    pub client: Client,
    /// What the guest sent.
    pub output: SharedSink,
    /// What is sent to the guest.
    pub input: SerialInput,
    ready: Option<(SimTime, f64)>,
    gone: Option<Ending>,
}

impl GuestLink {
    /// A guest that has not spoken yet.
    pub fn new(name: String, client: Client, output: SharedSink, input: SerialInput) -> Self {
        Self {
            name,
            client,
            output,
            input,
            ready: None,
            gone: None,
        }
    }
    /// Virtual time at which the agent was ready, and the guest's own uptime
    /// in seconds then.
    pub fn ready(&self) -> Option<(SimTime, f64)> {
        self.ready
    }
}

/// What happened, for a progress display.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A guest's agent is up.
    Ready {
        /// Index of the guest.
        guest: usize,
        /// Virtual time.
        at: SimTime,
    },
    /// A job starts.
    JobStarted(usize),
    /// A job ended.
    JobDone(usize),
    /// All jobs are done; guests are shutting down.
    ShuttingDown,
}

/// Why a run cannot go on (exit code 3).
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The guests were not started.
    #[error("{why}")]
    Start {
        /// What was in the way.
        why: String,
    },
    /// A guest ended before it was told to.
    #[error("guest '{name}' {how}")]
    Gone {
        /// Which guest.
        name: String,
        /// What it did.
        how: String,
    },
    /// A guest's agent did not come up.
    #[error("guest '{name}' did not finish booting within {limit}")]
    Boot {
        /// Which guest.
        name: String,
        /// The limit.
        limit: SimTime,
    },
    /// A guest's agent stopped answering.
    #[error("the agent of guest '{name}' does not answer (while running: {command})")]
    Silent {
        /// Which guest.
        name: String,
        /// The command.
        command: String,
    },
}

impl Failure {
    /// The guest it is about.
    pub fn guest(&self) -> Option<&str> {
        match self {
            Self::Gone { name, .. } | Self::Boot { name, .. } | Self::Silent { name, .. } => {
                Some(name)
            }
            Self::Start { .. } => None,
        }
    }
}

#[derive(Debug)]
struct Running {
    job: usize,
    command: usize,
    started: SimTime,
    /// When to kill it, or to kill it again.
    act: SimTime,
    /// When it was killed first.
    killed: Option<SimTime>,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Booting,
    Working,
    /// Since when, and when to ask again.
    ShuttingDown(SimTime, SimTime),
    Over,
}

/// The state of a run.
#[derive(Debug)]
pub struct Controller {
    links: Vec<GuestLink>,
    jobs: Vec<Job>,
    results: Vec<Option<JobResult>>,
    switches: BTreeMap<String, LinkSwitch>,
    running: Option<Running>,
    phase: Phase,
    boot_limit: SimTime,
    stay: bool,
    settle: bool,
    events: VecDeque<Event>,
    failure: Option<Failure>,
    request: u64,
}

/// A guest has this long to power off.
const SHUTDOWN_LIMIT: SimTime = SimTime::from_secs(10);
/// An agent has this long to answer once its command was killed.
const GRACE: SimTime = SimTime::from_secs(15);
/// A request that shows no effect is made again after this long.
const RETRY: SimTime = SimTime::from_ms(500);
/// Seconds that a guest has been up before traffic is measured. iputils' ping
/// takes a monotonic clock below 1 s for one that it has not read yet, and
/// sends at once instead of waiting for its interval.
const SETTLED: f64 = 1.1;

impl Controller {
    /// A run of `jobs`, in order. With `stay` the guests are not shut down
    /// after the last job.
    pub fn new(links: Vec<GuestLink>, jobs: Vec<Job>, boot_limit: SimTime, stay: bool) -> Self {
        let results = vec![None; jobs.len()];
        Self {
            links,
            jobs,
            results,
            switches: BTreeMap::new(),
            running: None,
            phase: Phase::Booting,
            boot_limit,
            stay,
            settle: false,
            events: VecDeque::new(),
            failure: None,
            request: 0,
        }
    }
    /// A run whose guests were not started.
    pub fn not_started(jobs: Vec<Job>, why: String) -> Self {
        let mut controller = Self::new(Vec::new(), jobs, SimTime::ZERO, false);
        controller.failure = Some(Failure::Start { why });
        controller.phase = Phase::Over;
        controller
    }
    /// Lets every guest be up for a second before the first job, which most are
    /// by then in host time, and none in virtual time.
    #[must_use]
    pub fn settling(mut self, settle: bool) -> Self {
        self.settle = settle;
        self
    }
    /// Lets jobs set the links of these interfaces, by `GUEST.NIC`.
    #[must_use]
    pub fn switching(mut self, switches: BTreeMap<String, LinkSwitch>) -> Self {
        self.switches = switches;
        self
    }
    /// When the first job may start. `None` while an agent is not ready.
    fn settled(&self) -> Option<SimTime> {
        let mut from = SimTime::ZERO;
        for link in &self.links {
            let (at, uptime) = link.ready?;
            let rest = if self.settle { SETTLED - uptime } else { 0.0 };
            let rest = (rest.clamp(0.0, SETTLED) * 1e3).ceil() as u64;
            from = from.max(at + SimTime::from_ms(rest));
        }
        Some(from)
    }
    /// The next thing that happened.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
    /// The guests' links.
    pub fn links(&self) -> &[GuestLink] {
        &self.links
    }
    /// The jobs.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }
    /// Results of the jobs, as far as they ran.
    pub fn results(&self) -> &[Option<JobResult>] {
        &self.results
    }
    /// Why the run failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }
    /// Whether the machines may be stopped.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }
    /// Shuts the guests down now, whatever is running; at once if they are
    /// shutting down already.
    pub fn interrupt(&mut self, now: SimTime) {
        match self.phase {
            Phase::ShuttingDown(..) => self.phase = Phase::Over,
            Phase::Over => {}
            Phase::Booting | Phase::Working => {
                self.running = None;
                self.shut_down(now);
            }
        }
    }
    /// A guest's machine has ended.
    pub fn ended(&mut self, guest: usize, ending: Ending) {
        let Some(link) = self.links.get_mut(guest) else {
            return;
        };
        let expected = matches!(self.phase, Phase::ShuttingDown(..) | Phase::Over);
        if !expected && self.failure.is_none() {
            let how = match &ending {
                Ending::PowerOff => "powered off before the checks were done".to_owned(),
                Ending::Reset if link.ready.is_none() => "crashed while booting".to_owned(),
                Ending::Reset => "crashed or rebooted".to_owned(),
                Ending::Crash(report) => format!("stopped: {}", report.reason),
            };
            self.failure = Some(Failure::Gone {
                name: link.name.clone(),
                how,
            });
        }
        link.gone = Some(ending);
        if self.failure.is_some() {
            self.phase = Phase::Over;
        }
    }

    /// Reads what the guests said and decides what to do next.
    pub fn poll(&mut self, now: SimTime) {
        for guest in 0..self.links.len() {
            let bytes = self.links[guest].output.take();
            if bytes.is_empty() {
                continue;
            }
            for event in self.links[guest].client.feed(&bytes) {
                self.hear(guest, event, now);
            }
        }
        match self.phase {
            Phase::Booting => self.poll_boot(now),
            Phase::Working => self.poll_work(now),
            Phase::ShuttingDown(since, again) => {
                if self.links.iter().all(|l| l.gone.is_some()) || now > since + SHUTDOWN_LIMIT {
                    self.phase = Phase::Over;
                } else if now >= again {
                    // A busy agent may have missed it.
                    self.ask_to_power_off();
                    self.phase = Phase::ShuttingDown(since, now + RETRY);
                }
            }
            Phase::Over => {}
        }
    }

    /// When [`Controller::poll`] has to be called even if no guest says
    /// anything.
    pub fn deadline(&self) -> SimTime {
        match (&self.phase, &self.running) {
            (Phase::Booting, _) => self.settled().unwrap_or(self.boot_limit),
            (_, Some(running)) => running.act,
            (Phase::ShuttingDown(_, again), None) => *again,
            _ => SimTime::MAX,
        }
    }

    fn hear(&mut self, guest: usize, event: AgentEvent, now: SimTime) {
        match event {
            AgentEvent::Ready { uptime } => {
                if self.links[guest].ready.is_none() {
                    self.links[guest].ready = Some((now, uptime));
                    self.events.push_back(Event::Ready { guest, at: now });
                }
            }
            AgentEvent::Done(done) => {
                let expected = self
                    .running
                    .as_ref()
                    .is_some_and(|_| done.id == self.request);
                if let Some(running) = self.running.take_if(|_| expected) {
                    let took = now - running.started;
                    let outcome = Outcome {
                        exit: done.exit,
                        output: done.output,
                        truncated: done.truncated,
                        took,
                    };
                    self.command_done(&running, outcome, now);
                }
            }
            AgentEvent::Malformed(what) => {
                tracing::debug!(guest = self.links[guest].name, what, "agent line");
            }
            AgentEvent::Started { .. } | AgentEvent::PoweringOff => {}
        }
    }

    fn command_done(&mut self, running: &Running, outcome: Outcome, now: SimTime) {
        let last = running.command + 1 == self.jobs[running.job].commands.len();
        if last || outcome.exit != 0 {
            self.results[running.job] = Some(JobResult {
                outcome,
                complete: last,
                timed_out: running.killed.is_some(),
            });
            self.events.push_back(Event::JobDone(running.job));
        } else {
            self.start(running.job, running.command + 1, now);
        }
    }

    fn poll_boot(&mut self, now: SimTime) {
        if let Some(from) = self.settled() {
            if now >= from {
                self.phase = Phase::Working;
                self.poll_work(now);
            }
        } else if now >= self.boot_limit
            && let Some(late) = self.links.iter().find(|link| link.ready.is_none())
        {
            self.failure = Some(Failure::Boot {
                name: late.name.clone(),
                limit: self.boot_limit,
            });
            self.phase = Phase::Over;
        }
    }

    fn poll_work(&mut self, now: SimTime) {
        if let Some(running) = &mut self.running {
            if now < running.act {
                return;
            }
            let command = &self.jobs[running.job].commands[running.command];
            let link = &mut self.links[command.guest];
            if now < *running.killed.get_or_insert(now) + GRACE {
                // Its time is up. What it printed so far still comes. A busy
                // agent may miss a request, so it is made again.
                running.act = now + RETRY;
                link.input.push(&link.client.kill());
                return;
            }
            self.failure = Some(Failure::Silent {
                name: link.name.clone(),
                command: command.command.clone(),
            });
            self.phase = Phase::Over;
            return;
        }
        while self.running.is_none() {
            let Some(job) = self.results.iter().position(Option::is_none) else {
                if !self.stay {
                    self.shut_down(now);
                }
                return;
            };
            self.events.push_back(Event::JobStarted(job));
            if let Some((nic, up)) = &self.jobs[job].link
                && let Some(switch) = self.switches.get(nic)
            {
                switch.set(*up);
            }
            self.start(job, 0, now);
        }
    }

    fn start(&mut self, job: usize, command: usize, now: SimTime) {
        let Some(what) = self.jobs[job].commands.get(command) else {
            let outcome = Outcome {
                exit: 0,
                output: Vec::new(),
                truncated: false,
                took: SimTime::ZERO,
            };
            self.results[job] = Some(JobResult {
                outcome,
                complete: true,
                timed_out: false,
            });
            self.events.push_back(Event::JobDone(job));
            return;
        };
        let link = &mut self.links[what.guest];
        self.request += 1;
        match link.client.request(self.request, &what.command) {
            Ok(bytes) => {
                link.input.push(&bytes);
                let act = now + SimTime::from_secs(what.timeout_s.into());
                self.running = Some(Running {
                    job,
                    command,
                    started: now,
                    act,
                    killed: None,
                });
            }
            Err(error) => {
                let output = format!("cannot send the command: {error}").into_bytes();
                let outcome = Outcome {
                    exit: 126,
                    output,
                    truncated: false,
                    took: SimTime::ZERO,
                };
                self.results[job] = Some(JobResult {
                    outcome,
                    complete: false,
                    timed_out: false,
                });
                self.events.push_back(Event::JobDone(job));
            }
        }
    }

    fn shut_down(&mut self, now: SimTime) {
        self.events.push_back(Event::ShuttingDown);
        self.ask_to_power_off();
        self.phase = Phase::ShuttingDown(now, now + RETRY);
    }

    fn ask_to_power_off(&self) {
        for link in &self.links {
            if link.gone.is_none() {
                link.input.push(&link.client.poweroff());
            }
        }
    }
}
