//! Requests that wait while the service that they are for is replaced by one that must not run beside it.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use crate::engine::Engine;
use crate::model::run::Entry;
use crate::plan::nginx::{Upstreams, link_name};
use crate::report;
use crate::roll::{Hold, Journal};
use crate::route::{Nginx, Room, RouteError};

use super::apply::Act;
use super::trouble::Trouble;

/// Where requests wait in a run, by service. Dropped, it refuses them.
pub(super) type Waiting = Mutex<Vec<(String, Room)>>;

impl<E: Engine> Hold for Act<'_, E> {
    fn hold<'a>(&'a self, service: &'a str) -> BoxFuture<'a, bool> {
        async move {
            match self.hold_back(service).await {
                Ok(held) => held,
                // Then they fail, as they do wherever nobody answers.
                Err(error) => {
                    tracing::warn!("requests for {service} cannot wait: {}", report::line(&error));
                    false
                }
            }
        }
        .boxed()
    }
}

impl<E: Engine> Act<'_, E> {
    async fn hold_back(&self, service: &str) -> Result<bool, RouteError> {
        let Some(before) = self.before else { return Ok(false) };
        let Some(nginx) = self.world.nginx(before, None) else { return Ok(false) };
        let routes = before.routes.iter().filter(|route| route.service == service);
        let names = routes.map(|route| link_name(service, route.port)).collect();
        let rooms = nginx.rooms(&names).await?;
        let held = !rooms.is_empty();
        self.rooms(|waiting| waiting.extend(rooms.into_iter().map(|room| (service.to_owned(), room))));
        Nginx { away: self.away(), ..nginx }.lead().await?;
        Ok(held)
    }

    /// The instances that requests wait for.
    pub(super) fn away(&self) -> BTreeSet<SocketAddrV4> {
        self.rooms(|waiting| waiting.iter().map(|(_, room)| room.of).collect())
    }

    /// Once nginx leads to the new ones: who waits goes there too.
    pub(super) async fn let_on(&self, upstreams: &Upstreams) -> Result<(), Trouble> {
        for (service, room) in self.rooms(std::mem::take) {
            let refused = room.refused();
            let ports =
                self.desired.routes.iter().filter(|route| route.service == service).map(|route| route.port);
            // Where the service has several ports the same one counts, if it is still there.
            let port = ports.min_by_key(|port| *port != room.of.port());
            let address = upstreams.get(&service).and_then(|addresses| addresses.first());
            room.let_on(port.zip(address).map(|(port, address)| SocketAddrV4::new(*address, port)));
            if refused > 0 {
                let text =
                    format!("{refused} requests for {service} could not wait so long and were refused");
                self.journal.write(Entry::Note { text }).await?;
            }
        }
        Ok(())
    }

    /// Once the old ones are there again: who waits goes where it would have gone, and so does whoever comes.
    pub(super) async fn let_back(&self) -> Result<(), RouteError> {
        let rooms = self.rooms(std::mem::take);
        // In a hurry for something newer nobody has waited for that.
        join_all(rooms.iter().map(|(_, room)| room.is_back())).await;
        // Also without a room: an agent that was killed may have led requests to one.
        if let Some(nginx) = self.before.and_then(|before| self.world.nginx(before, None)) {
            nginx.lead().await?;
        }
        for (_, room) in rooms {
            let to = room.of;
            room.let_on(Some(to));
        }
        Ok(())
    }

    fn rooms<T>(&self, act: impl FnOnce(&mut Vec<(String, Room)>) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
