use super::*;
use crate::model::project::{Attachment, Port};

/// A service per entry, its labels on lines of their own; `web` is on the network `default` and has no port.
fn project(services: &[(&str, &[(&str, &str)])]) -> Project {
    let mut project = Project::default();
    let mut line = 0;
    for (name, labels) in services {
        let mut service = Service { name: (*name).into(), ..Service::default() };
        service.networks.insert("default".into(), Attachment::default());
        for (label, value) in *labels {
            line += 1;
            service.labels.insert((*label).into(), (*value).into());
            service.label_places.insert((*label).into(), Place::new("compose.yaml", line, 7));
        }
        project.services.insert((*name).into(), service);
    }
    project
}

const FRONT: (&str, &[(&str, &str)]) = ("nginx", &[("agent.nginx", "true")]);

fn read(project: &Project) -> Result<Vec<Route>, Vec<String>> {
    let text = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
    routes(project, &Options::default()).map_err(text)
}

fn refusals(project: &Project) -> Vec<String> {
    read(project).expect_err("nothing was refused")
}

#[test]
fn a_route_has_defaults() {
    let routes = read(&project(&[FRONT, ("web", &[("agent.route.port", "8000")])])).unwrap();
    let expected = Route {
        service: "web".into(),
        name: String::new(),
        place: Place::new("compose.yaml", 2, 7),
        listen: 80,
        host: None,
        path: "/".into(),
        strip: false,
        port: 8000,
        websocket: false,
        body_size: None,
        timeout: None,
    };
    assert_eq!(routes, [expected]);
}

#[test]
fn the_only_exposed_port_is_the_default() {
    let mut project = project(&[FRONT, ("web", &[("agent.route.path", "/")])]);
    let mut with = |expose: &[&str], target: Option<u16>| {
        let web = project.services.get_mut("web").unwrap();
        web.expose = expose.iter().map(|port| (*port).to_owned()).collect();
        let port = |target| Port { target, protocol: "tcp".into(), ..Port::default() };
        web.ports = target.map(port).into_iter().collect();
        read(&project).map(|routes| routes[0].port)
    };
    assert_eq!(with(&["8000"], None), Ok(8000));
    assert_eq!(with(&["8000/tcp", "53/udp"], Some(8000)), Ok(8000));
    assert_eq!(
        with(&[], None).unwrap_err(),
        ["compose.yaml:2:7: service web: the port of the route is not known: the service exposes none \
          (add the label agent.route.port)"]
    );
    assert!(with(&["8000"], Some(9000)).unwrap_err()[0].contains("the service exposes 8000, 9000"));
}

#[test]
fn a_service_may_have_several_routes() {
    let labels = [
        ("agent.route.direct.listen", "5001"),
        ("agent.route.direct.port", "8000"),
        ("agent.route.site.host", "Shop.example.com"),
        ("agent.route.site.port", "8000"),
        ("agent.route.site.timeout", "2m"),
        ("agent.route.site.websocket", "true"),
    ];
    let routes = read(&project(&[FRONT, ("web", &labels)])).unwrap();
    let names: Vec<_> = routes.iter().map(|r| (r.name.as_str(), r.listen, r.host.as_deref())).collect();
    assert_eq!(names, [("site", 80, Some("shop.example.com")), ("direct", 5001, None)]);
    assert_eq!(routes[0].timeout, Some(std::time::Duration::from_secs(120)));
    assert!(routes[0].websocket);
}

#[test]
fn everything_wrong_is_said_at_once_and_where() {
    let labels = [
        ("agent.route.port", "http"),
        ("agent.route.path", "/x; return 200"),
        ("agent.route.listen", "8099"),
        ("agent.route.strip", "yes"),
        ("agent.route.hots", "x"),
    ];
    let refusals = refusals(&project(&[FRONT, ("web", &labels)]));
    let starts = ["compose.yaml:6:7: service web has an unknown", "compose.yaml:3:7: ", "compose.yaml:5:7: "];
    assert!(starts.iter().zip(&refusals).all(|(start, refusal)| refusal.starts_with(start)), "{refusals:#?}");
    assert!(refusals[1].contains("`/x; return 200` of `agent.route.path` has a character"), "{refusals:#?}");
    assert!(refusals.iter().any(|refusal| refusal.starts_with("compose.yaml:2:7: service web: `http`")));
    assert!(refusals.iter().any(|refusal| refusal.starts_with("compose.yaml:4:7: service web: `8099`")));
    assert_eq!(refusals.len(), 5, "{refusals:#?}");
}

#[test]
fn two_services_cannot_claim_one_path() {
    let with = |path: &'static str, host: &'static str| {
        let a =
            [("agent.route.path", "/shop/"), ("agent.route.port", "1"), ("agent.route.host", "a.example")];
        let b = [("agent.route.path", path), ("agent.route.port", "1"), ("agent.route.host", host)];
        read(&project(&[FRONT, ("a", &a), ("b", &b)]))
    };
    let clash = with("/shop", "A.example").unwrap_err();
    assert_eq!(
        clash,
        ["compose.yaml:5:7: services a and b both route /shop/ of a.example on port 80; the first is at \
          compose.yaml:2:7 (change path, host or listen of one of them)"]
    );
    assert_eq!(with("/shop/x/", "a.example").unwrap().len(), 2);
    assert_eq!(with("/shop/", "b.example").unwrap().len(), 2);
}

#[test]
fn no_service_can_take_the_agents_own_addresses() {
    let own = |text: &str| Some(text.to_owned().try_into().unwrap());
    let (published, dashboard) = (own("/webhooks/"), own("/agent/"));
    let options = Options { published, dashboard, ..Options::default() };
    let with = |path: &'static str| {
        let a = [("agent.route.path", path), ("agent.route.port", "1")];
        routes(&project(&[FRONT, ("a", &a)]), &options)
    };
    let problem = with("/webhooks/stripe").unwrap_err().remove(0);
    assert_eq!(problem.message, "service a routes /webhooks/stripe, where the agent's own webhooks are");
    let problem = with("/agent").unwrap_err().remove(0).to_string();
    assert!(problem.contains("service a routes /agent, where the agent's own dashboard is"), "{problem}");
    assert!(problem.contains("`publish` under [dashboard]"), "{problem}");
    assert_eq!(with("/").unwrap().len(), 1);
}

#[test]
fn exactly_one_service_is_nginx() {
    let web: (&str, &[(&str, &str)]) = ("web", &[("agent.route.port", "8000")]);
    let none = refusals(&project(&[web]));
    assert!(
        none[0].contains("no service is nginx (give the nginx service the label agent.nginx"),
        "{none:?}"
    );
    let two = refusals(&project(&[FRONT, ("other", &[("agent.nginx", "true")]), web]));
    assert_eq!(
        two,
        [
            "compose.yaml:2:7: services nginx and other both claim to be nginx (leave agent.nginx on one of them)"
        ]
    );
    let neither = refusals(&project(&[("nginx", &[("agent.nginx", "on")]), web]));
    assert_eq!(neither.len(), 1, "{neither:?}");
    assert!(neither[0].contains("`on` of `agent.nginx` is neither"), "{neither:?}");
    assert_eq!(read(&project(&[("db", &[])])), Ok(vec![]));
}

#[test]
fn a_route_that_nginx_cannot_reach_is_refused() {
    let mut project = project(&[
        ("a", &[("agent.route.port", "1")]),
        ("b", &[("agent.route.port", "1"), ("agent.route.path", "/b")]),
        ("nginx", &[("agent.nginx", "true"), ("agent.route.port", "1"), ("agent.route.path", "/n")]),
    ]);
    let a = project.services.get_mut("a").unwrap();
    a.networks = [("inner".to_owned(), Attachment::default())].into();
    let b = project.services.get_mut("b").unwrap();
    b.networks.clear();
    b.network_mode = Some("host".into());
    let refusals = refusals(&project);
    assert!(refusals[0].contains("service a has a route, but shares no network with nginx"), "{refusals:?}");
    assert!(refusals[1].contains("service b has a route, but a `network_mode`"), "{refusals:?}");
    assert!(refusals[2].contains("service nginx is nginx itself"), "{refusals:?}");
}

#[test]
fn an_nginx_on_no_network_reaches_nobody() {
    let mut project = project(&[FRONT, ("web", &[("agent.route.port", "1")])]);
    let front = project.services.get_mut("nginx").unwrap();
    front.networks.clear();
    front.network_mode = Some("host".into());
    assert_eq!(
        refusals(&project),
        [
            "compose.yaml:2:7: service web has a route, but nginx has a `network_mode` and so shares no network with it \
          (give nginx `networks` and `ports` instead)"
        ]
    );
}
