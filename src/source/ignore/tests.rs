use super::*;

/// Walks down to `path` as a context walk does: each folder judged first, its answer handed on.
fn excluded(lines: &str, path: &str) -> bool {
    let ignore = Ignore::parse(lines).expect("pattern file");
    let mut inherited = Inherited::default();
    let mut verdict = false;
    for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
        (verdict, inherited) = ignore.judge(&path[..end], &inherited);
    }
    verdict
}

#[track_caller]
fn check(lines: &str, out: &[&str], kept: &[&str]) {
    for path in out {
        assert!(excluded(lines, path), "{lines:?} should exclude {path}");
    }
    for path in kept {
        assert!(!excluded(lines, path), "{lines:?} should keep {path}");
    }
}

#[test]
fn a_pattern_is_anchored_at_the_root() {
    check("node_modules", &["node_modules", "node_modules/a/b"], &["web/node_modules", "node_modules2"]);
    check("*.log", &["a.log", ".log"], &["logs/a.log", "a.log.txt"]);
    check("*/*.log", &["logs/a.log"], &["a.log", "x/logs/a.log"]);
    check("a/b", &["a/b", "a/b/c"], &["a", "a/c", "x/a/b"]);
}

#[test]
fn spelling_is_cleaned() {
    for spelled in ["foo", "/foo", "./foo", "foo/", " foo ", "bar/../foo", "/../foo", "foo//", "\u{feff}foo"]
    {
        check(spelled, &["foo", "foo/x"], &["bar", "x/foo"]);
    }
    check("../foo", &[], &["foo"]);
    for whole in [".", "/", "./", "a/.."] {
        check(whole, &[], &["a", "b/c"]);
    }
}

#[test]
fn comments_stand_in_the_first_column() {
    check("# foo\n\n  \nfoo", &["foo"], &["# foo"]);
    check("  #foo", &["#foo"], &["foo"]);
    check("foo #bar", &["foo #bar"], &["foo"]);
    check("foo\r\nbar\r\n", &["foo", "bar"], &[]);
}

#[test]
fn two_stars_cross_folders() {
    check("**/foo", &["foo", "a/foo", "a/b/foo", "a/foo/x"], &["afoo", "foo2"]);
    check("**/*.go", &["x.go", "a/b/x.go"], &["x.gone"]);
    check("a/**", &["a/b", "a/b/c"], &["a", "ab"]);
    check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb", "x/a/b"]);
    check("**", &["a", "a/b"], &[]);
    check("**/", &["a", "a/b"], &[]);
    check("a**", &["a", "ab", "ab/c"], &["ba"]);
    check("**foo", &["foo", "afoo", "x/afoo"], &["food"]);
    check("**foo?", &["food", "x/food"], &["afood"]);
    check("a/**/*.txt", &["a/x.txt", "a/b/c/x.txt"], &["x.txt"]);
}

#[test]
fn later_lines_win() {
    check("*.md\n!README.md", &["a.md"], &["README.md"]);
    check("*.md\n!README*.md\nREADME-secret.md", &["README-secret.md", "b.md"], &["README.md"]);
    check("*.md\nREADME-secret.md\n!README*.md", &["b.md"], &["README.md", "README-secret.md"]);
    check("!a\na", &["a"], &[]);
}

#[test]
fn what_is_inside_an_excluded_folder_can_come_back() {
    check("*\n!keep", &["a", "b/c"], &["keep", "keep/x/y"]);
    check("a\n!a/b/c", &["a", "a/b", "a/b/d", "a/x"], &["a/b/c", "a/b/c/d"]);
    check("a\n!**/*.txt", &["a", "a/b"], &["a/x.txt", "a/b/x.txt"]);
    check("! a\na/b", &["a/b"], &["a/c"]);
    check("docs\n! docs/keep.md", &["docs/x"], &["docs/keep.md"]);
}

#[test]
fn a_take_back_not_yet_due_at_the_folder_does_not_reach_its_content() {
    // At `a` nothing is excluded, so `!a` is not looked at and not inherited; at `a/x` it does not match.
    check("*/x\n!a", &["a/x"], &["a", "a/y"]);
    check("*/x\n!a/x", &["b/x"], &["a/x"]);
}

#[test]
fn wildcards_stay_in_one_segment() {
    check("a?c", &["abc"], &["a/c", "ac"]);
    check("a*c", &["ac", "abbc", "abc/d"], &["a/c"]);
    check("temp?", &["tempa", "temp1/x"], &["temp", "a/tempa"]);
    check("*/temp*", &["a/temporary.txt", "a/temp"], &["temp", "a/b/temp"]);
}

#[test]
fn classes_and_escapes_are_read() {
    check("[a-c]x", &["ax", "cx"], &["dx", "-x"]);
    check("[^a-c]x", &["dx"], &["ax"]);
    check("[!a]x", &["!x", "ax"], &["bx"]);
    check(r"\!important", &["!important"], &["important"]);
    check(r"a\*b", &["a*b"], &["axb"]);
    check(r"[\]a]", &["]", "a"], &["b"]);
    check("a.b", &["a.b"], &["axb"]);
    check("a+(b)|{c}$", &["a+(b)|{c}$"], &["aab"]);
    check("grün?", &["grünx"], &["grün"]);
}

#[test]
fn bad_lines_are_named() {
    for (text, line, why) in [
        ("a\n!", 2, "followed by a pattern"),
        ("[", 1, "never closed"),
        ("a\n\nb[a-", 3, "never closed"),
        ("[]", 1, "matches nothing"),
        ("x[a-]", 1, "no end"),
        ("a\\", 1, "backslash"),
    ] {
        let error = Ignore::parse(text).expect_err(text);
        assert_eq!(error.line, line, "{text}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_hostile_pattern_stays_quick() {
    let pattern = format!("{}b", "**/*a*".repeat(60));
    assert!(!excluded(&pattern, &"a".repeat(4000)));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_but_never_breaks(text in "[a-c*?!#/\\[\\]^\\\\. \n-]{0,24}", path in "[a-c]{1,3}(/[a-c]{1,3}){0,3}") {
        if let Ok(ignore) = Ignore::parse(&text) {
            let _ = ignore.judge(&path, &Inherited::default());
        }
    }
}
