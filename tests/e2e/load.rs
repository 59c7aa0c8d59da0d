//! The open-loop client of `script/bench`, beside a test.

#[path = "../../benches/load/client.rs"]
pub(crate) mod client;
#[path = "../../benches/load/report.rs"]
mod report;

use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

use client::{Asked, Kind, Plan};
use report::Report;

pub(crate) struct Load {
    kind: Kind,
    stop: CancellationToken,
    asking: JoinHandle<Vec<Asked>>,
}

impl Load {
    /// So many requests a second for a path of the site.
    pub(crate) fn start(port: u16, path: &str, kind: Kind, rate: u32) -> Self {
        let plan = Plan { at: format!("127.0.0.1:{port}"), path: path.to_owned(), kind, rate };
        let stop = CancellationToken::new();
        let client = client::run(plan, stop.clone(), |_| ());
        let asking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(client)
        });
        Self { kind, stop, asking }
    }

    pub(crate) fn stop(self) -> (Kind, Report) {
        self.stop.cancel();
        let all = self.asking.join().expect("the client ends");
        (self.kind, report::report(&all, 200))
    }
}
