//! What the engine tells by itself, and commands run beside the stack.

use std::time::Duration;

use agent::engine::Engine;
use agent::model::instance::{MountSpec, Template};
use futures_util::StreamExt;

use crate::yard::{BASE, IDLE, Yard};

pub(crate) async fn what_happens_to_the_stack_is_told(engine: &impl Engine, yard: &Yard) {
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let mut told = engine.happenings(&yard.stack);
    let listening = tokio::spawn(async move {
        while let Some(happening) = told.next().await {
            heard.send(happening.unwrap()).unwrap();
        }
    });
    // Others are not told of; their end is the last thing to happen, so it would have been.
    let ready = yard.foreign("ready");
    let label = format!("agent.stack={}", yard.stack);
    // The engine says nothing when it has begun to tell: it has once it tells of this one.
    loop {
        yard.docker(&["run", "--name", &ready, "--label", &label, BASE, "true"]);
        yard.docker(&["rm", "-f", &ready]);
        if tokio::time::timeout(Duration::from_millis(500), hears.recv()).await.is_ok() {
            break;
        }
    }

    let id = yard.started(engine, &yard.template("web", IDLE), &yard.identity(1)).await;
    yard.docker(&["run", "--rm", "--name", &yard.foreign("other"), BASE, "true"]);
    engine.exec(&id, &["true"]).await.unwrap();
    engine.stop(&id).await.unwrap();
    engine.remove(&id).await.unwrap();
    let mut whats = Vec::new();
    while whats.last().is_none_or(|what| what != "destroy") {
        let happening = tokio::time::timeout(Duration::from_secs(20), hears.recv()).await.unwrap().unwrap();
        if happening.service == "web" {
            assert_eq!(happening.instance, id);
            whats.push(happening.what);
        } else {
            assert_eq!(happening.service, "", "{happening:?}");
        }
    }
    whats.sort();
    assert_eq!(whats, ["destroy", "die", "start", "stop"]);
    listening.abort();
}

pub(crate) async fn a_command_runs_aside_and_leaves_nothing(engine: &impl Engine, yard: &Yard) {
    let template =
        Template { entrypoint: Some(vec!["/bin/false".to_owned()]), ..yard.networked("web", IDLE) };
    let script = "echo out; sleep 0.1; echo err >&2; exit 5";
    let done = engine.run_aside(&template, &yard.stack, &["sh", "-c", script]).await.unwrap();
    assert_eq!((done.code, done.output.as_str()), (5, "out\nerr\n"));
    let done = engine.run_aside(&template, &yard.stack, &["true"]).await.unwrap();
    assert_eq!((done.code, done.output.as_str()), (0, ""));
    let missing = engine.run_aside(&template, &yard.stack, &["/no/such/program"]).await.unwrap_err();
    assert!(missing.to_string().contains("/no/such/program"), "{missing}");
    let label = format!("label=agent.aside={}", yard.stack);
    assert_eq!(yard.docker(&["ps", "-aq", "--filter", &label]), "");
    assert_eq!(engine.observe(&yard.stack).await.unwrap().instances, []);
}

pub(crate) async fn a_command_aside_sees_the_mounts_and_no_network(engine: &impl Engine, yard: &Yard) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "here\n").unwrap();
    let template = Template {
        mounts: vec![MountSpec::Bind {
            source: folder.path().to_str().unwrap().to_owned(),
            target: "/m".to_owned(),
            read_only: true,
            propagation: None,
            selinux: None,
            create: false,
        }],
        environment: [("WHO".to_owned(), "me".to_owned())].into(),
        ..yard.networked("web", IDLE)
    };
    let script = "cat /m/file; echo $WHO; ls /sys/class/net | tr '\\n' ' '";
    let done = engine.run_aside(&template, &yard.stack, &["sh", "-c", script]).await.unwrap();
    assert_eq!(done.output.trim(), "here\nme\nlo");
}
