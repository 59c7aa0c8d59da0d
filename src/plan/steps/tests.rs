use std::collections::BTreeMap;

use super::*;
use crate::model::desired::{Order, Service};
use crate::model::instance::InstanceId;
use crate::model::route::Options;
use crate::plan::diff::{NewInstance, OldInstance, Removal};

fn service(name: &str, fingerprint: &str) -> Service {
    Service {
        one_shot: name.starts_with("once"),
        proxy: name == "nginx",
        ..Service::plain(name, fingerprint)
    }
}

fn route(service: &str, port: u16) -> Route {
    Route { port, ..Route::plain(service, &format!("/{service}/")) }
}

/// Every service but nginx has a route, whose port tells old from new.
fn stack(fingerprint: &str, port: u16, names: &[&str]) -> Desired {
    let apps = names.iter().filter(|name| **name != "nginx");
    Desired {
        stack: "shop".into(),
        revision: "a".repeat(40).parse().unwrap(),
        services: names.iter().map(|name| ((*name).to_owned(), service(name, fingerprint))).collect(),
        networks: Vec::new(),
        volumes: Vec::new(),
        routes: apps.map(|name| route(name, port)).collect(),
        nginx: Default::default(),
    }
}

fn plan(desired: &Desired, names: &[&str], removed: &[&str]) -> Plan {
    let old = |name: &str| OldInstance {
        id: InstanceId(name.into()),
        name: name.into(),
        serving: true,
        restarting: false,
        one_shot: false,
        of: None,
    };
    let roll = |name: &&str| Roll {
        service: (*name).into(),
        reason: "image changed".into(),
        order: Order::StartFirst,
        order_reason: String::new(),
        wave: 0,
        new: vec![NewInstance { number: 2, addresses: BTreeMap::new(), volumes: BTreeMap::new() }],
        old: vec![old(name)],
        frees_for: Default::default(),
    };
    let removal =
        |name: &&str| Removal { service: (*name).into(), reason: String::new(), old: vec![old(name)] };
    Plan {
        revision: desired.revision.clone(),
        builds: Vec::new(),
        rolls: names.iter().map(roll).collect(),
        removals: removed.iter().map(removal).collect(),
        refreshes: Vec::new(),
        unchanged: Vec::new(),
        drift: Vec::new(),
        addresses: BTreeMap::new(),
    }
}

fn fingerprints(desired: &Desired) -> Vec<(&str, &str)> {
    desired.services.iter().map(|(name, service)| (name.as_str(), service.fingerprint.as_str())).collect()
}

fn ports(desired: &Desired) -> BTreeMap<&str, u16> {
    desired.routes.iter().map(|route| (route.service.as_str(), route.port)).collect()
}

#[test]
fn each_step_replaces_one_service_and_the_last_one_nginx_and_what_is_gone() {
    let before = stack("old", 1, &["api", "gone", "nginx", "web"]);
    let after = stack("new", 2, &["api", "nginx", "web"]);
    let steps = steps(&plan(&after, &["api", "web", "nginx"], &["gone"]), &after, Some(&before));
    let services: Vec<&[String]> = steps.iter().map(|step| step.services.as_slice()).collect();
    assert_eq!(services, [&["api".to_owned()] as &[_], &["web".to_owned(), "nginx".to_owned()]]);
    assert_eq!(steps.iter().map(|step| step.plan.removals.len()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(steps[1].desired, after);
}

#[test]
fn a_one_shot_runs_in_the_step_of_the_service_that_comes_after_it() {
    let names = ["api", "nginx", "once-first", "once-more", "once-then", "web"];
    let (before, after) = (stack("old", 1, &names), stack("new", 2, &names));
    let rolled = |rolls: &[&str]| -> Vec<String> {
        let steps = steps(&plan(&after, rolls, &[]), &after, Some(&before));
        steps.iter().map(|step| step.services.join(" ")).collect()
    };
    assert_eq!(rolled(&["once-first", "once-more", "api", "web"]), ["once-first once-more api", "web"]);
    // It waits for the api, and so does web for it.
    assert_eq!(rolled(&["api", "once-then", "web", "nginx"]), ["api", "once-then web nginx"]);
    assert_eq!(rolled(&["api", "web", "once-then", "nginx"]), ["api", "web", "once-then nginx"]);
    assert_eq!(rolled(&["once-first"]), ["once-first"]);
}

#[test]
fn what_goes_with_another_is_replaced_in_the_same_step() {
    let names = ["app", "db", "mesh", "web"];
    let before = stack("old", 1, &names);
    let mut after = stack("new", 2, &names);
    after.services.get_mut("mesh").unwrap().follows = vec!["app".into()];
    let steps = steps(&plan(&after, &["app", "db", "mesh", "web"], &[]), &after, Some(&before));
    let services: Vec<String> = steps.iter().map(|step| step.services.join(" ")).collect();
    assert_eq!(services, ["app db mesh", "web"]);
}

#[test]
fn what_takes_the_place_of_another_changes_together_with_all() {
    let before = stack("old", 1, &["door", "web"]);
    let after = stack("new", 2, &["gate", "web"]);
    let mut plan = plan(&after, &["gate", "web"], &[]);
    assert_eq!(inseparable(&plan, &after, Some(&before)), None);
    plan.rolls[0].old[0].of = Some("door".into());
    plan.rolls[0].order_reason = "takes over port 80 from door".into();
    assert_eq!(
        inseparable(&plan, &after, Some(&before)).as_deref(),
        Some("gate takes over port 80 from door")
    );
}

#[test]
fn between_two_steps_what_waits_is_what_it_was_with_its_routes() {
    let before = stack("old", 1, &["api", "gone", "nginx", "web"]);
    let after = stack("new", 2, &["api", "nginx", "web"]);
    let steps = steps(&plan(&after, &["api", "web", "nginx"], &["gone"]), &after, Some(&before));
    let between = &steps[0].desired;
    let expected = [("api", "new"), ("gone", "old"), ("nginx", "old"), ("web", "old")];
    assert_eq!(fingerprints(between), expected);
    assert_eq!(ports(between), [("api", 2), ("gone", 1), ("web", 1)].into());
}

#[test]
fn what_is_new_in_the_stack_is_not_there_before_its_step() {
    let before = stack("old", 1, &["api", "nginx"]);
    let after = stack("new", 2, &["api", "nginx", "web"]);
    let steps = steps(&plan(&after, &["api", "web"], &[]), &after, Some(&before));
    assert_eq!(fingerprints(&steps[0].desired), [("api", "new"), ("nginx", "old")]);
    assert_eq!(fingerprints(&steps[1].desired), [("api", "new"), ("nginx", "new"), ("web", "new")]);
}

#[test]
fn the_steps_do_not_depend_on_what_was_before() {
    // After a crash in the last step the release before is the new one already.
    let after = stack("new", 2, &["api", "nginx", "web"]);
    let plan = plan(&after, &["api", "web", "nginx"], &[]);
    let names = |before: Option<&Desired>| -> Vec<Vec<String>> {
        steps(&plan, &after, before).into_iter().map(|step| step.services).collect()
    };
    assert_eq!(names(Some(&after)), names(Some(&stack("old", 1, &["api", "nginx", "web"]))));
}

#[test]
fn a_path_that_another_service_takes_over_is_found() {
    let before = stack("old", 1, &["api", "nginx", "web"]);
    let mut after = stack("new", 2, &["api", "nginx", "web"]);
    assert_eq!(moved(&after, Some(&before)), None);
    after.routes.iter_mut().find(|route| route.service == "web").unwrap().path = "/api/".into();
    assert_eq!(moved(&after, Some(&before)).map(|route| route.service.as_str()), Some("web"));
}

#[test]
fn between_two_steps_nginx_is_what_it_was_but_publishes_for_this_machine() {
    let mut before = stack("old", 1, &["api", "nginx", "web"]);
    let mut after = stack("new", 2, &["api", "nginx", "web"]);
    before.nginx.ipv6 = true;
    before.nginx.trusted = vec!["10.0.0.1".into()];
    after.nginx.trusted = vec!["10.0.0.2".into()];
    after.nginx.published = Some("/webhooks/".to_owned().try_into().unwrap());
    after.nginx.dashboard = Some("agent.example.com/".to_owned().try_into().unwrap());
    let steps = steps(&plan(&after, &["api", "web"], &[]), &after, Some(&before));
    assert_eq!(steps[0].desired.nginx, Options { ipv6: true, ..after.nginx.clone() });
    assert_eq!(steps[1].desired.nginx, after.nginx);
}
