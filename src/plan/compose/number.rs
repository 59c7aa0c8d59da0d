//! Numbers, durations and sizes as the reference implementation reads and prints them. Texts only: which
//! key holds which of them is the schema's business.

use std::time::Duration;

use super::tree::Value;

/// What a plain (unquoted) scalar means. `yes`, `on`, dates and `22:22` stay text.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    // A cheap look first: most scalars are words.
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Value::Text(text.to_owned());
    }
    let digits = text.replace('_', "");
    integer(&digits)
        .map(Value::Int)
        .or_else(|| float(&digits).map(Value::Float))
        .unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// Decimal, `0x…`, `0b…`, and octal as `0o…` or with a leading zero.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    Some(if negative { -value } else { value })
}

/// A decimal fraction, with an exponent or without.
pub(super) fn float(text: &str) -> Option<f64> {
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if !text.contains(|c: char| c.is_ascii_digit()) || !text.chars().all(allowed) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The shortest text that reads back as the same number; an exponent below 1e-4 and from 1e21.
pub(super) fn float_text(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..21).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

/// `1h30m`, `1.5s`, `500ms`, `2d`, `1w`; a bare `0` is allowed. Never negative.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0u128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (amount, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        let nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        total = total.checked_add(scaled(amount, nanos)?)?;
        rest = next;
    }
    // The reference keeps durations as signed 64-bit nanoseconds.
    let nanos = u64::try_from(total).ok().filter(|nanos| i64::try_from(*nanos).is_ok())?;
    (!text.is_empty()).then(|| Duration::from_nanos(nanos))
}

/// `amount` (decimal digits with at most one point) times `unit`, rounded down.
fn scaled(amount: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u128>().ok()?.checked_mul(unit)? / 10u128.pow(u32::try_from(fraction.len()).ok()?)
    };
    whole.checked_mul(unit)?.checked_add(part)
}

/// As the reference prints a duration: `1h0m0s`, `1m30s`, `1.5s`, `500ms`.
pub(super) fn duration_text(value: Duration) -> String {
    let nanos = value.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` as a decimal fraction without trailing zeros. `unit` is a power of ten.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.to_string().len() - 1;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

/// A size in bytes: `64m`, `1.5g`, `512`, `10 kb`; units count in 1024s.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (amount, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    u64::try_from(scaled(amount, 1 << power)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_reference_makes_of_them() {
        let word = |text: &str| super::super::tree::Node::new(Default::default(), plain(text)).word();
        for (text, expected) in [
            ("1.50", "1.5"),
            ("yes", "yes"),
            ("012", "10"),
            ("0x1F", "31"),
            ("1_000", "1000"),
            ("True", "true"),
            ("1e3", "1000"),
            ("0o17", "15"),
            ("-5", "-5"),
            ("12345678901234567890", "12345678901234567890"),
            ("1e21", "1e+21"),
            ("0.000001", "1e-06"),
            ("0b11", "3"),
            ("+5", "5"),
            ("1.", "1"),
            (".5", "0.5"),
            ("08", "8"),
            ("22:22", "22:22"),
            ("2001-01-01", "2001-01-01"),
            ("1.2.3", "1.2.3"),
            ("0", "0"),
            ("-", "-"),
            (".", "."),
        ] {
            assert_eq!(word(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(plain("~"), Value::Null);
    }

    #[test]
    fn durations_read_and_print() {
        for (text, printed) in [
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("1.5s", "1.5s"),
            ("500ms", "500ms"),
            ("1h", "1h0m0s"),
            ("1d", "24h0m0s"),
            ("1w", "168h0m0s"),
            ("0", "0s"),
            ("1500us", "1.5ms"),
            (".5s", "500ms"),
        ] {
            assert_eq!(duration(text).map(duration_text).as_deref(), Some(printed), "{text}");
        }
        for bad in ["", "10", "s", "1x", "-1s", "1..5s", ".s", "1s 2s", "99999999999h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_count_in_1024s() {
        for (text, expected) in [
            ("512", 512),
            ("1k", 1024),
            ("64mb", 64 << 20),
            ("1.5g", 3 << 29),
            ("10 KiB", 10_240),
            ("2B", 2),
            ("1p", 1 << 50),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for bad in ["", "x", "1q", "-1", "1 2", "1..2", "99999999p"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
