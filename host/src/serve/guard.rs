//! Who may ask, and what a page may do.

use super::answer::Refusal;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};

/// Headers of every answer. The policy: a page may do nothing but what it brings itself, and talk to this server.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' blob: data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// `pages` for those alone who name this server by its own address and come from no other site; errors as JSON.
pub(super) fn guarded(pages: Router, port: u16) -> Router {
    let pages = pages.fallback(async |uri: Uri| {
        Refusal::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
    });
    // As one service: a layer of the routes themselves would see a refused method before its `Allow` is there.
    let pages = Router::new().fallback_service(pages);
    safe(pages.layer(middleware::from_fn_with_state(port, guard)))
}

/// With the headers of every answer.
pub(super) fn safe(pages: Router) -> Router {
    pages.layer(middleware::map_response(async |mut response: Response| {
        for (name, value) in HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }))
}

async fn guard(State(port): State<u16>, request: Request, next: Next) -> Response {
    if let Err(refused) = check(request.uri(), request.headers(), port) {
        return refused.into_response();
    }
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let allowed = response.headers().get(header::ALLOW).and_then(|allowed| allowed.to_str().ok());
    match (response.status(), allowed) {
        (status @ StatusCode::METHOD_NOT_ALLOWED, Some(allowed)) => {
            let allowed = allowed.replace(',', ", ");
            let refusal = Refusal::new(status, format!("{path} takes {allowed}"));
            ([(header::ALLOW, allowed)], refusal).into_response()
        }
        _ => response,
    }
}

/// Keeps out pages of other sites: those that let their own name point here (DNS rebinding) by `Host`, those that
/// send requests across by `Origin` and `Sec-Fetch-Site`.
fn check(uri: &Uri, headers: &HeaderMap, port: u16) -> Result<(), Refusal> {
    if uri.authority().is_some() || !uri.path().starts_with('/') {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the address must be a path"));
    }
    let own = |host: &str| {
        let (name, given) = host.rsplit_once(':').unwrap_or((host, "80"));
        ["127.0.0.1", "localhost"].iter().any(|own| own.eq_ignore_ascii_case(name)) && given == port.to_string()
    };
    if !single(headers, &header::HOST)?.is_some_and(own) {
        let reason = format!("this page is at http://127.0.0.1:{port}/ and nowhere else");
        return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
    }
    let same = |origin: &str| origin.strip_prefix("http://").is_some_and(own);
    // A link on another site may lead to the page itself.
    let across = |site: &str| uri.path() != "/" && !["same-origin", "none"].contains(&site);
    let site = HeaderName::from_static("sec-fetch-site");
    if !single(headers, &header::ORIGIN)?.is_none_or(same) || single(headers, &site)?.is_some_and(across) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "pages of other sites may not ask here"));
    }
    Ok(())
}

/// The value of a header, which must not be there twice.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let bad = |what: &str| Refusal::new(StatusCode::BAD_REQUEST, format!("the header {name} is {what}"));
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::to_str).transpose().map_err(|_| bad("no text"))?;
    if values.next().is_some() { Err(bad("there twice")) } else { Ok(first) }
}
