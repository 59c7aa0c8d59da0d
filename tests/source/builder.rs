//! The same context through `docker build FOLDER` and through our stream: the image must hold the same files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use agent::source::{Context, Dockerfile, Kind};

use super::World;

/// What `COPY . /ctx/` brought: path → (kind, executable).
type Files = BTreeMap<String, (tar::EntryType, bool)>;

/// One way to build. What `.dockerignore` means is decided by the client.
struct Builder {
    client: &'static str,
    buildkit: bool,
    /// From 23.0 on: older clients lose track of what a folder's content inherits.
    modern: bool,
}

/// The older builder, and BuildKit when a client here can drive it.
fn builders() -> Vec<Builder> {
    let answers = Command::new("docker").arg("info").output().is_ok_and(|output| output.status.success());
    assert!(answers, "this test needs a Docker Engine; script/bootstrap sets one up");
    let older = Builder { client: "docker", buildkit: false, modern: major("docker") >= 23 };
    // Clients from 23.0 on drive BuildKit through a plugin only, older ones by themselves.
    let plugin =
        Command::new("docker").args(["buildx", "version"]).output().is_ok_and(|o| o.status.success());
    let client = match plugin {
        true => Some("docker"),
        false => ["docker", "/usr/bin/docker"].into_iter().find(|client| (18..23).contains(&major(client))),
    };
    let buildkit = client.map(|client| Builder { client, buildkit: true, modern: plugin });
    [Some(older), buildkit].into_iter().flatten().collect()
}

fn major(client: &str) -> u32 {
    let said = Command::new(client).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let version = said.split("version ").nth(1).and_then(|rest| rest.split('.').next());
    version.and_then(|major| major.parse().ok()).unwrap_or(0)
}

impl Builder {
    fn name(&self) -> &'static str {
        if self.buildkit { "BuildKit" } else { "the older builder" }
    }

    fn build_folder(&self, folder: &Path, dockerfile: &str) -> Files {
        self.build(&["-f", folder.join(dockerfile).to_str().unwrap(), folder.to_str().unwrap()], &[])
    }

    fn build_stream(&self, context: &Context) -> Files {
        self.build(&["-f", context.dockerfile(), "-"], &context.write_tar(Vec::new()).unwrap())
    }

    fn build(&self, arguments: &[&str], input: &[u8]) -> Files {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let image = Made("rmi", format!("agenttest-context-{}-{number}", std::process::id()));
        let mut build = Command::new(self.client)
            .env("DOCKER_BUILDKIT", if self.buildkit { "1" } else { "0" })
            // From the cache, it may be an image that another of these tests is just removing.
            .args(["build", "--no-cache", "-q", "-t", &image.1])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = build.stdin.take().unwrap().write_all(input);
        let done = build.wait_with_output().unwrap();
        assert!(done.status.success(), "{}: {}", self.name(), String::from_utf8_lossy(&done.stderr));
        let container = docker(&["create", &image.1, "none"]);
        let container = Made("rm", String::from_utf8_lossy(&container).trim().to_owned());
        listed(&docker(&["export", &container.1]))
    }
}

/// Something on the engine and the command that removes it: also when an assertion fails.
struct Made(&'static str, String);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = Command::new("docker").args([self.0, "-f", &self.1]).output();
    }
}

fn docker(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn listed(export: &[u8]) -> Files {
    let mut files = Files::new();
    for entry in tar::Archive::new(export).entries().unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
        if let Some(path) = path.strip_prefix("ctx/") {
            let header = entry.header();
            files.insert(path.to_owned(), (header.entry_type(), header.mode().unwrap() & 0o100 != 0));
        }
    }
    files
}

/// A folder where every rule has something to bite on.
fn world(dockerignore: &str) -> World {
    let world = World::new();
    for name in [
        "Dockerfile",
        "README.md",
        "a.log",
        "a/b/c/deep.txt",
        "a/b/x",
        "a/x",
        "b/a.log",
        "b/x/inner",
        "docs/guide.md",
        "docs/keep.md",
        "docs/img/logo.png",
        "foo",
        "foobar/x",
        "node_modules/m/index.js",
        "web/node_modules/m/index.js",
        "web/temp1/t",
        "we ird/sp ace",
        "[x]",
    ] {
        world.repo.write(
            &format!("app/{name}"),
            if name == "Dockerfile" { "FROM scratch\nCOPY . /ctx/\n" } else { name },
        );
    }
    world.repo.write("app/run.sh", "#!/bin/sh\n");
    let script = world.repo.tree().join("app/run.sh");
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("docs/keep.md", world.repo.tree().join("app/link")).unwrap();
    std::os::unix::fs::symlink("docs", world.repo.tree().join("app/linked")).unwrap();
    world.repo.write("app/.dockerignore", dockerignore);
    world.repo.push("context");
    world
}

/// What our stream would put there.
fn ours(context: &Context) -> Files {
    let files = context.entries().iter().map(|entry| {
        let what = match entry.kind {
            Kind::Folder => (tar::EntryType::Directory, true),
            Kind::Link => (tar::EntryType::Symlink, true),
            kind => (tar::EntryType::Regular, kind == Kind::Executable),
        };
        (entry.path.clone(), what)
    });
    files.collect()
}

fn compare(dockerignore: &str, with: impl Fn(&Builder) -> bool) -> Files {
    let world = world(dockerignore);
    let mirror = world.mirror();
    let context = mirror.context(&world.fetched(&mirror), "app", Dockerfile::Path("Dockerfile")).unwrap();
    let ours = ours(&context);
    for builder in builders().iter().filter(|builder| with(builder)) {
        let expected = builder.build_folder(&world.repo.tree().join("app"), "Dockerfile");
        assert_eq!(ours, expected, "{dockerignore:?} with {}", builder.name());
    }
    ours
}

#[test]
fn the_stream_brings_what_the_folder_brings() {
    let world = world("");
    let mirror = world.mirror();
    let context = mirror.context(&world.fetched(&mirror), "app", Dockerfile::Path("Dockerfile")).unwrap();
    for builder in builders() {
        let expected = builder.build_folder(&world.repo.tree().join("app"), "Dockerfile");
        assert!(expected.len() > 30, "{expected:?}");
        assert_eq!(builder.build_stream(&context), expected, "{}", builder.name());
        assert_eq!(ours(&context), expected);
    }
}

#[test]
fn anchored_and_floating_patterns_agree() {
    compare("# comment\nnode_modules\n*.log\n/foo\n./docs/img/\n\n", |_| true);
    compare("**/node_modules\n**/*.log\nweb/temp?\n\\[x]\nwe ird\n", |_| true);
    compare("a/**\n**/x\nfoo**\n*/b\n[a-c]/c\n", |_| true);
}

#[test]
fn taking_back_agrees() {
    compare("docs\n!docs/keep.md\n*.md\n!README.md\n", |_| true);
    compare("*\n!Dockerfile\n!a\na/b\n!a/b/c\n", |_| true);
}

#[test]
fn corner_cases_agree_with_clients_of_today() {
    let files = compare("*/x\n!b\n!.dockerignore\n", |builder| builder.modern);
    assert!(files.contains_key("b/a.log") && !files.contains_key("b/x"));
    // The older builder does not look into an excluded folder for these.
    let files = compare("a\n!**/*.txt\ndocs\n!docs/*/logo*\n", |builder| builder.modern && builder.buildkit);
    assert!(files.contains_key("a/b/c/deep.txt") && files.contains_key("docs/img/logo.png"));
    assert!(!files.contains_key("a/x") && !files.contains_key("docs/keep.md"));
}

#[test]
fn an_ignored_dockerfile_builds_and_is_the_only_difference() {
    let world = world("*\n!foo\n");
    let mirror = world.mirror();
    let context = mirror.context(&world.fetched(&mirror), "app", Dockerfile::Path("Dockerfile")).unwrap();
    for builder in builders() {
        let mut expected = builder.build_folder(&world.repo.tree().join("app"), "Dockerfile");
        assert_eq!(expected.keys().collect::<Vec<_>>(), ["foo"]);
        expected.insert("Dockerfile".to_owned(), (tar::EntryType::Regular, false));
        assert_eq!(builder.build_stream(&context), expected, "{}", builder.name());
    }
}

#[test]
fn a_dockerfile_with_its_own_ignore_file_agrees_with_buildkit() {
    let world = world("docs\n");
    world.repo.write("app/build/Other", "FROM scratch\nCOPY . /ctx/\n");
    world.repo.write("app/build/Other.dockerignore", "*\n!docs\n!build\n");
    world.repo.push("other");
    let mirror = world.mirror();
    let context = mirror.context(&world.fetched(&mirror), "app", Dockerfile::Path("build/Other")).unwrap();
    for builder in builders().iter().filter(|builder| builder.buildkit) {
        let expected = builder.build_folder(&world.repo.tree().join("app"), "build/Other");
        assert!(expected.contains_key("docs/guide.md") && !expected.contains_key("foo"));
        assert_eq!(builder.build_stream(&context), expected);
    }
}
