//! The `docker` program as a second witness, and the broom.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Every stack of this suite is called this, the test's process id, and a number.
const PREFIX: &str = "agenttest-e2e-";

/// A name nobody else uses: at any time there is one process with our id.
pub(crate) fn new_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What it says; it must succeed.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let (success, output) = try_docker(arguments);
    assert!(success, "docker {arguments:?}: {output}");
    output
}

pub(crate) fn try_docker(arguments: &[&str]) -> (bool, String) {
    let done = Command::new("docker").args(arguments).output().expect("the docker program");
    let text = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
}

/// Ids of a stack's running containers by service, in the order of the services; `web` twice if it runs twice.
pub(crate) fn running(stack: &str) -> BTreeMap<String, Vec<String>> {
    let filter = format!("label=agent.stack={stack}");
    let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
    let listed = docker(&["ps", "--no-trunc", "--filter", &filter, "--format", format]);
    let mut by_service: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in listed.lines() {
        let (service, id) = line.split_once(' ').expect("service and id");
        by_service.entry(service.to_owned()).or_default().push(id.to_owned());
    }
    by_service.values_mut().for_each(|ids| ids.sort());
    by_service
}

/// Removes what tests left whose process is gone.
pub(crate) fn sweep_leftovers() {
    let (_, containers) = try_docker(&["ps", "-a", "--format", "{{.Label \"agent.stack\"}}"]);
    let (_, networks) = try_docker(&["network", "ls", "--format", "{{.Label \"agent.stack\"}}"]);
    let (_, images) = try_docker(&["image", "ls", "--format", "{{.Repository}}"]);
    let mut names: Vec<&str> =
        [&containers, &networks, &images].iter().flat_map(|text| text.lines()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let mut parts = rest.splitn(3, '-');
        let (Some(process), Some(number)) = (parts.next(), parts.next()) else { continue };
        if !Path::new("/proc").join(process).exists() {
            sweep(&format!("{PREFIX}{process}-{number}"));
        }
    }
}

/// Removes everything of one stack, by its label and by its name.
pub(crate) fn sweep(stack: &str) {
    let label = format!("label=agent.stack={stack}");
    let aside = format!("label=agent.aside={stack}");
    for filter in [&label, &aside] {
        let (_, ids) = try_docker(&["ps", "-aq", "--filter", filter]);
        remove(&["rm", "-fv"], ids.lines().map(str::to_owned));
    }
    let named = |list: &[&str]| {
        let (_, listed) = try_docker(list);
        let ours =
            |name: &&str| name.strip_prefix(stack).is_some_and(|rest| rest.starts_with(['-', '_', ':']));
        listed.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
    };
    for (list, command) in [
        (["network", "ls", "--format", "{{.Name}}"], ["network", "rm"]),
        (["volume", "ls", "--format", "{{.Name}}"], ["volume", "rm"]),
        (["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], ["image", "rm"]),
    ] {
        remove(&command, named(&list));
    }
}

/// In one call: each start of the program costs more than what it does. What cannot be removed stops none of the others.
fn remove(command: &[&str], names: impl IntoIterator<Item = String>) {
    let names: Vec<String> = names.into_iter().collect();
    if !names.is_empty() {
        try_docker(&command.iter().copied().chain(names.iter().map(String::as_str)).collect::<Vec<_>>());
    }
}
