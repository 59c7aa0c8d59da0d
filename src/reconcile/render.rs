//! A revision to a desired state: everything that needs Git, registries or the disk is asked for here, and
//! nothing that runs is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, Once};

use crate::engine::{BuildOrder, Engine};
use crate::model::Revision;
use crate::model::desired::Desired;
use crate::model::problem::Problem;
use crate::model::project::Project;
use crate::plan::compose::{self, Files, Request};
use crate::plan::desire::{Facts, desire};
use crate::plan::gate::Patience;
use crate::plan::{nginx, policy, stripe};
use crate::source::{Context, Mirror, SourceError};

use super::trouble::Trouble;
use super::{Reconciler, images, objects};

/// Whether it was said that a release cannot publish what the configuration asks for.
static SAID: Once = Once::new();

/// A revision, ready to be compared with what runs.
pub struct Rendered {
    pub desired: Desired,
    /// What can be built, by tag.
    pub orders: BTreeMap<String, (BuildOrder, Context)>,
    /// Tags that are not on the engine yet.
    pub missing: BTreeSet<String>,
    pub warnings: Vec<String>,
}

/// A project as loaded, before anything of the machine is asked.
pub struct Read {
    pub project: Project,
    pub warnings: Vec<Problem>,
}

impl<E: Engine> Reconciler<E> {
    /// Loads the compose files of a revision.
    pub async fn read(&self, revision: &Revision) -> Result<Read, Trouble> {
        let environment = self.variables()?;
        let (mirror, revision) = (self.mirror.clone(), revision.clone());
        let stack = self.config.stack.clone();
        blocking(move || {
            let files = Tree { mirror: &mirror, revision: &revision, failed: Mutex::new(None) };
            let loaded = compose::load(&Request {
                files: &files,
                paths: &stack.compose,
                name: &stack.name,
                profiles: &stack.profiles,
                environment: &environment,
            });
            // A file that could not be read looks absent to the loader: the cause goes before its effect.
            if let Ok(Some(error)) = files.failed.into_inner() {
                return Err(error.into());
            }
            let loaded = loaded.map_err(Trouble::from)?;
            Ok(Read { project: loaded.project, warnings: loaded.warnings })
        })
        .await
    }

    /// Renders a revision; `before` is what runs, whose pulled images stay pinned.
    pub async fn render(&self, revision: &Revision, before: Option<&Desired>) -> Result<Rendered, Trouble> {
        let Read { project, warnings } = self.read(revision).await?;
        let breaches = policy::breaches(&project, &self.policy());
        if !breaches.is_empty() {
            return Err(breaches.into());
        }
        let options = self.nginx_options()?;
        let routes = nginx::routes(&project, &options)?;
        let mut warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        if nginx::nginx_service(&project)?.is_none() {
            let own = [(&options.published, "webhooks are"), (&options.dashboard, "dashboard is")];
            warnings.extend(own.iter().filter(|(published, _)| published.is_some()).map(|(_, what)| {
                format!("no service has the label agent.nginx: the agent's {what} not published")
            }));
        }
        let images = images::resolve(self, revision, &project, before, &mut warnings).await?;
        let (mounted, objects) = objects::keep(self, revision, &project, &mut warnings).await?;
        let (folder, in_place) = (self.config.nginx_folder(), self.in_place());
        let facts = Facts {
            revision,
            images: &images.by_service,
            mounted: &mounted,
            in_place: &in_place.to_string_lossy(),
            objects: &objects,
            patience: self.patience(),
            proxy_folder: &folder.to_string_lossy(),
            nginx: &options,
            key: &self.key,
        };
        let desired = desire(&project, routes, &facts)?;
        if desired.proxy().is_some() {
            let lacking = nginx::leave_unpublished(&desired.routes, &mut desired.nginx.clone());
            let lacking = lacking.map_err(|problem| vec![problem])?;
            if !lacking.is_empty() {
                return Err(lacking.into());
            }
        }
        let desired = self.on_this_machine(&desired).await?;
        Ok(Rendered { desired, orders: images.orders, missing: images.missing, warnings })
    }

    /// A release as this machine runs it now, whatever it was when it was recorded: what nginx publishes of
    /// the agent is configured here, and the services' own secrets are kept here. Where the operator's template
    /// was one of before, without a place for what is to be published, the release goes without: it must be
    /// possible to go back to it, and to mend it.
    pub(super) async fn on_this_machine(&self, release: &Desired) -> Result<Desired, Trouble> {
        let mut desired = release.clone();
        desired.nginx.trusted.clone_from(&self.config.nginx.trusted_proxies);
        desired.nginx.published.clone_from(&self.config.webhook.publish);
        desired.nginx.dashboard.clone_from(&self.config.dashboard.publish);
        if desired.proxy().is_some() {
            let lacking = nginx::leave_unpublished(&desired.routes, &mut desired.nginx);
            for problem in lacking.map_err(|problem| vec![problem])? {
                // Each turn comes by here, and so does each look at what has changed.
                SAID.call_once(|| tracing::warn!("release of {}: {problem}", desired.revision.short()));
            }
        }
        let Some(secrets) = &self.secrets else { return Ok(desired) };
        for service in desired.services.values_mut().filter(|service| service.stripe.is_some()) {
            let secret = secrets(service.template.service.clone()).await;
            let hint = "see what the disk of the state folder has left";
            let secret = secret.map_err(|why| Trouble::waiting(why, hint))?;
            stripe::hand_over(service, &secret, &self.key)
                .map_err(|error| Trouble::stalled(error.to_string(), "please report this"))?;
        }
        Ok(desired)
    }

    fn patience(&self) -> Patience {
        let roll = &self.config.roll;
        Patience {
            health_timeout: roll.health_timeout,
            one_shot_timeout: roll.one_shot_timeout,
            settle: roll.settle,
        }
    }

    fn nginx_options(&self) -> Result<nginx::Options, Trouble> {
        let nginx = &self.config.nginx;
        let template = match &nginx.template {
            None => None,
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => Some(nginx::OwnTemplate { file: path.display().to_string(), text }),
                Err(error) => {
                    let what = format!("the nginx template {} cannot be read: {error}", path.display());
                    return Err(Trouble::stalled(what, "mend `template` under [nginx] of the configuration"));
                }
            },
        };
        Ok(nginx::Options {
            template,
            generation_port: nginx.generation_port,
            worker_shutdown: nginx.shutdown_timeout,
            trusted: nginx.trusted_proxies.clone(),
            published: self.config.webhook.publish.clone(),
            dashboard: self.config.dashboard.publish.clone(),
            ..nginx::Options::default()
        })
    }

    fn policy(&self) -> policy::Policy {
        let given = &self.config.policy;
        policy::Policy {
            privileged: given.allow_privileged,
            docker_socket: given.allow_docker_socket,
            host_namespaces: given.allow_host_network,
            host_paths: given.allow_host_paths.clone(),
            capabilities: given.allow_capabilities.iter().cloned().collect(),
            devices: given.allow_devices.iter().cloned().collect(),
        }
    }

    /// The operator's variables for interpolation.
    fn variables(&self) -> Result<BTreeMap<String, String>, Trouble> {
        let Some(file) = &self.config.stack.env_file else { return Ok(BTreeMap::new()) };
        let hint = "mend `env_file` under [stack] of the configuration";
        let text = file.read().map_err(|error| Trouble::stalled(crate::report::line(&error), hint))?;
        compose::variables(&text, "env_file").map_err(|problem| Trouble::stalled(problem.to_string(), hint))
    }
}

/// The files of one revision, straight from Git's objects.
struct Tree<'a> {
    mirror: &'a Mirror,
    revision: &'a Revision,
    /// The first read that failed for another reason than absence.
    failed: Mutex<Option<SourceError>>,
}

impl Files for Tree<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.mirror.read(self.revision, path).unwrap_or_else(|error| {
            if let Ok(mut failed) = self.failed.lock() {
                failed.get_or_insert(error);
            }
            None
        })
    }
}

/// Runs what blocks off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Trouble::stalled(format!("the agent broke: {error}"), "please report this")),
    }
}
