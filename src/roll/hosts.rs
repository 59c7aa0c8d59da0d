//! Lines in `/etc/hosts` of running containers: the file lies on the host, one for each container, made by the engine,
//! which asks nothing of lines that it did not write, and writes the file anew when the container starts again.
//!
//! A caller may read the file at any moment, so no address is ever half there: new lines are added behind the last,
//! and an old one is struck out by its first byte.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const MARK: &str = "# agent: while this name moves";

/// A line that leads these names to an address.
pub(super) fn line(address: std::net::Ipv4Addr, names: &[String]) -> String {
    format!("{address}\t{} {MARK}", names.join(" "))
}

/// Afterwards the file has these lines of the agent's, and no other of them. While lines are exchanged both are there.
pub(super) fn set(file: &Path, lines: &BTreeSet<String>) -> io::Result<()> {
    let mut text = String::new();
    File::open(file)?.read_to_string(&mut text)?;
    let change = change(&text, lines);
    if change == Change::default() {
        return Ok(());
    }
    let mut end = OpenOptions::new().append(true).open(file)?;
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    if let Err(error) = end.write_all(change.add.as_bytes()) {
        // Half a line would not be known again.
        file.set_len(text.len() as u64)?;
        return Err(error);
    }
    for at in change.strike {
        // Unless the engine has written the file anew meanwhile.
        let mut line = vec![0; text[at as usize..].find('\n').map_or(0, |end| end + 1)];
        file.read_exact_at(&mut line, at)?;
        if text.as_bytes()[at as usize..].starts_with(&line) {
            file.write_all_at(b"#", at)?;
        }
    }
    match change.cut {
        Some(length) if file.metadata()?.len() == text.len() as u64 => file.set_len(length),
        _ => Ok(()),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Change {
    add: String,
    /// Where lines begin that are to be struck out, in bytes.
    strike: Vec<u64>,
    /// How long the file is without what the agent has written at its end, in bytes.
    cut: Option<u64>,
}

fn change(text: &str, wanted: &BTreeSet<String>) -> Change {
    let (mut missing, mut strike, mut at, mut end) = (wanted.clone(), Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        let begin = at;
        at += line.len() as u64;
        if !line.trim_end().ends_with(MARK) {
            end = at;
        } else if !line.starts_with('#') && !missing.remove(line.trim_end()) {
            strike.push(begin);
        }
    }
    let mut add = String::new();
    if !missing.is_empty() && !text.ends_with('\n') {
        add.push('\n');
    }
    for line in missing {
        add.push_str(&line);
        add.push('\n');
    }
    let cut = (wanted.is_empty() && end < at).then_some(end);
    Change { add, strike, cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINES: &str = "127.0.0.1\tlocalhost\n172.20.0.3\t5f1c\n";

    fn one(last: u8) -> BTreeSet<String> {
        [line([172, 20, 0, last].into(), &["web".to_owned(), "www".to_owned()])].into()
    }

    fn written(lines: &[BTreeSet<String>]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts");
        std::fs::write(&file, ENGINES).unwrap();
        for lines in lines {
            set(&file, lines).unwrap();
        }
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn lines_are_added_behind_the_engines() {
        let expected = format!("{ENGINES}172.20.0.5\tweb www {MARK}\n");
        assert_eq!(written(&[one(5)]), expected);
        assert_eq!(written(&[one(5), one(5)]), expected);
    }

    #[test]
    fn the_new_line_is_there_before_the_old_one_is_struck_out() {
        let text = format!("{ENGINES}172.20.0.5\tweb www {MARK}\n");
        let change = change(&text, &one(17));
        assert_eq!(change.add, format!("172.20.0.17\tweb www {MARK}\n"));
        assert_eq!(change.strike, [ENGINES.len() as u64]);
        let struck = format!("{ENGINES}#72.20.0.5\tweb www {MARK}\n172.20.0.17\tweb www {MARK}\n");
        assert_eq!(written(&[one(5), one(17)]), struck);
    }

    #[test]
    fn at_the_end_the_file_is_the_engines_again() {
        assert_eq!(written(&[one(5), one(17), BTreeSet::new()]), ENGINES);
        assert_eq!(written(&[BTreeSet::new()]), ENGINES);
    }

    #[test]
    fn what_the_engine_has_added_meanwhile_stays() {
        let text = format!("{ENGINES}172.20.0.5\tweb {MARK}\n172.21.0.3\t5f1c\n");
        let change = change(&text, &BTreeSet::new());
        assert_eq!((change.strike, change.cut), (vec![ENGINES.len() as u64], None));
    }

    #[test]
    fn a_last_line_without_an_end_gets_one() {
        assert_eq!(change("127.0.0.1\tlocalhost", &one(5)).add, format!("\n172.20.0.5\tweb www {MARK}\n"));
    }
}
