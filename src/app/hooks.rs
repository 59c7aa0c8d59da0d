//! The agent's webhooks and the doors they come in by. Nothing else is served there; orders have a socket of their
//! own, and the dashboard has.

use axum::Router;

use super::doors::{Doors, open_to_all};
use super::kept::Kept;
use super::{AppError, Opened, open};
use crate::http::Rate;
use crate::metrics::Answers;
use crate::trigger;

/// In nginx's folder; the name stands in nginx's configuration.
const SOCKET: &str = "hooks.sock";

/// Opens the doors that are configured, if there is a webhook to come in by them.
pub(super) async fn listen(opened: &Opened, answers: &Answers) -> Result<Option<Doors>, AppError> {
    let config = &opened.config;
    let mut kept = Kept::take();
    let hooks = open::hooks(config)?;
    let mut router = Router::new();
    if !hooks.is_empty() {
        router = router.merge(Rate::default().limit(trigger::router(hooks, &opened.wakes)));
    }
    if let Some(wing) = &opened.stripe {
        router = router.merge(wing.router());
    }
    if !router.has_routes() {
        return Ok(None);
    }
    let router = answers.count(router);
    let mut doors = Doors { tcp: None, unix: Vec::new(), router };
    if let Some(at) = config.webhook.listen {
        let listener = kept.tcp("webhooks", at).await;
        let failed = |source| AppError::Listen { at: at.to_string(), source };
        doors.tcp = Some(listener.map_err(failed)?);
        tracing::info!("webhooks on http://{at}");
    }
    if let Some(published) = &config.webhook.publish {
        let path = config.nginx_folder().join(SOCKET);
        let failed = |source| AppError::Listen { at: path.display().to_string(), source };
        let listener = open_to_all(&path);
        doors.unix = listener.and_then(|new| kept.unix("webhooks-nginx", new)).map_err(failed)?;
        tracing::info!("webhooks through nginx at {published}");
    }
    Ok(Some(doors))
}
