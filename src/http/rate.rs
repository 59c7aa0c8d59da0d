//! Requests per client: a token bucket each, in bounded memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;

use super::{Peer, line};

/// Clients remembered, at most (two generations of half of it). Forgetting one gives it a full bucket.
const REMEMBERED: usize = 16_384;

/// How much one client may ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// Lasting rate, requests a second; more than zero.
    pub per_second: f64,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// Proxies whose `X-Forwarded-For` names the client.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 10.0, burst: 100, trusted_proxies: Vec::new() }
    }
}

impl Rate {
    /// The router behind this limit. Whoever exceeds it gets 429 with `Retry-After` in seconds, before
    /// anything of the body is read.
    pub fn limit(self, router: Router) -> Router {
        self.limit_strangers(router, |_| false)
    }

    /// The same, for all but those who are `known` by what they send: others cannot use up what is theirs, also where all
    /// come from one proxy's address.
    pub fn limit_strangers(
        self,
        router: Router,
        known: impl Fn(&HeaderMap) -> bool + Clone + Send + Sync + 'static,
    ) -> Router {
        let buckets = Buckets::new(&self, REMEMBERED);
        let shared = Arc::new((self.trusted_proxies, Mutex::new(buckets)));
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let taken = match known(request.headers()) {
                true => Ok(()),
                false => take(&shared.0, &shared.1, &request),
            };
            async move {
                match taken {
                    Ok(()) => next.run(request).await,
                    Err(wait) => refusal(wait),
                }
            }
        }))
    }
}

fn take(proxies: &[IpAddr], buckets: &Mutex<Buckets>, request: &Request) -> Result<(), Duration> {
    let peer = request.extensions().get().copied().unwrap_or(Peer::Local);
    let client = peer.client(request.headers(), proxies);
    buckets.lock().unwrap_or_else(PoisonError::into_inner).take(client, Instant::now())
}

fn refusal(wait: Duration) -> Response {
    let seconds = wait.as_secs_f64().ceil() as u64;
    let text = format!("too many requests from this address: try again in {seconds} s");
    let mut answer = line(StatusCode::TOO_MANY_REQUESTS, text);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// The buckets, each kept as the one instant at which it will be full again.
struct Buckets {
    /// Time that one request costs.
    cost: Duration,
    /// Time that a full bucket holds.
    depth: Duration,
    capacity: usize,
    young: HashMap<IpAddr, Instant>,
    old: HashMap<IpAddr, Instant>,
}

impl Buckets {
    fn new(rate: &Rate, remembered: usize) -> Self {
        let cost = Duration::try_from_secs_f64(1.0 / rate.per_second).unwrap_or(Duration::MAX);
        let depth = cost.saturating_mul(rate.burst.max(1));
        Self { cost, depth, capacity: remembered / 2, young: HashMap::new(), old: HashMap::new() }
    }

    /// Takes one request's worth, or says how long until there is that much.
    fn take(&mut self, client: Peer, now: Instant) -> Result<(), Duration> {
        let key = key(client);
        let full_at = self.young.get(&key).or_else(|| self.old.get(&key)).copied().unwrap_or(now).max(now);
        // An end of time that no `Instant` can hold counts as "never again".
        let Some(after) = full_at.checked_add(self.cost) else { return Err(self.depth) };
        let missing = (after - now).saturating_sub(self.depth);
        if !missing.is_zero() {
            return Err(missing);
        }
        if self.young.len() >= self.capacity && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, after);
        Ok(())
    }
}

/// One bucket for a whole IPv6 /64, which is what one customer is given.
fn key(client: Peer) -> IpAddr {
    match client {
        Peer::Ip(IpAddr::V6(address)) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        Peer::Ip(address) => address,
        Peer::Local => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(per_second: f64, burst: u32, remembered: usize) -> Buckets {
        Buckets::new(&Rate { per_second, burst, ..Rate::default() }, remembered)
    }

    fn client(n: u32) -> Peer {
        Peer::Ip(IpAddr::V4(n.into()))
    }

    #[test]
    fn a_burst_passes_then_the_lasting_rate_holds() {
        let mut buckets = buckets(2.0, 3, 100);
        let start = Instant::now();
        let half = Duration::from_millis(500);
        for _ in 0..3 {
            assert_eq!(buckets.take(client(1), start), Ok(()));
        }
        assert_eq!(buckets.take(client(1), start), Err(half));
        assert_eq!(buckets.take(client(2), start), Ok(()), "another client has its own bucket");
        assert_eq!(buckets.take(client(1), start + half), Ok(()));
        assert_eq!(buckets.take(client(1), start + half), Err(half), "a refused request costs nothing");
        let rested = start + Duration::from_secs(60);
        assert_eq!((0..9).filter(|_| buckets.take(client(1), rested).is_ok()).count(), 3);
    }

    #[test]
    fn memory_stays_bounded() {
        let mut buckets = buckets(1.0, 1, 100);
        let now = Instant::now();
        for n in 0..10_000 {
            buckets.take(client(n), now).unwrap();
            assert!(buckets.young.len() + buckets.old.len() <= 100);
        }
        assert!(buckets.take(client(9_999), now).is_err(), "the newest are still remembered");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let mut buckets = buckets(1.0, 1, 100);
        let now = Instant::now();
        let at = |text: &str| Peer::Ip(text.parse().unwrap());
        assert!(buckets.take(at("2001:db8:1:2::1"), now).is_ok());
        assert!(buckets.take(at("2001:db8:1:2:ffff::9"), now).is_err());
        assert!(buckets.take(at("2001:db8:1:3::1"), now).is_ok());
    }

    #[test]
    fn an_endless_cost_does_not_overflow() {
        let mut buckets = buckets(0.0, 5, 100);
        assert!(buckets.take(client(1), Instant::now()).is_err());
    }
}
