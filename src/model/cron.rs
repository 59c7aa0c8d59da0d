//! From the five fields people write to what the `cron` crate reads.
//!
//! The crate wants a field of seconds first, counts the days of the week from Sunday = 1 and joins the two
//! day fields with *and*. crontab(5) has no seconds, Sunday = 0 or 7, and joins the day fields with *or* when
//! both are restricted. A line copied from a crontab must mean here what it meant there.

use std::str::FromStr;

use chrono::DateTime;

/// Why a line is no schedule.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error("`{text}` has {count} fields, not five")]
    Fields { text: String, count: usize },
    #[error("`{item}` in `{text}` is no day of the week")]
    Day { text: String, item: String },
    #[error("`{text}` is not a schedule")]
    Syntax { text: String, source: cron::error::Error },
    #[error("`{text}` never comes")]
    Never { text: String },
}

impl LineError {
    /// How to write it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Fields { .. } => {
                "minute, hour, day, month, weekday: every five minutes is \"*/5 * * * *\"; \"off\" turns polling off"
            }
            Self::Day { .. } => "write SUN to SAT or 0 to 7, as in MON-FRI or 1,3,5",
            Self::Syntax { .. } => "every five minutes is \"*/5 * * * *\"; \"off\" turns polling off",
            Self::Never { .. } => "there is no such day in any year",
        }
    }
}

/// The line as one or two schedules, in UTC; it fires when any of them does. A line that can never fire is refused.
pub fn parse(text: &str) -> Result<Vec<cron::Schedule>, LineError> {
    let line = shorthand(text.trim());
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(LineError::Fields { text: text.to_owned(), count: fields.len() });
    };
    let weekdays =
        days(weekday).ok_or_else(|| LineError::Day { text: text.to_owned(), item: weekday.to_owned() })?;
    let either = !unrestricted(day) && !unrestricted(weekday);
    let written = if either {
        vec![format!("0 {minute} {hour} {day} {month} *"), format!("0 {minute} {hour} * {month} {weekdays}")]
    } else {
        vec![format!("0 {minute} {hour} {day} {month} {weekdays}")]
    };
    let lines = written
        .iter()
        .map(|line| cron::Schedule::from_str(line))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| LineError::Syntax { text: text.to_owned(), source })?;
    // From 1970 on: whether a line without a year ever fires does not depend on today.
    if lines.iter().all(|line| line.after(&DateTime::UNIX_EPOCH).next().is_none()) {
        return Err(LineError::Never { text: text.to_owned() });
    }
    Ok(lines)
}

fn shorthand(text: &str) -> &str {
    match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    }
}

/// crontab(5) looks at the first character only: `*/2` leaves the other day field to decide with it.
fn unrestricted(field: &str) -> bool {
    field.starts_with(['*', '?'])
}

const NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The days of a day-of-week field by name, or `*`.
fn days(field: &str) -> Option<String> {
    let mut chosen = [false; 7];
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (item, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (0, 6),
            Some((first, last)) => (number(first)?, number(last)?),
            // `3/2`: from there to the end of the week.
            None if item.contains('/') => (number(range)?, 6),
            None => (number(range)?, number(range)?),
        };
        // `FRI-MON` goes over the end of the week.
        let last = if last < first { last + 7 } else { last };
        (first..=last).step_by(step).for_each(|day| chosen[day % 7] = true);
    }
    if chosen == [true; 7] {
        return Some("*".to_owned());
    }
    let names = NAMES.into_iter().zip(chosen).filter_map(|(name, chosen)| chosen.then_some(name));
    Some(names.collect::<Vec<_>>().join(","))
}

fn number(text: &str) -> Option<usize> {
    match text.parse() {
        Ok(number) => (number <= 7).then_some(number),
        Err(_) => NAMES.iter().position(|name| name.eq_ignore_ascii_case(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first `count` times after Thursday 1 January 2026, as `day-of-week day.month hour:minute`.
    fn times(text: &str, count: usize) -> Vec<String> {
        let lines = parse(text).unwrap();
        let mut now = "2026-01-01T00:00:00Z".parse::<DateTime<chrono::Utc>>().unwrap();
        let mut times = Vec::new();
        while times.len() < count {
            now = lines.iter().filter_map(|line| line.after(&now).next()).min().unwrap();
            times.push(now.format("%a %-d.%-m %H:%M").to_string());
        }
        times
    }

    #[test]
    fn five_fields_mean_what_they_mean_in_a_crontab() {
        assert_eq!(times("* * * * *", 2), ["Thu 1.1 00:01", "Thu 1.1 00:02"]);
        assert_eq!(times("*/20 3 * * *", 3), ["Thu 1.1 03:00", "Thu 1.1 03:20", "Thu 1.1 03:40"]);
        assert_eq!(times("15 2,14 * 3 *", 2), ["Sun 1.3 02:15", "Sun 1.3 14:15"]);
        assert_eq!(times("@hourly", 1), ["Thu 1.1 01:00"]);
        assert_eq!(times("@weekly", 1), ["Sun 4.1 00:00"]);
    }

    #[test]
    fn the_week_begins_on_sunday_with_nought_or_seven() {
        assert_eq!(times("0 3 * * 1", 1), ["Mon 5.1 03:00"]);
        assert_eq!(times("0 3 * * 0", 1), ["Sun 4.1 03:00"]);
        assert_eq!(times("0 3 * * 7", 1), ["Sun 4.1 03:00"]);
        assert_eq!(
            times("0 3 * * 5-7", 4),
            ["Fri 2.1 03:00", "Sat 3.1 03:00", "Sun 4.1 03:00", "Fri 9.1 03:00"]
        );
        assert_eq!(times("0 3 * * fri-mon/3", 3), ["Fri 2.1 03:00", "Mon 5.1 03:00", "Fri 9.1 03:00"]);
        assert_eq!(times("0 3 * * */3", 3), ["Sat 3.1 03:00", "Sun 4.1 03:00", "Wed 7.1 03:00"]);
        assert_eq!(times("0 3 * * Tue,6", 2), ["Sat 3.1 03:00", "Tue 6.1 03:00"]);
    }

    #[test]
    fn two_restricted_day_fields_are_joined_with_or() {
        assert_eq!(times("0 0 13 * 5", 3), ["Fri 2.1 00:00", "Fri 9.1 00:00", "Tue 13.1 00:00"]);
        assert_eq!(times("0 0 */13 * 5", 2), ["Fri 27.2 00:00", "Fri 27.3 00:00"]);
    }

    #[test]
    fn a_rare_day_fires_in_its_year() {
        assert_eq!(times("0 0 29 2 *", 1), ["Tue 29.2 00:00"]);
    }

    #[test]
    fn what_can_never_fire_or_cannot_be_read_is_refused() {
        assert!(matches!(parse("0 3 31 2 *"), Err(LineError::Never { .. })));
        assert!(matches!(parse("0 * * * * *"), Err(LineError::Fields { count: 6, .. })));
        assert!(matches!(parse(""), Err(LineError::Fields { count: 0, .. })));
        assert!(matches!(parse("@reboot"), Err(LineError::Fields { count: 1, .. })));
        for day in ["8", "5L", "MON#2", "*/0", "MONDAYISH", "1-", ""] {
            let line = format!("0 3 * * {day}x");
            assert!(matches!(parse(&line), Err(LineError::Day { .. })), "{line}");
        }
        for line in ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "a * * * *", "*/0 * * * *"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
