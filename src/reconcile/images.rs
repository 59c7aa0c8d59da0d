//! Which image each service runs: a tag made from a build's inputs, or a name pinned to its content.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{BuildOrder, Engine, EngineError};
use crate::model::Revision;
use crate::model::desired::Desired;
use crate::model::instance::ImageRef;
use crate::model::project::{Build, Project, Service};
use crate::plan::{dockerfile, fingerprint};
use crate::source::{Context, Dockerfile};

use super::Reconciler;
use super::render::blocking;
use super::trouble::Trouble;

/// What is known of a stack's images before anything is built.
#[derive(Default)]
pub(super) struct Images {
    pub(super) by_service: BTreeMap<String, ImageRef>,
    pub(super) orders: BTreeMap<String, (BuildOrder, Context)>,
    pub(super) missing: BTreeSet<String>,
}

/// Resolves every service's image. Base images and images of others are pulled when they are not here.
pub(super) async fn resolve<E: Engine>(
    world: &Reconciler<E>,
    revision: &Revision,
    project: &Project,
    before: Option<&Desired>,
    warnings: &mut Vec<String>,
) -> Result<Images, Trouble> {
    let mut images = Images::default();
    // Equal inputs are built once, under the name of the first service that has them.
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for (name, service) in &project.services {
        let image = match &service.build {
            Some(build) => {
                let (hash, order, context) = world.inputs(revision, name, build, warnings).await?;
                let tag =
                    tags.entry(hash.clone()).or_insert_with(|| format!("{}-{name}:{hash}", project.name));
                if !images.orders.contains_key(tag) {
                    if world.engine.image(tag).await?.is_none() {
                        images.missing.insert(tag.clone());
                    }
                    let order = BuildOrder { tag: tag.clone(), ..order };
                    images.orders.insert(tag.clone(), (order, context));
                }
                ImageRef { name: tag.clone(), id: String::new() }
            }
            None => world.pinned(name, service, before).await?,
        };
        images.by_service.insert(name.clone(), image);
    }
    Ok(images)
}

impl<E: Engine> Reconciler<E> {
    async fn inputs(
        &self,
        revision: &Revision,
        name: &str,
        build: &Build,
        warnings: &mut Vec<String>,
    ) -> Result<(String, BuildOrder, Context), Trouble> {
        let (mirror, revision, given) = (self.mirror.clone(), revision.clone(), build.clone());
        let (context, text) = blocking(move || {
            let inline = given.dockerfile_inline.as_deref();
            let path = given.dockerfile.as_deref().unwrap_or("Dockerfile");
            let dockerfile = inline.map_or(Dockerfile::Path(path), Dockerfile::Inline);
            let context = mirror.context(&revision, &given.context, dockerfile)?;
            let text = context.dockerfile_text()?;
            Ok((context, text))
        })
        .await
        .map_err(|trouble| trouble.of_service(name))?;
        for pointer in context.lfs_pointers() {
            warnings.push(format!("{name}: {pointer} is a Git LFS pointer: the build gets the pointer only"));
        }
        let mut parts = vec![context.hash().to_owned(), build.target.clone().unwrap_or_default()];
        parts.extend(build.args.iter().map(|(name, value)| format!("{name}={value}")));
        parts.extend(build.labels.iter().map(|(name, value)| format!("{name}={value}")));
        for base in dockerfile::bases(&text, &build.args) {
            let id = self.here(&base, build.pull).await.map_err(|trouble| trouble.of_service(name))?;
            parts.push(format!("{base}@{id}"));
        }
        let order = BuildOrder {
            dockerfile: context.dockerfile().to_owned(),
            target: build.target.clone(),
            args: build.args.clone(),
            labels: build.labels.clone(),
            network: build.network.clone(),
            extra_hosts: build.extra_hosts.clone(),
            shm_size: build.shm_size,
            no_cache: build.no_cache,
            stack: self.config.stack.name.clone(),
            tag: String::new(),
        };
        Ok((fingerprint::inputs(parts.iter().map(String::as_str)), order, context))
    }

    /// A name that stays what it was until the stack says another one, or asks for the newest each time.
    async fn pinned(
        &self,
        name: &str,
        service: &Service,
        before: Option<&Desired>,
    ) -> Result<ImageRef, Trouble> {
        let wanted = service.image.clone().unwrap_or_default();
        let fresh = matches!(service.pull_policy.as_deref(), Some("always" | "refresh"));
        let known = before.and_then(|before| before.services.get(name)).map(|known| &known.template.image);
        if let Some(known) = known.filter(|known| !fresh && known.name == wanted && !known.id.is_empty())
            && self.engine.image(&known.id).await?.is_some()
        {
            return Ok(known.clone());
        }
        let id = self.here(&wanted, fresh).await.map_err(|trouble| trouble.of_service(name))?;
        Ok(ImageRef { name: wanted, id })
    }

    /// The content id of an image, pulled if it is not here (or if the newest is asked for).
    async fn here(&self, reference: &str, fresh: bool) -> Result<String, Trouble> {
        let local = self.engine.image(reference).await?;
        match local {
            Some(id) if !fresh => Ok(id),
            local => {
                tracing::info!(image = reference, "pulling");
                match (self.engine.pull(reference, &|line| tracing::debug!("{line}")).await, local) {
                    (Ok(id), _) => Ok(id),
                    (Err(error @ EngineError::Pull { .. }), Some(id)) => {
                        tracing::warn!(
                            image = reference,
                            "cannot be refreshed: {}",
                            crate::report::line(&error)
                        );
                        Ok(id)
                    }
                    (Err(error), _) => Err(error.into()),
                }
            }
        }
    }
}
