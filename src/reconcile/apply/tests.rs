//! With the real record, folder and client of the engine; the engine itself has no containers.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::engine::docker::Docker;
use crate::model::desired::Service;
use crate::model::instance::MountSpec;
use crate::reconcile::tests::{World, engine};
use crate::roll::Hold;

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
        cut_off: None,
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
    world.engine_goes();
    assert!(world.reconciler.engine.observe("shop").await.is_err());
    let comes = async {
        sleep(Duration::from_millis(300)).await;
        engine(&world.folder)
    };
    let (put_back, _) = tokio::join!(act.put_back(None, None), comes);
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
