//! An instance from its creation to its removal.

use agent::engine::{Begin, Engine, EngineError};
use agent::model::instance::{
    Health, HealthSpec, Identity, ImageRef, InstanceId, MountSpec, Phase, RestartSpec, Template,
};
use futures_util::TryStreamExt;

use crate::yard::{IDLE, Yard};

pub(crate) async fn an_instance_is_created_runs_and_ends(engine: &impl Engine, yard: &Yard) {
    let template = yard.template("web", "echo up; until [ -e /end ]; do sleep 0.02; done; exit 7");
    let id = engine.create(&template, &yard.identity(3)).await.unwrap();
    assert_eq!(engine.condition(&id).await.unwrap().phase, Phase::Created);

    engine.start(&id).await.unwrap();
    let running = yard.seen(engine, &id).await;
    assert!(running.running() && running.condition.pid > 0);
    assert_eq!(running.name, format!("{}-web-3", yard.stack));
    assert_eq!((running.service.as_str(), running.number, running.run.0), ("web", 3, 7));
    assert_eq!(running.fingerprint, "fingerprint-3");
    assert_eq!(running.revision, "0123456789abcdef0123456789abcdef01234567");
    assert_eq!(Some(running.image_id), engine.image(crate::yard::BASE).await.unwrap());

    assert_eq!(engine.exec(&id, &["touch", "/end"]).await.unwrap().code, 0);
    let ended = yard.until(engine, &id, |c| matches!(c.phase, Phase::Exited(_))).await;
    assert_eq!(ended.phase, Phase::Exited(7));
    assert_eq!(engine.logs(&id, 10).await.unwrap(), "up\n");

    engine.remove(&id).await.unwrap();
    assert_eq!(engine.observe(&yard.stack).await.unwrap().instances, []);
}

pub(crate) async fn the_end_of_the_logs_is_read_from_both_streams(engine: &impl Engine, yard: &Yard) {
    let script = "for n in 1 2 3 4 5; do echo out $n; done; sleep 0.1; echo err >&2";
    let id = yard.started(engine, &yard.template("web", script), &yard.identity(1)).await;
    yard.until(engine, &id, |c| c.phase == Phase::Exited(0)).await;
    assert_eq!(engine.logs(&id, 3).await.unwrap(), "out 4\nout 5\nerr\n");
    let written = engine.last_written(&id, 2).await.unwrap();
    assert_eq!(written.iter().map(|line| &*line.text).collect::<Vec<_>>(), [&b"out 5\n"[..], b"err\n"]);
    assert!(written[0].at < written[1].at && written[0].at.len() == 30, "{written:?}");
}

pub(crate) async fn logs_are_followed_to_the_end(engine: &impl Engine, yard: &Yard) {
    let script = "echo first; until [ -e /end ]; do sleep 0.02; done; echo last";
    let id = yard.started(engine, &yard.template("web", script), &yard.identity(1)).await;
    let mut lines = engine.follow(&id, Begin::Last(100));
    assert_eq!(lines.try_next().await.unwrap().unwrap().text, "first\n");
    engine.exec(&id, &["touch", "/end"]).await.unwrap();
    let last = lines.try_next().await.unwrap().unwrap();
    assert_eq!(last.text, "last\n");
    assert_eq!(lines.try_next().await.unwrap(), None);

    engine.start(&id).await.unwrap();
    let mut after = engine.follow(&id, Begin::After(last.at));
    assert_eq!(after.try_next().await.unwrap().unwrap().text, "first\n");
    let mut whole = engine.follow(&id, Begin::Start);
    for line in ["first\n", "last\n", "first\n", "last\n"] {
        assert_eq!(whole.try_next().await.unwrap().unwrap().text, line);
    }
}

pub(crate) async fn a_shelved_instance_is_no_part_of_the_stack_and_keeps_its_logs(
    engine: &impl Engine,
    yard: &Yard,
) {
    let mut template = yard.template("web", "trap 'exit 0' TERM; echo why; sleep 3600 & wait");
    template.restart.policy = "always".to_owned();
    let id = yard.started(engine, &template, &yard.identity(1)).await;
    engine.follow(&id, Begin::Start).try_next().await.unwrap();
    engine.shelve(&id, true).await.unwrap();
    let seen = engine.observe(&yard.stack).await.unwrap();
    assert_eq!(seen.instances, []);
    assert_eq!(seen.failed.iter().map(|instance| &instance.id).collect::<Vec<_>>(), [&id]);
    assert_eq!(engine.logs(&id, 10).await.unwrap(), "why\n");
    // Its name is free for the next.
    let next = yard.started(engine, &template, &yard.identity(1)).await;
    // Whoever starts it by hand has an instance again.
    engine.start(&id).await.unwrap();
    assert_eq!(engine.observe(&yard.stack).await.unwrap().instances.len(), 2);
    for id in [&id, &next] {
        engine.stop(id).await.unwrap();
        engine.remove(id).await.unwrap();
    }
    assert_eq!(engine.observe(&yard.stack).await.unwrap().failed, []);
}

pub(crate) async fn its_stop_signal_lets_it_end_in_peace(engine: &impl Engine, yard: &Yard) {
    let script = "trap 'echo bye; exit 3' USR1; echo up; sleep 3600 & wait";
    let template = Template { stop_signal: Some("SIGUSR1".to_owned()), ..yard.template("web", script) };
    let id = yard.started(engine, &template, &yard.identity(1)).await;
    engine.follow(&id, Begin::Last(1)).try_next().await.unwrap();
    engine.stop(&id).await.unwrap();
    assert_eq!(engine.condition(&id).await.unwrap().phase, Phase::Exited(3));
    assert_eq!(engine.logs(&id, 10).await.unwrap(), "up\nbye\n");
}

pub(crate) async fn one_that_ignores_its_signal_is_killed_after_the_grace(engine: &impl Engine, yard: &Yard) {
    let template = Template { stop_grace_seconds: 1, ..yard.template("web", "trap '' TERM; sleep 3600") };
    let id = yard.started(engine, &template, &yard.identity(1)).await;
    engine.stop(&id).await.unwrap();
    assert_eq!(engine.condition(&id).await.unwrap().phase, Phase::Exited(137));
}

pub(crate) async fn what_is_gone_is_stopped_and_removed_already(engine: &impl Engine, yard: &Yard) {
    let id = yard.started(engine, &yard.template("web", IDLE), &yard.identity(1)).await;
    engine.stop(&id).await.unwrap();
    engine.stop(&id).await.unwrap();
    engine.remove(&id).await.unwrap();
    engine.remove(&id).await.unwrap();
    engine.stop(&id).await.unwrap();
    engine.remove(&InstanceId("0".repeat(64))).await.unwrap();
    assert!(engine.condition(&id).await.unwrap_err().to_string().contains("it is gone"));
    assert!(engine.start(&id).await.is_err());
}

pub(crate) async fn anonymous_volumes_stay_and_are_taken_over(engine: &impl Engine, yard: &Yard) {
    let volume =
        MountSpec::Volume { name: None, target: "/data".to_owned(), read_only: false, nocopy: false };
    let template = Template { mounts: vec![volume], ..yard.template("web", IDLE) };
    let id = yard.started(engine, &template, &yard.identity(1)).await;
    let seen = |id: &InstanceId| yard.inspect(id, "{{(index .Mounts 0).Name}}");
    let name = seen(&id);
    let observed = engine.observe(&yard.identity(1).stack).await.unwrap();
    let volumes = observed.instances.into_iter().find(|i| i.id == id).unwrap().volumes;
    assert_eq!(volumes, [("/data".to_owned(), name.clone())].into());
    engine.exec(&id, &["touch", "/data/paid"]).await.unwrap();

    let next = Identity { volumes: volumes.clone(), ..yard.identity(2) };
    let second = yard.started(engine, &template, &next).await;
    engine.remove(&id).await.unwrap();
    assert_eq!(
        (seen(&second), engine.exec(&second, &["ls", "/data"]).await.unwrap().output),
        (name.clone(), "paid\n".into())
    );
    // Nobody wants what it did; what it had from others stays.
    engine.discard(&second).await.unwrap();
    yard.docker(&["volume", "inspect", &name]);
    // Neither template nor image has a place for it.
    let other = yard.template("web", IDLE);
    let third = yard.started(engine, &other, &Identity { volumes, ..yard.identity(3) }).await;
    assert_eq!(yard.inspect(&third, "{{len .Mounts}}"), "0");
    yard.docker(&["volume", "rm", &name]);

    let own = yard.started(engine, &template, &yard.identity(4)).await;
    let name = seen(&own);
    engine.discard(&own).await.unwrap();
    assert!(!yard.try_docker(&["volume", "inspect", &name]).0, "{name} is still there");
}

pub(crate) async fn commands_run_inside_tell_their_code_and_output(engine: &impl Engine, yard: &Yard) {
    let id = yard.started(engine, &yard.template("web", IDLE), &yard.identity(1)).await;
    let done = engine.exec(&id, &["sh", "-c", "echo out; sleep 0.1; echo err >&2; exit 9"]).await.unwrap();
    assert_eq!((done.code, done.output.as_str()), (9, "out\nerr\n"));
    let long = engine.exec(&id, &["sh", "-c", "seq 1 100000"]).await.unwrap();
    assert!(long.output.len() <= 64 * 1024 && long.output.ends_with("99999\n100000\n"));
}

pub(crate) async fn signals_arrive(engine: &impl Engine, yard: &Yard) {
    let script = "trap 'echo hup' HUP; trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done";
    let id = yard.started(engine, &yard.template("web", script), &yard.identity(1)).await;
    let mut lines = engine.follow(&id, Begin::Last(10));
    assert_eq!(lines.try_next().await.unwrap().unwrap().text, "up\n");
    engine.signal(&id, "HUP").await.unwrap();
    assert_eq!(lines.try_next().await.unwrap().unwrap().text, "hup\n");
    engine.stop(&id).await.unwrap();
    let refused = engine.signal(&id, "HUP").await.unwrap_err();
    assert!(matches!(refused, EngineError::Refused { .. }), "{refused:?}");
}

pub(crate) async fn health_goes_from_starting_to_healthy_to_unhealthy(engine: &impl Engine, yard: &Yard) {
    let health = HealthSpec {
        test: ["CMD-SHELL", "test -e /well"].map(str::to_owned).to_vec(),
        interval_ns: 200_000_000,
        timeout_ns: 5_000_000_000,
        start_period_ns: 60_000_000_000,
        retries: 1,
        ..Default::default()
    };
    let template = Template { healthcheck: Some(health), ..yard.template("web", IDLE) };
    let id = yard.started(engine, &template, &yard.identity(1)).await;
    assert_eq!(engine.condition(&id).await.unwrap().health, Some(Health::Starting));
    engine.exec(&id, &["touch", "/well"]).await.unwrap();
    yard.until(engine, &id, |c| c.health == Some(Health::Healthy)).await;
    engine.exec(&id, &["rm", "/well"]).await.unwrap();
    yard.until(engine, &id, |c| c.health == Some(Health::Unhealthy)).await;
}

pub(crate) async fn a_command_that_does_not_exist_is_refused(engine: &impl Engine, yard: &Yard) {
    let template =
        Template { command: Some(vec!["/no/such/program".to_owned()]), ..yard.template("web", "") };
    let id = engine.create(&template, &yard.identity(1)).await.unwrap();
    let refused = engine.start(&id).await.unwrap_err();
    assert!(matches!(&refused, EngineError::Refused { message, .. } if message.contains("/no/such/program")));

    let nowhere = ImageRef { name: "agenttest-nowhere:1".to_owned(), id: String::new() };
    let refused =
        engine.create(&Template { image: nowhere, ..template }, &yard.identity(2)).await.unwrap_err();
    assert_eq!(refused.to_string(), "there is no image agenttest-nowhere:1");
}

pub(crate) async fn a_restart_is_counted(engine: &impl Engine, yard: &Yard) {
    let restart = RestartSpec { policy: "on-failure".to_owned(), max_retries: 2 };
    let template = Template { restart, ..yard.template("web", "exit 4") };
    let id = yard.started(engine, &template, &yard.identity(1)).await;
    let ended = yard.until(engine, &id, |c| matches!(c.phase, Phase::Exited(_)) && c.restarts == 2).await;
    assert_eq!(ended.phase, Phase::Exited(4));
}

pub(crate) async fn a_name_that_is_taken_is_refused(engine: &impl Engine, yard: &Yard) {
    engine.create(&yard.template("web", IDLE), &yard.identity(1)).await.unwrap();
    let refused = engine.create(&yard.template("web", IDLE), &yard.identity(1)).await.unwrap_err();
    let name = format!("{}-web-1", yard.stack);
    assert!(
        matches!(&refused, EngineError::Refused { message, .. } if message.contains(&name)),
        "{refused:?}"
    );
}
