//! Finds the routes of a path, once for each request, on every listener.
//!
//! Routes are matched here and not by the framework because the contract fixes the order of the
//! refusals: the target's syntax (400), then the grant (403), then whether the target exists (404),
//! then the method (405). [`super::dispatch`] walks through that order over what is found here.

use actix_web::http::Method;

use super::route::Route;

/// Stands in the path of a route for the target.
const TARGET: &str = "{target}";
/// Stands in the path of a route for a parameter.
const PARAMETER: &str = "{}";
/// More segments than the path of any route has. A longer path is cut, and still matches no route.
const SEGMENTS_MAX: usize = 16;
/// The name of a request that is for no route.
const OTHER: &str = "other";

/// The route table, prepared for matching.
pub(super) struct Router(Vec<Entry>);

struct Entry {
    route: &'static Route,
    segments: Vec<Segment>,
    /// Method and path: the label of the route in the metrics.
    names: Vec<(Method, String)>,
}

enum Segment {
    Literal(&'static str),
    Target,
    /// Any content between the two.
    Parameter(&'static str, &'static str),
}

/// What was found for the path of a request.
pub(super) struct Matched<'p> {
    entries: Vec<&'static Entry>,
    /// The target as it was sent. Also there for an unknown path that has the place of one.
    pub(super) target: Option<&'p str>,
    /// The parameter as it was sent.
    pub(super) parameter: Option<&'p str>,
}

impl Router {
    pub(super) fn new(routes: impl Iterator<Item = &'static Route>) -> Self {
        Self(routes.map(Entry::new).collect())
    }

    /// The routes that share the path: those of the first template that it matches.
    pub(super) fn find<'p>(&'static self, path: &'p str) -> Matched<'p> {
        let segments: Vec<_> = path.split('/').skip(1).take(SEGMENTS_MAX).collect();
        for first in &self.0 {
            let Some((target, parameter)) = first.captures(&segments) else { continue };
            let entries = self.0.iter().filter(|entry| entry.route.path == first.route.path);
            return Matched { entries: entries.collect(), target, parameter };
        }
        let target = match segments.as_slice() {
            ["v1", target, _, ..] => Some(*target),
            _ => None,
        };
        Matched { entries: Vec::new(), target, parameter: None }
    }
}

impl Entry {
    fn new(route: &'static Route) -> Self {
        let segments = route.path.split('/').skip(1).map(|segment| match segment {
            TARGET => Segment::Target,
            _ => match segment.split_once(PARAMETER) {
                Some((before, after)) => Segment::Parameter(before, after),
                None => Segment::Literal(segment),
            },
        });
        let names = route.methods().map(|method| {
            let name = format!("{method} {}", route.path);
            (method, name)
        });
        Self { route, segments: segments.collect(), names: names.collect() }
    }

    /// Target and parameter of a path that matches.
    fn captures<'p>(&self, path: &[&'p str]) -> Option<(Option<&'p str>, Option<&'p str>)> {
        let (mut target, mut parameter) = (None, None);
        if path.len() != self.segments.len() {
            return None;
        }
        for (segment, given) in self.segments.iter().zip(path) {
            match segment {
                Segment::Literal(wanted) if wanted == given => {}
                Segment::Literal(_) => return None,
                Segment::Target => target = Some(*given),
                Segment::Parameter(before, after) => {
                    parameter = Some(given.strip_prefix(before)?.strip_suffix(after)?);
                }
            }
        }
        Some((target, parameter))
    }
}

impl Matched<'_> {
    /// The routes of the path, one for each method.
    pub(super) fn routes(&self) -> impl Iterator<Item = &'static Route> {
        self.entries.iter().map(|entry| entry.route)
    }

    /// The name of the route for a method, whether or not the request is let through.
    pub(super) fn name(&self, method: &Method) -> &'static str {
        let mut names = self.entries.iter().flat_map(|entry| &entry.names);
        names.find(|(named, _)| named == method).map_or(OTHER, |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    use crate::http::{
        api::{self, ROUTER},
        problem::Problem,
        route::{Access, Handler},
    };

    #[test]
    fn a_route_is_named_by_its_template_whatever_is_sent() {
        for (method, path, named) in [
            (Method::GET, "/healthz", "GET /healthz"),
            (Method::GET, "/swagger/a.css", "GET /swagger/{}"),
            (
                Method::POST,
                "/v1/acme.x509/x509-service-api/iso/iacas",
                "POST /v1/{target}/x509-service-api/iso/iacas",
            ),
            (
                Method::GET,
                "/v1/a%20b/x509-service-api/certificates/00ff",
                "GET /v1/{target}/x509-service-api/certificates/{}",
            ),
            (
                Method::HEAD,
                "/v1/a/vical-service-api/latest",
                "HEAD /v1/{target}/vical-service-api/latest",
            ),
            (Method::PUT, "/healthz", OTHER),
            (Method::DELETE, "/v1/acme.x509/x509-service-api/iso/iacas", OTHER),
            (Method::GET, "/v1/acme/x509-service-api/nothing", OTHER),
            (Method::GET, "/", OTHER),
        ] {
            assert_eq!(ROUTER.find(path).name(&method), named, "{method} {path}");
        }
    }

    #[test]
    fn a_row_has_the_target_that_its_handler_wants_and_an_access_that_knows_the_client() {
        for route in api::routes() {
            let (has_target, path) = (route.path.contains(TARGET), route.path);
            let is_right = match route.handler {
                Handler::Plain(_) => !has_target,
                Handler::Target(..) => has_target && matches!(route.access, Access::Granted(_)),
                Handler::Public(..) => has_target && route.access == Access::Public,
            };
            assert!(is_right, "{} {path}", route.method);
        }
    }

    #[test]
    fn a_parameter_may_be_a_part_of_a_segment() {
        static ROUTE: Route = Route {
            method: Method::GET,
            path: "/crl/{}.crl",
            access: Access::Public,
            handler: Handler::Plain(|_| Box::pin(async { Err(Problem::not_found("")) })),
        };
        static ROUTER: LazyLock<Router> = LazyLock::new(|| Router::new([&ROUTE].into_iter()));
        assert_eq!(ROUTER.find("/crl/root.crl").parameter, Some("root"));
        for path in ["/crl/root", "/crl/root.crl/", "/crl"] {
            assert_eq!(ROUTER.find(path).routes().count(), 0, "{path}");
        }
    }
}
