//! The agent's webhooks and the doors they come in by. Nothing else is served there; orders have a socket of their
//! own, and the dashboard has.

use axum::Router;

use super::doors::{Doors, Places};
use super::kept::Kept;
use super::{AppError, Opened, open};
use crate::http::Rate;
use crate::metrics::Answers;
use crate::trigger;

/// In nginx's folder; the name stands in nginx's configuration.
const SOCKET: &str = "hooks.sock";

/// Opens the doors that are configured, if there is a webhook to come in by them.
pub(super) async fn listen(
    opened: &Opened,
    answers: &Answers,
    kept: &mut Kept,
) -> Result<Option<Doors>, AppError> {
    let config = &opened.config;
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
    let (at, published) = (config.webhook.listen, config.webhook.publish.as_ref());
    let places = Places { what: "webhooks", behind_nginx: "webhooks-nginx", at, published };
    let router = answers.count(router);
    Ok(Some(Doors::open(&places, &config.nginx_folder(), SOCKET, router, kept).await?))
}
