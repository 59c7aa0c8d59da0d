//! The binary as people and scripts meet it: arguments, errors, exit codes, the shape of what it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use agent::config::Config;
use agent::model::run::{Entry, Kind, Outcome, RunId};
use agent::record::Record;
use agent::store::Store;
use tempfile::TempDir;

#[path = "common/git_repo.rs"]
mod git_repo;
#[path = "common/git_server.rs"]
mod git_server;
#[path = "cli/init.rs"]
mod init;

/// Ends the daemon it belongs to, whatever becomes of the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder with a configuration whose remote nobody serves.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = "state = \"state\"\n[stack]\nname = \"agenttest-cli\"\n[source]\nurl = \"https://127.0.0.1:9/shop.git\"\n\
                    [webhook]\nlisten = \"\"\n";
        fs::write(folder.path().join("agent.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env_remove("RUST_LOG").env_remove("AGENT_CONFIG").env("AGENT_CONFIG", "agent.toml");
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        Answer::from(self.command(arguments).output().unwrap())
    }

    /// A record with one run that failed.
    async fn with_a_run(self) -> Self {
        let config = Config::load(&self.path().join("agent.toml")).unwrap();
        let tables = agent::app::migrations();
        let store = Store::open(&config.state.join("agent.db"), &tables).unwrap();
        let record = Record::new(store);
        let revision = "a".repeat(40).parse().unwrap();
        let run = record.begin(Kind::Deploy, &revision, "Sell things", "the timer", 1_000).await.unwrap();
        let reason = Default::default();
        record.append(run, Entry::Ended { outcome: Outcome::Failed { reason } }, 2_500).await.unwrap();
        let logs = config.state.join("runs").join(RunId(1).to_string());
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join("shop-web-1a2b.log"), "#1 FROM base\n").unwrap();
        self
    }
}

#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

#[test]
fn a_missing_configuration_is_named_with_where_it_was_looked_for() {
    let answer = Place::new().run(&["--config", "other.toml", "status"]);
    assert_eq!(answer.code, Some(2));
    insta::assert_snapshot!(answer.err, @r"
    error: the configuration other.toml cannot be read
      because No such file or directory (os error 2)
    hint: check that other.toml is a text file the agent's user may read
    ");
    let answer = Place::new().run(&["--config", "other.toml", "status", "--json"]);
    assert_eq!((answer.code, answer.err.as_str()), (Some(2), ""));
    insta::assert_snapshot!(answer.out, @r#"
    {
      "error": "the configuration other.toml cannot be read: No such file or directory (os error 2)",
      "hint": "check that other.toml is a text file the agent's user may read"
    }
    "#);
}

#[test]
fn a_broken_configuration_is_shown_where_it_breaks() {
    let place = Place::new();
    fs::write(place.path().join("agent.toml"), "[stack]\nname = \"shop\"\n[source]\nurll = \"x\"\n").unwrap();
    let answer = place.run(&["deploy"]);
    assert_eq!(answer.code, Some(2));
    insta::assert_snapshot!(answer.err);
    let json = place.run(&["deploy", "--json"]);
    assert_eq!(json.code, Some(2));
    insta::assert_snapshot!(json.out);
}

#[test]
fn arguments_that_are_not_understood_end_with_two() {
    let place = Place::new();
    for arguments in [&["depoly"][..], &["show", "x"], &["rollback", "--hold", "one"], &[]] {
        let answer = place.run(arguments);
        assert_eq!((answer.code, answer.out.as_str()), (Some(2), ""), "{arguments:?}");
    }
    let json = place.run(&["--json", "show", "x"]);
    assert_eq!((json.code, json.err.as_str()), (Some(2), ""));
    assert!(json.json()["error"].as_str().unwrap().contains("release:12"), "{json:?}");
    assert_eq!(place.run(&["--version"]).out, format!("agent {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(place.run(&["deploy", "--help"]).code, Some(0));
}

#[test]
fn looking_works_before_anything_ran_and_leaves_no_trace() {
    let place = Place::new();
    let status = place.run(&["status"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.out.starts_with("agenttest-cli  nothing is live yet\n"), "{status:?}");
    assert_eq!(place.run(&["history"]).out, "no run yet\n");
    assert_eq!(place.run(&["history", "--json"]).json()["runs"], serde_json::json!([]));
    assert!(!place.path().join("state").exists());
}

#[tokio::test]
async fn the_record_is_read_with_no_daemon() {
    let place = Place::new().with_a_run().await;
    let history = place.run(&["history"]);
    assert!(history.out.contains("Sell things") && history.out.contains("failed"), "{history:?}");
    assert!(!history.out.contains('\u{1b}'), "colours in a pipe: {history:?}");
    let show = place.run(&["show", "1", "--json"]).json();
    assert_eq!(show["run"]["outcome"]["outcome"], "failed");
    assert_eq!(show["log"][0]["at"], 2_500);
    let logs = place.run(&["logs", "--run", "1"]);
    assert_eq!(logs.out, "==> shop-web-1a2b <==\n#1 FROM base\n");
    let missing = place.run(&["show", "9"]);
    assert_eq!((missing.code, missing.err.as_str()), (Some(1), "error: there is no run 9\n"));
    let missing = place.run(&["show", "release:9"]);
    assert_eq!((missing.code, missing.err.as_str()), (Some(1), "error: there is no release 9\n"));
}

#[tokio::test]
async fn colours_are_for_terminals_and_not_for_who_wants_none() {
    let place = Place::new().with_a_run().await;
    let on_a_terminal = |no_color: Option<&str>| {
        let program = format!("{} history", env!("CARGO_BIN_EXE_agent"));
        // Runs it with a terminal of its own (bsdutils); where it is run itself, there may be none.
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &program, "/dev/null"]).current_dir(place.path()).stdin(Stdio::null());
        terminal.env("AGENT_CONFIG", "agent.toml").env("TERM", "xterm");
        match no_color {
            Some(value) => terminal.env("NO_COLOR", value),
            None => terminal.env_remove("NO_COLOR"),
        };
        Answer::from(terminal.output().unwrap()).out
    };
    let coloured = on_a_terminal(None);
    assert!(coloured.contains("Sell things") && coloured.contains('\u{1b}'), "{coloured:?}");
    let plain = on_a_terminal(Some("1"));
    assert!(plain.contains("Sell things") && !plain.contains('\u{1b}'), "{plain:?}");
}

#[test]
fn taking_the_site_down_is_not_done_unasked() {
    let place = Place::new();
    let answer = place.run(&["down"]);
    assert_eq!(answer.code, Some(2));
    insta::assert_snapshot!(answer.err, @r"
    error: this takes agenttest-cli down, and nobody is there to ask
    hint: if that is meant: agent down --yes
    ");
    assert!(!place.path().join("state").exists());
}

#[test]
fn what_is_followed_is_no_object() {
    let answer = Place::new().run(&["logs", "web", "--follow", "--json"]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.json()["hint"].as_str().unwrap().contains("--follow"));
}

#[test]
fn completions_are_accepted_by_the_shell_they_are_for() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let answer = place.run(&["completions", shell]);
        assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""), "{shell}");
        assert!(answer.out.contains("rollback") && answer.out.contains("allow-prune"), "{shell}");
        if shell == "bash" {
            let script = place.path().join("agent.bash");
            fs::write(&script, &answer.out).unwrap();
            let judged = Command::new("bash").arg("-n").arg(&script).output().unwrap();
            assert!(judged.status.success(), "{judged:?}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_error() {
    let place = Place::new().with_a_run().await;
    for arguments in [&["completions", "bash"][..], &["history"], &["show", "1", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{arguments:?}: {output:?}");
    }
}

#[test]
fn an_order_is_followed_to_its_end_by_the_daemon_or_without_it() {
    let place = Place::new();
    let unreachable = |answer: &Answer| {
        assert_eq!(answer.code, Some(3), "{answer:?}");
        let begin = "looking at the branch\nfailed: cannot reach https://127.0.0.1:9/shop.git";
        assert!(answer.out.starts_with(begin), "{answer:?}");
    };
    unreachable(&place.run(&["deploy"]));
    let nothing = place.run(&["rollback"]);
    assert_eq!(nothing.code, Some(1));
    assert_eq!(nothing.err, "error: nothing is live yet, so there is nothing to go back from\n");

    let noted = place.run(&["deploy", "--no-wait", "--json"]).json();
    assert_eq!(noted["daemon"], false, "{noted}");

    let daemon = Daemon(place.command(&["run"]).stdout(Stdio::null()).spawn().unwrap());
    let running = |status: &serde_json::Value| status["daemon"]["pid"] == daemon.0.id();
    let status = (0..100).map(|_| place.run(&["status", "--json"]).json()).find(|status| {
        std::thread::sleep(Duration::from_millis(50));
        running(status) && !status["wrong"].is_null()
    });
    assert!(status.is_some(), "the daemon never told what is wrong");
    unreachable(&place.run(&["deploy"]));
    let same = place.run(&["rollback"]);
    assert_eq!((same.code, same.err), (nothing.code, nothing.err), "another answer by the daemon");
    let told = place.run(&["deploy", "--json"]);
    assert_eq!((told.code, told.json()["result"].as_str()), (Some(3), Some("failed")), "{told:?}");
    let second = place.run(&["run"]);
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("another agent (process "), "{second:?}");
}

#[tokio::test]
async fn a_state_of_a_newer_agent_is_refused_and_left_as_it_is() {
    let place = Place::new().with_a_run().await;
    let file = place.path().join("state/agent.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    let known: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    database.pragma_update(None, "user_version", known + 3).unwrap();
    database.execute_batch("CREATE TABLE of_later (x); PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(database);
    let before = fs::read(&file).unwrap();
    for arguments in [&["run"][..], &["status"], &["history"], &["rollback"]] {
        let answer = place.run(arguments);
        assert_eq!(answer.code, Some(1), "{arguments:?}: {answer:?}");
        let schema = format!("(schema {}, this one knows {known})", known + 3);
        assert!(answer.err.contains("a newer agent") && answer.err.contains(&schema), "{answer:?}");
        assert!(answer.err.contains("install that version again"), "{answer:?}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}
