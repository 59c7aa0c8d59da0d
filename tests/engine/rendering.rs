//! That a template means what it says, seen from inside the instance.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use agent::engine::{Engine, EngineError};
use agent::model::instance::{MountSpec, PublishedPort, Template, VolumeSpec};

use crate::yard::{IDLE, Yard};

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

pub(crate) async fn environment_user_and_folder_are_as_the_template_says(engine: &impl Engine, yard: &Yard) {
    let environment = [("GREETING", "hello = $HOME 'x'"), ("EMPTY", ""), ("AGENT_RUN", "forged")];
    let template = Template {
        environment: environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        user: Some("1234:2345".to_owned()),
        group_add: words(&["3456"]),
        working_dir: Some("/tmp".to_owned()),
        hostname: Some("box".to_owned()),
        ..yard.template("web", "env; echo $(id -u):$(id -g); cat /proc/self/status; pwd; hostname")
    };
    let output = yard.output(engine, &template).await;
    let instance = format!("AGENT_INSTANCE={}-web-1", yard.stack);
    let revision = "AGENT_REVISION=0123456789abcdef0123456789abcdef01234567";
    let expected = [
        "GREETING=hello = $HOME 'x'",
        "EMPTY=",
        "AGENT_RUN=7",
        revision,
        &instance,
        "1234:2345",
        "/tmp",
        "box",
    ];
    for line in expected {
        assert!(output.lines().any(|l| l == line), "no line `{line}` in:\n{output}");
    }
    let groups = output.lines().find(|line| line.starts_with("Groups:")).unwrap();
    assert!(groups.contains("3456"), "{groups}");
}

pub(crate) async fn rights_and_limits_are_as_the_template_says(engine: &impl Engine, yard: &Yard) {
    let script = "touch /x 2>&1; touch /dev/shm/x && echo shm; grep CapEff /proc/self/status; ulimit -n; \
                  cat /proc/1/comm; grep NoNewPrivs /proc/self/status; df -m /dev/shm | tail -1";
    let template = Template {
        read_only: true,
        cap_drop: words(&["ALL"]),
        cap_add: words(&["CHOWN"]),
        ulimits: BTreeMap::from([("nofile".to_owned(), (512, 1024))]),
        init: Some(true),
        security_opt: words(&["no-new-privileges"]),
        shm_size: Some(16 << 20),
        memory: Some(64 << 20),
        memory_reservation: Some(32 << 20),
        nano_cpus: Some(500_000_000),
        pids_limit: Some(50),
        oom_score_adj: Some(100),
        log_driver: Some("json-file".to_owned()),
        log_options: BTreeMap::from([("max-size".to_owned(), "1m".to_owned())]),
        ..yard.template("web", script)
    };
    let output = yard.output(engine, &template).await;
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[0].contains("Read-only file system"), "{output}");
    assert_eq!(lines[1..4], ["shm", "CapEff:\t0000000000000001", "512"], "{output}");
    assert!(lines[4].contains("init"), "{output}");
    assert_eq!(lines[5], "NoNewPrivs:\t1");
    assert_eq!(lines[6].split_whitespace().nth(1), Some("16"), "{output}");

    let id = engine.create(&template, &yard.identity(2)).await.unwrap();
    let limits = "{{with .HostConfig}}{{.Memory}} {{.MemoryReservation}} {{.NanoCpus}} {{.PidsLimit}} \
                  {{.OomScoreAdj}} {{index .LogConfig.Config \"max-size\"}}{{end}}";
    assert_eq!(yard.inspect(&id, limits), "67108864 33554432 500000000 50 100 1m");
    let template = Template { log_driver: None, ..template };
    let id = engine.create(&template, &yard.identity(3)).await.unwrap();
    assert_eq!(yard.inspect(&id, limits), "67108864 33554432 500000000 50 100 1m");
}

pub(crate) async fn hosts_and_kernel_settings_are_as_the_template_says(engine: &impl Engine, yard: &Yard) {
    engine.ensure_network(&yard.stack, &yard.network()).await.unwrap();
    let script = "cat /etc/hosts; cat /proc/sys/net/core/somaxconn; grep options /etc/resolv.conf";
    let template = Template {
        extra_hosts: words(&["db.internal:10.9.8.7"]),
        sysctls: BTreeMap::from([("net.core.somaxconn".to_owned(), "77".to_owned())]),
        dns_options: words(&["attempts:3"]),
        ..yard.networked("web", script)
    };
    let output = yard.output(engine, &template).await;
    assert!(output.contains("10.9.8.7\tdb.internal\n"), "{output}");
    assert!(output.contains("\n77\n"), "{output}");
    assert!(output.contains("attempts:3"), "{output}");
}

pub(crate) async fn mounts_are_as_the_template_says(engine: &impl Engine, yard: &Yard) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "from the host\n").unwrap();
    let source = folder.path().to_str().unwrap().to_owned();
    let volume =
        VolumeSpec { key: "data".to_owned(), name: format!("{}_data", yard.stack), ..Default::default() };
    engine.ensure_volume(&yard.stack, &volume).await.unwrap();
    engine.ensure_volume(&yard.stack, &volume).await.unwrap();

    let bind = |target: &str, read_only| MountSpec::Bind {
        source: source.clone(),
        target: target.to_owned(),
        read_only,
        propagation: None,
        selinux: None,
        create: false,
    };
    let mounts = vec![
        bind("/ro", true),
        bind("/rw", false),
        MountSpec::Volume {
            name: Some(volume.name.clone()),
            target: "/data".to_owned(),
            read_only: false,
            nocopy: false,
        },
        MountSpec::Tmpfs { target: "/t".to_owned(), size: Some(1 << 20), mode: Some(0o1777) },
    ];
    let script = "cat /ro/file; touch /ro/x 2>&1; echo written > /rw/y; cat /data/kept 2>/dev/null; echo kept > /data/kept; \
                  stat -c %a /t; df -k /t | tail -1; true";
    let template = Template { mounts, ..yard.template("web", script) };
    let first = yard.output(engine, &template).await;
    assert!(first.starts_with("from the host\ntouch: /ro/x: Read-only file system\n"), "{first}");
    assert!(first.contains("\n1777\n") && first.contains(" 1024 "), "{first}");
    assert_eq!(std::fs::read_to_string(folder.path().join("y")).unwrap(), "written\n");
    let second = yard.output(engine, &template).await;
    assert!(second.contains("\nkept\n"), "{second}");

    let observed = engine.observe(&yard.stack).await.unwrap();
    assert_eq!(observed.volumes, [volume.name.as_str()]);
    let label = "{{index .Labels \"com.docker.compose.volume\"}}";
    assert_eq!(yard.docker(&["volume", "inspect", "--format", label, &volume.name]), "data");
}

pub(crate) async fn a_bind_without_its_source_is_refused_unless_it_may_be_made(
    engine: &impl Engine,
    yard: &Yard,
) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("missing");
    let with = |create| Template {
        mounts: vec![MountSpec::Bind {
            source: source.to_str().unwrap().to_owned(),
            target: "/m".to_owned(),
            read_only: false,
            propagation: None,
            selinux: None,
            create,
        }],
        ..yard.template("web", "ls -d /m")
    };
    let refused = engine.create(&with(false), &yard.identity(1)).await.unwrap_err();
    let said = matches!(&refused, EngineError::Refused { message, .. } if message.contains("does not exist"));
    assert!(said && !source.exists(), "{refused:?}");
    assert_eq!(yard.output(engine, &with(true)).await, "/m\n");
    assert!(source.is_dir());
}

fn port(host: Option<u16>) -> PublishedPort {
    PublishedPort { container: 8000, host, host_ip: Some("127.0.0.1".to_owned()), protocol: "tcp".to_owned() }
}

/// The first answer, asked for until there is one: the app needs a moment to listen.
fn ask(address: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut answer = String::new();
        let asked = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(b"GET /hello HTTP/1.0\r\n\r\n")?;
            stream.read_to_string(&mut answer)
        });
        if asked.is_ok_and(|length| length > 0) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{address} never answered");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) async fn a_published_port_answers(engine: &impl Engine, yard: &Yard) {
    engine.ensure_network(&yard.stack, &yard.network()).await.unwrap();
    let script = "mkdir /w; echo hi > /w/hello; exec httpd -f -p 8000 -h /w";
    let template = Template { ports: vec![port(None)], ..yard.networked("web", script) };
    let id = yard.started(engine, &template, &yard.identity(1)).await;
    let address = yard.docker(&["port", &id.0, "8000/tcp"]);
    let answer = tokio::task::spawn_blocking(move || ask(&address)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hi\n"), "{answer}");
}

pub(crate) async fn a_port_that_is_taken_is_refused(engine: &impl Engine, yard: &Yard) {
    engine.ensure_network(&yard.stack, &yard.network()).await.unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port();
    let template = Template { ports: vec![port(Some(number))], ..yard.networked("web", IDLE) };
    let id = engine.create(&template, &yard.identity(1)).await.unwrap();
    let refused = engine.start(&id).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused { message, .. } if message.contains(&number.to_string())),
        "{refused:?}"
    );
}

pub(crate) async fn a_terminal_and_a_shared_network_space_are_given(engine: &impl Engine, yard: &Yard) {
    let tty = Template { tty: true, ..yard.template("term", "tty; printf 'no end'") };
    let output = yard.output(engine, &tty).await;
    assert!(output.starts_with("/dev/pts/") && output.ends_with("no end"), "{output:?}");

    let side = Template {
        network_mode: Some("service:main".to_owned()),
        ..yard.template(
            "side",
            "until echo | nc -w 1 127.0.0.1 7000 >/dev/null; do sleep 0.02; done; echo reached",
        )
    };
    let refused = engine.create(&side, &yard.identity(1)).await.unwrap_err();
    assert!(refused.to_string().contains("no instance of main runs"), "{refused}");
    yard.started(engine, &yard.template("main", "nc -ll -p 7000 -e cat"), &yard.identity(1)).await;
    assert_eq!(yard.output(engine, &side).await, "reached\n");
}
