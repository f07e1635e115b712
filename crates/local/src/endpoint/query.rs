//! What the other services with the query protocol have in common: a form comes, XML goes, and lists have members.

use std::net::SocketAddrV4;

use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use ovenbird_sim::{ApiError, Paging, Tags, World};

use super::{
    Endpoint,
    query_form::{Form, Params},
    request_id,
    xml_writer::Xml,
};

/// A request being answered.
pub(super) struct Query<'a> {
    endpoint: &'a Endpoint,
    form: &'a Form,
    namespace: &'static str,
    pub params: Params<'a>,
    request_id: String,
}

/// Answers a request by the service with this namespace and these actions.
pub(super) fn answer(
    endpoint: &Endpoint,
    body: &[u8],
    (service, namespace): (&str, &'static str),
    dispatch: impl Fn(&Query<'_>, &str) -> Result<String, ApiError>,
) -> Response {
    let form = Form::parse(body);
    let query = Query { endpoint, form: &form, namespace, params: form.root(), request_id: request_id() };
    let action = query.params.text("Action").unwrap_or_default();
    // Every version of the API since is read the same.
    let _ = query.params.text("Version");
    tracing::info!("{service}:{action}");
    match dispatch(&query, action) {
        Ok(text) => xml(StatusCode::OK, text),
        Err(error) => {
            tracing::info!("{service}:{action}: {error}");
            let status = StatusCode::from_u16(error.http).unwrap_or(StatusCode::BAD_REQUEST);
            xml(status, Xml::query_error(namespace, &error, &query.request_id))
        }
    }
}

fn xml(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml")], text).into_response()
}

/// What a service answers that doesn't know an action.
pub(super) fn unknown(action: &str) -> ApiError {
    match action {
        "" => ApiError::new("MissingAction", "The request must contain the parameter Action"),
        _ => {
            ApiError::new("InvalidAction", format!("The action {action} is not valid for this web service."))
        }
    }
}

impl Query<'_> {
    /// Everything was read that this operation knows: whatever else the form has is refused, before any effect.
    pub fn finish(&self) -> Result<(), ApiError> {
        self.form.finish()
    }

    pub fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        self.endpoint.state.read(look)
    }

    pub fn world<T>(
        &self,
        operation: impl FnOnce(&mut World, Timestamp) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.endpoint.state.call(operation)
    }

    /// Opens a port of a load balancer, where something carries its requests. The port may be another program's.
    pub fn open_port(&self, balancer: &str, port: u16) -> Result<(), ApiError> {
        let Some(sockets) = self.endpoint.state.sockets() else { return Ok(()) };
        let name = self.look(|world| {
            let mut all = world.load_balancers();
            all.find(|one| one.arn == balancer).map(|one| one.dns_name.clone())
        });
        // Whether there is such a load balancer is the model's to say.
        let Some(address) = name.and_then(|name| name.parse().ok()) else { return Ok(()) };
        sockets.open(SocketAddrV4::new(address, port)).map_err(|error| {
            let message = format!(
                "The local cloud listens at {address} of this machine, and port {port} can't be had there: {error}. \
                 Take another port, or stop the program that listens at this port of all addresses"
            );
            ApiError::new("InvalidConfigurationRequest", message)
        })
    }

    /// An answer with a result.
    pub fn answer(&self, content: impl FnOnce(&mut Xml)) -> Result<String, ApiError> {
        let action = self.params.text("Action").unwrap_or_default();
        Ok(Xml::query_answer(self.namespace, action, &self.request_id, content))
    }

    /// The answer of operations that have nothing to say.
    pub fn done(&self) -> Result<String, ApiError> {
        self.answer(|_| {})
    }

    /// A parameter that must be there.
    pub fn name(&self, parameter: &str) -> Result<String, ApiError> {
        self.params
            .required(parameter)
            .map(str::to_owned)
            .map_err(|error| ApiError { code: "ValidationError", ..error })
    }

    /// A page: `MaxRecords` and `NextToken`, or whatever they are called.
    pub fn paging(&self, most: &str, token: &str) -> Result<Paging, ApiError> {
        let next_token = self.params.text(token).map(str::to_owned);
        Ok(Paging { max_results: self.params.parsed(most)?, next_token })
    }
}

/// Refuses a list that the call can't do without, if it isn't there.
pub(super) fn needed<T>(name: &str, list: Vec<T>) -> Result<Vec<T>, ApiError> {
    if list.is_empty() {
        let message = format!(
            "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must not be null"
        );
        return Err(ApiError::new("ValidationError", message));
    }
    Ok(list)
}

/// A list of texts: `Names.member.1`, `Names.member.2`.
pub(super) fn texts(params: &Params<'_>, name: &str) -> Vec<String> {
    params.empty_list(name);
    params.texts(&format!("{name}.member"))
}

/// A list of parts.
pub(super) fn parts<'a>(params: &Params<'a>, name: &str) -> Vec<Params<'a>> {
    params.empty_list(name);
    params.list(&format!("{name}.member"))
}

/// A list of tags.
pub(super) fn tags(params: &Params<'_>, name: &str) -> Result<Tags, ApiError> {
    let tag = |tag: Params<'_>| {
        Ok((tag.required("Key")?.to_owned(), tag.text("Value").unwrap_or_default().to_owned()))
    };
    parts(params, name).into_iter().map(tag).collect()
}

/// A time as these services write it.
pub(super) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
