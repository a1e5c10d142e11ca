//! The preview page's server. It answers this computer alone, and knows no file: what it can give is the page, inside the
//! program, and the pictures of the board by number.

use std::convert::Infallible;
use std::hash::Hasher;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use futures_util::stream::{self, Stream};
use tokio::time::Instant;

use super::board::Board;
use super::{Ask, Signal, WatchError};

/// The page may load what comes from here and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Views are sent at most so often: nobody sees more.
const PACE: Duration = Duration::from_millis(16);

/// What the routes share.
#[derive(Clone)]
struct Shared {
    board: Arc<Board>,
    signals: Sender<Signal>,
    port: u16,
}

/// Takes a port: the one asked for, or else one that is the same for the same recipes, so that an open page finds the
/// program again when it was restarted; if that is not free, any.
pub(super) fn listen(port: Option<u16>, recipes: &[PathBuf]) -> Result<TcpListener, WatchError> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let failed = |port| move |cause| WatchError::Port { port, cause };
    match port {
        Some(port) => bind(port).map_err(failed(port)),
        None => bind(usual_port(recipes)).or_else(|_| bind(0)).map_err(failed(0)),
    }
}

/// A port among those for private use (RFC 6335), by the recipes' names.
fn usual_port(recipes: &[PathBuf]) -> u16 {
    const FIRST: u64 = 49152;
    // Without a key: the same in every run.
    #[expect(deprecated, reason = "the standard library has no other hasher without a key")]
    let mut hasher = std::hash::SipHasher::new();
    for recipe in recipes {
        let path = recipe.canonicalize().unwrap_or_else(|_| recipe.clone());
        hasher.write(path.to_string_lossy().as_bytes());
        hasher.write_u8(0);
    }
    (FIRST + hasher.finish() % (65536 - FIRST)) as u16
}

/// The page's address.
pub(super) fn address(listener: &TcpListener) -> std::io::Result<String> {
    Ok(format!("http://127.0.0.1:{}/", listener.local_addr()?.port()))
}

/// Serves in a thread of its own, until the program ends.
pub(super) fn serve(listener: TcpListener, board: Arc<Board>, signals: Sender<Signal>) -> std::io::Result<()> {
    let port = listener.local_addr()?.port();
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Shared { board, signals, port };
    std::thread::Builder::new().name("page".to_owned()).spawn(move || {
        runtime.block_on(async move {
            // Without a page the watch goes on.
            if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                // Each piece at once: the system would hold back a small one until the browser has confirmed the last.
                let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
                let _ = axum::serve(listener, router(shared)).await;
            }
        });
    })?;
    Ok(())
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(|| text("text/html; charset=utf-8", include_str!("page/index.html"))))
        .route("/page.css", get(|| text("text/css; charset=utf-8", include_str!("page/page.css"))))
        .route("/page.js", get(|| text("text/javascript; charset=utf-8", include_str!("page/page.js"))))
        .route("/icon.svg", get(|| text("image/svg+xml", include_str!("page/icon.svg"))))
        .route("/events", get(events))
        .route("/picture/{id}", get(picture))
        .route("/ask/{what}", post(ask))
        .route("/ask/{what}/{recipe}", post(ask_of_recipe))
        .layer(middleware::from_fn_with_state(shared.clone(), only_from_here))
        .with_state(shared)
}

async fn text(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], text)
}

/// Refuses requests that another page makes this browser send, or that come under another name (DNS rebinding), and sets
/// what every answer has.
async fn only_from_here(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let mut response = if comes_from_here(request.headers(), shared.port) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "only for pages of this computer\n").into_response()
    };
    let headers: [(HeaderName, &'static str); 4] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().entry(name).or_insert(value);
        }
    }
    response
}

fn comes_from_here(headers: &HeaderMap, port: u16) -> bool {
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let value = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = value(HOST).is_some_and(|host| own.iter().any(|own| own == host));
    let origin = value(ORIGIN).is_none_or(|origin| own.iter().any(|own| origin == format!("http://{own}")));
    host && origin
}

/// The view, now and at every change.
async fn events(State(shared): State<Shared>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let board = shared.board;
    let mut changes = board.changes();
    changes.mark_changed();
    let viewer = board.look();
    let begin = (board, changes, viewer, None::<(Instant, String)>);
    let stream = stream::unfold(begin, |(board, mut changes, viewer, mut sent)| async move {
        loop {
            changes.changed().await.ok()?;
            if let Some((time, _)) = &sent {
                // What comes after a pause goes at once; what comes soon after another is in the same view as the next.
                tokio::time::sleep_until(*time + PACE).await;
            }
            changes.mark_unchanged();
            let view = board.json();
            // What changes nothing that can be seen does not hold up what does.
            if sent.as_ref().is_none_or(|(_, sent)| *sent != view) {
                let event = Event::default().data(&view);
                sent = Some((Instant::now(), view));
                return Some((Ok(event), (board, changes, viewer, sent)));
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

/// A picture of the board.
async fn picture(State(shared): State<Shared>, Path(id): Path<u64>) -> Response {
    match shared.board.png(id) {
        // The number stands for what is in it.
        Some(png) => {
            ([(CONTENT_TYPE, "image/png"), (CACHE_CONTROL, "private, max-age=600")], png.to_vec()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn ask(State(shared): State<Shared>, Path(what): Path<String>) -> StatusCode {
    send(&shared, &what, None)
}

async fn ask_of_recipe(State(shared): State<Shared>, Path((what, recipe)): Path<(String, usize)>) -> StatusCode {
    send(&shared, &what, Some(recipe))
}

fn send(shared: &Shared, what: &str, recipe: Option<usize>) -> StatusCode {
    let ask = match what {
        "pause" => Ask::Pause,
        "again" => Ask::Again(recipe),
        "keep" => Ask::Keep(recipe),
        _ => return StatusCode::NOT_FOUND,
    };
    match shared.signals.send(Signal::Ask(ask)) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Opens an address in the user's browser, if the system knows how to.
pub(super) fn open(address: &str) {
    use std::process::{Command, Stdio};
    let (program, arguments): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("cmd", &["/C", "start", ""])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The address is printed: who has no browser here can go there all the same.
    if let Ok(mut browser) = command.spawn() {
        std::thread::spawn(move || browser.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use axum::extract::State;
    use axum::response::IntoResponse;
    use futures_util::StreamExt;
    use tokio::time::Instant;

    use super::super::board::Board;
    use super::{Shared, events};

    /// Hours at a page that is left open, by a clock that does not wait: now and then a sign of life, which is a comment
    /// that pages do not see, and then what changes.
    #[test]
    fn a_page_that_is_left_open_is_kept_alive() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let board = Arc::new(Board::new());
            let shared = Shared { board: board.clone(), signals: channel().0, port: 1 };
            let mut body = events(State(shared)).await.into_response().into_body().into_data_stream();
            let mut next = async || body.next().await.unwrap().unwrap();
            assert!(next().await.starts_with(b"data: "));
            let began = Instant::now();
            let mut signs = 0;
            while began.elapsed() < Duration::from_secs(8 * 60 * 60) {
                let sign = next().await;
                assert!(sign.starts_with(b":"), "{sign:?}");
                signs += 1;
            }
            // No browser, and nothing in between, gives up so soon.
            assert!(signs >= 8 * 60 * 2, "{signs} signs of life in eight hours");
            // A change that nobody can see is not told; one that can be seen is.
            board.change(|_| {});
            assert!(next().await.starts_with(b":"));
            board.change(|view| view.paused = true);
            let change = next().await;
            assert!(change.starts_with(b"data: ") && change.windows(13).any(|part| part == b"\"paused\":true"));
        });
    }
}
