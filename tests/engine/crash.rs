//! What an agent that died half-way leaves behind is mended by doing the same again.

use agent::engine::Engine;
use agent::model::instance::Phase;

use crate::networks::{facts, give};
use crate::yard::{IDLE, Yard};

pub(crate) async fn an_admission_cut_off_half_way_is_finished_by_the_next(engine: &impl Engine, yard: &Yard) {
    let address = give(&facts(engine, yard, &yard.network()).await, &[]);
    let (web, network) = (yard.networked("web", IDLE), yard.network().name);
    let id = yard.started(engine, &web, &yard.addressed(1, address)).await;
    yard.docker(&["pause", &id.0]);
    yard.docker(&["network", "disconnect", &network, &id.0]);

    let cut_off = yard.seen(engine, &id).await;
    assert_eq!(cut_off.condition.phase, Phase::Paused);
    assert_eq!(cut_off.endpoints[&network].address, Some(address), "its address is held for it");

    engine.admit(&id, &web.networks).await.unwrap();
    let mended = yard.seen(engine, &id).await;
    assert!(mended.running() && mended.admitted());
    assert_eq!(mended.endpoints[&network].address, Some(address));
    assert_eq!(
        yard.inspect(&id, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"),
        address.to_string()
    );
}

pub(crate) async fn a_frozen_instance_is_thawed_by_start(engine: &impl Engine, yard: &Yard) {
    let id = yard.started(engine, &yard.template("web", IDLE), &yard.identity(1)).await;
    yard.docker(&["pause", &id.0]);
    engine.start(&id).await.unwrap();
    assert!(yard.seen(engine, &id).await.running());
    engine.start(&id).await.unwrap();
}
