//! Moments and spans in the words of people.

use chrono::{DateTime, Local, NaiveDateTime};

/// What time it is, and where.
#[derive(Clone, Copy)]
pub struct Clock {
    /// Milliseconds since the Unix epoch.
    pub now: i64,
    /// A moment on the clock of the wall.
    pub wall: fn(i64) -> NaiveDateTime,
}

impl Clock {
    pub fn local() -> Self {
        Self { now: chrono::Utc::now().timestamp_millis(), wall }
    }

    /// `14:02` today, `21 Nov 14:02` this year, else with the year.
    pub fn at(&self, millis: i64) -> String {
        let (then, now) = ((self.wall)(millis), (self.wall)(self.now));
        let form = if then.date() == now.date() {
            "%H:%M"
        } else if then.format("%Y").to_string() == now.format("%Y").to_string() {
            "%-d %b %H:%M"
        } else {
            "%-d %b %Y %H:%M"
        };
        then.format(form).to_string()
    }

    /// `14:02` today, else the date alone.
    pub fn roughly(&self, millis: i64) -> String {
        let (then, now) = ((self.wall)(millis), (self.wall)(self.now));
        let form = if then.date() == now.date() { "%H:%M" } else { "%-d %b" };
        then.format(form).to_string()
    }

    /// `14:02:07`.
    pub fn second(&self, millis: i64) -> String {
        (self.wall)(millis).format("%H:%M:%S").to_string()
    }

    /// `2 h ago`, `in 40 s`.
    pub fn ago(&self, millis: i64) -> String {
        match self.now - millis {
            ahead if ahead <= -1000 => format!("in {}", span(-ahead)),
            past if past < 1000 => "just now".to_owned(),
            past => format!("{} ago", span(past)),
        }
    }
}

fn wall(millis: i64) -> NaiveDateTime {
    DateTime::from_timestamp_millis(millis).unwrap_or_default().with_timezone(&Local).naive_local()
}

/// A span in its largest unit: for what lasts.
pub fn span(millis: i64) -> String {
    let seconds = millis / 1000;
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A span to the tenth of a second while that matters: for what was waited for.
pub fn took(millis: i64) -> String {
    match millis {
        ..60_000 => format!("{:.1} s", millis as f64 / 1000.0),
        _ => format!("{} min {} s", millis / 60_000, millis / 1000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(millis: i64) -> NaiveDateTime {
        DateTime::from_timestamp_millis(millis).unwrap().naive_utc()
    }

    fn millis(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn a_moment_says_only_as_much_of_the_date_as_is_needed() {
        let clock = Clock { now: millis("2026-11-22T16:00:00Z"), wall: utc };
        let at = |text| clock.at(millis(text));
        assert_eq!(at("2026-11-22T14:02:07Z"), "14:02");
        assert_eq!(at("2026-11-05T14:02:07Z"), "5 Nov 14:02");
        assert_eq!(at("2025-11-05T14:02:07Z"), "5 Nov 2025 14:02");
        assert_eq!(clock.roughly(millis("2026-11-22T14:02:07Z")), "14:02");
        assert_eq!(clock.roughly(millis("2025-11-05T14:02:07Z")), "5 Nov");
        assert_eq!(clock.second(millis("2026-11-22T14:02:07Z")), "14:02:07");
    }

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        let clock = Clock { now: 1_000_000_000, wall: utc };
        let told: Vec<String> =
            [0, 59, 60, 7199, 172_800].iter().map(|s| clock.ago(clock.now - s * 1000)).collect();
        assert_eq!(told, ["just now", "59 s ago", "1 min ago", "1 h ago", "2 days ago"]);
        assert_eq!(clock.ago(clock.now + 40_000), "in 40 s");
        assert_eq!([took(8_440), took(72_000)], ["8.4 s", "1 min 12 s"]);
    }
}
