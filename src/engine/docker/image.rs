//! Images that are here, that are brought here, and their names.

use std::collections::BTreeSet;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use futures_util::stream::TryStreamExt;
use std::time::Duration;

use super::fault::{found, full, unreachable};
use super::labels::of_stack;
use super::{Docker, credentials};
use crate::engine::{EngineError, LineSink};

/// Until a registry's first answer; what follows is a stream.
const PULL_PATIENCE: Duration = Duration::from_secs(180);

/// Words by which a registry says that asking again will not help.
const FINAL: [&str; 6] = [
    "manifest unknown",
    "manifest for ",
    "pull access denied",
    "access to the resource is denied",
    "unauthorized",
    "no basic auth credentials",
];

impl Docker {
    pub(super) async fn image_id(&self, reference: &str) -> Result<Option<String>, EngineError> {
        let looked = found(self.client.inspect_image(reference).await);
        let looked = looked.map_err(|error| self.fault(format!("look at image {reference}"), error))?;
        Ok(looked.and_then(|image| image.id))
    }

    pub(super) async fn pull_image(
        &self,
        reference: &str,
        line: LineSink<'_>,
    ) -> Result<String, EngineError> {
        let options = CreateImageOptionsBuilder::default().from_image(&with_tag(reference)).build();
        let credentials = self.credentials_for(reference)?;
        let client = self.patient(PULL_PATIENCE);
        let mut steps = client.create_image(Some(options), None, credentials);
        while let Some(step) = steps.try_next().await.map_err(|e| self.pull_fault(reference, e))? {
            if let Some(text) = progress_line(&step) {
                line(&text);
            }
        }
        let missing = || EngineError::NoImage { reference: reference.to_owned() };
        self.image_id(reference).await?.ok_or_else(missing)
    }

    fn credentials_for(&self, reference: &str) -> Result<Option<DockerCredentials>, EngineError> {
        let read = credentials::read(self.login.as_deref()).map_err(|error| EngineError::Other {
            act: format!("sign in to pull {reference}"),
            source: error.into(),
        })?;
        Ok(read
            .into_iter()
            .find(|(registry, _)| *registry == credentials::registry(reference))
            .map(|(_, c)| c))
    }

    pub(super) fn pull_fault(&self, reference: &str, error: Error) -> EngineError {
        match &error {
            Error::DockerResponseServerError { message, .. }
            | Error::DockerStreamError { error: message }
                if full(message) || is_final(message) =>
            {
                let refused = Error::DockerResponseServerError { status_code: 404, message: message.clone() };
                self.fault(format!("pull {reference}"), refused)
            }
            Error::DockerResponseServerError { status_code: 400..500, .. } => {
                self.fault(format!("pull {reference}"), error)
            }
            _ if unreachable(&error) => self.fault(format!("pull {reference}"), error),
            _ => EngineError::Pull { reference: reference.to_owned(), source: error.into() },
        }
    }

    pub(super) async fn tag_image(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let full = with_tag(name);
        let (repository, tag) = full.rsplit_once(':').unwrap_or((name, "latest"));
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let tagged = self.client.tag_image(id, Some(options)).await;
        tagged.map_err(|error| self.fault(format!("name image {id} {name}"), error))
    }

    pub(super) async fn untag_image(&self, name: &str) -> Result<(), EngineError> {
        match found(self.client.remove_image(name, None::<RemoveImageOptions>, None).await) {
            // 409: an instance uses it.
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
            Err(error) => Err(self.fault(format!("remove image {name}"), error)),
        }
    }

    pub(super) async fn list_images(&self, stack: &str) -> Result<Vec<String>, EngineError> {
        let options = ListImagesOptionsBuilder::default().filters(&of_stack(stack)).build();
        let listed = self.client.list_images(Some(options)).await;
        let listed = listed.map_err(|error| self.fault(format!("list the images of {stack}"), error))?;
        let names: BTreeSet<_> = listed.into_iter().flat_map(|image| image.repo_tags).collect();
        Ok(names.into_iter().filter(|name| name != "<none>:<none>").collect())
    }

    pub(super) async fn drop_nameless_images(&self, stack: &str) -> Result<(), EngineError> {
        let mut filter = of_stack(stack);
        filter.insert("dangling", vec!["true".to_owned()]);
        let options = ListImagesOptionsBuilder::default().filters(&filter).build();
        let listed = self.client.list_images(Some(options)).await;
        let listed = listed.map_err(|error| self.fault(format!("list nameless images of {stack}"), error))?;
        for image in listed {
            self.untag_image(&image.id).await?;
        }
        Ok(())
    }
}

pub(super) fn is_final(message: &str) -> bool {
    FINAL.iter().any(|words| message.contains(words))
}

/// A name without tag or digest would pull every tag there is.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

/// Steps, without the moving bars.
fn progress_line(step: &CreateImageInfo) -> Option<String> {
    let moves = step.progress_detail.as_ref().is_some_and(|detail| detail.current.is_some());
    let status = step.status.as_deref().filter(|_| !moves)?;
    Some(match &step.id {
        Some(id) => format!("{id}: {status}"),
        None => status.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_tag_means_latest() {
        assert_eq!(with_tag("nginx"), "nginx:latest");
        assert_eq!(with_tag("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        for whole in ["nginx:1.26", "localhost:5000/a:1", "a@sha256:00"] {
            assert_eq!(with_tag(whole), whole);
        }
    }
}
