//! Images from contexts.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use agent::engine::{BuildOrder, Engine, EngineError, TarStream};
use agent::model::class::Class;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::yard::{BASE, Yard};

fn context(files: &[(&str, &str)]) -> TarStream {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let bytes = tar.into_inner().unwrap();
    let pieces: Vec<_> = bytes.chunks(700).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

fn order(yard: &Yard, tag: &str) -> BuildOrder {
    BuildOrder {
        stack: yard.stack.clone(),
        tag: format!("{}:{tag}", yard.stack),
        dockerfile: "Dockerfile".to_owned(),
        ..Default::default()
    }
}

/// Builds and gives the result with the lines told.
async fn build(
    engine: &impl Engine,
    order: &BuildOrder,
    files: &[(&str, &str)],
) -> (Result<String, EngineError>, Vec<String>) {
    let lines = Mutex::new(Vec::new());
    let result =
        engine.build(order, context(files), &|line| lines.lock().unwrap().push(line.to_owned())).await;
    (result, lines.into_inner().unwrap())
}

fn dockerfile(steps: &str) -> String {
    format!("FROM {BASE}\n{steps}\n")
}

pub(crate) async fn a_build_gives_a_labelled_image_and_tells_its_steps(engine: &impl Engine, yard: &Yard) {
    let text = dockerfile("COPY app.txt /app.txt\nRUN echo one; echo two; cat /app.txt\nCMD cat /app.txt");
    let mut order = order(yard, "a");
    order.labels.insert("team".to_owned(), "blue".to_owned());
    let mark = format!("content of {}\n", yard.session());
    let (id, lines) = build(engine, &order, &[("Dockerfile", &text), ("app.txt", &mark)]).await;
    let id = id.unwrap();
    assert_eq!(engine.image(&order.tag).await.unwrap(), Some(id.clone()));
    let said = lines.join("\n");
    for part in ["[2/3] COPY app.txt /app.txt", "one\n", "two\n", mark.trim(), "done in"] {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
    let labels = "{{index .Config.Labels \"agent.stack\"}} {{index .Config.Labels \"team\"}}";
    assert_eq!(yard.docker(&["inspect", "--format", labels, &id]), format!("{} blue", yard.stack));
    assert_eq!(engine.stack_images(&yard.stack).await.unwrap(), [order.tag]);
    assert_eq!(engine.stack_images(&yard.foreign("other")).await.unwrap(), [] as [String; 0]);
}

pub(crate) async fn the_same_inputs_are_not_built_twice(engine: &impl Engine, yard: &Yard) {
    let text = dockerfile(&format!("RUN echo working on {}", yard.session()));
    let (first, lines) = build(engine, &order(yard, "a"), &[("Dockerfile", &text)]).await;
    assert!(lines.iter().any(|line| line.contains(" working on ")), "{lines:?}");
    let (again, lines) = build(engine, &order(yard, "b"), &[("Dockerfile", &text)]).await;
    assert_eq!(again.unwrap(), first.unwrap());
    assert!(lines.iter().any(|line| line.ends_with(" cached")), "{lines:?}");
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with('#') && line.contains(" working on ") && !line.contains("RUN"))
    );
}

pub(crate) async fn arguments_target_and_hosts_reach_the_build(engine: &impl Engine, yard: &Yard) {
    let text = format!(
        "FROM {BASE} AS first\nARG WHO\nRUN echo hello $WHO; cat /etc/hosts\nFROM first AS second\nRUN false\n"
    );
    let order = BuildOrder {
        dockerfile: "docker/Build.dockerfile".to_owned(),
        target: Some("first".to_owned()),
        args: BTreeMap::from([("WHO".to_owned(), "you & me".to_owned())]),
        extra_hosts: vec!["a.internal:10.1.1.1".to_owned(), "b.internal:10.1.1.2".to_owned()],
        no_cache: true,
        ..order(yard, "a")
    };
    let (id, lines) = build(engine, &order, &[("docker/Build.dockerfile", &text)]).await;
    id.unwrap();
    let said = lines.join("\n");
    for part in ["hello you & me", "10.1.1.1\ta.internal", "10.1.1.2\tb.internal"] {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
}

pub(crate) async fn a_step_that_fails_is_named_with_its_last_lines(engine: &impl Engine, yard: &Yard) {
    let text = dockerfile("RUN echo before\nRUN echo the reason; echo why >&2; exit 3");
    let (failed, _) = build(engine, &order(yard, "a"), &[("Dockerfile", &text)]).await;
    let error = failed.unwrap_err();
    assert_eq!(error.class(), Class::Stalled);
    let EngineError::Build { tag, message } = error else { panic!("{error:?}") };
    assert_eq!(tag, format!("{}:a", yard.stack));
    assert!(message.starts_with("[3/3] RUN echo the reason"), "{message}");
    assert!(message.contains("exit code: 3\n") && message.contains("\n  the reason"), "{message}");
    assert!(message.contains("\n  why"), "{message}");
    assert_eq!(engine.image(&format!("{}:a", yard.stack)).await.unwrap(), None);
}

pub(crate) async fn a_dockerfile_that_cannot_be_read_says_where(engine: &impl Engine, yard: &Yard) {
    let cases = [
        (vec![("Dockerfile", "FROM scratch\nRUNN x\n")], "line 2: unknown instruction: RUNN"),
        (vec![("Dockerfile", "FROM scratch\nCOPY missing /x\n")], "missing"),
        (vec![("other", "")], "Dockerfile"),
    ];
    for (files, part) in cases {
        let (failed, _) = build(engine, &order(yard, "a"), &files).await;
        let error = failed.unwrap_err();
        assert!(
            matches!(&error, EngineError::Build { message, .. } if message.contains(part)),
            "{part}: {error:?}"
        );
        assert!(!error.to_string().contains("frontend"), "{error}");
    }
}

/// Nobody listens at that port.
pub(crate) async fn a_base_image_that_is_nowhere_is_named(engine: &impl Engine, yard: &Yard) {
    let text = "FROM 127.0.0.1:1/agenttest/base:9\nRUN true\n";
    let (failed, _) = build(engine, &order(yard, "a"), &[("Dockerfile", text)]).await;
    let error = failed.unwrap_err();
    assert_eq!(error.to_string(), "image 127.0.0.1:1/agenttest/base:9 cannot be pulled", "{error:?}");
    assert_eq!(error.class(), Class::Waiting);
}

pub(crate) async fn a_context_that_breaks_says_why(engine: &impl Engine, yard: &Yard) {
    let whole = context(&[("Dockerfile", &dockerfile("")), ("big", &"x".repeat(100_000))]);
    let broken = stream::once(async { Err(std::io::Error::other("the object is damaged")) });
    let context = whole.take(20).chain(broken).boxed();
    let error = engine.build(&order(yard, "a"), context, &|_| {}).await.unwrap_err();
    let EngineError::Other { act, source } = error else { panic!("{error:?}") };
    assert_eq!(
        (act, source.to_string()),
        (format!("read the build context of {}:a", yard.stack), "the object is damaged".to_owned())
    );
}

pub(crate) async fn a_dropped_build_ends(engine: &impl Engine, yard: &Yard) {
    let seconds = 3600 + u64::from(std::process::id());
    let text = dockerfile(&format!("RUN echo begun; sleep {seconds}"));
    let (begun, begins) = tokio::sync::oneshot::channel();
    let begun = Mutex::new(Some(begun));
    let line = |line: &str| {
        if line.ends_with(" begun")
            && let Some(begun) = begun.lock().unwrap().take()
        {
            begun.send(()).unwrap();
        }
    };
    let order = order(yard, "a");
    let build = engine.build(&order, context(&[("Dockerfile", &text)]), &line);
    tokio::select! {
        result = build => panic!("it ended by itself: {result:?}"),
        begun = begins => begun.unwrap(),
    }
    let running = || {
        let found =
            std::process::Command::new("pgrep").args(["-f", &format!("^sleep {seconds}")]).output().unwrap();
        !found.stdout.is_empty()
    };
    for _ in 0..500 {
        if !running() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the build's process still runs");
}

fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    open.filter(|to| to.to_string_lossy().starts_with("socket:")).count()
}

pub(crate) async fn a_build_leaves_no_connection_behind(engine: &impl Engine, yard: &Yard) {
    let before = sockets();
    for text in ["RUN true", "RUN false"] {
        let _ = build(engine, &order(yard, "a"), &[("Dockerfile", &dockerfile(text))]).await;
    }
    for _ in 0..100 {
        if sockets() <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} sockets, and {before} before", sockets());
}
