//! How a length of time, a size, a share of the processor and "not set" are written in the configuration.
//!
//! Every refusal is two lines: what is wrong, and how to write it. The reader of the file takes them apart.

use std::time::Duration;

use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes. Written `512m` or `1g`; a unit is 1024 of the one before it, as in compose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZES: [(&str, u64); 5] = [("t", 1 << 40), ("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10), ("b", 1)];
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Splits what follows the leading digits off: `15m` is `(15, "m")`.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn parse_size(text: &str) -> Option<u64> {
    let (count, unit) = number(text)?;
    let unit = unit.to_ascii_lowercase();
    let short = match unit.len() {
        0 => return (count == 0).then_some(0),
        1 => unit.as_str(),
        _ => unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).filter(|short| *short != "b")?,
    };
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == short)?;
    count.checked_mul(*factor)
}

/// `30ms`, `10s`, `1m30s`, `30d`; whole milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (count, after) = number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (_, factor) = TIMES.iter().find(|(name, _)| *name == &after[..end])?;
        // Units must go down, so that `5s1m` and `1m1m` are seen as the slips they are.
        if *factor >= smallest {
            return None;
        }
        smallest = *factor;
        total = total.checked_add(count.checked_mul(*factor)?)?;
        rest = &after[end..];
    }
    (smallest != u64::MAX).then(|| Duration::from_millis(total))
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let unit = SIZES.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)).filter(|_| self.0 > 0);
        let (name, factor) = unit.unwrap_or(&("b", 1));
        out.collect_str(&format_args!("{}{name}", self.0 / factor))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_size(&text).map(Size).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a size\nwrite a whole number and a unit, b, k, m, g or t: \"512m\", \"1g\""
            ))
        })
    }
}

/// For `#[serde(with = "duration")]`: `30ms`, `10s`, `1m30s`, `30d`; whole milliseconds.
pub(super) mod duration {
    use super::*;

    pub(in crate::config) fn serialize<S: Serializer>(time: &Duration, out: S) -> Result<S::Ok, S::Error> {
        let millis = time.as_millis() as u64;
        // `60s` reads better than `1m`, and is what people write: the largest unit that is there twice.
        let unit = TIMES.iter().find(|(_, factor)| millis.is_multiple_of(*factor) && millis / factor > 1);
        let (name, factor) = unit.unwrap_or(if millis == 0 { &("s", 1_000) } else { &("ms", 1) });
        out.collect_str(&format_args!("{}{name}", millis / factor))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse_duration(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a length of time\nwrite whole numbers with a unit, ms, s, m, h or d: \"30ms\", \"10s\", \"1m30s\""
            ))
        })
    }
}

/// For `#[serde(with = "or_empty")]`: the empty text is "not set", so that every key can be shown in the sample.
pub(super) mod or_empty {
    use super::*;

    pub(in crate::config) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<T>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(out),
            None => out.serialize_str(""),
        }
    }

    pub(in crate::config) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() { Ok(None) } else { T::deserialize(text.into_deserializer()).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        for (text, millis) in [
            ("30ms", 30),
            ("0s", 0),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn durations_that_are_slips_are_refused() {
        for text in
            ["", "10", "s", "1.5s", "-1s", "10 s", "5s1m", "1m1m", "1w", "99999999999999999999s", "1s "]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_read_in_steps_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("7b", 7),
            ("1k", 1024),
            ("2M", 2 << 20),
            ("1gb", 1 << 30),
            ("1GiB", 1 << 30),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "10", "g", "1.5g", "-1g", "1 g", "1x", "99999999999t", "1kbb", "1bb"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        #[derive(Serialize, Deserialize)]
        struct Time(#[serde(with = "duration")] Duration);
        for millis in [0, 1, 30, 1_000, 60_000, 61_000, 3_600_000, 86_400_000, 2_592_000_000] {
            let text = serde_json::to_string(&Time(Duration::from_millis(millis))).unwrap();
            let back: Time = serde_json::from_str(&text).unwrap();
            assert_eq!(back.0.as_millis() as u64, millis, "{text}");
        }
        for bytes in [0, 1, 1024, 1025, 1 << 30] {
            let text = serde_json::to_string(&Size(bytes)).unwrap();
            assert_eq!(serde_json::from_str::<Size>(&text).unwrap(), Size(bytes), "{text}");
        }
    }
}
