//! The routes behind the sign-in, each with the scope it needs and the class that limits it.
//!
//! A route that lacks one of them is of another type, and the table takes only whole ones: it does not
//! compile.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use moltbot_config::limits;
use moltbot_config::settings::HttpConfig;
use moltbot_policy::authorization::Grant;
use moltbot_protocol::scope::Scope;
use tokio::sync::Semaphore;

use super::answer::{self, Body};
use super::{completions, embeddings, invoke, openapi, responses, views};
use crate::shared::Shared;

/// A path with a method, before anybody decided who may use it.
pub(crate) struct Path {
    method: Method,
    path: &'static str,
}

/// A path whose scope is decided, before its limits are.
pub(crate) struct Scoped {
    path: Path,
    scope: Scope,
}

/// A path with its scope and limits, before it is known what answers it.
pub(crate) struct Limited {
    scoped: Scoped,
    class: Class,
}

/// A whole route.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    scope: Scope,
    class: Class,
    places: Arc<Semaphore>,
    endpoint: Endpoint,
}

/// How much a route takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    /// The largest body, in bytes.
    pub(crate) body: usize,
    /// Requests that are answered at the same time.
    in_flight: usize,
}

impl Class {
    /// A chat completion.
    const COMPLETION: Self =
        Self { body: limits::COMPLETION_BYTES, in_flight: limits::COMPLETIONS_IN_FLIGHT };
    /// A call of a tool.
    const CALL: Self = Self { body: limits::TOOL_CALL_BYTES, in_flight: limits::VIEWS_IN_FLIGHT };
    /// A look at the gateway. It has no body.
    const VIEW: Self = Self { body: 0, in_flight: limits::VIEWS_IN_FLIGHT };
}

/// What answers a route.
#[derive(Clone, Copy, Debug)]
enum Endpoint {
    ChatCompletions,
    Embeddings,
    Invoke,
    Metrics,
    Models,
    OpenApi,
    Responses,
}

impl Path {
    fn get(path: &'static str) -> Self {
        Self { method: Method::GET, path }
    }

    fn post(path: &'static str) -> Self {
        Self { method: Method::POST, path }
    }

    /// Decides who may use it.
    fn needs(self, scope: Scope) -> Scoped {
        Scoped { path: self, scope }
    }
}

impl Scoped {
    /// Decides how much it takes.
    fn limited_by(self, class: Class) -> Limited {
        Limited { scoped: self, class }
    }
}

impl Limited {
    fn answered_by(self, endpoint: Endpoint) -> Route {
        let Self { scoped: Scoped { path: Path { method, path }, scope }, class } = self;
        Route { method, path, scope, class, places: Arc::new(Semaphore::new(class.in_flight)), endpoint }
    }
}

/// Every route that answers.
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    /// The routes that the config leaves on. One that is off does not exist.
    pub(crate) fn of(config: &HttpConfig) -> Self {
        let mut routes = Vec::new();
        if config.endpoints.chat_completions.enabled {
            let path = Path::post("/v1/chat/completions");
            let route = path.needs(Scope::Write).limited_by(Class::COMPLETION);
            routes.push(route.answered_by(Endpoint::ChatCompletions));
        }
        if config.endpoints.responses.enabled {
            let route = Path::post("/v1/responses").needs(Scope::Write).limited_by(Class::COMPLETION);
            routes.push(route.answered_by(Endpoint::Responses));
        }
        if config.endpoints.embeddings.enabled {
            let route = Path::post("/v1/embeddings").needs(Scope::Write).limited_by(Class::COMPLETION);
            routes.push(route.answered_by(Endpoint::Embeddings));
        }
        if config.endpoints.tools_invoke.enabled {
            let route = Path::post("/tools/invoke").needs(Scope::Write).limited_by(Class::CALL);
            routes.push(route.answered_by(Endpoint::Invoke));
        }
        let views = [
            (config.endpoints.metrics, "/metrics", Endpoint::Metrics),
            (config.endpoints.models, "/v1/models", Endpoint::Models),
            (config.endpoints.openapi, "/openapi.json", Endpoint::OpenApi),
        ];
        for (_, path, endpoint) in views.into_iter().filter(|(view, ..)| view.enabled) {
            routes.push(Path::get(path).needs(Scope::Read).limited_by(Class::VIEW).answered_by(endpoint));
        }
        Self(routes)
    }

    /// Whether anything answers there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.0.iter().any(|route| route.path == path)
    }

    fn find(&self, method: &Method, path: &str) -> Result<&Route, Missing> {
        let mut allowed = Vec::new();
        for route in self.0.iter().filter(|route| route.path == path) {
            if route.method == *method {
                return Ok(route);
            }
            allowed.push(route.method.as_str());
        }
        Err(if allowed.is_empty() { Missing::Path } else { Missing::Method(allowed.join(", ")) })
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Missing {
    Method(String),
    Path,
}

/// Answers a request of somebody who has signed in.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    grant: &Grant,
    request: Request<Incoming>,
) -> Response<Body> {
    let route = match shared.routes.find(request.method(), request.uri().path()) {
        Ok(route) => route,
        Err(missing) => return not_found(missing),
    };
    if let Err(refusal) = grant.require(route.scope) {
        return answer::error(StatusCode::FORBIDDEN, refusal.code, &refusal.message);
    }
    let Ok(place) = Arc::clone(&route.places).try_acquire_owned() else {
        let message = "too many requests at once; try again when others are answered";
        let mut response = answer::error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        answer::retry_after(&mut response, std::time::Duration::from_secs(1));
        return response;
    };
    match route.endpoint {
        Endpoint::ChatCompletions => {
            completions::answer(shared, grant.actor(), route.class, place, request).await
        }
        Endpoint::Embeddings => embeddings::answer(shared, grant.actor(), route.class, place, request).await,
        Endpoint::Invoke => invoke::answer(shared, grant.actor(), route.class, place, request).await,
        Endpoint::Metrics => views::metrics(shared).await,
        Endpoint::Models => views::models(shared),
        Endpoint::OpenApi => openapi::answer(shared),
        Endpoint::Responses => responses::answer(shared, grant.actor(), route.class, place, request).await,
    }
}

fn not_found(missing: Missing) -> Response<Body> {
    match missing {
        Missing::Path => answer::error(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path"),
        Missing::Method(allowed) => {
            let message = format!("this path takes {allowed}");
            let mut response = answer::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message);
            if let Ok(value) = HeaderValue::from_str(&allowed) {
                response.headers_mut().insert(header::ALLOW, value);
            }
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use moltbot_config::settings::{ChatCompletionsConfig, EndpointConfig, EndpointsConfig};

    use super::*;

    fn routes(enabled: bool) -> Routes {
        let view = EndpointConfig { enabled };
        let chat_completions = ChatCompletionsConfig { enabled };
        let endpoints = EndpointsConfig {
            chat_completions,
            embeddings: view,
            metrics: view,
            models: view,
            openapi: view,
            readyz: view,
            responses: view,
            tools_invoke: view,
        };
        Routes::of(&HttpConfig { endpoints })
    }

    #[test]
    fn b17_the_table_of_routes() {
        let table: Vec<String> = routes(true)
            .0
            .iter()
            .map(|route| {
                let Class { body, in_flight } = route.class;
                format!("{} {} | {} | {body} {in_flight}", route.method, route.path, route.scope.name())
            })
            .collect();
        assert_eq!(
            table,
            [
                "POST /v1/chat/completions | operator.write | 1048576 64",
                "POST /v1/responses | operator.write | 1048576 64",
                "POST /v1/embeddings | operator.write | 1048576 64",
                "POST /tools/invoke | operator.write | 2097152 8",
                "GET /metrics | operator.read | 0 8",
                "GET /v1/models | operator.read | 0 8",
                "GET /openapi.json | operator.read | 0 8",
            ]
        );
    }

    #[test]
    fn every_route_is_described() {
        let all = openapi::document(|_| true);
        let described = all["paths"].as_object().unwrap();
        let routes = routes(true);
        for route in &routes.0 {
            let method = route.method.as_str().to_lowercase();
            assert!(described[route.path].get(&method).is_some(), "{} {}", route.method, route.path);
        }
        let besides = ["/healthz", "/readyz"];
        assert!(
            described.keys().all(|path| besides.contains(&path.as_str()) || routes.has(path)),
            "{described:?}"
        );
    }

    #[test]
    fn only_chat_completions_are_on_when_the_config_says_nothing() {
        let paths: Vec<&str> = Routes::of(&HttpConfig::default()).0.iter().map(|route| route.path).collect();
        assert_eq!(paths, ["/v1/chat/completions"]);
    }

    #[test]
    fn a_route_that_is_off_does_not_exist() {
        let found = |enabled, method: Method, path| {
            routes(enabled).find(&method, path).map(|_| ()).map_err(|missing| format!("{missing:?}"))
        };
        assert_eq!(found(true, Method::POST, "/v1/chat/completions"), Ok(()));
        assert_eq!(found(true, Method::GET, "/v1/chat/completions"), Err("Method(\"POST\")".into()));
        assert_eq!(found(true, Method::POST, "/v1/chat/completions/"), Err("Path".into()));
        assert_eq!(found(false, Method::POST, "/v1/chat/completions"), Err("Path".into()));
    }
}
