//! Which image each service runs: a tag made from a build's inputs, or a name pinned to its content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

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

/// The engine and the mirror are asked about so many services at once.
const AT_ONCE: usize = 8;

/// Resolves every service's image. Base images and images of others are pulled when they are not here.
pub(super) async fn resolve<E: Engine>(
    world: &Reconciler<E>,
    revision: &Revision,
    project: &Project,
    before: Option<&Desired>,
    warnings: &mut Vec<String>,
) -> Result<Images, Trouble> {
    let asked = Asked { world, there: Once::default(), pulled: Once::default() };
    let sources =
        project.services.iter().map(|(name, service)| asked.source(revision, name, service, before));
    let sources: Vec<_> = side_by_side(sources.collect()).await?;
    let mut images = Images::default();
    // Equal inputs are built once, under the name of the first service that has them.
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for (name, source) in project.services.keys().zip(sources) {
        let image = match source {
            Source::Pulled(image) => image,
            Source::Built(inputs) => {
                let Inputs { hash, order, context, warnings: said } = *inputs;
                warnings.extend(said);
                let tag = tags.entry(hash).or_insert_with_key(|hash| {
                    // A new service with the same inputs gives nobody's image another name.
                    let known = before.and_then(|before| known(before, &project.name, hash));
                    known.unwrap_or_else(|| format!("{}-{name}:{hash}", project.name))
                });
                let order = BuildOrder { tag: tag.clone(), ..order };
                images.orders.entry(tag.clone()).or_insert((order, context));
                ImageRef { name: tag.clone(), id: String::new() }
            }
        };
        images.by_service.insert(name.clone(), image);
    }
    let looks = side_by_side(images.orders.keys().map(|tag| world.engine.image(tag)).collect()).await?;
    let missing = images.orders.keys().zip(looks).filter(|(_, found)| found.is_none());
    images.missing = missing.map(|(tag, _)| tag.clone()).collect();
    Ok(images)
}

/// The name of an image with these inputs.
fn known(before: &Desired, project: &str, hash: &str) -> Option<String> {
    let names = before.services.values().map(|service| &service.template.image.name);
    let mut of_project =
        names.filter(|name| name.strip_prefix(project).is_some_and(|rest| rest.starts_with('-')));
    of_project.find(|name| name.rsplit_once(':').is_some_and(|(_, tag)| tag == hash)).cloned()
}

/// All answers, in the order of their questions; the first that fails ends the others.
async fn side_by_side<T, E>(questions: Vec<impl Future<Output = Result<T, E>>>) -> Result<Vec<T>, E> {
    stream::iter(questions).buffered(AT_ONCE).try_collect().await
}

/// Where a service's image comes from.
enum Source {
    Pulled(ImageRef),
    Built(Box<Inputs>),
}

/// What goes into a build, and the hash of it.
struct Inputs {
    hash: String,
    order: BuildOrder,
    context: Context,
    warnings: Vec<String>,
}

/// The world, with what was asked of it in this turn: many services have the same image, which is pulled once.
struct Asked<'a, E> {
    world: &'a Reconciler<E>,
    /// Content ids of what is here.
    there: Once<String, Option<String>>,
    /// Content ids by reference, and whether the newest was asked for.
    pulled: Once<(String, bool), String>,
}

/// Answers that are asked for once, also when several want one at the same time.
type Once<K, T> = Mutex<BTreeMap<K, Arc<OnceCell<T>>>>;

fn once<K: Ord, T>(answers: &Once<K, T>, key: K) -> Arc<OnceCell<T>> {
    answers.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
}

impl<E: Engine> Asked<'_, E> {
    async fn source(
        &self,
        revision: &Revision,
        name: &str,
        service: &Service,
        before: Option<&Desired>,
    ) -> Result<Source, Trouble> {
        match &service.build {
            Some(build) => {
                self.inputs(revision, name, build).await.map(|inputs| Source::Built(Box::new(inputs)))
            }
            None => self.pinned(name, service, before).await.map(Source::Pulled),
        }
    }

    async fn inputs(&self, revision: &Revision, name: &str, build: &Build) -> Result<Inputs, Trouble> {
        let (mirror, revision, given) = (self.world.mirror.clone(), revision.clone(), build.clone());
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
        let pointers = context.lfs_pointers().iter();
        let warnings = pointers
            .map(|pointer| format!("{name}: {pointer} is a Git LFS pointer: the build gets the pointer only"))
            .collect();
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
            stack: self.world.config.stack.name.clone(),
            tag: String::new(),
        };
        let hash = fingerprint::inputs(parts.iter().map(String::as_str));
        Ok(Inputs { hash, order, context, warnings })
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
            && self.is_there(&known.id).await?
        {
            return Ok(known.clone());
        }
        let id = self.here(&wanted, fresh).await.map_err(|trouble| trouble.of_service(name))?;
        Ok(ImageRef { name: wanted, id })
    }

    async fn here(&self, reference: &str, fresh: bool) -> Result<String, Trouble> {
        let answer = once(&self.pulled, (reference.to_owned(), fresh));
        answer.get_or_try_init(|| self.world.here(reference, fresh)).await.cloned()
    }

    async fn is_there(&self, id: &str) -> Result<bool, EngineError> {
        let answer = once(&self.there, id.to_owned());
        Ok(answer.get_or_try_init(|| self.world.engine.image(id)).await?.is_some())
    }
}

impl<E: Engine> Reconciler<E> {
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
