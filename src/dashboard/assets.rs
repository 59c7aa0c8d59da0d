//! What the pages load besides themselves: a stylesheet, a script and an icon, all in the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::http::line;

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/script.js");
const ICON: &str = include_str!("assets/icon.svg");

/// The addresses carry what the files are, so that they can be kept for ever and a new version is loaded at once.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const A_DAY: &str = "public, max-age=86400";

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let (kind, text, keep) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", STYLE, FOR_EVER),
        "script.js" => ("text/javascript; charset=utf-8", SCRIPT, FOR_EVER),
        "icon.svg" => ("image/svg+xml", ICON, FOR_EVER),
        // What a browser asks for by itself beside an answer that is a line of text.
        "favicon.ico" => ("image/svg+xml", ICON, A_DAY),
        _ => return line(StatusCode::NOT_FOUND, "there is no such page"),
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], text).into_response()
}

/// What the files are, in a few digits.
pub(super) fn version() -> String {
    let digest = Sha256::digest([STYLE, SCRIPT, ICON].concat());
    hex::encode(&digest[..6])
}
