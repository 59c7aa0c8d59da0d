//! What a person is told at a moment: `agent status` and `agent why web`, compared with what stands in `snapshots/`,
//! without what differs from one time to the next.

use insta::Settings;

use crate::world::World;

/// What is replaced in what is told, and by what.
const DIFFERS: [(&str, &str); 18] = [
    // After each run the agent looks at what its own doing has changed.
    (r"(?m)^\* (at work since|more to look at) .*\n", ""),
    (r"agenttest-e2e-[0-9]+-[0-9]+", "shop"),
    (r"\bweb(:|/)[0-9a-f]{12}\b", "web${1}TAG"),
    (r"/tmp/[^/ ]+(/data/[^ :]+)?", "/FOLDER"),
    (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:PORT"),
    (r"\bpid [0-9]+", "pid N"),
    (
        r"([0-9]+ (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([0-9]{4} )?)?[0-9]{2}:[0-9]{2}(:[0-9]{2})?",
        "12:00",
    ),
    (r"just now|(\bin )?\b[0-9]+ (s|min|h)( ago)?\b", "A WHILE"),
    (r"\b[0-9]+\.[0-9]+ s\b", "A WHILE"),
    // A push may be found by a look for another reason.
    (
        r"begun by (webhook commit[0-9]+-the-webhook-s-secret|something on the machine changed)",
        "begun by A WAKE",
    ),
    (r"its container (is gone|does not run)", "its container is gone"),
    (r"restarted( [0-9] times)?", "restarted N times"),
    (r"(failed to prepare) [0-9a-z]+", "$1 THIS"),
    (r"[0-9]+ of its [0-9]+ answers", "N of its N answers"),
    (r"[0-9]+ % \(0 % of [0-9]+ in", "N % (0 % of N in"),
    (
        r"(No such file or directory|Connection refused) \(os error [0-9]+\)|there is no such socket",
        "NOBODY LISTENS",
    ),
    // For as long as it was live.
    (r"(\n +it broke)+", "\n  it broke"),
    // Columns are as wide as the stack's name.
    (r" {2,}", "  "),
];

impl World {
    /// `moment` names the file.
    pub(crate) fn transcript(&self, moment: &str) {
        let told = ["status", "why web"].map(|asked| {
            let words: Vec<&str> = asked.split(' ').collect();
            format!("$ agent {asked}\n{}", self.try_agent(&words).1)
        });
        let mut told = told.join("\n");
        // Commits by their number.
        let commits = self.repo.git(&["log", "--reverse", "--format=%H"]);
        for (number, commit) in (1..).zip(commits.lines()) {
            told = told
                .replace(commit, &format!("commit{number}"))
                .replace(&commit[..10], &format!("commit{number}"));
        }
        let mut settings = Settings::clone_current();
        settings.set_omit_expression(true);
        settings.set_prepend_module_to_snapshot(false);
        DIFFERS.iter().for_each(|(what, by)| settings.add_filter(what, *by));
        settings.bind(|| insta::assert_snapshot!(moment, told));
    }
}
