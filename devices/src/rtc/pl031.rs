//! ARM PrimeCell Real Time Clock PL031 (ARM DDI 0224C): a 32-bit counter of
//! seconds with one alarm.

use super::{NowSource, SECOND};
use bus::{Action, BusDevice, IoError, IrqLine, Next, Service, SimTime, Snapshot, SnapshotError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of the register window.
pub const PL031_SIZE: u64 = 0x1000;

const DR: u64 = 0x00;
const MR: u64 = 0x04;
const LR: u64 = 0x08;
const CR: u64 = 0x0c;
const IMSC: u64 = 0x10;
const RIS: u64 = 0x14;
const MIS: u64 = 0x18;
const ICR: u64 = 0x1c;
const ID: u64 = 0xfe0;
/// PeriphID0-3 and PCellID0-3.
const ID_VALUES: [u32; 8] = [0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// Everything a guest can see of a PL031.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pl031State {
    /// The counter is this many seconds ahead of virtual time, modulo 2^32.
    pub offset: u32,
    /// `RTCMR`.
    pub alarm: u32,
    /// `RTCLR`.
    pub load: u32,
    /// `RTCIMSC`.
    pub imsc: bool,
    /// `RTCRIS`.
    pub ris: bool,
    /// Counter value up to which the alarm has been compared.
    pub seen: u32,
}

/// A PL031. It counts from the start: firmware has enabled it.
pub struct Pl031 {
    state: Pl031State,
    irq: IrqLine,
    now: NowSource,
}

impl Pl031 {
    /// A clock that shows `epoch` (seconds since 1970, modulo 2^32) at virtual
    /// time zero.
    pub fn new(irq: IrqLine, now: NowSource, epoch: u64) -> Self {
        let offset = epoch as u32;
        Self {
            state: Pl031State {
                offset,
                seen: offset,
                ..Pl031State::default()
            },
            irq,
            now,
        }
    }
    fn counter(&self, now: SimTime) -> u32 {
        self.state.offset.wrapping_add((now.0 / SECOND) as u32)
    }
    /// Compares the alarm with every second that has passed since last time.
    fn advance(&mut self, now: SimTime) {
        let counter = self.counter(now);
        let s = &mut self.state;
        let passed = counter.wrapping_sub(s.seen);
        let until = s.alarm.wrapping_sub(s.seen);
        if passed != 0 && (1..=passed).contains(&until) {
            s.ris = true;
        }
        s.seen = counter;
        self.irq.set_level(s.ris && s.imsc);
    }
    /// When the counter reaches the alarm.
    fn next(&self, now: SimTime) -> Next {
        let s = &self.state;
        let wait = u64::from(s.alarm.wrapping_sub(self.counter(now)));
        if s.ris || !s.imsc || wait == 0 {
            return Next::OnKick;
        }
        match (now.0 / SECOND)
            .checked_add(wait)
            .and_then(|seconds| seconds.checked_mul(SECOND))
        {
            Some(at) => Next::At(SimTime(at)),
            None => Next::OnKick,
        }
    }
}

impl BusDevice for Pl031 {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        if !offset.is_multiple_of(4) || data.len() > 4 {
            return Err(IoError::Size(offset, data.len()));
        }
        let now = (self.now)();
        self.advance(now);
        let s = &self.state;
        let value = match offset {
            DR => self.counter(now),
            MR => s.alarm,
            LR => s.load,
            CR => 1,
            IMSC => s.imsc.into(),
            RIS => s.ris.into(),
            MIS => (s.ris && s.imsc).into(),
            ID.. => ID_VALUES
                .get(((offset - ID) / 4) as usize)
                .copied()
                .unwrap_or(0),
            _ => 0,
        };
        for (to, from) in data.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        let Ok(bytes) = <[u8; 4]>::try_from(data) else {
            return Err(IoError::Size(offset, data.len()));
        };
        let value = u32::from_le_bytes(bytes);
        let now = (self.now)();
        self.advance(now);
        let s = &mut self.state;
        match offset {
            MR => {
                s.alarm = value;
                // Equality is compared with the register, not only on a tick.
                s.ris |= value == s.seen;
            }
            LR => {
                s.load = value;
                s.offset = value.wrapping_sub((now.0 / SECOND) as u32);
                s.seen = value;
                s.ris |= value == s.alarm;
            }
            IMSC => s.imsc = value & 1 != 0,
            ICR => s.ris &= value & 1 == 0,
            _ => return Ok(Action::None),
        }
        self.irq.set_level(s.ris && s.imsc);
        Ok(Action::Service)
    }
}

impl Service for Pl031 {
    fn service(&mut self, now: SimTime) -> Next {
        self.advance(now);
        self.next(now)
    }
}

impl Snapshot for Pl031 {
    type State = Pl031State;
    fn save(&self) -> Pl031State {
        self.state.clone()
    }
    fn restore(&mut self, state: Pl031State) -> Result<(), SnapshotError> {
        self.state = state;
        self.irq.set_level(self.state.ris && self.state.imsc);
        Ok(())
    }
}

impl fmt::Debug for Pl031 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pl031")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Rig {
        rtc: Pl031,
        irq: IrqLine,
        clock: Arc<AtomicU64>,
    }

    impl Rig {
        fn new(epoch: u64) -> Self {
            let clock = Arc::new(AtomicU64::new(0));
            let irq = IrqLine::null();
            let source = clock.clone();
            let now: NowSource = Arc::new(move || SimTime(source.load(Ordering::Relaxed)));
            Self {
                rtc: Pl031::new(irq.clone(), now, epoch),
                irq,
                clock,
            }
        }
        fn at(&mut self, time: SimTime) -> Next {
            self.clock.store(time.0, Ordering::Relaxed);
            self.rtc.service(time)
        }
        fn r(&mut self, offset: u64) -> u32 {
            let mut data = [0; 4];
            self.rtc.read(offset, &mut data).unwrap();
            u32::from_le_bytes(data)
        }
        fn w(&mut self, offset: u64, value: u32) -> Action {
            self.rtc.write(offset, &value.to_le_bytes()).unwrap()
        }
    }

    #[test]
    fn registers_and_ids() {
        let mut rig = Rig::new(1_700_000_000);
        for (offset, value) in [
            (0x00, 1_700_000_000),
            (0x0c, 1),
            (0x10, 0),
            (0x14, 0),
            (0xfe0, 0x31),
            (0xfe4, 0x10),
            (0xfe8, 0x04),
            (0xfec, 0x00),
            (0xff0, 0x0d),
            (0xff4, 0xf0),
            (0xff8, 0x05),
            (0xffc, 0xb1),
        ] {
            assert_eq!(rig.r(offset), value, "{offset:#x}");
        }
        rig.at(SimTime::from_ms(2999));
        assert_eq!(rig.r(0), 1_700_000_002);
        let _ = rig.w(0x08, 500);
        assert_eq!((rig.r(0), rig.r(8)), (500, 500));
        rig.at(SimTime::from_ms(3000));
        assert_eq!(rig.r(0), 501);
    }

    #[test]
    fn alarm() {
        let mut rig = Rig::new(u64::from(u32::MAX) - 1);
        assert_eq!(rig.w(0x04, 3), Action::Service, "across the wrap");
        assert_eq!(rig.w(0x10, 1), Action::Service);
        assert_eq!(
            rig.at(SimTime::from_ms(500)),
            Next::At(SimTime::from_secs(5))
        );
        rig.at(SimTime::from_ms(4999));
        assert!(!rig.irq.level());
        assert_eq!(
            rig.at(SimTime::from_secs(7)),
            Next::OnKick,
            "late is in time"
        );
        assert!(rig.irq.level());
        assert_eq!((rig.r(0x14), rig.r(0x18)), (1, 1));
        let _ = rig.w(0x1c, 1);
        assert!(!rig.irq.level());
        assert_eq!(rig.r(0x14), 0);
        let _ = rig.w(0x10, 0);
        let _ = rig.w(0x04, 10);
        assert_eq!(rig.at(SimTime::from_secs(20)), Next::OnKick);
        assert_eq!((rig.r(0x14), rig.r(0x18)), (1, 0), "masked");
        assert!(!rig.irq.level());
    }

    #[test]
    fn snapshot_round_trip() {
        let mut rig = Rig::new(5);
        let _ = rig.w(0x10, 1);
        let _ = rig.w(0x04, 5);
        assert!(rig.irq.level());
        let mut other = Rig::new(0);
        other.rtc.restore(rig.rtc.save()).unwrap();
        assert!(other.irq.level());
        assert_eq!(other.r(0), 5);
    }
}
