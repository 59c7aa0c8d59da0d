//! GitHub's API, as far as an agent asks it: what of a commit was checked, set by the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

pub(crate) struct GitHub {
    pub(crate) url: String,
    checks: Arc<Mutex<Checks>>,
}

#[derive(Default)]
struct Checks {
    runs: Vec<Value>,
    statuses: Vec<Value>,
    /// Request lines with their `authorization`.
    asked: Vec<String>,
}

impl GitHub {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let checks = Arc::new(Mutex::new(Checks::default()));
        let shared = Arc::clone(&checks);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &shared);
            }
        });
        Self { url, checks }
    }

    /// A check run begins, or begins again.
    pub(crate) fn run(&self, name: &str, status: &str, conclusion: Option<&str>) {
        let runs = &mut self.checks.lock().unwrap().runs;
        let id = runs.len() + 1;
        // GitHub lists the newest first; whoever relies on that finds the opposite here.
        runs.push(json!({ "id": id, "name": name, "status": status, "conclusion": conclusion }));
    }

    pub(crate) fn status(&self, context: &str, state: &str) {
        let statuses = &mut self.checks.lock().unwrap().statuses;
        *statuses = vec![json!({ "context": context, "state": state })];
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.checks.lock().unwrap().asked.clone()
    }
}

fn answer(mut stream: TcpStream, checks: &Mutex<Checks>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut token) = (String::new(), String::new());
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("authorization: ") {
            token = value.trim().to_owned();
        }
    }
    let mut checks = checks.lock().unwrap();
    checks.asked.push(format!("{} {token}", first.trim()));
    let body = match first.contains("/check-runs?") {
        true => json!({ "total_count": checks.runs.len(), "check_runs": checks.runs }),
        false => json!({ "state": "pending", "statuses": checks.statuses }),
    }
    .to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let _ = stream.read(&mut [0]);
}
