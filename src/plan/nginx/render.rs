//! Routes → text, through a template that an operator may replace.
//!
//! Two locks keep values from becoming syntax: the labels were checked when they were read, and here every value
//! that a template prints, its own literals included, must be of a small alphabet; comments have a filter.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use minijinja::value::{Serde, Value};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, context, syntax::SyntaxConfig,
};
use serde::Serialize;

use super::links::{AND, NOWHERE, SEVERAL, link_name};
use super::{Options, Published, Route, Upstreams, Version, head};
use crate::model::place::Place;
use crate::model::problem::Problem;
use crate::model::route::{CONNECT, WAIT};

/// What nginx goes by where nothing is said.
const NGINX_TIMEOUT: Duration = Duration::from_secs(60);

const BUILT_IN: &str = include_str!("nginx.conf.j2");
const GENERATION: &str = include_str!("generation.conf.j2");
const WEBHOOKS: &str = include_str!("webhooks.conf.j2");
const DASHBOARD: &str = include_str!("dashboard.conf.j2");

/// The whole nginx.conf: the same input gives the same text.
///
/// # Errors
/// Only an operator's own template, or routes that were not made by [`super::routes`], can be wrong.
pub fn render(routes: &[Route], upstreams: &Upstreams, options: &Options) -> Result<String, Problem> {
    let file = named(options).0;
    let text = text(routes, upstreams, options)?;
    if !text.contains(head::UNKNOWN_GENERATION) {
        return Err(lacks(
            file,
            "the nginx template has no generation server, by which the agent sees that nginx took it",
            "add {% include \"generation.conf\" %} inside `http { }`",
        ));
    }
    Ok(head::seal(&text))
}

/// Takes out of the options what an operator's own template does not publish of the agent, and says each with a mend.
///
/// # Errors
/// Those of [`render`].
pub fn leave_unpublished(routes: &[Route], options: &mut Options) -> Result<Vec<Problem>, Problem> {
    let text = text(routes, &Upstreams::new(), options)?;
    let file = named(options).0.to_owned();
    let mut problems = Vec::new();
    // What only the location of each says.
    for (published, what, socket, part) in [
        (&mut options.published, "webhooks", "/hooks.sock:", "webhooks.conf"),
        (&mut options.dashboard, "dashboard", "/dashboard.sock:", "dashboard.conf"),
    ] {
        if published.is_some() && !text.contains(socket) {
            *published = None;
            problems.push(lacks(
                &file,
                &format!(
                    "the nginx template does not publish the agent's {what}, which the configuration asks for"
                ),
                &format!(
                    "add {{% include \"{part}\" %}} inside the `server {{ }}` of {{% for server in servers %}}"
                ),
            ));
        }
    }
    Ok(problems)
}

fn lacks(file: &str, message: &str, hint: &str) -> Problem {
    Problem::new(Place::new(file, 0, 0), message).hint(hint)
}

fn named(options: &Options) -> (&str, &str) {
    match &options.template {
        Some(own) => (own.file.as_str(), own.text.as_str()),
        None => ("built-in nginx.conf.j2", BUILT_IN),
    }
}

fn text(routes: &[Route], upstreams: &Upstreams, options: &Options) -> Result<String, Problem> {
    let (file, template) = named(options);
    let problem = |error: Error| {
        let place = Place::new(file, error.line().unwrap_or(0), 1);
        Problem::new(&place, format!("the nginx template fails: {}", words(&error)))
    };
    let environment = environment(file, template).map_err(problem)?;
    let links = Linked { upstreams, several: knows_several(template) };
    environment
        .get_template(file)
        .and_then(|template| {
            template.render(context! {
                servers => Value::from(Serde(servers(routes, &links, options))),
                upstreams => Value::from(Serde(pools(routes, upstreams))),
                links => Value::from(Serde(links.views(routes))),
                worker_shutdown => milliseconds(options.worker_shutdown),
                ipv6 => options.ipv6,
                linger => options.version.and_then(Version::linger).map(milliseconds),
                keeps_connections => options.version.is_some_and(Version::keeps_connections),
                trusted_proxies => &options.trusted,
                generation_port => options.generation_port,
                generation => head::UNKNOWN_GENERATION,
            })
        })
        .map_err(problem)
}

fn words(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

fn environment<'a>(file: &'a str, template: &'a str) -> Result<Environment<'a>, Error> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // With an escape of our own, the output of macros and filters counts as safe and is not checked again.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("nginx".into()));
    environment.set_formatter(|out, _, value| {
        if value.is_safe() || plain(value) {
            return Ok(write!(out, "{value}")?);
        }
        let text = value.to_string();
        let detail = format!("`{}` may not stand in an nginx configuration", text.escape_debug());
        Err(Error::new(ErrorKind::InvalidOperation, detail))
    });
    environment.add_filter("comment", |text: String| {
        Value::from_safe_string(text.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
    });
    environment.add_template("generation.conf", GENERATION)?;
    environment.add_template("webhooks.conf", WEBHOOKS)?;
    environment.add_template("dashboard.conf", DASHBOARD)?;
    environment.add_template(file, template)?;
    Ok(environment)
}

fn plain(value: &Value) -> bool {
    match value.as_str() {
        Some(text) => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~/:*=-".contains(&b);
            !text.is_empty() && text.bytes().all(plain)
        }
        None => value.is_number(),
    }
}

/// A `server` block: one port, and one host or every other host.
#[derive(Serialize)]
struct ServerView<'a> {
    listen: u16,
    /// `None`: hosts that no other server of the port names.
    host: Option<&'a str>,
    /// Whether nothing takes `/`, so that something must answer what no route takes.
    open: bool,
    /// Where the agent's own webhooks are, if they are published here.
    webhooks: Option<&'a str>,
    dashboard: Option<DashboardView<'a>>,
    routes: Vec<RouteView<'a>>,
}

/// Where the agent's own dashboard is.
#[derive(Serialize)]
struct DashboardView<'a> {
    /// Ends with a slash.
    below: &'a str,
    /// The path without its slash, unless that is nothing.
    bare: Option<&'a str>,
}

#[derive(Serialize)]
struct RouteView<'a> {
    service: &'a str,
    place: String,
    /// Ends with a slash.
    below: String,
    /// The path without its slash, unless that is nothing.
    bare: Option<&'a str>,
    /// Whether the bare path is redirected, not passed on.
    redirect: bool,
    strip: bool,
    /// An upstream's name; `None` when the service has no instance.
    upstream: Option<String>,
    /// A link's name; `None` when the service has several instances and the template knows no link to several.
    link: Option<String>,
    websocket: bool,
    body_size: Option<&'a str>,
    timeout: Option<String>,
}

/// The instances behind one port of a service.
#[derive(Serialize)]
struct PoolView<'a> {
    name: String,
    service: &'a str,
    place: String,
    port: u16,
    addresses: Vec<String>,
}

/// What a service's port is looked up under, and where that leads.
#[derive(Serialize)]
struct LinkView {
    name: String,
    to: String,
}

/// Where routes lead.
struct Linked<'a> {
    upstreams: &'a Upstreams,
    /// Whether a link may lead to several instances.
    several: bool,
}

impl Linked<'_> {
    fn instances(&self, route: &Route) -> BTreeSet<Ipv4Addr> {
        self.upstreams.get(&route.service).into_iter().flatten().copied().collect()
    }

    fn view(&self, route: &Route) -> Option<LinkView> {
        let instances = self.instances(route);
        let to: Vec<_> = instances.iter().map(|address| format!("{address}:{}", route.port)).collect();
        let to = if to.is_empty() { NOWHERE.to_owned() } else { to.join(AND) };
        let name = link_name(&upstream_name(&route.service, route.port), &to);
        (self.several || instances.len() < 2).then_some(LinkView { name, to })
    }

    fn views(&self, routes: &[Route]) -> Vec<LinkView> {
        let views = routes.iter().filter_map(|route| self.view(route));
        views.map(|view| (view.name.clone(), view)).collect::<BTreeMap<_, _>>().into_values().collect()
    }
}

/// One that was written before there were such links goes on sending requests to the upstream blocks.
fn knows_several(template: &str) -> bool {
    template.contains(&format!("/{SEVERAL}("))
}

fn servers<'a>(routes: &'a [Route], links: &Linked<'_>, options: &'a Options) -> Vec<ServerView<'a>> {
    let mut servers: BTreeMap<(u16, Option<&str>), BTreeMap<&str, &Route>> = BTreeMap::new();
    let claims = routes.iter().map(|route| (route.listen, route.host.as_deref(), Some(route)));
    let own = options.published.iter().chain(&options.dashboard);
    let claims = claims.chain(own.map(|own| (own.listen, own.host.as_deref(), None)));
    for (listen, host, route) in claims {
        // Also where every route names a host, the others need an answer.
        servers.entry((listen, None)).or_default();
        servers.entry((listen, host)).or_default().extend(route.map(|route| (&*route.path, route)));
    }
    let view = |((listen, host), routes): ((u16, Option<&'a str>), BTreeMap<&str, &'a Route>)| {
        let here = |own: &'a Option<Published>| -> Option<&'a str> {
            let own = own.as_ref().filter(|own| own.listen == listen)?;
            (own.host.is_none() || own.host.as_deref() == host).then_some(own.path.as_str())
        };
        let (webhooks, dashboard) = (here(&options.published), here(&options.dashboard));
        ServerView {
            listen,
            host,
            open: !routes.contains_key("/") && webhooks != Some("/") && dashboard != Some("/"),
            webhooks,
            dashboard: dashboard.map(|below| DashboardView { below, bare: bare(below) }),
            routes: routes.into_values().map(|route| route_view(route, links, options)).collect(),
        }
    };
    servers.into_iter().map(view).collect()
}

/// A path without its slash, unless that is nothing.
fn bare(path: &str) -> Option<&str> {
    Some(path.strip_suffix('/').unwrap_or(path)).filter(|bare| !bare.is_empty())
}

/// How long nginx may hear nothing from the service, or from where its requests wait.
fn silence(route: &Route, options: &Options) -> Option<Duration> {
    let own = route.timeout.or(route.websocket.then_some(Duration::from_secs(3600)));
    match options.waiting.contains(&route.service) {
        true => Some(own.unwrap_or(NGINX_TIMEOUT) + WAIT + CONNECT),
        false => own,
    }
}

fn route_view<'a>(route: &'a Route, links: &Linked<'_>, options: &Options) -> RouteView<'a> {
    let bare = bare(&route.path);
    RouteView {
        service: &route.service,
        place: route.place.to_string(),
        below: format!("{}/", bare.unwrap_or_default()),
        bare,
        redirect: route.path.ends_with('/'),
        strip: route.strip && bare.is_some(),
        upstream: (!links.instances(route).is_empty()).then(|| upstream_name(&route.service, route.port)),
        link: links.view(route).map(|link| link.name),
        websocket: route.websocket,
        body_size: route.body_size.as_deref(),
        timeout: silence(route, options).map(milliseconds),
    }
}

fn pools<'a>(routes: &'a [Route], upstreams: &Upstreams) -> Vec<PoolView<'a>> {
    let mut pools: BTreeMap<(&str, u16), PoolView<'a>> = BTreeMap::new();
    for route in routes {
        let addresses: BTreeSet<_> = upstreams.get(&route.service).into_iter().flatten().collect();
        if addresses.is_empty() {
            continue;
        }
        pools.entry((&route.service, route.port)).or_insert_with(|| PoolView {
            name: upstream_name(&route.service, route.port),
            service: &route.service,
            place: route.place.to_string(),
            port: route.port,
            addresses: addresses.iter().map(ToString::to_string).collect(),
        });
    }
    pools.into_values().collect()
}

/// nginx compares the names of upstreams without case; services may differ in nothing else. No service's name
/// has a `=` or a `~`.
pub fn upstream_name(service: &str, port: u16) -> String {
    let mut name = String::with_capacity(service.len() + 6);
    for c in service.chars() {
        if c.is_ascii_uppercase() {
            name.push('=');
        }
        name.push(c.to_ascii_lowercase());
    }
    format!("{name}_{port}")
}

fn milliseconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}
