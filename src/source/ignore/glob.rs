//! One `.dockerignore` pattern: shell wildcards per path segment, plus `**` for any number of segments.

/// A parsed pattern. Matching steps through the pieces once, keeping the set of positions reached, so that no
/// pattern can make it slow.
#[derive(Debug)]
pub(super) struct Glob(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Char(char),
    /// `?`
    NotSlash,
    /// `*`
    Segment,
    /// `**` or `**/` before something else: nothing, or anything that ends in a slash.
    Folders,
    /// `**` at the end: anything.
    Anything,
    /// `[a-z]`, `[^a-z]`
    OneOf {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl Glob {
    pub(super) fn parse(pattern: &str) -> Result<Self, &'static str> {
        let chars: Vec<char> = pattern.chars().collect();
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            at += 1;
            match c {
                '*' if chars.get(at) == Some(&'*') => {
                    at += 1;
                    let loose = pieces.is_empty() && is_plain(&chars[at..]);
                    let slash = chars.get(at) == Some(&'/');
                    at += usize::from(slash);
                    // `**tail` without another wildcard is a plain "ends with" to the builder, while
                    // `**tail*` wants the tail to begin a segment.
                    let anything = at == chars.len() || (loose && !slash);
                    pieces.push(if anything { Piece::Anything } else { Piece::Folders });
                }
                '*' => pieces.push(Piece::Segment),
                '?' => pieces.push(Piece::NotSlash),
                '[' => pieces.push(class(&chars, &mut at)?),
                '\\' => {
                    pieces.push(Piece::Char(*chars.get(at).ok_or("a backslash ends the pattern")?));
                    at += 1;
                }
                other => pieces.push(Piece::Char(other)),
            }
        }
        Ok(Self(pieces))
    }

    pub(super) fn matches(&self, path: &[char]) -> bool {
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for piece in &self.0 {
            reached = piece.step(&reached, path);
        }
        reached[path.len()]
    }
}

impl Piece {
    /// From the positions reached before this piece to those reached after it.
    fn step(&self, before: &[bool], path: &[char]) -> Vec<bool> {
        let mut after = vec![false; before.len()];
        let mut started = false;
        for at in 0..before.len() {
            let last = at.checked_sub(1).map(|previous| path[previous]);
            let one = |fits: bool| fits && before[at - 1];
            after[at] = match (self, last) {
                (Piece::Segment, Some(c)) => before[at] || (after[at - 1] && c != '/'),
                (Piece::Folders, Some('/')) => before[at] || started,
                (Piece::Segment | Piece::Folders, _) => before[at],
                (Piece::Anything, _) => before[at] || started,
                (_, None) => false,
                (Piece::Char(wanted), Some(c)) => one(*wanted == c),
                (Piece::NotSlash, Some(c)) => one(c != '/'),
                (Piece::OneOf { ranges, negated }, Some(c)) => {
                    one(ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated)
                }
            };
            started |= before[at];
        }
        after
    }
}

fn is_plain(rest: &[char]) -> bool {
    !rest.iter().any(|c| matches!(c, '*' | '?' | '[' | ']' | '\\'))
}

/// Reads a class; `at` stands just after the `[` and ends just after the `]`.
fn class(chars: &[char], at: &mut usize) -> Result<Piece, &'static str> {
    const OPEN: &str = "a `[` is never closed";
    let negated = chars.get(*at) == Some(&'^');
    *at += usize::from(negated);
    let mut next = || -> Result<(char, bool), &'static str> {
        let c = *chars.get(*at).ok_or(OPEN)?;
        *at += 1;
        if c != '\\' {
            return Ok((c, false));
        }
        let escaped = *chars.get(*at).ok_or(OPEN)?;
        *at += 1;
        Ok((escaped, true))
    };
    let mut ranges: Vec<(char, char)> = Vec::new();
    let mut open_range = false;
    loop {
        match next()? {
            (']', false) if ranges.is_empty() => return Err("`[]` matches nothing"),
            (']', false) if open_range => return Err("a range in `[…]` has no end"),
            (']', false) => return Ok(Piece::OneOf { ranges, negated }),
            ('-', false) if !ranges.is_empty() && !open_range => open_range = true,
            (c, _) if open_range => {
                open_range = false;
                if let Some(last) = ranges.last_mut() {
                    last.1 = c;
                }
            }
            (c, _) => ranges.push((c, c)),
        }
    }
}
