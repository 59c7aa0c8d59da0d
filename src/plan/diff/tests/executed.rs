//! Any stack to any other, carried out in the order of the plan: what only one can have is had by one at a time.

use std::collections::btree_map::Entry;
use std::fmt;

use super::takeover::told;
use super::*;
use crate::model::instance::{MountSpec, PublishedPort};
use crate::model::route::Route;
use crate::plan::steps::{inseparable, steps};

const NAMES: [&str; 4] = ["api", "db", "nginx", "web"];
const FIXED: &str = "the-one";

/// Few ports, volumes and names, so that they meet often.
#[derive(Clone, Debug)]
struct Wish {
    version: bool,
    one_shot: bool,
    port: Option<u16>,
    volume: Option<&'static str>,
    named: bool,
    /// It may wait for those of lower rank, and does for some.
    rank: u8,
    waits: [bool; 4],
}

impl Wish {
    fn service(&self, name: &str) -> Service {
        let Self { version, port, volume, named, .. } = *self;
        let proxy = name == "nginx";
        let mut service = service(name, &format!("{version} {port:?} {volume:?} {named}"), 1);
        let template = &mut service.template;
        template.image.name = format!("shop-{name}:{version}");
        template.container_name = named.then(|| FIXED.to_owned());
        template.ports = port.iter().map(|port| published(*port)).collect();
        template.mounts = volume.iter().map(|volume| writable(volume)).collect();
        // What runs to its end listens to nobody.
        let one_shot = self.one_shot && !proxy && port.is_none();
        let held = named || port.is_some() || volume.is_some();
        let order = if held && !one_shot { Order::StopFirst } else { Order::StartFirst };
        Service { one_shot, proxy, order, ..service }
    }
}

fn published(host: u16) -> PublishedPort {
    PublishedPort { container: 80, host: Some(host), host_ip: None, protocol: "tcp".into() }
}

fn writable(volume: &str) -> MountSpec {
    MountSpec::Volume { name: Some(volume.into()), target: "/data".into(), read_only: false, nocopy: false }
}

fn wish() -> impl Strategy<Value = Option<Wish>> {
    let often = proptest::bool::weighted;
    let port = proptest::option::weighted(0.4, 8080..8082u16);
    let volume = proptest::option::weighted(0.3, prop_oneof![Just("data"), Just("files")]);
    let shape = (any::<bool>(), often(0.15), port, volume, often(0.15), 0..4u8, any::<[bool; 4]>());
    let shape = shape.prop_map(|(version, one_shot, port, volume, named, rank, waits)| Wish {
        version,
        one_shot,
        port,
        volume,
        named,
        rank,
        waits,
    });
    proptest::option::weighted(0.7, shape)
}

/// A stack that is sound by itself: no port and no name is wanted twice, and nobody waits for who waits for it.
fn stack() -> impl Strategy<Value = Stack> {
    (proptest::array::uniform4(wish()), 0..4usize).prop_map(|(wishes, routed)| {
        let mut wishes: Vec<(&str, Wish)> =
            NAMES.into_iter().zip(wishes).filter_map(|(name, wish)| Some((name, wish?))).collect();
        let (mut ports, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (_, wish) in &mut wishes {
            wish.port = wish.port.filter(|port| ports.insert(*port));
            wish.named &= names.insert(wish.named);
        }
        let services = wishes.iter().map(|(name, wish)| {
            let lower = wishes.iter().filter(|(_, other)| other.rank < wish.rank);
            let after =
                lower.zip(wish.waits).filter(|(_, waits)| *waits).map(|((name, _), _)| (*name).to_owned());
            Service { after: after.collect(), ..wish.service(name) }
        });
        let mut stack = desired(services.collect());
        let to = NAMES[routed];
        if stack.services.get(to).is_some_and(|service| !service.one_shot && !service.proxy) {
            stack.routes = vec![Route::plain(to, "/")];
        }
        Stack(stack)
    })
}

struct Stack(Desired);

/// In a few words.
impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, service) in &self.0.services {
            let Service { fingerprint, one_shot, after, .. } = service;
            writeln!(f, "{name}: {fingerprint}{} after {after:?}", if *one_shot { " once" } else { "" })?;
        }
        write!(f, "routed: {:?}", self.0.routes.iter().map(|route| &route.service).collect::<Vec<_>>())
    }
}

/// The containers there are, by id: their names, and what they were made from.
struct Machine<'a> {
    before: &'a Desired,
    after: &'a Desired,
    there: BTreeMap<InstanceId, (String, &'a Service)>,
    started: BTreeSet<&'a str>,
}

impl<'a> Machine<'a> {
    fn new(before: &'a Desired, after: &'a Desired, observed: &Observed, plan: &Plan) -> Self {
        let there = observed.instances.iter().map(|instance| {
            (instance.id.clone(), (instance.name.clone(), &before.services[&instance.service]))
        });
        let started = after.services.keys().filter(|name| plan.unchanged.contains(name)).map(String::as_str);
        Self { before, after, there: there.collect(), started: started.collect() }
    }

    /// As `roll::bring_up` does it.
    fn bring_up(&mut self, plan: &Plan) -> Result<(), String> {
        for wave in plan.rolls.chunk_by(|a, b| a.wave == b.wave) {
            let of = |order: Order| wave.iter().filter(move |roll| roll.order == order);
            for roll in of(Order::StartFirst).chain(of(Order::StopFirst)) {
                self.roll(roll)?;
            }
        }
        Ok(())
    }

    fn roll(&mut self, roll: &Roll) -> Result<(), String> {
        for old in roll.old.iter().filter(|_| !roll.new.is_empty()) {
            let (name, _) = self.there.get_mut(&old.id).ok_or(format!("{} goes twice", old.name))?;
            name.push_str("-before");
        }
        if roll.order == Order::StopFirst {
            roll.old.iter().for_each(|old| drop(self.there.remove(&old.id)));
        }
        roll.new.iter().try_for_each(|new| self.start(&roll.service, new))
    }

    fn start(&mut self, name: &str, new: &NewInstance) -> Result<(), String> {
        let (name, service) = self.after.services.get_key_value(name).ok_or("not in the stack")?;
        let needed = self.after.before(name);
        // What requests go to cannot wait for nginx, which is replaced when it has somebody to send them to.
        let early =
            needed.iter().any(|name| self.after.services.get(*name).is_some_and(|service| service.proxy));
        let missing = needed.iter().find(|name| !self.started.contains(*name));
        if let Some(missing) = missing.filter(|_| !early) {
            return Err(format!("{name} is started before {missing}"));
        }
        for (there, other) in self.there.values() {
            let (fixed, ports) = (&service.template.container_name, &service.template.ports);
            if fixed.as_ref() == Some(there) {
                return Err(format!("{name} is created while {} has its name", other.template.service));
            }
            if !other.one_shot && ports.iter().any(|port| other.template.ports.contains(port)) {
                return Err(format!("{name} is started while {} has its port", other.template.service));
            }
            if let Some(place) = self.shared(service, other) {
                return Err(format!("{name} is started while {} writes to {place}", other.template.service));
            }
        }
        let id = InstanceId(format!("new-{name}-{}", new.number));
        let fixed = service.template.container_name.clone();
        let container = fixed.unwrap_or_else(|| format!("shop-{name}-{}", new.number));
        self.started.insert(name);
        match self.there.entry(id) {
            Entry::Occupied(_) => Err(format!("{name} is started twice")),
            Entry::Vacant(place) => {
                place.insert((container, service));
                Ok(())
            }
        }
    }

    /// What both would write to, though neither stack has them do so beside each other.
    fn shared(&self, new: &Service, other: &Service) -> Option<&'static str> {
        let writes = |service: &Service, place| {
            !service.one_shot && service.template.mounts.contains(&writable(place))
        };
        let writers = |stack: &Desired, place| {
            let all = stack.services.iter().filter(|(_, service)| writes(service, place));
            all.map(|(name, _)| name.clone()).collect::<BTreeSet<String>>()
        };
        ["data", "files"].into_iter().find(|place| {
            let stays = writers(self.after, place).contains(&other.template.service);
            let same = new.template.service == other.template.service;
            let meant = writers(self.before, place).len() > 1 || stays && !same;
            // All would wait for nginx.
            writes(new, place) && writes(other, place) && !meant && !other.proxy
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn what_only_one_can_have_is_had_by_one_at_a_time(Stack(before) in stack(), Stack(after) in stack()) {
        let seen = all_run(&before);
        let plan = planned(&after, Some(&before), &seen, Purpose::Release);
        let mut machine = Machine::new(&before, &after, &seen, &plan);
        let done = machine.bring_up(&plan);
        prop_assert!(done.is_ok(), "{done:?}\n{}", told(&plan).join("\n"));

        let going = plan.rolls.iter().flat_map(|roll| &roll.old);
        let mut going: Vec<&InstanceId> =
            going.chain(plan.removals.iter().flat_map(|removal| &removal.old)).map(|old| &old.id).collect();
        let all = going.len();
        going.sort();
        going.dedup();
        prop_assert_eq!(all, going.len(), "one goes twice");
        let mut next = applied(&plan, &after, &seen);
        next.instances.iter_mut().for_each(fix_name(&after));
        let next = planned(&after, Some(&after), &next, Purpose::Release);
        prop_assert!(next.is_empty(), "{next:?}");
    }

    #[test]
    fn neither_is_it_had_by_two_where_services_change_one_after_another(Stack(before) in stack(), Stack(after) in stack()) {
        let seen = all_run(&before);
        let plan = planned(&after, Some(&before), &seen, Purpose::Release);
        if inseparable(&plan, &after, Some(&before)).is_none() {
            let mut machine = Machine::new(&before, &after, &seen, &plan);
            for step in steps(&plan, &after, Some(&before)) {
                let done = machine.bring_up(&step.plan);
                prop_assert!(done.is_ok(), "{done:?}\n{}", told(&plan).join("\n"));
                step.plan.rolls.iter().flat_map(|roll| &roll.old).for_each(|old| drop(machine.there.remove(&old.id)));
                let mut ports = step.desired.services.values().flat_map(|service| &service.template.ports).map(|port| port.host);
                let mut once = BTreeSet::new();
                prop_assert!(ports.all(|port| once.insert(port)), "between two steps two are to have one port");
            }
        }
    }
}

fn all_run(stack: &Desired) -> Observed {
    let mut instances: Vec<Instance> = stack.services.values().map(|s| instance(s, 1, None)).collect();
    instances.iter_mut().for_each(fix_name(stack));
    world(instances)
}

fn fix_name(stack: &Desired) -> impl Fn(&mut Instance) {
    |instance| {
        let fixed =
            stack.services.get(&instance.service).and_then(|service| service.template.container_name.clone());
        if let Some(name) = fixed {
            instance.name = name;
        }
    }
}
