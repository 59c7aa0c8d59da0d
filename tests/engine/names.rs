//! Who is found by which name, and what admission does to connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use agent::engine::Engine;
use agent::model::instance::{InstanceId, NetworkSpec, NetworkUse, Template};

use crate::networks::{facts, give};
use crate::yard::{IDLE, Yard};

/// The addresses a name has for a caller, sorted; none when nobody has the name.
async fn found(engine: &impl Engine, caller: &InstanceId, name: &str) -> Vec<Ipv4Addr> {
    // The final dot keeps the resolver from asking the world for the name within the host's domain.
    let looked = engine.exec(caller, &["nslookup", &format!("{name}."), "127.0.0.11"]).await.unwrap().output;
    let answers = looked.lines().skip_while(|line| !line.starts_with("Name:"));
    let addresses = answers.filter_map(|line| line.split_once(": ")?.1.trim().parse().ok());
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort();
    addresses
}

pub(crate) async fn only_admitted_instances_are_found_by_name(engine: &impl Engine, yard: &Yard) {
    let network = facts(engine, yard, &yard.network()).await;
    let web = yard.networked("web", IDLE);
    let old_address = give(&network, &[]);
    let new_address = give(&network, &[old_address]);
    let admitted = agent::model::instance::Identity { admitted: true, ..yard.addressed(1, old_address) };
    let old = yard.started(engine, &web, &admitted).await;
    let new = yard.started(engine, &web, &yard.addressed(2, new_address)).await;
    let caller = yard.started(engine, &yard.networked("caller", IDLE), &yard.identity(1)).await;

    assert!(yard.seen(engine, &old).await.admitted());
    assert!(!yard.seen(engine, &new).await.admitted());
    assert_eq!(found(engine, &caller, "web").await, [old_address]);
    assert_eq!(found(engine, &caller, &format!("{}-web-2", yard.stack)).await, [new_address]);

    engine.admit(&new, &web.networks).await.unwrap();
    assert_eq!(found(engine, &caller, "web").await, [old_address, new_address]);
    engine.dismiss(&old).await.unwrap();
    assert_eq!(found(engine, &caller, "web").await, [new_address]);
    assert_eq!(found(engine, &caller, &format!("{}-web-1", yard.stack)).await, [old_address]);
    assert!(!yard.seen(engine, &old).await.admitted());
    assert!(yard.seen(engine, &new).await.admitted());

    // And so it stays when the engine starts them again.
    engine.stop(&old).await.unwrap();
    engine.start(&old).await.unwrap();
    assert_eq!(found(engine, &caller, "web").await, [new_address]);
    engine.dismiss(&new).await.unwrap();
    assert_eq!(found(engine, &caller, "web").await, [] as [Ipv4Addr; 0]);
}

pub(crate) async fn an_instance_is_found_on_each_of_its_networks(engine: &impl Engine, yard: &Yard) {
    let back =
        NetworkSpec { key: "back".to_owned(), name: format!("{}_back", yard.stack), ..Default::default() };
    let (front_facts, back_facts) =
        (facts(engine, yard, &yard.network()).await, facts(engine, yard, &back).await);
    let (front, back) = (give(&front_facts, &[]), (back.name, give(&back_facts, &[])));
    let second = NetworkUse { network: back.0.clone(), aliases: vec!["db".to_owned()], ..Default::default() };
    let mut web = yard.networked("web", IDLE);
    web.networks.push(second);
    let mut identity = yard.addressed(1, front);
    identity.addresses.insert(back.0.clone(), back.1);
    let id = yard.started(engine, &web, &identity).await;
    let inside = Template {
        networks: vec![NetworkUse { network: back.0, ..Default::default() }],
        ..yard.networked("inside", IDLE)
    };
    let inside = yard.started(engine, &inside, &yard.identity(1)).await;
    let outside = yard.started(engine, &yard.networked("outside", IDLE), &yard.identity(1)).await;

    engine.admit(&id, &web.networks).await.unwrap();
    assert_eq!(found(engine, &inside, "db").await, [back.1]);
    assert_eq!(found(engine, &inside, "web").await, [] as [Ipv4Addr; 0]);
    assert_eq!(found(engine, &outside, "web").await, [front]);
    assert_eq!(found(engine, &outside, "db").await, [] as [Ipv4Addr; 0]);
}

/// Echoes over one connection until told to end; how many came back.
fn echo(mut stream: TcpStream, ending: Arc<AtomicBool>) -> std::thread::JoinHandle<std::io::Result<u32>> {
    std::thread::spawn(move || {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut rounds = 0;
        while !ending.load(Ordering::SeqCst) {
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0])?;
            rounds += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(rounds)
    })
}

async fn inbound(address: Ipv4Addr) -> TcpStream {
    loop {
        if let Ok(stream) = TcpStream::connect((address, 7000)) {
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Established connections in both directions go on, and every connection the instance opens meanwhile
/// succeeds: it never sees that it was off the network.
pub(crate) async fn admission_breaks_no_connection(engine: &impl Engine, yard: &Yard) {
    let network = facts(engine, yard, &yard.network()).await;
    let address = give(&network, &[]);
    let gateway = network.gateway.unwrap();
    let listener = TcpListener::bind((gateway, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "nc -ll -p 7000 -e cat & nc {gateway} {port} -e cat & sleep 1; \
         while :; do nc -w 9 {gateway} {port} </dev/null >/dev/null || echo FAILED; echo opened; done"
    );
    let id = yard.started(engine, &yard.networked("web", &script), &yard.addressed(1, address)).await;

    let ending = Arc::new(AtomicBool::new(false));
    let (outbound, _) = listener.accept().unwrap();
    let outbound = echo(outbound, ending.clone());
    let inbound = echo(inbound(address).await, ending.clone());
    let opened = Arc::new(AtomicU32::new(0));
    let counter = opened.clone();
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });

    let names = yard.networked("web", "").networks;
    for _ in 0..3 {
        for admit in [true, false] {
            let before = opened.load(Ordering::SeqCst);
            while opened.load(Ordering::SeqCst) < before + 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            match admit {
                true => engine.admit(&id, &names).await.unwrap(),
                false => engine.dismiss(&id).await.unwrap(),
            }
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    ending.store(true, Ordering::SeqCst);
    assert!(inbound.join().unwrap().unwrap() > 10);
    assert!(outbound.join().unwrap().unwrap() > 10);
    let logs = engine.logs(&id, 100_000).await.unwrap();
    assert!(logs.contains("opened\n") && !logs.contains("FAILED"), "{logs}");
    assert_eq!(yard.seen(engine, &id).await.endpoints[&yard.network().name].address, Some(address));
}

pub(crate) async fn admitting_twice_changes_nothing(engine: &impl Engine, yard: &Yard) {
    let address = give(&facts(engine, yard, &yard.network()).await, &[]);
    let web = yard.networked("web", IDLE);
    let id = yard.started(engine, &web, &yard.addressed(1, address)).await;
    let endpoint = || yard.inspect(&id, "{{range .NetworkSettings.Networks}}{{.EndpointID}}{{end}}");
    let created = endpoint();
    engine.dismiss(&id).await.unwrap();
    assert_eq!(endpoint(), created, "it had no names to lose");
    engine.admit(&id, &web.networks).await.unwrap();
    let admitted = endpoint();
    assert_ne!(admitted, created);
    engine.admit(&id, &web.networks).await.unwrap();
    assert_eq!(endpoint(), admitted);
}
