//! A project as JSON, in the shape of `docker compose config --format json`, so that people and programs
//! that read that can read this. Paths in the repository are shown relative to its root: `./stack/app`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::number::duration_text;
use crate::model::project::{FileContent, FileObject, Network, Project, Volume};

mod service;

/// The project. Like the reference it doubles every dollar sign, so that the result can be loaded again;
/// values of secrets are not in it, those of a service's environment are.
pub fn to_json(project: &Project) -> Value {
    let mut out = Object::default();
    out.set("name", &project.name);
    out.section("services", &project.services, service::service);
    out.section("networks", &project.networks, network);
    out.section("volumes", &project.volumes, volume);
    let object = |key: &str, object: &FileObject| file_object(&project.name, key, object);
    out.section("secrets", &project.secrets, object);
    out.section("configs", &project.configs, object);
    escaped(out.done())
}

fn network(_: &str, network: &Network) -> Value {
    let mut out = Object::default();
    out.set("name", &network.name);
    out.some("driver", network.driver.as_ref());
    out.map("driver_opts", &network.driver_opts);
    let mut ipam = Object::default();
    let pools: Vec<Value> = network
        .ipam
        .iter()
        .map(|pool| {
            let mut out = Object::default();
            out.some("subnet", pool.subnet.as_ref());
            out.some("gateway", pool.gateway.as_ref());
            out.some("ip_range", pool.ip_range.as_ref());
            out.done()
        })
        .collect();
    ipam.list("config", &pools);
    out.set("ipam", ipam.done());
    out.flag("external", network.external);
    out.flag("internal", network.internal);
    out.flag("attachable", network.attachable);
    out.some("enable_ipv6", network.enable_ipv6);
    out.map("labels", &network.labels);
    out.done()
}

fn volume(_: &str, volume: &Volume) -> Value {
    let mut out = Object::default();
    out.set("name", &volume.name);
    out.some("driver", volume.driver.as_ref());
    out.map("driver_opts", &volume.driver_opts);
    out.flag("external", volume.external);
    out.map("labels", &volume.labels);
    out.done()
}

fn file_object(project: &str, key: &str, object: &FileObject) -> Value {
    let mut out = Object::default();
    out.set("name", format!("{project}_{key}"));
    match &object.content {
        FileContent::Repository(path) => out.set("file", repository(path)),
        FileContent::Host(path) => out.set("file", path),
        FileContent::Environment { variable, .. } => out.set("environment", variable),
        FileContent::Inline(text) => out.set("content", text),
    }
    out.done()
}

/// A path of the repository as it is shown.
fn repository(path: &str) -> String {
    if path.is_empty() { ".".to_owned() } else { format!("./{path}") }
}

fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('$', "$$")),
        Value::Array(items) => items.into_iter().map(escaped).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key.replace('$', "$$"), escaped(value))).collect()
        }
        other => other,
    }
}

/// An object under construction; what is absent or empty leaves no key.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn done(self) -> Value {
        Value::Object(self.0)
    }

    fn set(&mut self, key: &str, value: impl Into<Shown>) {
        self.0.insert(key.to_owned(), value.into().0);
    }

    fn some(&mut self, key: &str, value: Option<impl Into<Shown>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.some(key, value.then_some(true));
    }

    fn duration(&mut self, key: &str, value: Option<std::time::Duration>) {
        self.some(key, value.map(duration_text));
    }

    /// Sizes are text there.
    fn size(&mut self, key: &str, value: Option<u64>) {
        self.some(key, value.map(|value| value.to_string()));
    }

    fn list<T: serde::Serialize>(&mut self, key: &str, items: &[T]) {
        if !items.is_empty() {
            self.0.insert(key.to_owned(), json!(items));
        }
    }

    fn map<T: serde::Serialize>(&mut self, key: &str, map: &BTreeMap<String, T>) {
        if !map.is_empty() {
            self.0.insert(key.to_owned(), json!(map));
        }
    }

    fn section<T>(&mut self, key: &str, map: &BTreeMap<String, T>, show: impl Fn(&str, &T) -> Value) {
        let shown: BTreeMap<String, Value> =
            map.iter().map(|(key, item)| (key.clone(), show(key, item))).collect();
        self.map(key, &shown);
    }
}

/// A single value as the reference shows it.
struct Shown(Value);

macro_rules! shown {
    ($($kind:ty),*) => {
        $(impl From<$kind> for Shown {
            fn from(value: $kind) -> Self {
                Self(json!(value))
            }
        })*
    };
}

shown!(Value, String, &String, &str, bool, u16, u32, u64, i64);

impl From<f64> for Shown {
    /// A whole number is shown without a fraction.
    fn from(value: f64) -> Self {
        let whole = value as i64;
        if whole as f64 == value { Self(json!(whole)) } else { Self(json!(value)) }
    }
}
