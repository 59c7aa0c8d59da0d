//! Why a service is rolled, in words: names of what changed, never values.

use serde_json::Value;

use crate::model::desired::Service;
use crate::model::instance::{MountSpec, Template};

/// What differs between two desired states of a service.
pub fn changes(before: Option<&Service>, after: &Service) -> String {
    let Some(before) = before else { return "its configuration differs from what runs".into() };
    let old = serde_json::to_value(comparable(before)).unwrap_or_default();
    let new = serde_json::to_value(comparable(after)).unwrap_or_default();
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return "changed".into() };
    let keys = new.keys().filter(|key| old.get(*key) != new.get(*key));
    let said: Vec<String> = keys.map(|key| said(key, old.get(key), new.get(key))).collect();
    if said.is_empty() { "its container differs from what was released".into() } else { said.join(", ") }
}

/// Folders that change in place are named after the fingerprint: another one is an effect and no reason.
fn comparable(service: &Service) -> Template {
    let mut template = service.template.clone();
    for mount in &mut template.mounts {
        if let MountSpec::Bind { source, .. } = mount
            && service.in_place.iter().any(|place| place.folder == *source)
        {
            source.clear();
        }
    }
    template
}

fn said(key: &str, old: Option<&Value>, new: Option<&Value>) -> String {
    let name = key.replace('_', " ");
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) if key != "image" => {
            let changed = new.keys().chain(old.keys()).filter(|name| old.get(*name) != new.get(*name));
            let mut names: Vec<&str> = changed.map(String::as_str).collect();
            names.sort_unstable();
            names.dedup();
            format!("{name} changed ({})", names.join(", "))
        }
        _ => format!("{name} changed"),
    }
}
