//! Whatever stands in a label, it is refused or nginx accepts what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use agent::model::place::Place;
use agent::model::project::{Attachment, Project, Service};
use agent::plan::nginx::{Options, Upstreams, render, routes};
use proptest::prelude::*;

use super::nginx;

/// A label's field and a text for it: right for it, nearly right, rich in nginx's syntax, or anything.
fn label() -> impl Strategy<Value = (&'static str, String)> {
    let right = prop_oneof![
        ("[0-9]{1,9}[kKmMgG]?").prop_map(|text| ("body_size", text)),
        ("(\\*\\.)?[a-zA-Z0-9-]{1,63}(\\.[a-zA-Z0-9-]{1,40}){0,5}").prop_map(|text| ("host", text)),
        (1_u16..).prop_map(|port| ("listen", port.to_string())),
        ("(/[a-zA-Z0-9_~-][a-zA-Z0-9._~-]{0,12}){0,4}/?").prop_map(|text| ("path", text)),
        (1_u16..).prop_map(|port| ("port", port.to_string())),
        ("true|false").prop_map(|text| ("strip", text)),
        ("[1-9][0-9]{0,2}(ms|s|m)").prop_map(|text| ("timeout", text)),
        ("true|false").prop_map(|text| ("websocket", text)),
    ];
    let fields = ["body_size", "host", "listen", "path", "port", "strip", "timeout", "websocket"];
    let texts = prop_oneof!["[-a-z0-9/.;{}$#'\"\\\\ \n*~=%:@]{0,16}", any::<String>()];
    prop_oneof![12 => right, 1 => (prop::sample::select(fields.to_vec()), texts)]
}

fn project(services: &[Vec<(&'static str, String)>]) -> Project {
    let mut project = Project::default();
    let mut add = |name: String, labels: BTreeMap<String, String>| {
        let mut service =
            Service { name: name.clone(), place: Place::new(&name, 1, 1), ..Service::default() };
        service.label_places = labels.keys().map(|label| (label.clone(), Place::new(&name, 2, 1))).collect();
        service.labels = labels;
        service.networks.insert("default".into(), Attachment::default());
        project.services.insert(name, service);
    };
    add("nginx".into(), [("agent.nginx".to_owned(), "true".to_owned())].into());
    for (n, fields) in services.iter().enumerate() {
        let label = |(field, text): &(_, String)| (format!("agent.route.{field}"), text.clone());
        let mut labels: BTreeMap<_, _> = fields.iter().map(label).collect();
        labels.entry("agent.route.port".into()).or_insert_with(|| "80".into());
        add(format!("s{n}"), labels);
    }
    project
}

proptest! {
    // A generator so wild that hardly anything is accepted has more than a few cases thrown away.
    #![proptest_config(ProptestConfig {
        cases: 40, max_shrink_iters: 500, max_global_rejects: 10, ..ProptestConfig::default()
    })]
    #[test]
    fn a_label_is_refused_or_nginx_accepts_it(
        services in prop::collection::vec(prop::collection::vec(label(), 1..5), 60),
    ) {
        let options = Options::default();
        let mut project = project(&services);
        while let Err(problems) = routes(&project, &options) {
            // Each service is in a file named after it, so a problem says which one to take away.
            let blamed: BTreeSet<_> = problems.into_iter().map(|problem| problem.place.file).collect();
            for service in blamed {
                prop_assert!(service != "nginx" && project.services.remove(&service).is_some(), "{}", service);
            }
        }
        let routes = routes(&project, &options).unwrap();
        prop_assume!(routes.len() > 10);
        let upstreams: Upstreams = routes.iter().enumerate().filter(|(n, _)| n % 5 != 0)
            .map(|(_, route)| (route.service.clone(), vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()])).collect();
        let text = render(&routes, &upstreams, &options).unwrap();
        nginx::accepts(&text);
        // Every route has its blocks and there are no others.
        let expected: usize = routes.iter().map(|route| if route.path == "/" { 1 } else { 2 }).sum();
        let marked = text.lines().filter(|line| line.starts_with("        # from ")).count();
        prop_assert_eq!(marked, expected);
    }
}
