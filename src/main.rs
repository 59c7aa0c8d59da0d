<<<<<<< HEAD
fn main() {
    tracing_subscriber::fmt().init();
    let arguments: Vec<String> = std::env::args().collect();
    let config = agent::config::Config::load(std::path::Path::new(&arguments[1]))
        .unwrap_or_else(|e| panic!("{}", e.render(false)));
    agent::source::timeouts::limit(config.source.connect_timeout, config.source.read_timeout).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(agent::app::run(config)).unwrap();
=======
//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::cli::main()
>>>>>>> cli
}
