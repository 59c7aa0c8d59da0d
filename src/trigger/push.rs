//! What a forge's webhook says, in one form for all forges, and whether it is about the branch we watch.

/// A verified webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// The sender's id, the same when it is sent again.
    pub(super) id: String,
    pub(super) notice: Notice,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The hook was made, or someone pressed "test".
    Ping,
    /// Every reference that moved; some forges tell of several at once.
    Push(Vec<Push>),
    /// An event by its name that moves no branch.
    Other(String),
}

/// A reference that moved. The commits it names are left out on purpose: an old push can be sent again with
/// a signature that is right for ever, so they may not decide anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Push {
    /// `owner/name`
    pub(super) repository: String,
    /// In full: `refs/heads/main`.
    pub(super) reference: String,
    pub(super) deleted: bool,
}

/// Why none of `pushes` says anything new about `branch` of one of `repositories`; `None` if one may.
pub(super) fn beside_the_point(pushes: &[Push], repositories: &[String], branch: &str) -> Option<String> {
    let mut reasons = Vec::new();
    for push in pushes {
        reasons.push(push.beside_the_point(repositories, branch)?);
    }
    // Of several, the last one says as much as any.
    Some(reasons.pop().unwrap_or_else(|| "nothing moved".to_owned()))
}

impl Push {
    /// Why this push says nothing new about `branch` of one of `repositories`; `None` if it may.
    fn beside_the_point(&self, repositories: &[String], branch: &str) -> Option<String> {
        let Self { repository, reference, deleted } = self;
        // Forges take names in any case and send them in the one chosen by the owner.
        if !repositories.iter().any(|name| name.eq_ignore_ascii_case(repository)) {
            return Some(format!("repository {} is not watched", shown(repository)));
        }
        let Some(pushed) = reference.strip_prefix("refs/heads/") else {
            let what =
                reference.strip_prefix("refs/tags/").map_or(("reference", &**reference), |tag| ("tag", tag));
            return Some(format!("{} {} is not a branch", what.0, shown(what.1)));
        };
        if pushed != branch {
            return Some(format!("branch {} is not deployed", shown(pushed)));
        }
        deleted.then(|| format!("branch {} was deleted", shown(pushed)))
    }
}

/// A text of the sender's in an answer or log: one line, of bounded length, nothing a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(repository: &str, reference: &str, deleted: bool) -> Option<String> {
        Push { repository: repository.into(), reference: reference.into(), deleted }
            .beside_the_point(&["Acme/shop".into(), "acme/blog".into()], "main")
    }

    #[test]
    fn only_the_watched_branch_of_a_watched_repository_matters() {
        assert_eq!(reason("acme/shop", "refs/heads/main", false), None);
        assert_eq!(reason("ACME/Blog", "refs/heads/main", false), None);
        for (repository, reference, deleted, expected) in [
            ("acme/other", "refs/heads/main", false, "repository `acme/other` is not watched"),
            ("acme/shop", "refs/heads/dev", false, "branch `dev` is not deployed"),
            ("acme/shop", "refs/heads/Main", false, "branch `Main` is not deployed"),
            ("acme/shop", "refs/heads/x/main", false, "branch `x/main` is not deployed"),
            ("acme/shop", "refs/tags/main", false, "tag `main` is not a branch"),
            ("acme/shop", "refs/notes/x", false, "reference `refs/notes/x` is not a branch"),
            ("acme/shop", "main", false, "reference `main` is not a branch"),
            ("acme/shop", "refs/heads/main", true, "branch `main` was deleted"),
        ] {
            assert_eq!(reason(repository, reference, deleted).as_deref(), Some(expected));
        }
    }

    #[test]
    fn of_several_references_one_is_enough() {
        let push = |reference: &str| Push {
            repository: "acme/shop".into(),
            reference: reference.into(),
            deleted: false,
        };
        let reason = |pushes: &[Push]| beside_the_point(pushes, &["acme/shop".into()], "main");
        assert_eq!(reason(&[push("refs/tags/v1"), push("refs/heads/main"), push("refs/heads/dev")]), None);
        let beside = reason(&[push("refs/tags/v1"), push("refs/heads/dev")]);
        assert_eq!(beside.as_deref(), Some("branch `dev` is not deployed"));
        assert_eq!(reason(&[]).as_deref(), Some("nothing moved"));
    }

    #[test]
    fn a_sender_s_text_stays_on_one_short_line() {
        assert_eq!(shown("a\r\nSet-Cookie: x\u{1b}[2J"), r"`a\r\nSet-Cookie: x\u{1b}[2J`");
        assert!(shown(&"é".repeat(500)).chars().count() < 90);
    }
}
