//! The description of the interface for others (OpenAPI 3.1), made from the table of routes and the wire types.
//!
//! Owns: the document. It is committed as `docs/openapi.json`, and a test fails when that is stale.

use std::collections::BTreeMap;

use sixfold_api::client::{DIFFERENCE_TAKEN, IDEMPOTENCY_KEY, SESSION};
use sixfold_api::limit::WAIT_MAX;
use sixfold_api::problem::{self, Kind, Problem};
use sixfold_api::resource::Other;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, Content, InfoBuilder, License, Object, OpenApi, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema, Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::route::{Param, Route, Shape, table};

/// What a request may be refused for, whatever it is.
const ANYWHERE: [Kind; 3] = [Kind::Forbidden, Kind::Busy, Kind::Internal];
/// The roles in which somebody replaces a key.
const ROLE: &str = "^(tenant|farmer|node)$";
/// A session, as `sixfold_api::event` has it.
const SESSION_PATTERN: &str = "^[0-9]{1,19}-[0-9a-f]{16}$";
/// A tag of a snapshot: its revision, and 48 hexadecimal digits that are the registry's own affair.
const TAG_PATTERN: &str = "^\"[0-9]{1,19}-[0-9a-f]{48}\"$";
/// A label, as `sixfold_core::id` has it.
const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// The document, as pretty JSON with a newline at its end.
#[must_use]
pub fn openapi() -> String {
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new().schema(Problem::name(), Problem::schema());
    components = components.schema(Other::name(), Other::schema());
    let mut inner = Vec::new();
    Problem::schemas(&mut inner);
    for route in table() {
        for shape in [Some(route.answer), route.body].into_iter().flatten() {
            (shape.inner)(&mut inner);
            components = components.schema((shape.name)(), (shape.schema)());
        }
        paths.add_path_operation(route.path, vec![method(&route)], operation(&route));
    }
    let components: Components = components.schemas_from_iter(inner).build();
    let info = InfoBuilder::new()
        .title("Sixfold registry")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(License::new("Apache-2.0")))
        .build();
    let mut document = OpenApi::new(info, paths);
    document.components = Some(components);
    document.to_pretty_json().expect("the document is strings and numbers") + "\n"
}

const ABOUT: &str = "TLS 1.3 with keys instead of authorities: whoever asks proves an Ed25519 key by a self-signed \
    client certificate, and is whoever the key says. Refusals are problem documents (RFC 9457).";

fn method(route: &Route) -> HttpMethod {
    match route.method.as_str() {
        "PUT" => HttpMethod::Put,
        "POST" => HttpMethod::Post,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(route: &Route) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(operation_id(route)))
        .summary(Some(route.summary))
        .response("200", answered(route.answer));
    if let Some(body) = route.body {
        let content = Content::new(Some(Ref::from_schema_name((body.name)())));
        let body = RequestBodyBuilder::new().content("application/json", content);
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
        operation = operation.parameter(header(IDEMPOTENCY_KEY, "^[A-Za-z0-9_-]{1,64}$", Required::False));
    }
    let parameters = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    for name in parameters {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
        let pattern = if name == "role" { ROLE } else { LABEL };
        operation = operation.parameter(parameter.required(Required::True).schema(Some(text(pattern))));
    }
    for param in route.params {
        operation = operation.parameter(parameter(*param));
        if *param == Param::IfNoneMatch {
            operation =
                operation.response("304", ResponseBuilder::new().description("Nothing newer").build());
        }
        if *param == Param::Difference {
            let content = Content::new(Some(Ref::from_schema_name(Other::name())));
            let other = ResponseBuilder::new().description("What is other than what the tag says");
            operation = operation.response("226", other.content("application/json", content).build());
        }
    }
    let mut refused: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for kind in ANYWHERE.iter().chain(route.refusals) {
        refused.entry(kind.status()).or_default().push(kind.title());
    }
    for (status, titles) in refused {
        operation = operation.response(status.to_string(), refusal(&titles.join("; or ")));
    }
    operation
}

fn parameter(param: Param) -> Parameter {
    let query = |name: &str, about: &str, schema: Object| {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
        parameter.description(Some(about)).schema(Some(RefOr::from(schema))).build()
    };
    let number =
        |most| Object::builder().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(most)).build();
    match param {
        Param::After => query("after", "The number up to which events are known", number(u64::MAX >> 11)),
        Param::Session => header(SESSION, SESSION_PATTERN, Required::True),
        Param::Name => query("name", "Farms that are called so, or have that id", words()),
        Param::Node => query("node", "Farms with a node that is called so, or has that id", words()),
        Param::Wait => query("wait", "Seconds to wait for something newer", number(WAIT_MAX.as_secs())),
        Param::IfNoneMatch => header("if-none-match", TAG_PATTERN, Required::False),
        Param::Difference => header(DIFFERENCE_TAKEN, "^sixfold-parts$", Required::False),
        Param::DryRun => {
            let about = "Tell what would change (Preview), and change nothing";
            query("dry_run", about, Object::builder().schema_type(Type::Boolean).build())
        }
    }
}

/// Labels between commas: these have bounds besides, and so has their number.
fn words() -> Object {
    Object::builder().schema_type(Type::String).pattern(Some("^[a-z0-9-]+(,[a-z0-9-]+)*$")).build()
}

fn text(pattern: &str) -> RefOr<Schema> {
    Object::builder().schema_type(Type::String).pattern(Some(pattern)).into()
}

fn header(name: &str, pattern: &str, required: Required) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
    parameter.required(required).schema(Some(text(pattern))).build()
}

/// `get_v1_version`: unique, because method and path are.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), words.join("_"))
}

fn answered(shape: Shape) -> Response {
    let content = Content::new(Some(Ref::from_schema_name((shape.name)())));
    ResponseBuilder::new().description("Done").content("application/json", content).build()
}

fn refusal(words: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
    ResponseBuilder::new().description(words).content(problem::MEDIA_TYPE, content).build()
}
