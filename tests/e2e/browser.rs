//! A real browser, told what to do by `tests/dashboard/browser.mjs`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

pub(crate) struct Browser {
    child: Child,
    told: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard/browser.mjs");
        // A test that is killed takes its browser along.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "node"])
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv (package util-linux)");
        let told = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, told, answers }
    }

    fn tell(&mut self, order: Value) -> Value {
        let mut line = String::new();
        let told = self.told.as_mut().expect("its input");
        let sent = writeln!(told, "{order}").and_then(|()| self.answers.read_line(&mut line));
        let read = sent.ok().filter(|read| *read > 0);
        read.expect(
            "the browser answers; run tests/dashboard/setup, and script/bootstrap --test for Chromium",
        );
        let mut answer: Value = serde_json::from_str(&line).expect("JSON");
        assert!(answer.get("error").is_none(), "{}", answer["error"].as_str().unwrap_or_default());
        answer["ok"].take()
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.tell(json!({ "act": "open", "url": url }));
    }

    pub(crate) fn fill(&mut self, label: &str, text: &str) {
        self.tell(json!({ "act": "fill", "label": label, "text": text }));
    }

    pub(crate) fn tick(&mut self, label: &str) {
        self.tell(json!({ "act": "tick", "label": label }));
    }

    pub(crate) fn press(&mut self, role: &str, name: &str) {
        self.tell(json!({ "act": "press", "role": role, "name": name }));
    }

    /// Waits until the page holds the text.
    pub(crate) fn see(&mut self, text: &str) {
        self.tell(json!({ "act": "see", "text": text }));
    }

    /// Waits until the region of this name holds the text.
    pub(crate) fn see_in(&mut self, region: &str, text: &str) {
        self.tell(json!({ "act": "see", "region": region, "text": text }));
    }

    pub(crate) fn text(&mut self) -> String {
        self.tell(json!({ "act": "text" })).as_str().expect("text").to_owned()
    }

    pub(crate) fn url(&mut self) -> String {
        self.tell(json!({ "act": "url" })).as_str().expect("text").to_owned()
    }

    /// What a script gives that a debugger runs in the page.
    pub(crate) fn run(&mut self, script: &str) -> Value {
        self.tell(json!({ "act": "run", "script": script }))
    }

    /// What the browser complained of since it was last asked.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        serde_json::from_value(self.tell(json!({ "act": "complaints" }))).expect("a list")
    }

    /// The page on a phone and on a desk, light and dark: pictures of it in the target folder, and nothing wrong by
    /// the rules of accessibility.
    pub(crate) fn looks_right(&mut self, name: &str) {
        self.look(name, &json!({}));
    }

    /// The same, and a picture of all four for the documentation, in the folder that `AGENT_TEST_PICTURES` names.
    pub(crate) fn looks_right_in_pictures(&mut self, name: &str, stack: &str) {
        match std::env::var_os("AGENT_TEST_PICTURES") {
            Some(folder) => {
                let sheet = Path::new(&folder).join(name).with_extension("png");
                self.look(name, &json!({ "sheet": sheet, "stack": stack }));
            }
            None => self.looks_right(name),
        }
    }

    fn look(&mut self, name: &str, more: &Value) {
        let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard").join(name);
        let mut order = json!({ "act": "look", "shots": shots });
        order.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let found = self.tell(order);
        assert_eq!(found, json!([]), "{name}: {found:#}");
    }

    /// What a browser without scripts shows.
    pub(crate) fn without_scripts(&mut self, url: &str) -> String {
        self.tell(json!({ "act": "plain", "url": url })).as_str().expect("text").to_owned()
    }

    /// Another site with this page.
    pub(crate) fn another_site(&mut self, html: &str) -> String {
        self.tell(json!({ "act": "serve", "html": html })).as_str().expect("an address").to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Told no more, it ends by itself, and removes the folder of its profile, which it would leave if it was killed.
        drop(self.told.take());
        let _ = self.child.wait();
    }
}
