//! `GET /openapi.json`: what answers over HTTP, for programs that read such a description (OpenAPI 3.1).

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Map, Value};

use super::answer::{self, Body};
use crate::shared::Shared;

/// Every path that there may be.
const DOCUMENT: &str = include_str!("openapi.json");

/// The description of the paths that are on.
pub(super) fn answer(shared: &Arc<Shared>) -> Response<Body> {
    let is_on = |path: &str| match path {
        "/healthz" => true,
        "/readyz" => shared.readyz,
        _ => shared.routes.has(path),
    };
    answer::json(StatusCode::OK, &document(is_on))
}

pub(super) fn document(is_on: impl Fn(&str) -> bool) -> Value {
    // It is a part of the program, and a test reads it.
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    if let Some(info) = document.pointer_mut("/info/version") {
        *info = env!("CARGO_PKG_VERSION").into();
    }
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        *paths = std::mem::take(paths).into_iter().filter(|(path, _)| is_on(path)).collect::<Map<_, _>>();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_not_described() {
        let of = |is_on: &dyn Fn(&str) -> bool| {
            let document = document(is_on);
            document["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(of(&|path| path == "/healthz"), ["/healthz"]);
    }
}
