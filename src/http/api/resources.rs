//! `resource-api`, and the dependencies of services: the resource tree.

use std::sync::Arc;

use actix_web::{HttpResponse, http::Method};

use crate::{
    domain::{
        client::Permission,
        member::Member,
        path::ResourcePath,
        time::Timestamp,
        tree::{Node as TreeNode, Service, ServiceKind},
    },
    http::{
        context::uninterrupted,
        json::{Node, Text, Value},
        problem::{JsonBody, Problem},
        route::{Access, Handler, Request, Route, Target},
        wire::resource::{self, Dependencies, ServiceAnswer, Tenant},
    },
    service::resources,
};

pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/v1/{target}/resource-api/tenants/create",
        access: Access::Granted(Permission::ResourceWrite),
        handler: Handler::Target(Target::Path, |request| Box::pin(create_tenant(request))),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/resource-api/tenants",
        access: Access::Granted(Permission::ResourceRead),
        handler: Handler::Target(Target::Path, |request| Box::pin(tenants(request))),
    },
    Route {
        method: Method::POST,
        path: "/v1/{target}/resource-api/services/create",
        access: Access::Granted(Permission::ResourceWrite),
        handler: Handler::Target(Target::Path, |request| Box::pin(create_service(request))),
    },
    Route {
        method: Method::GET,
        path: "/v1/{target}/resource-api/services",
        access: Access::Granted(Permission::ResourceRead),
        handler: Handler::Target(Target::Path, |request| Box::pin(services(request))),
    },
    dependencies_route(ServiceKind::X509, "/v1/{target}/x509-service-api/dependencies"),
    attach_route(ServiceKind::X509, "/v1/{target}/x509-service-api/dependencies/add"),
    detach_route(ServiceKind::X509, "/v1/{target}/x509-service-api/dependencies/remove"),
    dependencies_route(ServiceKind::Vical, "/v1/{target}/vical-service-api/dependencies"),
    attach_route(ServiceKind::Vical, "/v1/{target}/vical-service-api/dependencies/add"),
    detach_route(ServiceKind::Vical, "/v1/{target}/vical-service-api/dependencies/remove"),
];

const fn dependencies_route(kind: ServiceKind, path: &'static str) -> Route {
    Route {
        method: Method::GET,
        path,
        access: Access::Granted(Permission::ResourceRead),
        handler: Handler::Target(Target::Service(kind), |request| Box::pin(dependencies(request))),
    }
}

const fn attach_route(kind: ServiceKind, path: &'static str) -> Route {
    Route {
        method: Method::POST,
        path,
        access: Access::Granted(Permission::ResourceWrite),
        handler: Handler::Target(Target::Service(kind), |request| Box::pin(attach(request))),
    }
}

const fn detach_route(kind: ServiceKind, path: &'static str) -> Route {
    Route {
        method: Method::POST,
        path,
        access: Access::Granted(Permission::ResourceWrite),
        handler: Handler::Target(Target::Service(kind), |request| Box::pin(detach(request))),
    }
}

async fn create_tenant(mut request: Request) -> Result<HttpResponse, Problem> {
    let (name, ignored) = request.read(resource::new_tenant).await?;
    let services = Arc::clone(&request.context.services);
    let call = request.call.clone();
    let created = uninterrupted(&request.context, async move {
        resources::create_tenant(&services, &call, name, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Created().json_body(&Tenant::of(&request.call.target, &created, ignored)))
}

async fn create_service(mut request: Request) -> Result<HttpResponse, Problem> {
    let target = request.call.target.clone();
    let (new, ignored) = request.read(|body| resource::new_service(body, &target)).await?;
    let services = Arc::clone(&request.context.services);
    let call = request.call.clone();
    let created = uninterrupted(&request.context, async move {
        resources::create_service(&services, &call, new, Timestamp::now()).await
    })
    .await?;
    let answer = ServiceAnswer::of(&request.call.target, &created, ignored);
    Ok(HttpResponse::Created().json_body(&answer))
}

/// The direct child tenants of an organisation or tenant.
async fn tenants(request: Request) -> Result<HttpResponse, Problem> {
    let (tree, target) = (&request.call.tree, &request.call.target);
    match tree.node(target) {
        Some(TreeNode::Organisation | TreeNode::Tenant(_)) => {}
        Some(TreeNode::Service(_)) => {
            return Err(Problem::not_found(format!("{target} is a service, not a tenant")));
        }
        None => return Err(missing(target)),
    }
    let tenants: Vec<_> = tree
        .children(target)
        .filter_map(|(path, resource)| Tenant::of(path, resource, Vec::new()))
        .collect();
    Ok(HttpResponse::Ok().json_body(&tenants))
}

/// The services of an organisation or tenant, or one service.
async fn services(request: Request) -> Result<HttpResponse, Problem> {
    let (tree, target) = (&request.call.tree, &request.call.target);
    let resource = tree.get(target).ok_or_else(|| missing(target))?;
    if let Some(service) = ServiceAnswer::of(target, resource, Vec::new()) {
        return Ok(HttpResponse::Ok().json_body(&service));
    }
    let services: Vec<_> = tree
        .children(target)
        .filter_map(|(path, resource)| ServiceAnswer::of(path, resource, Vec::new()))
        .collect();
    Ok(HttpResponse::Ok().json_body(&services))
}

/// The body is an object, a JSON string or plain text.
async fn attach(mut request: Request) -> Result<HttpResponse, Problem> {
    let (dependency, field) = match request.text().await? {
        Some(text) => {
            let body = Value::String(Text::Plain(&text));
            (resource::dependency(Node::body(&body))?, None)
        }
        None => {
            request
                .read(|body| {
                    let field = (!body.is_string()).then_some(Member::Dependency);
                    Ok((resource::dependency(body)?, field))
                })
                .await?
        }
    };
    let services = Arc::clone(&request.context.services);
    let call = request.call.clone();
    let attached = uninterrupted(&request.context, async move {
        resources::attach(&services, &call, &dependency, field, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Ok().json_body(&Dependencies::of(&request.call.target, &attached)))
}

async fn detach(mut request: Request) -> Result<HttpResponse, Problem> {
    let dependency = request.read(resource::named_dependency).await?;
    let services = Arc::clone(&request.context.services);
    let call = request.call.clone();
    let attached = uninterrupted(&request.context, async move {
        resources::detach(&services, &call, &dependency, Timestamp::now()).await
    })
    .await?;
    Ok(HttpResponse::Ok().json_body(&Dependencies::of(&request.call.target, &attached)))
}

async fn dependencies(request: Request) -> Result<HttpResponse, Problem> {
    let target = &request.call.target;
    let attached = request.call.tree.service(target).and_then(Service::dependencies);
    let answer = Dependencies::of(target, attached.unwrap_or_default());
    Ok(HttpResponse::Ok().json_body(&answer))
}

fn missing(target: &ResourcePath) -> Problem {
    Problem::not_found(format!("{target} does not exist"))
}
