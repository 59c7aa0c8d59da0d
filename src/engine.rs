//! The seam to whatever runs containers. It speaks in outcomes; how many calls an engine needs for one is its
//! own affair. Everything it creates carries compose's labels (so that people's tools keep working) and the
//! agent's own; everything it lists, stops or removes must carry the agent's own label for this stack.

pub mod docker;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::model::class::Class;
use crate::model::instance::{
    Condition, Identity, InstanceId, NetworkSpec, NetworkUse, Observed, RestartSpec, Template, VolumeSpec,
};

/// What to build and how to name the result.
#[derive(Clone, Debug, Default)]
pub struct BuildOrder {
    /// Whose image it is: it is labelled so.
    pub stack: String,
    /// The tag made from the inputs.
    pub tag: String,
    /// Relative to the context.
    pub dockerfile: String,
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub network: Option<String>,
    pub extra_hosts: Vec<String>,
    pub shm_size: Option<u64>,
    pub no_cache: bool,
}

/// A build context or any other tar, as it is made.
pub type TarStream = BoxStream<'static, std::io::Result<Bytes>>;

/// Called with each line as it comes; must not block.
pub type LineSink<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// What a finished command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub code: i64,
    /// Standard output and error, in the order they came, at most 64 KiB of their end.
    pub output: String,
}

/// Where in an instance's output to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// So many lines before its end.
    Last(usize),
    Start,
    /// After a moment that [`Written::at`] told.
    After(String),
}

/// A piece of an instance's output, mostly a line with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// When, by the engine's clock: texts that sort as their times do. Empty when the engine does not say.
    pub at: String,
    pub text: Bytes,
}

/// Something that happened to one of the stack's instances outside a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    pub instance: InstanceId,
    pub service: String,
    /// The engine's word: `die`, `oom`, `stop`, `destroy`, `health_status: unhealthy` …
    pub what: String,
}

/// An engine's name, version and what of it matters to a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineFacts {
    pub version: String,
    pub api_version: String,
    /// Where the engine keeps its data, for the disk floor.
    pub root: String,
}

pub trait Engine: Clone + Send + Sync + 'static {
    fn facts(&self) -> impl Future<Output = Result<EngineFacts, EngineError>> + Send;

    /// All instances (running or not), networks and volumes labelled as this stack's.
    fn observe(&self, stack: &str) -> impl Future<Output = Result<Observed, EngineError>> + Send;

    /// The content id of an image that is here, by name, tag, digest or id.
    fn image(&self, reference: &str) -> impl Future<Output = Result<Option<String>, EngineError>> + Send;

    /// Brings an image here and returns its content id.
    fn pull(
        &self,
        reference: &str,
        line: LineSink<'_>,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Gives an image one more name.
    fn tag(&self, id: &str, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes names made by [`Engine::tag`] or [`Engine::build`] and what only they kept. An image in use stays.
    fn untag(&self, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes images built for this stack that have lost their last name and that nobody uses.
    fn drop_nameless(&self, stack: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Names (`repo:tag`) of all images built for this stack.
    fn stack_images(&self, stack: &str) -> impl Future<Output = Result<Vec<String>, EngineError>> + Send;

    /// Builds and returns the content id. Dropping the future cancels the build.
    fn build(
        &self,
        order: &BuildOrder,
        context: TarStream,
        line: LineSink<'_>,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Makes the network unless it exists. One that the agent makes gets a subnet of its own, half of it
    /// for strangers, so that the agent can give fixed addresses from the other half.
    fn ensure_network(
        &self,
        stack: &str,
        network: &NetworkSpec,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    fn ensure_volume(
        &self,
        stack: &str,
        volume: &VolumeSpec,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Creates an instance without starting it. Its service's names are given to it only when
    /// `identity.admitted`; until [`Engine::admit`] it is found under its own name alone.
    fn create(
        &self,
        template: &Template,
        identity: &Identity,
    ) -> impl Future<Output = Result<InstanceId, EngineError>> + Send;

    fn start(&self, id: &InstanceId) -> impl Future<Output = Result<(), EngineError>> + Send;

    fn condition(&self, id: &InstanceId) -> impl Future<Output = Result<Condition, EngineError>> + Send;

    /// From now on callers find the instance by its service's names. Its fixed addresses and its connections
    /// stay; where the engine chose the address (a network that is not the agent's) it may change. It may
    /// stand still for about a tenth of a second, and a caller that connects to it in that moment waits a
    /// second. One that already has these names is left alone; one that an earlier call left frozen or off
    /// a network is mended.
    fn admit(
        &self,
        id: &InstanceId,
        networks: &[NetworkUse],
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The opposite, in the same way: it keeps its addresses and open connections, and nobody new finds it.
    fn dismiss(&self, id: &InstanceId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Sends the stop signal, waits for the grace of the template it was made from, then kills. An instance that
    /// does not run is no error.
    fn stop(&self, id: &InstanceId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The same, with at most this grace, in whole seconds.
    fn stop_within(
        &self,
        id: &InstanceId,
        most: Duration,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// From now on this decides whether the engine starts the instance when it ends, and when the engine itself starts:
    /// `always` then means also what was stopped.
    fn keep_up(
        &self,
        id: &InstanceId,
        restart: &RestartSpec,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Gives the instance another name of its own.
    fn rename(&self, id: &InstanceId, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Kills the instance if it runs and removes it; its volumes stay. One that is gone is no error.
    fn remove(&self, id: &InstanceId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The same for one whose work nobody wants: the anonymous volumes that it has to itself go with it.
    fn discard(&self, id: &InstanceId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Ends an instance for good and keeps it with its logs: from now on it is one of [`Observed::failed`], and no
    /// start of the engine brings it back. `patient`: as [`Engine::stop`] does; else it is killed.
    fn shelve(&self, id: &InstanceId, patient: bool) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Host paths that the stack's instances have mounted, running or not, kept ones included.
    fn mounted(&self, stack: &str) -> impl Future<Output = Result<Vec<String>, EngineError>> + Send;

    /// The end of its output, as text.
    fn logs(&self, id: &InstanceId, lines: usize)
    -> impl Future<Output = Result<String, EngineError>> + Send;

    /// The last so many lines of its output, each with its moment, the oldest first.
    fn last_written(
        &self,
        id: &InstanceId,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<Written>, EngineError>> + Send;

    /// Output as it comes; ends when the instance does, also when that is started again.
    fn follow(&self, id: &InstanceId, from: Begin) -> BoxStream<'static, Result<Written, EngineError>>;

    /// Runs a command in a running instance, to its end.
    fn exec(
        &self,
        id: &InstanceId,
        command: &[&str],
    ) -> impl Future<Output = Result<Finished, EngineError>> + Send;

    /// `HUP`, `USR1` … to the main process. The engine must not take it for a wish to end the instance.
    fn signal(&self, id: &InstanceId, signal: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Runs a command with a template's image, environment and mounts in a throw-away instance without
    /// networks or ports, to its end but for 30 s at most, and removes it.
    fn run_aside(
        &self,
        template: &Template,
        stack: &str,
        command: &[&str],
    ) -> impl Future<Output = Result<Finished, EngineError>> + Send;

    /// What happens to the stack's instances from now on.
    fn happenings(&self, stack: &str) -> BoxStream<'static, Result<Happening, EngineError>>;

    /// Removes the stack's own networks (only when nothing is on them).
    fn remove_networks(&self, stack: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes the stack's own volumes. Only ever by a person's explicit word.
    fn remove_volumes(&self, stack: &str) -> impl Future<Output = Result<(), EngineError>> + Send;
}

/// What can go wrong at the seam.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the engine does not answer at {at}")]
    Unreachable {
        at: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("image {reference} cannot be pulled")]
    Pull {
        reference: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("there is no image {reference}")]
    NoImage { reference: String },
    /// A step of the Dockerfile failed, or the Dockerfile itself is wrong. `message` is the builder's own.
    #[error("the build of {tag} failed: {message}")]
    Build { tag: String, message: String },
    /// The engine refused: its own words.
    #[error("the engine refused to {act}: {message}")]
    Refused { act: String, message: String },
    #[error("the engine's disk is full: {message}")]
    DiskFull { message: String },
    #[error("{act} did not end within {seconds} s")]
    TimedOut { act: String, seconds: u64 },
    #[error("while the engine was to {act}")]
    Other {
        act: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl EngineError {
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } | Self::Pull { .. } | Self::TimedOut { .. } => Class::Waiting,
            Self::Build { .. } | Self::Refused { .. } | Self::NoImage { .. } => Class::Stalled,
            Self::DiskFull { .. } | Self::Other { .. } => Class::Failed,
        }
    }
}
