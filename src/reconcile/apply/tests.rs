//! With the real record, folder and client of the engine; the engine itself has no containers.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::app::migrations;
use crate::config::Config;
use crate::engine::docker::Docker;
use crate::model::desired::Service;
use crate::model::instance::MountSpec;
use crate::record::Record;
use crate::roll::Hold;
use crate::source::{Auth, Mirror, Remote};
use crate::store::Store;
use crate::trigger::Wakes;

struct World {
    folder: TempDir,
    reconciler: Reconciler<Docker>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = tokio::spawn(serve(socket(&folder)));
        while !socket(&folder).exists() {
            sleep(Duration::from_millis(1)).await;
        }
        let client = Docker::connect(socket(&folder).to_str()).await.unwrap();
        engine.abort();
        let _ = engine.await;
        let store = Store::open(&folder.path().join("agent.db"), &migrations()).unwrap();
        let remote = Remote::new("/nowhere", "main", Auth::None).unwrap();
        let reconciler = Reconciler {
            engine: client,
            record: Record::new(store.clone()),
            mirror: Mirror::open(&folder.path().join("mirror"), remote).unwrap(),
            wakes: Wakes::open(store, "shop").await.unwrap(),
            config: Config { state: folder.path().to_owned(), ..Config::default() }.into(),
            key: [0; 64],
            clearance: Default::default(),
            situation: Default::default(),
            secrets: None,
            whereabouts: Default::default(),
            gap: Default::default(),
            alarm: Default::default(),
            thaw: Default::default(),
            forgiven: Default::default(),
        };
        Self { folder, reconciler }
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("engine.sock")
}

/// An engine without containers.
async fn serve(socket: PathBuf) {
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let read = stream.read(&mut asked).await.unwrap();
        let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
        let path = asked.split([' ', '?']).nth(1).unwrap_or_default();
        let answer = match Path::new(path).file_name().and_then(|name| name.to_str()) {
            Some("version") => r#"{"ApiVersion":"1.44"}"#,
            Some("volumes") => "{}",
            _ => "[]",
        };
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
        stream.write_all(format!("{head} {}\r\n\r\n{answer}", answer.len()).as_bytes()).await.unwrap();
    }
}

/// Whose nginx leads to these services, each at 10.0.0.9 and a port of its own.
fn desired(folder: &Path, services: &[&str]) -> Desired {
    let mut nginx = Service { proxy: true, ..Service::plain("nginx", "f1") };
    nginx.template.mounts = vec![MountSpec::Bind {
        source: folder.to_str().unwrap().into(),
        target: route::MOUNTED.into(),
        read_only: true,
        propagation: None,
        selinux: None,
        create: true,
    }];
    let routes = services
        .iter()
        .zip(1..)
        .map(|(service, port)| Route { port, ..Route::plain(service, &format!("/{service}/")) });
    let routes: Vec<Route> = routes.collect();
    let link = |route: &Route| {
        let name = nginx::upstream_name(&route.service, route.port);
        format!("# live/{name} leads to 10.0.0.9:{}\n", route.port)
    };
    let text: String = routes.iter().map(link).collect();
    std::fs::write(folder.join(route::LIVE), format!("# wait-[\n{text}")).unwrap();
    Desired {
        stack: "shop".into(),
        revision: "a".repeat(40).parse().unwrap(),
        services: [("nginx".to_owned(), nginx)].into(),
        networks: Vec::new(),
        volumes: Vec::new(),
        routes,
        nginx: Default::default(),
    }
}

fn act<'a>(
    world: &'a World,
    desired: &'a Desired,
    plan: &'a Plan,
    newer: &'a CancellationToken,
) -> Act<'a, Docker> {
    Act {
        world: &world.reconciler,
        journal: world.reconciler.journal(RunId(1)),
        desired,
        before: Some(desired),
        plan,
        run: RunId(1),
        newer,
        waiting: Default::default(),
        asked: None,
    }
}

fn plan() -> Plan {
    Plan {
        revision: "a".repeat(40).parse().unwrap(),
        builds: Vec::new(),
        rolls: Vec::new(),
        removals: Vec::new(),
        refreshes: Vec::new(),
        unchanged: Vec::new(),
        drift: Vec::new(),
        addresses: Default::default(),
    }
}

#[tokio::test]
async fn an_engine_that_is_away_for_a_moment_is_waited_for_on_the_way_back() {
    let (world, plan, newer) = (World::new().await, plan(), CancellationToken::new());
    let desired = desired(world.folder.path(), &[]);
    let act = act(&world, &desired, &plan, &newer);
    assert!(world.reconciler.engine.observe("shop").await.is_err());
    let back = async {
        sleep(Duration::from_millis(300)).await;
        tokio::spawn(serve(socket(&world.folder)));
    };
    let (put_back, ()) = tokio::join!(act.put_back(None, None), back);
    assert!(matches!(put_back, Ok(false)), "{put_back:?}");
}

#[tokio::test]
async fn who_waits_for_one_service_does_not_wait_for_whoever_is_on_the_way_to_another() {
    let (world, plan, newer) = (World::new().await, plan(), CancellationToken::new());
    let desired = desired(world.folder.path(), &["api", "shop", "web"]);
    let (earlier, now) = (act(&world, &desired, &plan, &newer), act(&world, &desired, &plan, &newer));
    assert!(earlier.hold("shop").await && now.hold("web").await);
    let _on_the_way = UnixStream::connect(world.folder.path().join("wait-10.0.0.9-2.sock")).await.unwrap();
    // Nobody listens there.
    earlier.let_on(&[("shop".to_owned(), vec![Ipv4Addr::LOCALHOST])].into()).await;
    while timeout(Duration::from_millis(1), route::all_entered()).await.is_ok() {
        sleep(Duration::from_millis(1)).await;
    }
    tokio::time::pause();
    let begun = Instant::now();
    assert!(now.hold("api").await);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
