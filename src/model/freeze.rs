//! Windows of time in which nothing new is to go live. All of it in UTC, like every schedule here.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
const WEEK: i64 = 7 * DAY;
/// 1970-01-05 was the first Monday.
const MONDAY: i64 = 4 * DAY;
const WEEKDAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

/// `FRI 16:00 - MON 08:00` every week, `22:00 - 06:00` every day, `2026-12-23 12:00 - 2027-01-02 08:00` once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    span: Span,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    /// Seconds into a period that began at `origin` and begins again after `every`.
    Again {
        origin: i64,
        every: i64,
        from: i64,
        to: i64,
    },
    Once {
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    },
}

/// Why a text is not a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAFreeze {
    #[error("this is not a window of time")]
    Form,
    #[error("this window ends when it begins")]
    Empty,
    #[error("this window ends before it begins")]
    Backwards,
}

#[derive(Clone, Copy)]
enum Moment {
    OfWeek(i64),
    OfDay(i64),
    At(DateTime<Utc>),
}

impl Freeze {
    pub fn parse(text: &str) -> Result<Self, NotAFreeze> {
        let (from, to) = text.split_once(" - ").ok_or(NotAFreeze::Form)?;
        let span = match (moment(from.trim())?, moment(to.trim())?) {
            (Moment::OfWeek(from), Moment::OfWeek(to)) => {
                Span::Again { origin: MONDAY, every: WEEK, from, to }
            }
            (Moment::OfDay(from), Moment::OfDay(to)) => Span::Again { origin: 0, every: DAY, from, to },
            (Moment::At(from), Moment::At(to)) => Span::Once { from, to },
            _ => return Err(NotAFreeze::Form),
        };
        match span {
            Span::Again { from, to, .. } if from == to => Err(NotAFreeze::Empty),
            Span::Once { from, to } if from == to => Err(NotAFreeze::Empty),
            Span::Once { from, to } if from > to => Err(NotAFreeze::Backwards),
            _ => Ok(Self { span, text: text.to_owned() }),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// When the window ends that `now` lies in. Its first moment belongs to it, its last does not.
    fn ends(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.span {
            Span::Once { from, to } => (from <= now && now < to).then_some(to),
            Span::Again { origin, every, from, to } => {
                let into = (now.timestamp() - origin - from).rem_euclid(every);
                let length = (to - from).rem_euclid(every);
                let whole = now - TimeDelta::nanoseconds(now.timestamp_subsec_nanos().into());
                (into < length).then(|| whole + TimeDelta::seconds(length - into))
            }
        }
    }
}

/// When the freeze ends that `now` lies in, and the window that keeps it until then: where windows meet or overlap,
/// the end of the last of them.
pub fn frozen(windows: &[Freeze], now: DateTime<Utc>) -> Option<(DateTime<Utc>, &Freeze)> {
    let mut found: Option<(DateTime<Utc>, &Freeze)> = None;
    // Windows that cover all of the time between them never end: then so many steps say enough.
    for _ in 0..=windows.len() * 8 {
        let at = found.map_or(now, |(end, _)| end);
        let next = windows.iter().filter_map(|window| Some((window.ends(at)?, window)));
        match next.max_by_key(|(end, _)| *end) {
            Some(longer) => found = Some(longer),
            None => return found,
        }
    }
    found
}

fn moment(text: &str) -> Result<Moment, NotAFreeze> {
    match text.split_once(' ') {
        None => Ok(Moment::OfDay(time(text)?)),
        Some((day, clock)) => match WEEKDAYS.iter().zip(0..).find(|(name, _)| name.eq_ignore_ascii_case(day))
        {
            Some((_, number)) => Ok(Moment::OfWeek(number * DAY + time(clock)?)),
            None => NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M")
                .map(|at| Moment::At(at.and_utc()))
                .map_err(|_| NotAFreeze::Form),
        },
    }
}

/// Seconds since midnight of `HH:MM`; 24:00 is the next one.
fn time(text: &str) -> Result<i64, NotAFreeze> {
    let (hours, minutes) = text.split_once(':').ok_or(NotAFreeze::Form)?;
    let number = |digits: &str, most: i64| {
        let fine = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|number| fine && *number <= most).ok_or(NotAFreeze::Form)
    };
    let seconds = (number(hours, 24)? * 60 + number(minutes, 59)?) * MINUTE;
    if seconds > DAY { Err(NotAFreeze::Form) } else { Ok(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc()
    }

    fn ends(window: &str, now: &str) -> Option<String> {
        let end = Freeze::parse(window).unwrap().ends(at(now))?;
        Some(end.format("%F %T").to_string())
    }

    #[test]
    fn a_weekly_window_may_go_over_the_end_of_the_week() {
        let window = "FRI 16:00 - MON 08:00";
        // 2026-11-20 is a Friday.
        assert_eq!(ends(window, "2026-11-20 15:59:59"), None);
        for inside in ["2026-11-20 16:00:00", "2026-11-22 12:30:45", "2026-11-23 07:59:59"] {
            assert_eq!(ends(window, inside).as_deref(), Some("2026-11-23 08:00:00"), "{inside}");
        }
        assert_eq!(ends(window, "2026-11-23 08:00:00"), None);
        assert_eq!(
            ends("tue 09:00 - tue 17:00", "2026-11-24 12:00:00").as_deref(),
            Some("2026-11-24 17:00:00")
        );
        assert_eq!(
            ends("TUE 17:00 - TUE 09:00", "2026-11-24 12:00:00"),
            None,
            "all week but Tuesday's hours"
        );
    }

    #[test]
    fn a_daily_window_may_go_over_midnight() {
        assert_eq!(ends("22:00 - 06:00", "2026-11-22 23:00:00").as_deref(), Some("2026-11-23 06:00:00"));
        assert_eq!(ends("22:00 - 06:00", "2026-11-23 05:59:00").as_deref(), Some("2026-11-23 06:00:00"));
        assert_eq!(ends("22:00 - 06:00", "2026-11-23 06:00:00"), None);
        assert_eq!(ends("18:00 - 24:00", "2026-11-22 20:00:00").as_deref(), Some("2026-11-23 00:00:00"));
    }

    #[test]
    fn a_dated_window_comes_once() {
        let window = "2026-12-23 12:00 - 2027-01-02 08:00";
        assert_eq!(ends(window, "2026-12-24 00:00:00").as_deref(), Some("2027-01-02 08:00:00"));
        assert_eq!(ends(window, "2026-12-23 11:59:59"), None);
        assert_eq!(ends(window, "2027-12-24 00:00:00"), None);
    }

    #[test]
    fn windows_that_meet_are_one_freeze() {
        let windows = ["FRI 16:00 - SUN 00:00", "SUN 00:00 - MON 08:00", "06:00 - 09:00"]
            .map(|text| Freeze::parse(text).unwrap());
        let (end, last) = frozen(&windows, at("2026-11-20 17:00:00")).unwrap();
        assert_eq!((end, last.text()), (at("2026-11-23 09:00:00"), "06:00 - 09:00"));
        assert_eq!(frozen(&windows, at("2026-11-24 12:00:00")), None);
        let always = ["00:00 - 12:00", "12:00 - 24:00"].map(|text| Freeze::parse(text).unwrap());
        assert!(frozen(&always, at("2026-11-24 12:00:00")).is_some());
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "FRI",
            "FRI 16:00",
            "FRI 16:00-MON 08:00",
            "FRI 16:00 - 08:00",
            "FR 16:00 - MO 08:00",
            "25:00 - 26:00",
            "1:00 - 2:00",
            "24:30 - 01:00",
            "2026-13-01 00:00 - 2026-12-01 00:00",
            "a:bc - d:ef",
        ] {
            assert_eq!(Freeze::parse(text), Err(NotAFreeze::Form), "{text}");
        }
        assert_eq!(Freeze::parse("MON 08:00 - MON 08:00"), Err(NotAFreeze::Empty));
        assert_eq!(Freeze::parse("2027-01-02 00:00 - 2026-01-02 00:00"), Err(NotAFreeze::Backwards));
    }
}
