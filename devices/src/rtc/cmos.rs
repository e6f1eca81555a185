//! PC CMOS clock and RAM at ports 0x70 and 0x71 (MC146818A data sheet, Motorola,
//! 1984), with the century byte of PCs. It raises no interrupts.

use super::{NowSource, SECOND};
use bus::{Action, BusDevice, IoError, Snapshot, SnapshotError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Ports of the window.
pub const CMOS_SIZE: u64 = 2;

const REG_A: u8 = 0x0a;
const REG_B: u8 = 0x0b;
const REG_C: u8 = 0x0c;
const REG_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

/// Update in progress.
const A_UIP: u8 = 1 << 7;
/// Divider for a 32768 Hz crystal, 1024 Hz periodic rate.
const A_RESET: u8 = 0x26;
/// The guest sets the time: updates stand still.
const B_SET: u8 = 1 << 7;
/// Binary instead of BCD.
const B_BINARY: u8 = 1 << 2;
/// 24-hour mode.
const B_24H: u8 = 1 << 1;
/// RAM and time are valid.
const D_VALID: u8 = 1 << 7;
/// UIP rises 244 us before an update of 1984 us (data sheet, table 5).
const UPDATE: u64 = (244 + 1984) * 1_000_000;

/// Everything a guest can see of the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CmosState {
    /// Index register.
    pub index: u8,
    /// Register A without UIP.
    pub a: u8,
    /// Register B.
    pub b: u8,
    /// Seconds since 1970 at virtual time zero.
    pub epoch: i64,
    /// Seconds since 1970 at which the guest stopped the clock to set it.
    pub stopped: Option<i64>,
    /// The rest of the RAM.
    pub ram: Vec<u8>,
}

/// The CMOS clock.
pub struct Cmos {
    state: CmosState,
    now: NowSource,
}

/// A date and time of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: i64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    /// 1 is Sunday.
    weekday: u8,
}

impl Date {
    /// From seconds since 1970, by counting 400-year eras from 1 March 0000.
    fn from_epoch(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: day as u8,
            hour: (rest / 3600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
            // 1 January 1970 was a Thursday.
            weekday: ((days + 4).rem_euclid(7) + 1) as u8,
        }
    }
    /// Seconds since 1970. Fields out of range carry over.
    fn to_epoch(self) -> i64 {
        let month = i64::from(self.month);
        let year = self.year - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        days * 86_400
            + i64::from(self.hour) * 3600
            + i64::from(self.minute) * 60
            + i64::from(self.second)
    }
}

fn bcd(value: u8) -> u8 {
    ((value / 10 % 10) << 4) | (value % 10)
}

fn from_bcd(value: u8) -> u8 {
    (value >> 4).wrapping_mul(10).wrapping_add(value & 0xf)
}

impl Cmos {
    /// A clock that shows `epoch` (seconds since 1970, UTC) at virtual time zero.
    pub fn new(now: NowSource, epoch: u64) -> Self {
        Self {
            state: CmosState {
                index: 0,
                a: A_RESET,
                b: B_24H,
                epoch: i64::try_from(epoch).unwrap_or(i64::MAX / 2),
                stopped: None,
                ram: vec![0; 128],
            },
            now,
        }
    }
    fn running(&self) -> i64 {
        let passed = ((self.now)().0 / SECOND) as i64;
        self.state.epoch.saturating_add(passed)
    }
    fn seconds(&self) -> i64 {
        self.state.stopped.unwrap_or_else(|| self.running())
    }
    fn encode(&self, value: u8) -> u8 {
        if self.state.b & B_BINARY != 0 {
            value
        } else {
            bcd(value)
        }
    }
    fn decode(&self, value: u8) -> u8 {
        if self.state.b & B_BINARY != 0 {
            value
        } else {
            from_bcd(value)
        }
    }
    fn encode_hour(&self, hour: u8) -> u8 {
        if self.state.b & B_24H != 0 {
            return self.encode(hour);
        }
        let twelve = (hour + 11) % 12 + 1;
        self.encode(twelve) | if hour >= 12 { 0x80 } else { 0 }
    }
    fn decode_hour(&self, value: u8) -> u8 {
        if self.state.b & B_24H != 0 {
            return self.decode(value);
        }
        let afternoon = if value & 0x80 != 0 { 12 } else { 0 };
        self.decode(value & 0x7f) % 12 + afternoon
    }
    fn read_data(&self) -> u8 {
        let index = self.state.index & 0x7f;
        let date = || Date::from_epoch(self.seconds());
        match index {
            0 => self.encode(date().second),
            2 => self.encode(date().minute),
            4 => self.encode_hour(date().hour),
            6 => self.encode(date().weekday),
            7 => self.encode(date().day),
            8 => self.encode(date().month),
            9 => self.encode(date().year.rem_euclid(100) as u8),
            // Always BCD, by convention of PC firmware.
            CENTURY => bcd((date().year / 100).rem_euclid(100) as u8),
            REG_A => {
                let in_second = (self.now)().0 % SECOND;
                let updating = in_second >= SECOND - UPDATE && self.state.b & B_SET == 0;
                self.state.a | if updating { A_UIP } else { 0 }
            }
            REG_B => self.state.b,
            REG_C => 0,
            REG_D => D_VALID,
            _ => self.state.ram.get(usize::from(index)).copied().unwrap_or(0),
        }
    }
    fn write_data(&mut self, value: u8) {
        let index = self.state.index & 0x7f;
        match index {
            0 | 2 | 4 | 7 | 8 | 9 | CENTURY => self.set_time(index, value),
            // The weekday follows from the date.
            6 | REG_C | REG_D => {}
            REG_A => self.state.a = value & !A_UIP,
            REG_B => {
                let running = self.running();
                self.state.b = value;
                if value & B_SET != 0 {
                    self.state.stopped.get_or_insert(running);
                } else if let Some(stopped) = self.state.stopped.take() {
                    self.start_at(stopped);
                }
            }
            _ => {
                if let Some(byte) = self.state.ram.get_mut(usize::from(index)) {
                    *byte = value;
                }
            }
        }
    }
    fn start_at(&mut self, seconds: i64) {
        let passed = ((self.now)().0 / SECOND) as i64;
        self.state.epoch = seconds.saturating_sub(passed);
    }
    fn set_time(&mut self, index: u8, value: u8) {
        let mut date = Date::from_epoch(self.seconds());
        let number = self.decode(value);
        match index {
            0 => date.second = number.min(59),
            2 => date.minute = number.min(59),
            4 => date.hour = self.decode_hour(value).min(23),
            7 => date.day = number.clamp(1, 31),
            8 => date.month = number.clamp(1, 12),
            9 => date.year = date.year - date.year.rem_euclid(100) + i64::from(number.min(99)),
            _ => {
                let century = i64::from(from_bcd(value).min(99));
                date.year = date.year.rem_euclid(100) + century * 100;
            }
        }
        let seconds = date.to_epoch();
        if self.state.stopped.is_some() {
            self.state.stopped = Some(seconds);
        } else {
            self.start_at(seconds);
        }
    }
}

impl BusDevice for Cmos {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), IoError> {
        for (at, byte) in (offset..).zip(data.iter_mut()) {
            // The index port cannot be read back.
            *byte = if at == 1 { self.read_data() } else { 0xff };
        }
        Ok(())
    }
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Action, IoError> {
        for (at, byte) in (offset..).zip(data) {
            match at {
                0 => self.state.index = *byte,
                1 => self.write_data(*byte),
                _ => {}
            }
        }
        Ok(Action::None)
    }
}

impl Snapshot for Cmos {
    type State = CmosState;
    fn save(&self) -> CmosState {
        self.state.clone()
    }
    fn restore(&mut self, mut state: CmosState) -> Result<(), SnapshotError> {
        // A clock beyond the calendar would overflow its arithmetic.
        const LIMIT: i64 = 1 << 50;
        let outside = |t: i64| !(-LIMIT..LIMIT).contains(&t);
        if outside(state.epoch) || state.stopped.is_some_and(outside) {
            return Err(SnapshotError {
                what: "CMOS clock",
                why: format!("its time {} is out of range", state.epoch),
            });
        }
        state.ram.resize(128, 0);
        self.state = state;
        Ok(())
    }
}

impl fmt::Debug for Cmos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cmos")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::SimTime;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Rig {
        rtc: Cmos,
        clock: Arc<AtomicU64>,
    }

    impl Rig {
        fn new(epoch: u64) -> Self {
            let clock = Arc::new(AtomicU64::new(0));
            let source = clock.clone();
            let now: NowSource = Arc::new(move || SimTime(source.load(Ordering::Relaxed)));
            Self {
                rtc: Cmos::new(now, epoch),
                clock,
            }
        }
        fn at(&self, time: SimTime) {
            self.clock.store(time.0, Ordering::Relaxed);
        }
        fn r(&mut self, index: u8) -> u8 {
            let _ = self.rtc.write(0, &[index]).unwrap();
            let mut data = [0];
            self.rtc.read(1, &mut data).unwrap();
            data[0]
        }
        fn w(&mut self, index: u8, value: u8) {
            let _ = self.rtc.write(0, &[index]).unwrap();
            let _ = self.rtc.write(1, &[value]).unwrap();
        }
        /// Century, year, month, day, hour, minute, second, weekday.
        fn all(&mut self) -> [u8; 8] {
            [0x32, 9, 8, 7, 4, 2, 0, 6].map(|index| self.r(index))
        }
    }

    /// Dates from `date -u -d @N +"%C %y %m %d %H %M %S %u"` (coreutils).
    #[test]
    fn dates_in_bcd() {
        for (epoch, want) in [
            (0, [0x19, 0x70, 0x01, 0x01, 0x00, 0x00, 0x00, 5]),
            (951_782_399, [0x20, 0x00, 0x02, 0x28, 0x23, 0x59, 0x59, 2]),
            (951_782_400, [0x20, 0x00, 0x02, 0x29, 0x00, 0x00, 0x00, 3]),
            (1_700_000_000, [0x20, 0x23, 0x11, 0x14, 0x22, 0x13, 0x20, 3]),
            (4_107_542_400, [0x21, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00, 2]),
        ] {
            assert_eq!(Rig::new(epoch).all(), want, "{epoch}");
        }
    }

    #[test]
    fn modes() {
        let mut rig = Rig::new(1_700_000_000);
        assert_eq!((rig.r(0x0b), rig.r(0x0d), rig.r(0x0c)), (0x02, 0x80, 0));
        rig.w(0x0b, 0x06);
        assert_eq!((rig.r(4), rig.r(2), rig.r(9)), (22, 13, 23));
        rig.w(0x0b, 0x00);
        assert_eq!(rig.r(4), 0x90, "10 pm");
        rig.at(SimTime::from_secs(2 * 3600));
        assert_eq!(rig.r(4), 0x12, "12 am");
        rig.w(0x80, 0x02);
        assert_eq!(rig.r(0x0a), 0x26);
        rig.w(0x40, 0xaa);
        assert_eq!(rig.r(0xc0), 0xaa, "bit 7 of the index is the NMI mask");
    }

    #[test]
    fn update_in_progress() {
        let mut rig = Rig::new(0);
        for (us, uip) in [
            (0, false),
            (997_771, false),
            (997_773, true),
            (999_999, true),
        ] {
            rig.at(SimTime::from_us(3_000_000 + us));
            assert_eq!(rig.r(0x0a) & 0x80 != 0, uip, "{us}");
            assert_eq!(rig.r(0), 3, "the old time until the end");
        }
        rig.at(SimTime::from_us(4_000_000));
        assert_eq!((rig.r(0x0a) & 0x80, rig.r(0)), (0, 4));
    }

    #[test]
    fn setting_the_time() {
        let mut rig = Rig::new(0);
        rig.at(SimTime::from_secs(10));
        rig.w(0x0b, 0x82);
        rig.at(SimTime::from_secs(15));
        assert_eq!(rig.r(0), 0x10, "stands still");
        for (index, value) in [
            (0x32, 0x20),
            (9, 0x24),
            (8, 0x02),
            (7, 0x29),
            (4, 0x12),
            (2, 0x34),
            (0, 0x56),
        ] {
            rig.w(index, value);
        }
        rig.w(0x0b, 0x02);
        rig.at(SimTime::from_secs(16));
        assert_eq!(rig.all(), [0x20, 0x24, 0x02, 0x29, 0x12, 0x34, 0x57, 5]);
    }

    #[test]
    fn calendar_round_trip() {
        for day in (-800_000i64..800_000).step_by(13) {
            let t = day * 86_400 + day.rem_euclid(86_400);
            assert_eq!(Date::from_epoch(t).to_epoch(), t);
        }
    }

    #[test]
    fn snapshot_round_trip() {
        let mut rig = Rig::new(1_700_000_000);
        rig.w(0x0b, 0x82);
        let mut other = Rig::new(0);
        other.rtc.restore(rig.rtc.save()).unwrap();
        assert_eq!(other.all(), rig.all());
        let mut bad = rig.rtc.save();
        bad.epoch = i64::MAX;
        assert!(other.rtc.restore(bad).is_err());
    }
}
