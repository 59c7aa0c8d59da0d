//! What revisions hold: paths, contexts, tar streams and kept files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use agent::model::Revision;
use agent::source::{Auth, Context, Dockerfile, Kind, Mirror, Remote, SourceError};

use super::{World, chain, git_repo, revision};

/// An app with a bit of everything, and a mirror of it.
fn app() -> (World, Mirror) {
    let world = World::new();
    world.repo.write("README.md", "hello\n");
    world.repo.write("web/Dockerfile", "FROM scratch\nCOPY . /\n");
    world.repo.write("web/.dockerignore", "*.log\ndocs\n");
    world.repo.write("web/app.py", "print()\n");
    world.repo.write("web/noise.log", "x");
    world.repo.write("web/docs/a.md", "x");
    world.repo.write("web/static/site.css", "body{}\n");
    world.repo.write("web/run.sh", "#!/bin/sh\n");
    fs::set_permissions(world.repo.tree().join("web/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("static/site.css", world.repo.tree().join("web/link.css")).unwrap();
    world.repo.push("app");
    let mirror = world.mirror();
    (world, mirror)
}

fn web(mirror: &Mirror, revision: &Revision) -> Context {
    mirror.context(revision, "web", Dockerfile::Path("Dockerfile")).unwrap()
}

fn names(context: &Context) -> Vec<&str> {
    context.entries().iter().map(|entry| entry.path.as_str()).collect()
}

fn tar(context: &Context) -> Vec<u8> {
    context.write_tar(Vec::new()).unwrap()
}

#[test]
fn paths_are_looked_up_in_the_revision() {
    let (world, mirror) = app();
    let head = world.fetched(&mirror);
    let kind = |path: &str| mirror.entry(&head, path).unwrap().map(|entry| entry.kind);
    assert_eq!(kind(""), Some(Kind::Folder));
    assert_eq!(kind("web/"), Some(Kind::Folder));
    assert_eq!(kind("web/app.py"), Some(Kind::File));
    assert_eq!(kind("web/run.sh"), Some(Kind::Executable));
    assert_eq!(kind("web/link.css"), Some(Kind::Link));
    assert_eq!(kind("web/absent"), None);
    assert_eq!(kind("web/app.py/x"), None);
    assert_eq!(kind("web/../README.md"), None);
    assert_eq!(mirror.read(&head, "absent").unwrap(), None);
    let error = mirror.read(&head, "web").unwrap_err();
    assert!(error.to_string().ends_with("`web` is a folder, not a file"), "{error}");
    let listed: Vec<String> = mirror.list(&head, "web/static").unwrap().into_iter().map(|e| e.path).collect();
    assert_eq!(listed, ["site.css"]);
    assert!(matches!(mirror.list(&head, "absent").unwrap_err(), SourceError::NoSuchPath { .. }));
    let unknown = revision("0123456789abcdef0123456789abcdef01234567");
    assert!(matches!(mirror.read(&unknown, "x").unwrap_err(), SourceError::UnknownRevision { .. }));
}

#[test]
fn a_context_is_the_folder_without_what_is_ignored() {
    let (world, mirror) = app();
    let context = web(&mirror, &world.fetched(&mirror));
    assert_eq!(
        names(&context),
        [".dockerignore", "Dockerfile", "app.py", "link.css", "run.sh", "static", "static/site.css"]
    );
    assert_eq!(context.dockerfile(), "Dockerfile");
}

#[test]
fn only_the_inputs_change_the_hash() {
    let (world, mirror) = app();
    let before = web(&mirror, &world.fetched(&mirror));
    for (file, content) in [("README.md", "more\n"), ("web/other.log", "y"), ("web/docs/b.md", "y")] {
        world.repo.change(file, content);
        let after = web(&mirror, &world.fetched(&mirror));
        assert_eq!(before.hash(), after.hash(), "{file}");
        assert_eq!(tar(&before), tar(&after), "{file}");
    }
    let mut seen = vec![before.hash().to_owned()];
    for (file, content) in
        [("web/app.py", "print(1)\n"), ("web/Dockerfile", "FROM scratch\n"), ("web/new", "")]
    {
        world.repo.change(file, content);
        seen.push(web(&mirror, &world.fetched(&mirror)).hash().to_owned());
    }
    fs::set_permissions(world.repo.tree().join("web/app.py"), fs::Permissions::from_mode(0o755)).unwrap();
    world.repo.push("executable");
    seen.push(web(&mirror, &world.fetched(&mirror)).hash().to_owned());
    let mut different = seen.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), seen.len(), "{seen:?}");
}

#[test]
fn a_revert_gives_the_first_hash_and_stream_again() {
    let (world, mirror) = app();
    let first = web(&mirror, &world.fetched(&mirror));
    world.repo.change("web/app.py", "broken");
    world.repo.git(&["revert", "--no-edit", "HEAD"]);
    world.repo.push("after");
    let again = web(&mirror, &world.fetched(&mirror));
    assert_eq!(first.hash(), again.hash());

    let elsewhere = Remote::new(&world.repo.file_url(), "main", Auth::None).unwrap();
    let clone = Mirror::open(&world.path().join("second"), elsewhere).unwrap();
    assert_eq!(tar(&first), tar(&web(&clone, &world.fetched(&clone))), "another clone, the same bytes");
}

#[test]
fn the_stream_has_fixed_metadata() {
    let (world, mirror) = app();
    let bytes = tar(&web(&mirror, &world.fetched(&mirror)));
    let mut seen = BTreeMap::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let link = entry.link_name().unwrap().map(|to| to.to_str().unwrap().to_owned());
        seen.insert(path, (header.entry_type(), header.mode().unwrap(), link));
    }
    assert_eq!(seen["run.sh"], (tar::EntryType::Regular, 0o755, None));
    assert_eq!(seen["app.py"], (tar::EntryType::Regular, 0o644, None));
    assert_eq!(seen["static/"], (tar::EntryType::Directory, 0o755, None));
    assert_eq!(seen["link.css"], (tar::EntryType::Symlink, 0o777, Some("static/site.css".to_owned())));
    assert_eq!(seen.len(), 7);
}

#[test]
fn long_and_odd_names_survive() {
    let world = World::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    for name in [long.as_str(), "spaß ✓.txt", "with space", "-dash", "a-b", "a/b", "a.b"] {
        world.repo.write(name, name);
    }
    world.repo.write("Dockerfile", "FROM scratch\n");
    symlink(format!("../{}", "t".repeat(180)), world.repo.tree().join("far")).unwrap();
    world.repo.push("names");
    let mirror = world.mirror();
    let context = mirror.context(&world.fetched(&mirror), "", Dockerfile::Path("Dockerfile")).unwrap();
    let out = world.path().join("out");
    tar::Archive::new(tar(&context).as_slice()).unpack(&out).unwrap();
    for name in [long.as_str(), "spaß ✓.txt", "with space", "-dash", "a-b", "a/b", "a.b"] {
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), name);
    }
    assert_eq!(fs::read_link(out.join("far")).unwrap().as_os_str().len(), 183);
}

#[test]
fn the_dockerfile_always_travels() {
    let world = World::new();
    world.repo.write("Dockerfile.outer", "FROM scratch\n");
    world.repo.write("app/Dockerfile", "FROM scratch\n");
    world.repo.write("app/build/Other", "FROM scratch\nCOPY a /\n");
    world.repo.write("app/.dockerignore", "*\n!a\n");
    world.repo.write("app/a", "a");
    world.repo.write("app/b", "b");
    world.repo.write("app/build/Other.dockerignore", "a\n");
    world.repo.push("dockerfiles");
    let mirror = world.mirror();
    let head = world.fetched(&mirror);
    let context = |dockerfile| mirror.context(&head, "app", dockerfile).unwrap();

    let ignored = context(Dockerfile::Path("Dockerfile"));
    assert_eq!(names(&ignored), ["Dockerfile", "a"]);
    let own = context(Dockerfile::Path("./build/Other"));
    assert_eq!(own.dockerfile(), "build/Other");
    assert!(!names(&own).contains(&"a") && names(&own).contains(&"b"), "{:?}", names(&own));
    let outer = context(Dockerfile::Path("../Dockerfile.outer"));
    assert_eq!(names(&outer), ["a"]);
    let inline = context(Dockerfile::Inline("FROM scratch\n"));
    assert_eq!(outer.dockerfile(), inline.dockerfile(), "named after its content");
    for context in [ignored, own, outer, inline] {
        let bytes = tar(&context);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut paths =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().to_str().unwrap().to_owned());
        assert!(paths.any(|path| path == context.dockerfile()), "{}", context.dockerfile());
    }
    for absent in ["Absent", "../../Dockerfile", "build"] {
        let error = mirror.context(&head, "app", Dockerfile::Path(absent)).unwrap_err();
        assert!(matches!(&error, SourceError::NoSuchPath { .. } | SourceError::WrongKind { .. }), "{error}");
    }
    let error = mirror.context(&head, "absent", Dockerfile::Inline("FROM x")).unwrap_err();
    assert!(matches!(&error, SourceError::NoSuchPath { .. }), "{error}");
}

#[test]
fn a_bad_ignore_file_is_named_with_its_line() {
    let world = World::new();
    world.repo.write("app/Dockerfile", "FROM scratch\n");
    world.repo.write("app/.dockerignore", "ok\n[a-\n");
    world.repo.push("bad");
    let mirror = world.mirror();
    let error = mirror.context(&world.fetched(&mirror), "app", Dockerfile::Path("Dockerfile")).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("`app/.dockerignore`") && text.contains("line 2: `[a-`"), "{text}");
}

#[test]
fn submodules_are_refused_unless_ignored_and_lfs_pointers_are_told() {
    let world = World::new();
    let inner = git_repo::Repo::new(world.path(), "inner");
    inner.change("x", "x");
    world.repo.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "-q",
        "add",
        &inner.file_url(),
        "app/sub",
    ]);
    world.repo.write("app/Dockerfile", "FROM scratch\n");
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "a".repeat(64));
    world.repo.write("app/model.bin", pointer);
    world.repo.push("sub");
    let mirror = world.mirror();
    let head = world.fetched(&mirror);
    let error = mirror.context(&head, "app", Dockerfile::Path("Dockerfile")).unwrap_err();
    assert!(matches!(&error, SourceError::Submodule { path, .. } if path == "sub"), "{error}");
    assert!(error.hint().unwrap().contains(".dockerignore"));
    let error = mirror.keep(&head, "app/sub", &world.path().join("store")).unwrap_err();
    assert!(matches!(&error, SourceError::Submodule { .. }), "{error}");
    world.repo.change("app/.dockerignore", "sub\n");
    let context = mirror.context(&world.fetched(&mirror), "app", Dockerfile::Path("Dockerfile")).unwrap();
    assert_eq!(context.lfs_pointers(), ["model.bin"]);
}

#[test]
fn kept_files_are_named_after_their_content() {
    let (world, mirror) = app();
    let store = world.path().join("store");
    let first = world.fetched(&mirror);
    let keep = |revision: &Revision, path: &str| mirror.keep(revision, path, &store).unwrap().path;

    let folder = keep(&first, "web");
    assert_eq!(fs::read_to_string(folder.join("static/site.css")).unwrap(), "body{}\n");
    assert_eq!(fs::read_link(folder.join("link.css")).unwrap(), Path::new("static/site.css"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&folder), mode(&folder.join("app.py")), mode(&folder.join("run.sh"))),
        (0o555, 0o444, 0o555)
    );
    assert!(folder.join("noise.log").exists(), "a mount is the folder, not the build context");

    let file = keep(&first, "web/app.py");
    assert_eq!(fs::read_to_string(&file).unwrap(), "print()\n");
    let entry = mirror.entry(&first, "web/app.py").unwrap().unwrap();
    assert_eq!(file, store.join(entry.kept_name()), "known before it is written");

    world.repo.change("README.md", "x");
    let second = world.fetched(&mirror);
    assert_eq!(keep(&second, "web"), folder);
    world.repo.change("web/app.py", "print(2)\n");
    let third = world.fetched(&mirror);
    assert_ne!(keep(&third, "web"), folder);
    assert_ne!(keep(&third, "web/app.py"), file);
    assert_eq!(fs::read_to_string(&file).unwrap(), "print()\n", "what a container mounts never changes");
    fs::set_permissions(world.repo.tree().join("web/app.py"), fs::Permissions::from_mode(0o755)).unwrap();
    world.repo.push("executable");
    assert_ne!(keep(&world.fetched(&mirror), "web/app.py"), keep(&third, "web/app.py"));

    let left: Vec<_> = fs::read_dir(&store).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 5, "nothing half-written: {left:?}");
}

#[test]
fn a_link_is_not_kept() {
    let world = World::new();
    symlink("/etc/shadow", world.repo.tree().join("leak")).unwrap();
    world.repo.push("leak");
    let mirror = world.mirror();
    let error = mirror.keep(&world.fetched(&mirror), "leak", &world.path().join("store")).unwrap_err();
    assert!(error.to_string().contains("`leak` is a symbolic link"), "{error}");
}

#[test]
fn many_threads_may_keep_the_same_thing() {
    let (world, mirror) = app();
    let (head, store) = (world.fetched(&mirror), world.path().join("store"));
    let paths: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..8)
            .map(|at| {
                let path = if at % 2 == 0 { "web" } else { "web/app.py" };
                let (mirror, head, store) = (&mirror, &head, &store);
                scope.spawn(move || mirror.keep(head, path, store).unwrap().path)
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(paths.iter().all(|path| path.exists()));
    assert_eq!(fs::read_dir(&store).unwrap().count(), 2);
}
