//! From values to HTML, through templates that are part of the program. Every value is escaped.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context, syntax::SyntaxConfig};
use serde::Serialize;

use super::assets;
use super::guard::Signed;
use crate::http::line;
use crate::report;

const TEMPLATES: [(&str, &str); 9] = [
    ("base.html", include_str!("pages/base.html")),
    ("parts.html", include_str!("pages/parts.html")),
    ("home.html", include_str!("pages/home.html")),
    ("run.html", include_str!("pages/run.html")),
    ("event.html", include_str!("pages/event.html")),
    ("confirm.html", include_str!("pages/confirm.html")),
    ("trouble.html", include_str!("pages/trouble.html")),
    ("sign-in.html", include_str!("pages/sign-in.html")),
    ("onward.html", include_str!("pages/onward.html")),
];

pub(super) struct Pages(Environment<'static>);

impl Pages {
    pub(super) fn new(stack: &str) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        environment.set_syntax(syntax.trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        for (name, text) in TEMPLATES {
            environment.add_template(name, text)?;
        }
        environment.add_global("stack", stack);
        environment.add_global("version", assets::version());
        Ok(Self(environment))
    }

    /// A page for somebody who has signed in.
    pub(super) fn signed<V: Serialize>(
        &self,
        status: StatusCode,
        page: &str,
        signed: &Signed,
        view: V,
    ) -> Response {
        let Signed { csrf, root, .. } = signed;
        self.answer(status, page, context! { root, csrf, ..Value::from(Serde(view)) })
    }

    pub(super) fn answer(&self, status: StatusCode, page: &str, values: Value) -> Response {
        match self.text(page, values) {
            Ok(text) => (status, Html(text)).into_response(),
            Err(error) => {
                tracing::error!(page, "the page cannot be written: {}", report::line(&error));
                line(StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be written; please report it")
            }
        }
    }

    pub(super) fn text(&self, page: &str, values: Value) -> Result<String, minijinja::Error> {
        self.0.get_template(page)?.render(values)
    }
}
