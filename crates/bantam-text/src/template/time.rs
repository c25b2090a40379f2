//! The date a template asks for with `strftime_now`.

use super::meter::{Fallible, Meter};

/// A moment of local time, given by the caller: this crate reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Year of the Gregorian calendar.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, 1 to 31.
    pub day: u32,
    /// Hour, 0 to 23.
    pub hour: u32,
    /// Minute, 0 to 59.
    pub minute: u32,
    /// Second, 0 to 60.
    pub second: u32,
}

impl Moment {
    /// Midnight of a day.
    pub const fn date(year: i32, month: u32, day: u32) -> Moment {
        Moment { year, month, day, hour: 0, minute: 0, second: 0 }
    }

    /// The moment so many seconds after 1970-01-01 00:00:00, in the same time zone.
    pub fn from_seconds(seconds: i64) -> Moment {
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": days to civil.
        let days = seconds.div_euclid(86_400);
        let rest = u32::try_from(seconds.rem_euclid(86_400)).unwrap_or(0);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Moment {
            year: i32::try_from(year).unwrap_or(1970),
            month: u32::try_from(month).unwrap_or(1),
            day: u32::try_from(day).unwrap_or(1),
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    fn day_of_year(self) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = (self.year % 4 == 0 && self.year % 100 != 0) || self.year % 400 == 0;
        let before = BEFORE.get(self.month.saturating_sub(1) as usize).copied().unwrap_or(0);
        before + i64::from(self.day) + i64::from(leap && self.month > 2)
    }

    /// Day of the week, 0 for Sunday.
    fn weekday(self) -> usize {
        let before = i64::from(self.year) - 1;
        let days = before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
        usize::try_from((days + self.day_of_year()).rem_euclid(7)).unwrap_or(0)
    }

    /// C's `strftime`, in the C locale.
    pub(super) fn format(self, format: &str, meter: &mut Meter) -> Fallible<String> {
        const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
        const MONTHS: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        meter.allocate(format.len().saturating_mul(16))?;
        let day = DAYS[self.weekday()];
        let month = MONTHS.get(self.month.saturating_sub(1) as usize).copied().unwrap_or("");
        let twelve = (self.hour + 11) % 12 + 1;
        let two = |value: u32, unpadded: bool| if unpadded { value.to_string() } else { format!("{value:02}") };
        let mut out = String::new();
        let mut characters = format.chars();
        while let Some(c) = characters.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut directive = characters.next();
            let unpadded = directive == Some('-');
            if unpadded {
                directive = characters.next();
            }
            match directive {
                Some('Y') => out.push_str(&self.year.to_string()),
                Some('y') => out.push_str(&two(self.year.rem_euclid(100).unsigned_abs(), unpadded)),
                Some('m') => out.push_str(&two(self.month, unpadded)),
                Some('d') => out.push_str(&two(self.day, unpadded)),
                Some('e') => out.push_str(&format!("{:2}", self.day)),
                Some('H') => out.push_str(&two(self.hour, unpadded)),
                Some('I') => out.push_str(&two(twelve, unpadded)),
                Some('M') => out.push_str(&two(self.minute, unpadded)),
                Some('S') => out.push_str(&two(self.second, unpadded)),
                Some('f') => out.push_str("000000"),
                Some('j') if unpadded => out.push_str(&self.day_of_year().to_string()),
                Some('j') => out.push_str(&format!("{:03}", self.day_of_year())),
                Some('p') => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
                Some('A') => out.push_str(day),
                Some('a') => out.push_str(&day[..3]),
                Some('B') => out.push_str(month),
                Some('b' | 'h') => out.push_str(month.get(..3).unwrap_or(month)),
                Some('w') => out.push_str(&self.weekday().to_string()),
                Some('u') => out.push_str(&((self.weekday() + 6) % 7 + 1).to_string()),
                Some('F') => out.push_str(&self.format("%Y-%m-%d", meter)?),
                Some('T' | 'X') => out.push_str(&self.format("%H:%M:%S", meter)?),
                Some('R') => out.push_str(&self.format("%H:%M", meter)?),
                Some('D' | 'x') => out.push_str(&self.format("%m/%d/%y", meter)?),
                Some('c') => out.push_str(&self.format("%a %b %e %H:%M:%S %Y", meter)?),
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('%') => out.push('%'),
                Some('z' | 'Z') => {}
                Some(other) => return meter.fail(format!("strftime: unknown directive '%{other}'")),
                None => out.push('%'),
            }
        }
        Ok(out)
    }
}
