//! The text itself: as people will read it, and as nginx does.

use std::time::Duration;

use agent::model::place::Place;
use agent::plan::nginx::{
    Options, OwnTemplate, Published, Route, Upstreams, Version, generation, is_edited, leave_unpublished,
    origin, render,
};

use super::nginx;

fn route(service: &str, path: &str, line: usize) -> Route {
    Route {
        service: service.into(),
        name: String::new(),
        place: Place::new("compose.yaml", line, 7),
        listen: 80,
        host: None,
        path: path.into(),
        strip: false,
        port: 8000,
        websocket: false,
        body_size: None,
        timeout: None,
    }
}

fn upstreams(services: &[(&str, &[u8])]) -> Upstreams {
    let address = |last: &u8| [172, 20, 0, *last].into();
    services.iter().map(|(name, lasts)| ((*name).to_owned(), lasts.iter().map(address).collect())).collect()
}

/// The seed's stack: three prefixes and a direct port.
fn stack() -> (Vec<Route>, Upstreams) {
    let routes = vec![
        route("django-soft", "/django/", 12),
        route("flask-htmlx", "/flask-htmlx/", 30),
        Route { port: 3000, ..route("rocket-ecommerce", "/rocket/", 44) },
        Route { listen: 5001, ..route("flask-soft", "/", 58) },
    ];
    let services =
        [("django-soft", &[2][..]), ("flask-htmlx", &[3]), ("rocket-ecommerce", &[4]), ("flask-soft", &[5])];
    (routes, upstreams(&services))
}

#[test]
fn the_seeds_stack() {
    let (routes, upstreams) = stack();
    let text = render(&routes, &upstreams, &Options::default()).unwrap();
    nginx::accepts(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn every_kind_of_route() {
    let routes = vec![
        Route { strip: true, timeout: Some(Duration::from_millis(1500)), ..route("api", "/api", 3) },
        Route { body_size: Some("100m".into()), websocket: true, ..route("Api", "/live/", 9) },
        route("gone", "/gone/", 20),
        Route { host: Some("*.example.com".into()), strip: true, ..route("shop", "/", 31) },
        Route { host: Some("shop.example.com".into()), strip: true, ..route("shop", "/old/", 32) },
    ];
    let upstreams = upstreams(&[("api", &[9, 10]), ("Api", &[7]), ("shop", &[8]), ("gone", &[])]);
    let trusted = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(str::to_owned).into();
    let options = Options { ipv6: true, trusted, ..Options::default() };
    let text = render(&routes, &upstreams, &options).unwrap();
    nginx::accepts(&text);
    let from = text.find("        location = /status").unwrap();
    insta::assert_snapshot!(&text[from..]);
}

#[test]
fn nothing_to_route_is_a_configuration_too() {
    let text = render(&[], &Upstreams::new(), &Options::default()).unwrap();
    nginx::accepts(&text);
    assert_eq!(text.matches("listen ").count(), 1);
}

#[test]
fn the_same_input_gives_the_same_text() {
    let (mut routes, mut upstreams) = stack();
    upstreams.insert("django-soft".into(), vec![[10, 0, 0, 9].into(), [10, 0, 0, 10].into()]);
    let text = render(&routes, &upstreams, &Options::default()).unwrap();
    routes.reverse();
    upstreams.get_mut("django-soft").unwrap().reverse();
    assert_eq!(render(&routes, &upstreams, &Options::default()).unwrap(), text);
    assert!(!is_edited(&text));
}

#[test]
fn a_label_that_moved_is_no_new_generation() {
    let (mut routes, upstreams) = stack();
    let before = render(&routes, &upstreams, &Options::default()).unwrap();
    routes[0].place.line += 1;
    let after = render(&routes, &upstreams, &Options::default()).unwrap();
    assert_ne!(before, after);
    assert_eq!(generation(&before), generation(&after));
    assert!(routes[0].leads_as(&stack().0[0]));
    routes[0].port += 1;
    assert!(!routes[0].leads_as(&stack().0[0]));
    let other = render(&routes, &upstreams, &Options::default()).unwrap();
    assert_ne!(generation(&before), generation(&other));
}

#[test]
fn what_nginx_refuses_leads_back_to_the_label() {
    let (mut routes, upstreams) = stack();
    // As from a release that an older agent wrote: the size never went through the labels' whitelist.
    routes[1].body_size = Some("lots".into());
    let text = render(&routes, &upstreams, &Options::default()).unwrap();
    let (accepted, said) = nginx::test(&text);
    assert!(!accepted);
    let line = said.lines().next().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(origin(&text, line), Some("flask-htmlx, compose.yaml:30:7"), "{said}");
}

#[test]
fn a_value_that_is_syntax_is_never_printed() {
    let (mut routes, upstreams) = stack();
    for bad in ["/a;", "/a b", "/a{", "/$uri", "/\"", "/'", "/#", "/\\", "/a\n"] {
        routes[0].path = bad.into();
        let problem = render(&routes, &upstreams, &Options::default()).unwrap_err();
        assert!(problem.message.contains("may not stand in an nginx configuration"), "{problem}");
    }
}

#[test]
fn a_place_cannot_leave_its_comment() {
    let (mut routes, upstreams) = stack();
    routes[0].place.file = "a\nreturn 444;\r{".into();
    let text = render(&routes, &upstreams, &Options::default()).unwrap();
    assert!(text.contains("# from django-soft, a?return 444;?{:12:7\n"));
    nginx::accepts(&text);
}

#[test]
fn an_nginx_that_can_lets_kept_connections_linger() {
    let (routes, upstreams) = stack();
    let with = |version| {
        let options = Options { version, ..Options::default() };
        let text = render(&routes, &upstreams, &options).unwrap();
        (text.contains("    keepalive_min_timeout 5s;\n"), options.linger())
    };
    assert_eq!(with(None), (false, Duration::ZERO));
    assert_eq!(with(Some(Version(1, 26, 3))), (false, Duration::ZERO));
    assert_eq!(with(Some(Version(1, 27, 4))), (true, Duration::from_secs(5)));
}

#[test]
fn an_app_has_its_whole_timeout_after_a_wait_for_it() {
    let (mut routes, upstreams) = stack();
    routes[1].timeout = Some(Duration::from_secs(5));
    let waiting = ["django-soft", "flask-htmlx"].map(str::to_owned).into();
    let text = render(&routes, &upstreams, &Options { waiting, ..Options::default() }).unwrap();
    nginx::accepts(&text);
    for (route, timeout) in [("/django/", Some("100s")), ("/flask-htmlx/", Some("45s")), ("/rocket/", None)] {
        let (_, own) = text.split_once(&format!("location {route} {{")).unwrap();
        let own = own.split_once('}').unwrap().0;
        for what in ["read", "send"] {
            let found = own.split_once(&format!("proxy_{what}_timeout ")).map(|(_, rest)| rest);
            assert_eq!(found.and_then(|rest| rest.split(';').next()), timeout, "{route} {own}");
        }
    }
}

#[test]
fn an_nginx_that_would_keep_connections_to_apps_is_told_not_to() {
    let (routes, mut upstreams) = stack();
    upstreams.insert("django-soft".into(), vec![[10, 0, 0, 9].into(), [10, 0, 0, 10].into()]);
    let told = |version| {
        let text = render(&routes, &upstreams, &Options { version, ..Options::default() }).unwrap();
        text.contains("        keepalive 0;\n")
    };
    assert!(!told(None) && !told(Some(Version(1, 29, 6))));
    assert!(told(Some(Version(1, 29, 7))));
}

fn publishing(text: &str) -> Options {
    Options { published: Some(Published::try_from(text.to_owned()).unwrap()), ..Options::default() }
}

#[test]
fn the_agents_webhooks_are_published_for_every_host() {
    let mut routes = stack().0;
    routes.push(Route { host: Some("shop.example.com".into()), ..route("rocket-ecommerce", "/", 70) });
    let text = render(&routes, &stack().1, &publishing("/webhooks/")).unwrap();
    nginx::accepts(&text);
    // The other hosts of port 80, and the one that is named; not the extra port.
    assert_eq!(text.matches("location /webhooks/ {").count(), 2);
    let shown = text.lines().skip_while(|line| !line.contains("The agent's own webhooks")).take(12);
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @r#"
            # The agent's own webhooks, on the socket beside this file: answered by 502 while the agent is down. What was
            # sent is read to its end first, so that a slow sender keeps no one else waiting.
            location /webhooks/ {
                set $agent_service agent;
                if ($request_method != POST) {
                    return 405;
                }
                client_max_body_size 25m;
                client_body_buffer_size 256k;
                # Each sender has a share of its own: whoever stands in front of nginx is none.
                proxy_set_header X-Forwarded-For $remote_addr;
                proxy_pass http://unix:/etc/nginx/agent/hooks.sock:/webhooks/;
    "#);
}

#[test]
fn the_agents_webhooks_are_published_for_one_host_on_a_port_of_their_own() {
    let (routes, upstreams) = stack();
    let text = render(&routes, &upstreams, &publishing("hooks.example.com:8443/in/")).unwrap();
    nginx::accepts(&text);
    let (others, own) = text.split_once("server_name hooks.example.com;").unwrap();
    assert!(!others.contains("hooks.sock") && own.contains("location /in/ {"), "{text}");
    assert!(others.contains("listen 8443 default_server;"), "{text}");
    let without = render(&[], &Upstreams::new(), &publishing("/webhooks/")).unwrap();
    nginx::accepts(&without);
    assert!(without.contains("location /webhooks/ {"), "{without}");
}

#[test]
fn what_a_template_does_not_publish_is_said_and_left_out() {
    let (routes, upstreams) = stack();
    let with = |inner: &str| {
        let text = format!(
            "events {{}}\nhttp {{\n{{% include \"generation.conf\" %}}\n{{% for server in servers %}}\n\
             server {{\nlisten {{{{ server.listen }}}};\n{inner}\n}}\n{{% endfor %}}\n}}\n"
        );
        let template = Some(OwnTemplate { file: "site.conf.j2".into(), text });
        let dashboard = Some(Published::try_from("/agent/".to_owned()).unwrap());
        let mut options = Options { template, dashboard, ..publishing("/webhooks/") };
        let said = leave_unpublished(&routes, &mut options).unwrap();
        nginx::accepts(&render(&routes, &upstreams, &options).unwrap());
        let left = (options.published.is_some(), options.dashboard.is_some());
        (left, said.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let (webhooks, dashboard) = ("{% include \"webhooks.conf\" %}\n", "{% include \"dashboard.conf\" %}\n");
    let mend = |part: &str| format!("(add {{% include \"{part}\" %}} inside the `server {{ }}`");
    let (left, said) = with("");
    assert_eq!(left, (false, false));
    assert!(said.contains(&mend("webhooks.conf")) && said.contains(&mend("dashboard.conf")), "{said}");
    let (left, said) = with(webhooks);
    assert_eq!((left, said.contains(&mend("dashboard.conf"))), ((true, false), true), "{said}");
    assert_eq!(with(&format!("{webhooks}{dashboard}")), ((true, true), String::new()));
}

#[test]
fn the_agents_dashboard_is_published_below_a_path() {
    let dashboard = Some(Published::try_from("/agent/".to_owned()).unwrap());
    let (routes, upstreams) = stack();
    let text = render(&routes, &upstreams, &Options { dashboard, ..publishing("/webhooks/") }).unwrap();
    nginx::accepts(&text);
    assert_eq!(text.matches("location /webhooks/ {").count(), 1);
    let shown = text.lines().skip_while(|line| !line.contains("The agent's own dashboard")).take(13);
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"), @r#"
            # The agent's own dashboard, on the socket beside this file. What it tells an open page is not held back.
            location /agent/ {
                set $agent_service agent;
                client_max_body_size 16k;
                proxy_buffering off;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                # Encrypted is what nginx was asked by TLS, and what somebody in front of it was.
                proxy_set_header X-Forwarded-Proto "$scheme, $http_x_forwarded_proto";
                proxy_pass http://unix:/etc/nginx/agent/dashboard.sock:/;
            }
            location = /agent {
                return 307 /agent/;
            }
    "#);
}

#[test]
fn the_agents_dashboard_is_all_of_a_host_but_the_webhooks() {
    let dashboard = Some(Published::try_from("agent.example.com/".to_owned()).unwrap());
    let (routes, upstreams) = stack();
    let text = render(&routes, &upstreams, &Options { dashboard, ..publishing("/webhooks/") }).unwrap();
    nginx::accepts(&text);
    let (others, own) = text.split_once("server_name agent.example.com;").unwrap();
    assert!(!others.contains("dashboard.sock"), "{text}");
    assert!(own.contains("location / {") && own.contains("location /webhooks/ {"), "{text}");
    assert!(own.contains("http://unix:/etc/nginx/agent/dashboard.sock:/;"), "{text}");
}

fn own(text: &str) -> Options {
    let template = OwnTemplate { file: "nginx/site.conf.j2".into(), text: text.into() };
    Options { template: Some(template), ..Options::default() }
}

#[test]
fn an_operator_may_bring_a_template() {
    let (routes, upstreams) = stack();
    let template = "events {}\nhttp {\n{% for pool in upstreams %}\n    upstream {{ pool.name }} {\n\
        {% for address in pool.addresses %}\n        server {{ address }}:{{ pool.port }};\n{% endfor %}\n    }\n\
        {% endfor %}\n{% include \"generation.conf\" %}\n}\n";
    let text = render(&routes, &upstreams, &own(template)).unwrap();
    nginx::accepts(&text);
    assert!(text.contains("        server 172.20.0.4:3000;\n"), "{text}");
    assert!(generation(&text).is_some_and(|generation| text.contains(&format!("return 200 \"{generation}"))));
}

#[test]
fn a_template_that_knows_no_link_to_several_instances_sends_requests_to_their_upstream() {
    let (routes, mut upstreams) = stack();
    upstreams.insert("django-soft".into(), vec![[172, 20, 0, 2].into(), [172, 20, 0, 9].into()]);
    let template = |map: &str| {
        format!(
            "{map}{{% for server in servers %}}{{% for route in server.routes %}}\n{{% if route.link is none %}}\
             to {{{{ route.upstream }}}},{{% else %}}by {{{{ route.link }}}},{{% endif %}}{{% endfor %}}{{% endfor %}}\n\
             {{% include \"generation.conf\" %}}\n"
        )
    };
    let text = |map| render(&routes, &upstreams, &own(&template(map))).unwrap();
    let old = text("");
    assert!(old.contains("to django-soft_8000,") && old.contains("by flask-htmlx_8000,"), "{old}");
    let new = text("# \"~/pool-(?<agent_pool>[^/]+)$\" $agent_pool;\n");
    assert!(new.contains("by django-soft_8000~"), "{new}");
}

#[test]
fn a_wrong_template_is_named_with_its_line() {
    let (routes, upstreams) = stack();
    let wrong = |text: &str| render(&routes, &upstreams, &own(text)).unwrap_err().to_string();
    let broken = wrong("events {}\nhttp {\n{% for x in %}\n}\n");
    assert!(broken.starts_with("nginx/site.conf.j2:3:1: the nginx template fails: "), "{broken}");
    let unknown = wrong("events {}\n{{ upstrems }}\n");
    assert!(unknown.starts_with("nginx/site.conf.j2:2:1: the nginx template fails: "), "{unknown}");
    let silent = wrong("events {}\nhttp {}\n");
    assert!(silent.contains("(add {% include \"generation.conf\" %} inside `http { }`)"), "{silent}");
}
