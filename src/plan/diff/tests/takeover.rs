//! Services that need what another has.

use super::*;
use crate::model::instance::{MountSpec, PublishedPort};
use crate::model::route::Route;
use crate::plan::order::WISHED;

#[test]
fn what_needs_the_port_of_one_that_goes_is_started_when_that_has_stopped() {
    let before = desired(vec![publishing("door", Some("127.0.0.1")), service("web", "f1", 1)]);
    let observed = world(before.services.values().map(|s| instance(s, 1, None)).collect());
    let after = desired(vec![publishing("gate", None), service("web", "f1", 1)]);
    let plan = planned(&after, Some(&before), &observed, Purpose::Release);
    assert!(plan.removals.is_empty());
    let [roll] = &plan.rolls[..] else { panic!("{plan:?}") };
    assert_eq!(
        (roll.order, roll.order_reason.as_str()),
        (Order::StopFirst, "takes over port 8080 from door")
    );
    assert_eq!(roll.old[0].name, "shop-door-1");
    // Each at an address of its own they stand side by side.
    let after = desired(vec![publishing("gate", Some("127.0.0.2")), service("web", "f1", 1)]);
    let plan = planned(&after, Some(&before), &observed, Purpose::Release);
    assert_eq!((plan.removals.len(), plan.rolls[0].order), (1, Order::StartFirst));
}

fn publishing(name: &str, ip: Option<&str>) -> Service {
    let mut service = service(name, "f1", 1);
    service.template.ports = vec![port(8080, ip)];
    service
}

fn port(host: u16, ip: Option<&str>) -> PublishedPort {
    PublishedPort { container: 80, host: Some(host), host_ip: ip.map(str::to_owned), protocol: "tcp".into() }
}

/// From one stack, all of which runs, to another.
fn from_to(before: Vec<Service>, after: Vec<Service>) -> Plan {
    let before = desired(before);
    let observed = world(before.services.values().map(|s| instance(s, 1, None)).collect());
    planned(&desired(after), Some(&before), &observed, Purpose::Release)
}

pub(super) fn told(plan: &Plan) -> Vec<String> {
    let roll = |roll: &Roll| format!("{} {}: {}, {}", roll.wave, roll.service, roll.order, roll.order_reason);
    plan.rolls.iter().map(roll).collect()
}

#[test]
fn two_services_write_to_one_volume_only_where_they_did_or_are_said_to() {
    let writing = |name: &str, mount: MountSpec| {
        let mut service = service(name, "f1", 1);
        service.template.mounts = vec![mount];
        service
    };
    let volume = |read_only| MountSpec::Volume {
        name: Some("shop_data".into()),
        target: "/data".into(),
        read_only,
        nocopy: false,
    };
    let bind = MountSpec::Bind {
        source: "/srv/db".into(),
        target: "/data".into(),
        read_only: false,
        propagation: None,
        selinux: None,
        create: false,
    };
    let plan = from_to(vec![writing("postgres", volume(false))], vec![writing("db", volume(false))]);
    assert_eq!(told(&plan), ["0 db: stop-first, takes over the volume shop_data from postgres"]);
    assert_eq!((plan.removals.len(), plan.rolls[0].old[0].of.as_deref()), (0, Some("postgres")));
    let of_image = |service: Service, image: &str| {
        let mut service = service;
        service.template.image.name = image.into();
        service
    };
    let (old, new) = (of_image(writing("postgres", bind.clone()), "postgres:16"), writing("db", bind));
    let plan = from_to(vec![old.clone()], vec![of_image(new.clone(), "postgres:17")]);
    assert_eq!(told(&plan), ["0 db: stop-first, takes over the host's /srv/db from postgres"]);
    // Another program may mount the same for another reason, as all do with the host's clock.
    assert_eq!(from_to(vec![old], vec![of_image(new, "redis:7")]).rolls[0].order, Order::StartFirst);

    let side_by_side = ["0 db: start-first, nothing of it gives way"];
    let plan = from_to(vec![writing("postgres", volume(false))], vec![writing("db", volume(true))]);
    assert_eq!(told(&plan), side_by_side);
    let wished = Service { order_reason: WISHED.into(), ..writing("db", volume(false)) };
    assert_eq!(told(&from_to(vec![writing("postgres", volume(false))], vec![wished])), side_by_side);
    // They shared it before.
    let (web, worker) = (writing("web", volume(false)), writing("worker", volume(false)));
    let newer = Service { fingerprint: "f2".into(), ..web.clone() };
    let plan = from_to(vec![web, worker], vec![newer]);
    assert_eq!((plan.rolls[0].order, plan.removals.len()), (Order::StartFirst, 1));
}

#[test]
fn of_several_new_ones_the_one_that_has_most_of_it_takes_over() {
    let sharing = |name: &str, ports: Vec<PublishedPort>| {
        let mut service = service(name, "f1", 1);
        service.template.mounts = vec![MountSpec::Volume {
            name: Some("shop_data".into()),
            target: "/data".into(),
            read_only: false,
            nocopy: false,
        }];
        service.template.ports = ports;
        service
    };
    let uploads = |name: &str| sharing(name, Vec::new());
    let mut before = desired(vec![uploads("web")]);
    before.routes = vec![Route::plain("web", "/")];
    let observed = world(before.services.values().map(|s| instance(s, 1, None)).collect());
    let mut after = desired(vec![uploads("api"), uploads("shop")]);
    after.routes = vec![Route::plain("api", "/api/"), Route::plain("shop", "/")];
    let plan = planned(&after, Some(&before), &observed, Purpose::Release);
    let takes = "0 shop: stop-first, takes over the volume shop_data from web";
    assert_eq!(told(&plan), [takes, "1 api: start-first, nothing of it gives way"]);

    // A port or a name cannot be shared, so it decides.
    let port = || vec![port(80, None)];
    let plan = from_to(vec![sharing("nginx", port())], vec![uploads("certbot"), sharing("proxy", port())]);
    let takes = "0 proxy: stop-first, takes over port 80 from nginx";
    assert_eq!(told(&plan), [takes, "1 certbot: start-first, nothing of it gives way"]);
    // What two wrote to before, more may write to.
    let plan = from_to(vec![uploads("web"), uploads("worker")], vec![uploads("jobs"), uploads("shop")]);
    assert_eq!((plan.removals.len(), plan.rolls[0].order), (2, Order::StartFirst));
}

#[test]
fn what_takes_over_gets_the_data_that_the_other_kept_to_itself() {
    let of_image = |service: Service, image: &str| {
        let mut service = service;
        service.template.image.name = image.into();
        service
    };
    let before = desired(vec![of_image(publishing("postgres", None), "postgres:16")]);
    let mut seen = instance(&before.services["postgres"], 1, None);
    seen.volumes = BTreeMap::from([("/data".to_owned(), "v1".to_owned())]);
    let observed = world(vec![seen]);
    let left = |image: &str| {
        let after = desired(vec![of_image(publishing("db", None), image)]);
        planned(&after, Some(&before), &observed, Purpose::Release).rolls[0].new[0].volumes.len()
    };
    assert_eq!([left("postgres:17"), left("mysql:8")], [1, 0]);
}

#[test]
fn one_that_stays_gives_up_its_port_before_another_takes_it() {
    let plain = service("web", "f2", 1);
    let plan = from_to(vec![publishing("web", None)], vec![plain, publishing("door", None)]);
    assert_eq!(
        told(&plan),
        ["0 web: stop-first, gives port 8080 up to door", "1 door: start-first, nothing of it gives way"]
    );
    // nginx is replaced after all that it leads to, and what takes a port of its after that.
    let nginx = |service: Service| Service { proxy: true, ..service };
    let newer = nginx(service("nginx", "f2", 1));
    let plan = from_to(vec![nginx(publishing("nginx", None))], vec![newer, publishing("door", None)]);
    let waves: Vec<_> = plan.rolls.iter().map(|roll| (roll.service.as_str(), roll.order)).collect();
    assert_eq!(waves, [("nginx", Order::StopFirst), ("door", Order::StartFirst)]);
    // Not where it keeps one at another address.
    let mut both = publishing("web", Some("127.0.0.1"));
    both.fingerprint = "f2".into();
    let plan = from_to(
        vec![publishing("web", Some("127.0.0.1"))],
        vec![both, publishing("door", Some("127.0.0.2"))],
    );
    assert_eq!(plan.rolls[1].order, Order::StartFirst);
}

#[test]
fn what_one_had_and_two_take_is_free_when_the_second_starts() {
    let with = |name: &str, hosts: &[u16]| {
        let mut service = service(name, "f1", 1);
        service.template.ports = hosts.iter().map(|host| port(*host, None)).collect();
        service
    };
    let plan = from_to(vec![with("edge", &[80, 443])], vec![with("http", &[80]), with("https", &[443])]);
    assert_eq!(
        told(&plan),
        ["0 http: stop-first, takes over port 80 from edge", "1 https: start-first, nothing of it gives way"]
    );
    assert_eq!(plan.rolls[0].services(), BTreeSet::from(["edge", "http"]));
}

#[test]
fn a_fixed_name_is_taken_from_what_has_ended_too() {
    let named = |name: &str| {
        let mut service = Service { one_shot: true, ..service(name, "f1", 1) };
        service.template.container_name = Some("shop-migrate".into());
        service
    };
    let before = desired(vec![named("migrate")]);
    let ended = Instance { name: "shop-migrate".into(), ..instance(&before.services["migrate"], 1, None) };
    let after = desired(vec![named("migrations")]);
    let plan = planned(&after, Some(&before), &world(vec![ended]), Purpose::Release);
    assert_eq!((plan.rolls[0].old.len(), plan.rolls[0].order), (1, Order::StartFirst));
}

fn writing(name: &str, volumes: &[&str]) -> Service {
    let volume = |volume: &&str| MountSpec::Volume {
        name: Some((*volume).into()),
        target: format!("/{volume}"),
        read_only: false,
        nocopy: false,
    };
    let mut service = Service { order: Order::StopFirst, ..service(name, &volumes.join(" "), 1) };
    service.template.mounts = volumes.iter().map(volume).collect();
    service
}

#[test]
fn what_one_had_to_itself_is_taken_over_though_it_shared_something_else() {
    let before = vec![writing("db", &["data", "backups"]), writing("backup", &["backups"])];
    let after = vec![writing("postgres", &["data", "backups"]), writing("backup", &["backups"])];
    let takes = "0 postgres: stop-first, takes over the volume data from db";
    assert_eq!(told(&from_to(before, after)), [takes]);
}

#[test]
fn data_that_moves_is_never_written_to_by_two() {
    let waits = |service: Service, after: &str| Service { after: vec![after.into()], ..service };
    // A pooler in front of the database, under the name by which everybody knows it.
    let plan = from_to(
        vec![writing("db", &["data"])],
        vec![waits(service("db", "pooler", 1), "postgres"), writing("postgres", &["data"])],
    );
    let takes = "0 postgres: stop-first, takes over the volume data from db";
    assert_eq!(told(&plan), [takes, "1 db: stop-first, gives the volume data up to postgres"]);
    assert_eq!(plan.rolls[0].services(), BTreeSet::from(["db", "postgres"]));
    // And back.
    let plan = from_to(
        vec![waits(service("db", "pooler", 1), "postgres"), writing("postgres", &["data"])],
        vec![writing("db", &["data"])],
    );
    assert_eq!(told(&plan), ["0 db: stop-first, takes over the volume data from postgres"]);
    assert_eq!(plan.rolls[0].old.len(), 2);
    // The port goes to one and the data to another.
    let mut old = writing("db", &["data"]);
    old.template.ports = vec![port(5432, None)];
    let pooler = waits(publishing("pooler", None), "postgres");
    let pooler =
        Service { template: Template { ports: vec![port(5432, None)], ..pooler.template }, ..pooler };
    let plan = from_to(vec![old], vec![pooler, writing("postgres", &["data"])]);
    assert_eq!(told(&plan), [takes, "1 pooler: start-first, nothing of it gives way"]);
}

#[test]
fn two_services_swap_their_ports() {
    let on = |name: &str, host: u16| {
        let mut service = Service { order: Order::StopFirst, ..service(name, &host.to_string(), 1) };
        service.template.ports = vec![port(host, None)];
        service
    };
    let plan = from_to(vec![on("api", 8080), on("web", 8081)], vec![on("api", 8081), on("web", 8080)]);
    assert_eq!(plan.rolls[0].services(), BTreeSet::from(["api", "web"]));
    assert_eq!((plan.rolls[0].old.len(), plan.rolls[1].old.len()), (2, 0));
    assert_eq!(plan.rolls.iter().map(|roll| roll.wave).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn all_that_need_not_wait_for_it_passes_before_something_is_given_up() {
    let waits = |service: Service, after: &[&str]| Service {
        after: after.iter().map(|name| (*name).to_owned()).collect(),
        ..service
    };
    let migrate = Service { one_shot: true, ..waits(service("migrate", "f2", 1), &["db"]) };
    let plan = from_to(
        vec![service("db", "f1", 1), writing("web", &["data"])],
        vec![
            service("db", "f2", 1),
            migrate,
            waits(service("web", "f2", 1), &["migrate", "store"]),
            writing("store", &["data"]),
        ],
    );
    let order: Vec<_> = plan.rolls.iter().map(|roll| roll.service.as_str()).collect();
    assert_eq!(order, ["db", "migrate", "store", "web"]);
}

#[test]
fn what_goes_on_to_another_still_belongs_to_the_service_it_was_of() {
    let waits = |service: Service, after: &str| Service { after: vec![after.into()], ..service };
    let plan = from_to(
        vec![publishing("api", None), writing("web", &["uploads"])],
        vec![waits(publishing("web", None), "files"), writing("files", &["uploads"])],
    );
    let [files, web] = &plan.rolls[..] else { panic!("{plan:?}") };
    assert_eq!((files.services(), web.old.len()), (BTreeSet::from(["api", "files", "web"]), 0));
}

#[test]
fn nginx_is_not_stopped_for_what_it_could_write_to() {
    let nginx = |service: Service| Service { proxy: true, ..service };
    let mut before = desired(vec![nginx(writing("nginx", &["certs"])), service("web", "f1", 1)]);
    before.routes = vec![Route::plain("web", "/")];
    let observed = world(before.services.values().map(|s| instance(s, 1, None)).collect());
    let mut after = desired(vec![
        nginx(service("nginx", "f2", 1)),
        service("web", "f1", 1),
        writing("certbot", &["certs"]),
    ]);
    after.routes = vec![Route::plain("certbot", "/.well-known/"), Route::plain("web", "/")];
    let plan = planned(&after, Some(&before), &observed, Purpose::Release);
    assert_eq!(plan.rolls[0].order_reason, "nothing of it gives way");
}

#[test]
fn what_nobody_needs_whom_requests_go_to_passes_before_nginx_is_replaced_all_the_same() {
    let nginx = |fingerprint: &str| Service { proxy: true, ..service("nginx", fingerprint, 1) };
    let mut before = desired(vec![nginx("f1"), service("web", "f1", 1), writing("jobs", &["data"])]);
    before.routes = vec![Route::plain("web", "/")];
    let observed = world(before.services.values().map(|s| instance(s, 1, None)).collect());
    let mut after = desired(vec![nginx("f2"), service("web", "f1", 1), writing("worker", &["data"])]);
    after.routes = before.routes.clone();
    let plan = planned(&after, Some(&before), &observed, Purpose::Release);
    let order: Vec<_> = plan.rolls.iter().map(|roll| roll.service.as_str()).collect();
    assert_eq!(order, ["worker", "nginx"]);
}
