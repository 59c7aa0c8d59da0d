//! Names of images, and images that are somewhere else.

use agent::engine::{Engine, EngineError};
use agent::model::class::Class;
use agent::model::instance::{ImageRef, Template};

use crate::yard::{BASE, IDLE, Yard};

pub(crate) async fn names_are_given_and_taken(engine: &impl Engine, yard: &Yard) {
    let id = engine.image(BASE).await.unwrap().unwrap();
    assert!(id.starts_with("sha256:"));
    assert_eq!(engine.image(&id).await.unwrap(), Some(id.clone()));
    let (name, other) = (format!("{}:keep", yard.stack), yard.stack.clone());
    engine.tag(&id, &name).await.unwrap();
    engine.tag(&id, &other).await.unwrap();
    assert_eq!(engine.image(&name).await.unwrap(), Some(id.clone()));
    assert_eq!(engine.image(&format!("{other}:latest")).await.unwrap(), Some(id.clone()));
    engine.untag(&name).await.unwrap();
    engine.untag(&name).await.unwrap();
    assert_eq!(engine.image(&name).await.unwrap(), None);
    assert_eq!(engine.image(BASE).await.unwrap(), Some(id));
}

/// An image of its own, so that its name is its only one.
fn imported(yard: &Yard, tag: &str) -> String {
    let name = format!("{}:{tag}", yard.stack);
    let container = yard.docker(&["create", "--name", &yard.foreign(tag), BASE]);
    let label = format!("LABEL agenttest={} tag={tag}", yard.stack);
    yard.docker(&["commit", "--change", &label, &container, &name]);
    name
}

pub(crate) async fn an_image_in_use_stays(engine: &impl Engine, yard: &Yard) {
    let name = imported(yard, "used");
    let image = ImageRef { name: name.clone(), id: String::new() };
    let template = Template { image, ..yard.template("web", IDLE) };
    let id = yard.started(engine, &template, &yard.identity(1)).await;
    let image = engine.image(&name).await.unwrap().unwrap();
    engine.untag(&name).await.unwrap();
    assert_eq!(engine.image(&image).await.unwrap(), Some(image.clone()));
    engine.remove(&id).await.unwrap();
    engine.untag(&name).await.unwrap();
    assert_eq!(engine.image(&image).await.unwrap(), None);
}

pub(crate) async fn a_moved_tag_does_not_change_what_runs(engine: &impl Engine, yard: &Yard) {
    let name = imported(yard, "one");
    let id = engine.image(&name).await.unwrap().unwrap();
    let image = ImageRef { name: name.clone(), id: id.clone() };
    let template = Template { image, ..yard.template("web", IDLE) };
    let first = engine.create(&template, &yard.identity(1)).await.unwrap();
    assert_eq!(yard.inspect(&first, "{{.Config.Image}}"), name);

    engine.tag(BASE, &name).await.unwrap();
    let second = engine.create(&template, &yard.identity(2)).await.unwrap();
    assert_eq!(yard.seen(engine, &second).await.image_id, id);
    assert_eq!(yard.inspect(&second, "{{.Config.Image}}"), id);
    let unpinned = ImageRef { name, id: String::new() };
    let third = engine.create(&Template { image: unpinned, ..template }, &yard.identity(3)).await.unwrap();
    assert_ne!(yard.seen(engine, &third).await.image_id, id);
}

pub(crate) async fn an_image_that_is_nowhere_is_refused_by_name(engine: &impl Engine, yard: &Yard) {
    let image = ImageRef { name: format!("{}:none", yard.stack), id: format!("sha256:{}", "0".repeat(64)) };
    let template = Template { image: image.clone(), ..yard.template("web", IDLE) };
    let missing = engine.create(&template, &yard.identity(1)).await.unwrap_err();
    assert_eq!(missing.to_string(), format!("there is no image {} ({})", image.name, image.id));
    assert_eq!(missing.class(), Class::Stalled);
    let refused = engine.pull("agenttest/UPPER", &|_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused { message, .. } if message.contains("lowercase")),
        "{refused:?}"
    );
}

/// Nobody listens at that port.
pub(crate) async fn a_registry_that_does_not_answer_is_waited_for(engine: &impl Engine, _yard: &Yard) {
    let error = engine.pull("127.0.0.1:1/agenttest/none:1", &|_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "image 127.0.0.1:1/agenttest/none:1 cannot be pulled");
    assert_eq!(error.class(), Class::Waiting);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("connection refused"), "{cause}");
}
