//! Requests to a hub: redirects, tokens, and what the statuses mean.

use std::io::Read;
use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

use super::checksum::is_checksum;
use super::{HubError, HubId, HubSettings, Progress, Watch};

/// The longest listing that is believed, in bytes.
const LONGEST_LISTING: u64 = 32 << 20;
/// How often a request is made that fails for no reason of ours, if nothing comes of it.
pub(super) const ATTEMPTS: u32 = 5;
/// The pause before the second attempt; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that a busy hub can ask for.
const LONGEST_PAUSE: u64 = 60;
const MOST_REDIRECTS: usize = 8;

/// A hub, as far as requests go.
pub(super) struct Client<'a> {
    agent: Agent,
    pub(super) settings: &'a HubSettings,
}

/// A repository's state.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

/// The beginning of a file's answer.
pub(super) struct Opened {
    /// The checksum that names the file.
    pub(super) etag: String,
    /// The length of the whole file.
    pub(super) length: Option<u64>,
    /// The first byte of the body, counted in the file.
    pub(super) start: u64,
    pub(super) body: Body,
}

/// Why a request gives nothing.
pub(super) enum Fault {
    /// It may go better the next time, after a pause of so many seconds if the hub asks for one.
    Passing { cause: String, pause: Option<u64> },
    /// It will not.
    Lasting(HubError),
}

impl<'a> Client<'a> {
    pub(super) fn new(settings: &'a HubSettings) -> Self {
        let patience = Some(settings.patience);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("sega/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            .build();
        Self { agent: config.into(), settings }
    }

    /// What is in a repository.
    pub(super) fn listing(&self, id: &HubId, watch: &mut Watch) -> Result<Listing, HubError> {
        let revision = escaped(id.revision(), "");
        let url = format!("{}/api/models/{}/revision/{revision}", self.settings.endpoint, id.repository());
        let what = format!("model `{}` with the revision `{}`", id.repository(), id.revision());
        let text = self.again(id, "its list of files", watch, &mut |_| {
            let response = self.follow(id, &what, &url, None)?.0;
            let mut text = String::new();
            let body = response.into_body().into_reader().take(LONGEST_LISTING).read_to_string(&mut text);
            body.map_err(|error| Fault::Passing { cause: error.to_string(), pause: None })?;
            Ok(text)
        })?;
        let bad = |reason: &str| self.bad(id, format!("its list of files {reason}"));
        let answer: Value = serde_json::from_str(&text).map_err(|error| bad(&format!("is no JSON ({error})")))?;
        let commit = answer["sha"].as_str().filter(|commit| super::cache::is_commit(commit));
        let commit = commit.ok_or_else(|| bad("names no commit"))?.to_owned();
        let siblings = answer["siblings"].as_array().ok_or_else(|| bad("has no `siblings`"))?;
        let mut files: Vec<String> = siblings
            .iter()
            .filter_map(|file| file["rfilename"].as_str())
            .filter(|path| is_plain(path))
            .map(str::to_owned)
            .collect();
        files.sort();
        Ok(Listing { commit, files })
    }

    /// Asks for a file of a commit from byte `start` on.
    pub(super) fn open(&self, id: &HubId, commit: &str, file: &str, start: u64) -> Result<Opened, Fault> {
        let url = format!("{}/{}/resolve/{commit}/{}", self.settings.endpoint, id.repository(), escaped(file, "/"));
        let what = format!("file `{file}`");
        let range = (start > 0).then(|| format!("bytes={start}-"));
        let (response, seen) = self.follow(id, &what, &url, range.as_deref())?;
        let header = |name: &str| text(response.headers(), name);
        let etag = seen.etag.or_else(|| header("etag")).map(|etag| plain_etag(&etag));
        let Some(etag) = etag.filter(|etag| is_name(etag)) else {
            return Err(Fault::Lasting(self.bad(id, format!("`{file}` has no usable ETag"))));
        };
        let number = |text: Option<String>| text.and_then(|text| text.trim().parse::<u64>().ok());
        let partial = response.status().as_u16() == 206;
        let start = match header("content-range") {
            Some(range) if partial => {
                let first = range.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse().ok());
                first.ok_or_else(|| Fault::Lasting(self.bad(id, format!("`{file}` has the range `{range}`"))))?
            }
            _ => 0,
        };
        let own = number(header("content-length"));
        let length = number(seen.length).or_else(|| own.and_then(|own| own.checked_add(start)));
        Ok(Opened { etag, length, start, body: response.into_body() })
    }

    /// Makes a request, and those that it leads to. The token is shown to the hub alone.
    fn follow(&self, id: &HubId, what: &str, url: &str, range: Option<&str>) -> Result<(Response<Body>, Seen), Fault> {
        let mut url = url.to_owned();
        let mut seen = Seen::default();
        for _ in 0..MOST_REDIRECTS {
            let mut request = self.agent.get(&url).header("Accept-Encoding", "identity");
            if let Some(token) = self.settings.token.as_ref().filter(|_| same_origin(&url, &self.settings.endpoint)) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            if let Some(range) = range {
                request = request.header("Range", range);
            }
            let response = request.call().map_err(|error| self.unreachable(id, error))?;
            let header = |name: &str| text(response.headers(), name);
            seen.etag = seen.etag.or_else(|| header("x-linked-etag"));
            seen.length = seen.length.or_else(|| header("x-linked-size"));
            let status = response.status().as_u16();
            match status {
                200 | 206 => return Ok((response, seen)),
                301 | 302 | 303 | 307 | 308 => {
                    let location = header("location").and_then(|location| joined(&url, &location));
                    url =
                        location.ok_or_else(|| Fault::Lasting(self.bad(id, "a redirect leads nowhere".to_owned())))?;
                }
                401 | 403 => return Err(Fault::Lasting(self.refused(id, status))),
                404 | 410 => return Err(Fault::Lasting(self.not_found(id, what, header("x-error-code").as_deref()))),
                408 | 416 | 429 | 500.. => {
                    let pause = header("retry-after").and_then(|pause| pause.trim().parse().ok());
                    return Err(Fault::Passing { cause: meaning(status), pause });
                }
                _ => return Err(Fault::Lasting(self.bad(id, format!("status {status}")))),
            }
        }
        Err(Fault::Lasting(self.bad(id, "its redirects never end".to_owned())))
    }

    /// Does something until it goes well, fails for good, or fails too often.
    pub(super) fn again<T>(
        &self,
        id: &HubId,
        file: &str,
        watch: &mut Watch,
        attempt: &mut dyn FnMut(&mut Watch) -> Result<T, Fault>,
    ) -> Result<T, HubError> {
        let mut tried = 0;
        loop {
            let (cause, asked) = match attempt(watch) {
                Ok(done) => return Ok(done),
                Err(Fault::Lasting(error)) => return Err(error),
                Err(Fault::Passing { cause, pause }) => (cause, pause),
            };
            tried += 1;
            if tried == ATTEMPTS {
                return Err(HubError::Failing {
                    id: id.clone().into(),
                    endpoint: self.settings.endpoint.clone(),
                    cause,
                });
            }
            let asked = asked.map(|seconds| Duration::from_secs(seconds.min(LONGEST_PAUSE)));
            pause(file, asked.unwrap_or(PAUSE * (1 << (tried - 1))), watch)?;
        }
    }

    fn unreachable(&self, id: &HubId, error: ureq::Error) -> Fault {
        match error {
            ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl | ureq::Error::Http(_) => {
                Fault::Lasting(self.bad(id, error.to_string()))
            }
            error => Fault::Passing { cause: error.to_string(), pause: None },
        }
    }

    fn bad(&self, id: &HubId, reason: String) -> HubError {
        HubError::BadAnswer { id: id.clone().into(), endpoint: self.settings.endpoint.clone(), reason }
    }

    fn refused(&self, id: &HubId, status: u16) -> HubError {
        let with_token = self.settings.token.is_some();
        HubError::Refused { id: id.clone().into(), endpoint: self.settings.endpoint.clone(), status, with_token }
    }

    fn not_found(&self, id: &HubId, what: &str, code: Option<&str>) -> HubError {
        let what = match code {
            Some("RepoNotFound") => format!("model `{}`", id.repository()),
            Some("RevisionNotFound") => format!("revision `{}`", id.revision()),
            _ => what.to_owned(),
        };
        HubError::NotFound { id: id.clone().into(), endpoint: self.settings.endpoint.clone(), what }
    }
}

/// What the answers on the way to a file say of it.
#[derive(Default)]
struct Seen {
    etag: Option<String>,
    length: Option<String>,
}

/// Waits, in short pieces, so that an end is noticed.
pub(super) fn pause(file: &str, length: Duration, watch: &mut Watch) -> Result<(), HubError> {
    const PIECE: Duration = Duration::from_millis(50);
    let mut left = length;
    loop {
        if watch(Progress::Retrying { file }) == ControlFlow::Break(()) {
            return Err(HubError::Interrupted);
        }
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(PIECE));
        left = left.saturating_sub(PIECE);
    }
}

fn meaning(status: u16) -> String {
    match status {
        429 => "too many requests: status 429".to_owned(),
        _ => format!("status {status}"),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// An ETag without its quotes and its mark of weakness; a checksum in small letters, as it names a blob.
fn plain_etag(etag: &str) -> String {
    let plain = etag.trim().trim_start_matches("W/").trim_matches('"');
    if is_checksum(plain) { plain.to_ascii_lowercase() } else { plain.to_owned() }
}

/// Whether a text can be a file's name, whatever the system.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Whether a path of a listing stays in its folder, whatever the system.
fn is_plain(path: &str) -> bool {
    !path.contains(['\\', ':', '\0']) && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// A text as a part of an address; the characters of `kept` stay as they are.
fn escaped(text: &str, kept: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte if kept.as_bytes().contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn origin(url: &str) -> Option<(String, String)> {
    let url: Uri = url.parse().ok()?;
    Some((url.scheme_str()?.to_owned(), url.authority()?.as_str().to_ascii_lowercase()))
}

fn same_origin(url: &str, other: &str) -> bool {
    origin(url).is_some_and(|origin_of| Some(origin_of) == origin(other))
}

/// Where a redirect leads.
fn joined(url: &str, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        // Never from a safe connection to an open one.
        let downgraded = url.starts_with("https://") && location.starts_with("http://");
        return (!downgraded).then(|| location.to_owned());
    }
    let (scheme, authority) = origin(url)?;
    location.starts_with('/').then(|| format!("{scheme}://{authority}{location}"))
}
