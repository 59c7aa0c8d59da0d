//! Where repositories are hosted, as far as it matters: whose webhooks are understood.

use std::fmt;

/// A forge by the way it announces pushes. Forks of a forge that sign differently are forges of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forge {
    GitHub,
    GitLab,
    Gitea,
    Forgejo,
    /// Cloud and Data Center alike.
    Bitbucket,
}

impl Forge {
    pub const ALL: [Self; 5] = [Self::GitHub, Self::GitLab, Self::Gitea, Self::Forgejo, Self::Bitbucket];

    /// Its name in addresses, in the configuration and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Forgejo => "forgejo",
            Self::Bitbucket => "bitbucket",
        }
    }

    /// Whether a repository may lie in groups within groups.
    pub fn nests(self) -> bool {
        self == Self::GitLab
    }
}

impl fmt::Display for Forge {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
            Self::Gitea => "Gitea",
            Self::Forgejo => "Forgejo",
            Self::Bitbucket => "Bitbucket",
        })
    }
}
