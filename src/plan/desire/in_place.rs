//! The label `agent.on_change`: mounted repository folders whose new content running instances are to see, where
//! the default is new instances. `/etc/app/rules=signal:HUP, /usr/share/site=none`, by the paths in the container.
//!
//! Folders only: a container that mounts a single file keeps that very file, whatever is put in its place.

use crate::model::desired::InPlace;
use crate::model::instance::{MountSpec, Template};
use crate::model::place::Place;
use crate::model::problem::Problem;
use crate::model::project::{MountSource, Service};
use crate::plan::labels::{self, ON_CHANGE};

use super::Facts;

/// Signals by which programs are told to read their files again; those that end a program are left out.
const SIGNALS: [&str; 4] = ["HUP", "USR1", "USR2", "WINCH"];
const EXAMPLE: &str = "write for example \"/etc/app/rules=signal:HUP, /usr/share/site=none\"";
/// Where such a folder is mounted from, until its place is known.
const UNSETTLED: &str = "in-place";

enum Action {
    Recreate,
    /// With the signal to send, if any.
    Exchange(Option<String>),
}

/// What the label claims, with the template's mounts rid of their content: the fingerprint is made from that.
pub(super) fn claimed(
    service: &Service,
    template: &mut Template,
    facts: &Facts<'_>,
) -> Result<Vec<InPlace>, Vec<Problem>> {
    let Some(text) = service.labels.get(ON_CHANGE) else { return Ok(Vec::new()) };
    let place = labels::place(service, ON_CHANGE);
    let (mut claimed, mut problems): (Vec<InPlace>, Vec<Problem>) = (Vec::new(), Vec::new());
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match claim(service, item, place, facts) {
            Ok(Some(one)) if claimed.iter().any(|known| known.target == one.target) => {
                problems.push(refused(service, place, &format!("names {} twice", one.target), "say it once"));
            }
            Ok(one) => claimed.extend(one),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    for one in &claimed {
        mount_from(template, &one.target, UNSETTLED);
    }
    Ok(claimed)
}

/// Gives the folders their places, now that the fingerprint is known.
pub(super) fn settle(claimed: &mut [InPlace], template: &mut Template, root: &str, fingerprint: &str) {
    for (number, one) in claimed.iter_mut().enumerate() {
        one.folder = format!("{root}/{fingerprint}/{number}");
        mount_from(template, &one.target, &one.folder);
    }
}

fn claim(
    service: &Service,
    item: &str,
    place: &Place,
    facts: &Facts<'_>,
) -> Result<Option<InPlace>, Problem> {
    let Some((target, action)) = item.split_once('=') else {
        let what = format!("has `{}`, which is not PATH=ACTION", labels::shown(item));
        return Err(refused(service, place, &what, EXAMPLE));
    };
    let (target, action) = (trimmed(target.trim()), action.trim());
    let Some(action) = action_of(action) else {
        let what = format!("has the unknown action `{}`", labels::shown(action));
        let hint = format!("known are recreate, none, and signal: with one of {}", SIGNALS.join(", "));
        return Err(refused(service, place, &what, &hint));
    };
    let of_repository = service.volumes.iter().find_map(|mount| match &mount.source {
        MountSource::Repository(path) if trimmed(&mount.target) == target => Some((mount, path)),
        _ => None,
    });
    let Some((mount, path)) = of_repository else {
        let what = format!("names {}, where nothing of the repository is mounted", labels::shown(target));
        return Err(refused(service, place, &what, "use the path in the container, as `volumes` has it"));
    };
    // A path that is not in the repository is refused with its mount.
    let (Action::Exchange(signal), Some(mounted)) = (action, facts.mounted.get(path)) else {
        return Ok(None);
    };
    if !mounted.is_folder {
        let what = format!("names {target}, which is a single file");
        let hint = "mount the folder it is in: a container keeps the very file it was started with";
        return Err(refused(service, place, &what, hint));
    }
    let content = mounted.path.clone();
    Ok(Some(InPlace { target: mount.target.clone(), folder: String::new(), content, signal }))
}

fn action_of(text: &str) -> Option<Action> {
    match text {
        "recreate" => Some(Action::Recreate),
        "none" => Some(Action::Exchange(None)),
        _ => {
            let name = text.strip_prefix("signal:")?;
            let name = name.strip_prefix("SIG").unwrap_or(name);
            SIGNALS.contains(&name).then(|| Action::Exchange(Some(name.to_owned())))
        }
    }
}

fn mount_from(template: &mut Template, at: &str, folder: &str) {
    for mount in &mut template.mounts {
        if let MountSpec::Bind { source, target, .. } = mount
            && target == at
        {
            folder.clone_into(source);
        }
    }
}

fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

fn refused(service: &Service, place: &Place, what: &str, hint: &str) -> Problem {
    Problem::new(place, format!("{}: the label {ON_CHANGE} {what}", service.name)).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::project::{Mount, MountOptions};
    use crate::plan::desire::Mounted;
    use crate::plan::gate::Patience;

    fn judged(label: &str) -> Result<(Vec<InPlace>, Template), Vec<String>> {
        let mount = |path: &str, target: &str| Mount {
            place: Place::default(),
            source: MountSource::Repository(path.into()),
            target: target.into(),
            read_only: true,
            options: MountOptions::default(),
        };
        let place = Place::new("compose.yaml", 9, 7);
        let service = Service {
            name: "web".into(),
            volumes: vec![mount("rules", "/etc/app/rules"), mount("one.txt", "/etc/one.txt")],
            labels: [(ON_CHANGE.to_owned(), label.to_owned())].into(),
            label_places: [(ON_CHANGE.to_owned(), place)].into(),
            ..Service::default()
        };
        let kept = |name: &str, is_folder| Mounted { path: format!("/state/files/{name}"), is_folder };
        let mounted = [("rules".into(), kept("aa", true)), ("one.txt".into(), kept("bb", false))].into();
        let revision = "a".repeat(40).parse().unwrap();
        let (images, objects, nginx) = (BTreeMap::new(), BTreeMap::new(), Default::default());
        let facts = Facts {
            revision: &revision,
            images: &images,
            mounted: &mounted,
            in_place: "/state/in-place",
            objects: &objects,
            patience: Patience {
                health_timeout: Default::default(),
                one_shot_timeout: Default::default(),
                settle: Default::default(),
            },
            proxy_folder: "",
            nginx: &nginx,
            key: &[7; 64],
        };
        let bind = |source: &str, target: &str| MountSpec::Bind {
            source: source.into(),
            target: target.into(),
            read_only: true,
            propagation: None,
            selinux: None,
            create: false,
        };
        let mounts = vec![bind("/state/files/aa", "/etc/app/rules"), bind("/state/files/bb", "/etc/one.txt")];
        let mut template = Template { mounts, ..Template::default() };
        let claimed = claimed(&service, &mut template, &facts);
        claimed
            .map(|claimed| (claimed, template))
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn sources(template: &Template) -> Vec<&str> {
        let sources = template.mounts.iter().filter_map(|mount| match mount {
            MountSpec::Bind { source, .. } => Some(source.as_str()),
            _ => None,
        });
        sources.collect()
    }

    #[test]
    fn a_claimed_folder_is_fingerprinted_without_its_content_and_then_given_its_place() {
        let (mut claimed, mut template) = judged("/etc/app/rules/ = signal:SIGHUP").unwrap();
        assert_eq!(sources(&template), ["in-place", "/state/files/bb"]);
        settle(&mut claimed, &mut template, "/state/in-place", "f00d");
        assert_eq!(sources(&template), ["/state/in-place/f00d/0", "/state/files/bb"]);
        assert_eq!(claimed[0].content, "/state/files/aa");
        assert_eq!(claimed[0].signal.as_deref(), Some("HUP"));
    }

    #[test]
    fn nothing_is_claimed_by_what_is_recreated() {
        let (claimed, template) = judged("/etc/app/rules=recreate, /etc/one.txt=recreate,").unwrap();
        assert_eq!((claimed.len(), sources(&template)), (0, vec!["/state/files/aa", "/state/files/bb"]));
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_is_written() {
        for (label, said) in [
            ("/etc/app/rules", "has `/etc/app/rules`, which is not PATH=ACTION"),
            ("/etc/app/rules=reload", "has the unknown action `reload`"),
            ("/etc/app/rules=signal:KILL", "has the unknown action `signal:KILL`"),
            ("/etc/app=none", "names /etc/app, where nothing of the repository is mounted"),
            ("./rules=none", "names ./rules, where nothing of the repository is mounted"),
            ("/etc/one.txt=none", "names /etc/one.txt, which is a single file"),
            ("/etc/app/rules=none,/etc/app/rules/=none", "names /etc/app/rules twice"),
        ] {
            let problems = judged(label).unwrap_err();
            let expected = format!("compose.yaml:9:7: web: the label {ON_CHANGE} {said}");
            assert!(problems[0].starts_with(&expected), "{problems:?}");
        }
    }
}
