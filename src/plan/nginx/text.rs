//! The text for a desired state, with what of it only the engine shows.

use crate::model::desired::{Desired, Service};
use crate::model::instance::Observed;
use crate::model::problem::Problem;

use super::{Upstreams, render};
use crate::plan::order::WISHED;

/// The whole nginx.conf for a stack whose instances are as the engine shows them.
///
/// # Errors
/// Those of [`render`].
pub fn text(desired: &Desired, upstreams: &Upstreams, observed: &Observed) -> Result<String, Problem> {
    let mut options = desired.nginx.clone();
    options.waiting.extend(keeping(desired, observed).map(str::to_owned));
    render(&desired.routes, upstreams, &options)
}

/// Services that stop first because of an anonymous volume. Their image may have declared it, and so the stack's files
/// do not tell.
fn keeping<'a>(desired: &'a Desired, observed: &Observed) -> impl Iterator<Item = &'a str> {
    let keeps = |name: &str, service: &Service| {
        let mut instances = observed.instances.iter();
        instances.any(|i| i.service == name && i.fingerprint == service.fingerprint && !i.volumes.is_empty())
    };
    let replaced = desired
        .services
        .iter()
        .filter(|(_, service)| !service.one_shot && !service.proxy && service.order_reason != WISHED);
    replaced.filter(move |(name, service)| keeps(name, service)).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::instance::{Instance, Phase};
    use crate::model::route::Route;

    fn stack(service: Service) -> Desired {
        Desired {
            stack: "shop".into(),
            revision: "a".repeat(40).parse().unwrap(),
            services: BTreeMap::from([("web".to_owned(), service)]),
            networks: Vec::new(),
            volumes: Vec::new(),
            routes: vec![Route::plain("web", "/")],
            nginx: Default::default(),
        }
    }

    fn instance(fingerprint: &str, volumes: &[&str]) -> Instance {
        Instance {
            fingerprint: fingerprint.into(),
            volumes: volumes.iter().map(|place| ((*place).to_owned(), "0".repeat(64))).collect(),
            ..Instance::plain("web", 1, Phase::Running)
        }
    }

    fn waits(service: Service, instances: Vec<Instance>) -> bool {
        let observed = Observed { instances, ..Observed::default() };
        text(&stack(service), &Upstreams::new(), &observed).unwrap().contains("proxy_read_timeout 100s;")
    }

    #[test]
    fn what_stops_first_because_of_its_images_volume_is_not_charged_for_the_wait() {
        let web = || Service::plain("web", "now");
        assert!(waits(web(), vec![instance("now", &["/data"])]));
        assert!(!waits(web(), vec![instance("now", &[])]));
        assert!(!waits(web(), Vec::new()));
        // What goes says nothing of what stays.
        assert!(!waits(web(), vec![instance("before", &["/data"]), instance("now", &[])]));
    }

    #[test]
    fn what_never_stops_first_has_its_usual_timeout() {
        let instances = || vec![instance("now", &["/data"])];
        let wished = Service { order_reason: WISHED.into(), ..Service::plain("web", "now") };
        let one_shot = Service { one_shot: true, ..Service::plain("web", "now") };
        let proxy = Service { proxy: true, ..Service::plain("web", "now") };
        for service in [wished, one_shot, proxy] {
            assert!(!waits(service, instances()));
        }
    }
}
