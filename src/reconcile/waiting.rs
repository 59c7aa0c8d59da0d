//! Requests that wait while the service that they are for is replaced by one that must not run beside it.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use crate::engine::Engine;
use crate::model::desired::Order;
use crate::model::instance::Observed;
use crate::model::route::Route;
use crate::model::run::Entry;
use crate::plan::diff::{OldInstance, Roll};
use crate::plan::nginx::{Upstreams, upstream_name};
use crate::report;
use crate::roll::{Hold, Journal};
use crate::route::{Nginx, Room, RouteError, all_entered};

use super::apply::Act;

/// Where requests wait in a run, by service. Dropped, it refuses them.
#[derive(Default)]
pub(super) struct Waiting {
    rooms: Mutex<Vec<(String, Room)>>,
    /// Services come back side by side; one at a time says where nginx leads.
    leading: tokio::sync::Mutex<()>,
}

impl<E: Engine> Hold for Act<'_, E> {
    fn hold<'a>(&'a self, service: &'a str) -> BoxFuture<'a, bool> {
        self.hold_by(service, None).boxed()
    }

    fn holds(&self, service: &str) -> bool {
        self.rooms(|waiting| waiting.iter().any(|(of, _)| of == service))
    }

    fn let_back<'a>(&'a self, service: &'a str) -> BoxFuture<'a, ()> {
        async move {
            // It is tried once more when everything is back.
            if self.holds(service)
                && let Err(error) = self.let_in(|of| of == service).await
            {
                tracing::warn!("{}", report::line(&error));
            }
        }
        .boxed()
    }
}

impl<E: Engine> Act<'_, E> {
    async fn hold_by(&self, service: &str, text: Option<&str>) -> bool {
        self.world.gap.begin();
        match self.hold_back(service, text).await {
            Ok(held) => held,
            // Then they fail, as they do wherever nobody answers.
            Err(error) => {
                tracing::warn!(
                    "requests for {service} fail until it is there again, they cannot wait: {}",
                    report::line(&error)
                );
                false
            }
        }
    }

    async fn hold_back(&self, service: &str, text: Option<&str>) -> Result<bool, RouteError> {
        let Some(before) = self.before else { return Ok(false) };
        let Some(nginx) = self.world.nginx(before, None) else { return Ok(false) };
        let routes = before.routes.iter().filter(|route| route.service == service);
        let upstreams = routes.map(|route| upstream_name(service, route.port)).collect();
        // Others may be on their way to what is about to be stopped. Once somebody waits here, they would wait for
        // that too.
        if self.rooms(|waiting| waiting.is_empty()) {
            all_entered().await;
        }
        let rooms = nginx.rooms(&upstreams, text).await?;
        let held = !rooms.is_empty();
        self.rooms(|waiting| waiting.extend(rooms.into_iter().map(|room| (service.to_owned(), room))));
        self.lead(nginx).await?;
        Ok(held)
    }

    /// The instances that requests wait for.
    pub(super) fn away(&self) -> BTreeSet<SocketAddrV4> {
        self.rooms(|waiting| waiting.iter().flat_map(|(_, room)| room.of.clone()).collect())
    }

    /// Once nginx leads to the new ones: who waits goes there too. Nothing that fails here may undo the release.
    pub(super) async fn let_on(&self, upstreams: &Upstreams) {
        let waiting = self.rooms(std::mem::take);
        let before = self.before.map(|before| before.routes.as_slice()).unwrap_or_default();
        self.open(waiting, |service, of: &[SocketAddrV4]| {
            let port = |route: &Route| of.iter().any(|of| of.port() == route.port);
            let was = before.iter().filter(|route| route.service == *service && port(route));
            let gone = !self.desired.services.contains_key(service);
            let taker = self.plan.rolls.iter().find(|roll| gone && roll.services().contains(service));
            let taker = taker.map_or(service, |roll| &roll.service);
            let Some(now) = leads_now(&was.collect::<Vec<_>>(), taker, &self.desired.routes) else {
                return Vec::new();
            };
            let instances = upstreams.get(&now.service).into_iter().flatten();
            instances.map(|at| SocketAddrV4::new(*at, now.port)).collect()
        })
        .await;
    }

    /// On the way back: what has stopped first is started again only now, and nobody waits for it any more who had been
    /// passed on to a new one, or if the agent was killed meanwhile. What starts first may have ended by itself, all of it.
    /// `text`: what nginx is about to read, if not the live file; the rooms are there before it leads to them.
    pub(super) async fn hold_again(&self, observed: &Observed, text: Option<&str>) {
        let stopped = |old: &&OldInstance| {
            observed.instances.iter().any(|there| there.id == old.id && !there.running())
        };
        let nobody = |roll: &&Roll| {
            let serving: Vec<_> = roll.old.iter().filter(|old| old.serving).collect();
            let gone = serving.iter().copied().filter(stopped).count();
            gone > 0 && (roll.order == Order::StopFirst || gone == serving.len())
        };
        for service in self.plan.rolls.iter().filter(nobody).flat_map(Roll::services) {
            if !self.holds(service) {
                self.hold_by(service, text).await;
            }
        }
    }

    /// Once the old ones are there again: who waits goes where it would have gone, and so does whoever comes.
    pub(super) async fn let_back(&self) -> Result<(), RouteError> {
        self.let_in(|_| true).await
    }

    async fn let_in(&self, of: impl Fn(&str) -> bool) -> Result<(), RouteError> {
        let waiting: Vec<_> =
            self.rooms(|waiting| waiting.extract_if(.., |(service, _)| of(service)).collect());
        // In a hurry for something newer nobody has waited for that.
        join_all(waiting.iter().map(|(_, room)| room.is_back())).await;
        // Also without a room: an agent that was killed may have led requests to one.
        let led = match self.before.and_then(|before| self.world.nginx(before, None)) {
            Some(nginx) => self.lead(nginx).await,
            None => Ok(()),
        };
        self.open(waiting, |_, of: &[SocketAddrV4]| of.to_vec()).await;
        led
    }

    async fn lead(&self, nginx: Nginx<'_, E>) -> Result<(), RouteError> {
        let _one = self.waiting.leading.lock().await;
        Nginx { away: self.away(), ..nginx }.lead().await
    }

    /// Opens all doors, and only then tells whom that was too late for.
    async fn open(
        &self,
        waiting: Vec<(String, Room)>,
        to: impl Fn(&str, &[SocketAddrV4]) -> Vec<SocketAddrV4>,
    ) {
        let mut refused = Vec::new();
        for (service, room) in waiting {
            let (to, many) = (to(&service, &room.of), room.refused());
            room.let_on(to);
            if many > 0 {
                refused
                    .push(format!("{many} requests for {service} could not wait so long and were refused"));
            }
        }
        for text in refused {
            if let Err(error) = self.journal.write(Entry::Note { text: text.clone() }).await {
                tracing::warn!("{text}; {}", report::line(&error));
            }
        }
    }

    fn rooms<T>(&self, act: impl FnOnce(&mut Vec<(String, Room)>) -> T) -> T {
        act(&mut self.waiting.rooms.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where all that has waited goes on: it is not read, so nobody knows which of the routes `was` each came by. `taker`: the
/// service that these were of, or the one that has its place.
fn leads_now<'a>(was: &[&Route], taker: &str, now: &'a [Route]) -> Option<&'a Route> {
    let ranked = now.iter().map(|now| {
        let path = was.iter().any(|was| was.takes_the_same(now));
        let port = was.iter().any(|was| was.port == now.port);
        (path, now.service == taker, port, now)
    });
    let theirs = ranked.filter(|(path, taker, ..)| *path || *taker);
    theirs.min_by_key(|(path, taker, port, _)| (!path, !taker, !port)).map(|(.., now)| now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service and port that those go to who have waited for `web`, which had these paths.
    fn waited_for_web(was: &[&str], taker: &str, now: &[Route]) -> Option<(String, u16)> {
        let was: Vec<Route> = was.iter().map(|path| Route::plain("web", path)).collect();
        leads_now(&was.iter().collect::<Vec<_>>(), taker, now).map(|now| (now.service.clone(), now.port))
    }

    fn at(port: u16, route: Route) -> Route {
        Route { port, ..route }
    }

    #[test]
    fn who_waits_is_for_another_service_only_when_theirs_has_lost_all_its_paths() {
        let (moved, kept) = (Route::plain("backoffice", "/admin/"), Route::plain("web", "/shop/"));
        let was = ["/admin/", "/shop/"];
        assert_eq!(waited_for_web(&was, "web", &[moved.clone(), kept]), Some(("web".into(), 8000)));
        let other = Route::plain("web", "/store/");
        assert_eq!(waited_for_web(&was, "web", &[moved, other]), Some(("backoffice".into(), 8000)));
    }

    #[test]
    fn who_waits_for_one_that_is_gone_is_for_whoever_has_its_place_before_others_with_paths_of_it() {
        let now = [Route::plain("backoffice", "/admin/"), Route::plain("shop", "/shop/")];
        let was = ["/admin/", "/shop/"];
        assert_eq!(waited_for_web(&was, "shop", &now), Some(("shop".into(), 8000)));
        assert_eq!(waited_for_web(&was, "worker", &now), Some(("backoffice".into(), 8000)));
        assert_eq!(waited_for_web(&["/old/"], "worker", &now), None);
    }

    #[test]
    fn who_waits_is_for_the_same_port_where_it_is_still_there() {
        let now = [at(9000, Route::plain("web", "/a/")), Route::plain("web", "/b/")];
        assert_eq!(waited_for_web(&["/a/"], "web", &now), Some(("web".into(), 9000)));
        assert_eq!(waited_for_web(&["/a/", "/b/"], "web", &now), Some(("web".into(), 8000)));
        assert_eq!(waited_for_web(&["/old/"], "web", &now), Some(("web".into(), 8000)));
        assert_eq!(waited_for_web(&["/old/"], "web", &now[..1]), Some(("web".into(), 9000)));
    }
}
