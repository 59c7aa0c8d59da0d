//! What a value must be to stand in the nginx configuration. Each reader accepts a small alphabet, so that no
//! label can end a directive, open a block or mean something else to nginx than to the person who wrote it.

/// A refused value: the message without its beginning, and the hint.
pub type Refused = (&'static str, &'static str);

/// A path as nginx compares it with a decoded request path, so nothing that would be encoded or folded.
pub fn path(text: &str) -> Result<String, Refused> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'~' | b'-');
    if !text.starts_with('/') {
        Err(("does not begin with a slash", "write for example /shop/"))
    } else if !text.bytes().all(plain) {
        Err(("has a character that a route's path cannot have", "use letters, digits and - . _ ~ / only"))
    } else if text.contains("//") || text.split('/').any(|part| part == "." || part == "..") {
        Err((
            "has an empty, `.` or `..` part, which no request has when it is compared",
            "write the path without it",
        ))
    } else if text.len() > 200 {
        Err(("is longer than 200 characters", "write a shorter prefix"))
    } else {
        Ok(text.to_owned())
    }
}

/// A host name, or `*.` before one; lower case.
pub fn host(text: &str) -> Result<String, Refused> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if name.contains(':') {
        Err(("has a port or is an address", "write the name alone; the port belongs into `listen`"))
    } else if name.len() > 253 || !name.split('.').all(part) {
        Err(("is not a host name", "write for example shop.example.com or *.example.com (xn--… for others)"))
    } else {
        Ok(text.to_ascii_lowercase())
    }
}

/// `10m`, `512k`, `1g` or bytes; `0` is without limit.
pub fn size(text: &str) -> Result<String, Refused> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K' | b'm' | b'M' | b'g' | b'G') => text.split_at(text.len() - 1),
        _ => (text, ""),
    };
    // nginx counts in bytes, in 63 bits: nine digits and a `g` stay below.
    if (1..=9).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()) {
        Ok(format!("{number}{}", unit.to_ascii_lowercase()))
    } else {
        Err(("is not a size", "write for example 10m, 512k or 1g"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_plain() {
        for good in ["/", "/django/", "/django", "/a/b-c_d.e~f/"] {
            assert_eq!(path(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "django", "/a b", "/a;b", "/a{", "/$x", "/a//b", "/../a", "/.", "/ä", "/%41", "/a\n", "/#"]
        {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert!(path(&format!("/{}", "a".repeat(200))).is_err());
    }

    #[test]
    fn hosts_are_names() {
        assert_eq!(host("Shop.Example.com").as_deref(), Ok("shop.example.com"));
        assert_eq!(host("*.example.com").as_deref(), Ok("*.example.com"));
        for bad in
            ["", "*", "a..b", "a.", ".a", "-a", "a b", "a;", "~^x$", "_", "a:80", "[::1]", "*.*.a", "ä.de"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_what_nginx_can_count() {
        assert_eq!(size("10M").as_deref(), Ok("10m"));
        assert_eq!(size("0").as_deref(), Ok("0"));
        for bad in ["", "m", "10mb", "1.5m", "-1", "10 m", "9999999999g", "10m;"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
