//! A hub on this machine: the requests that the real one answers, and the ways in which it may fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit that `main` is.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as the server sees it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<u64>,
    pub(crate) token: bool,
    /// Whether it came to the host of large files, which is another.
    pub(crate) storage: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    Right,
    /// The connection is dropped after so many bytes of the body.
    DropAfter(usize),
    /// Nothing more comes after so many bytes of the body.
    StallAfter(usize),
    /// The body is not what the hub announces.
    Damaged,
    /// The range is not heeded.
    WholeAlways,
    /// A status, with headers.
    Status(u16, &'static str),
    /// This body, as the list of files.
    Answer(String),
    /// The right answer, head and body, with these bytes changed (counted round and round) and cut off there.
    Changed(Vec<(usize, u8)>, Option<usize>),
}

/// Where an answer goes.
struct Connection {
    stream: TcpStream,
    /// What is collected to be changed.
    collected: Option<Vec<u8>>,
}

impl Connection {
    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.collected {
            Some(collected) => collected.write_all(bytes),
            None => self.stream.write_all(bytes),
        }
    }
}

type Script = Box<dyn FnMut(&Request) -> Behaviour + Send>;

struct State {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    commit: Mutex<String>,
    script: Mutex<Script>,
    log: Mutex<Vec<Request>>,
    storage: String,
    over: AtomicBool,
}

pub(crate) struct Server {
    pub(crate) endpoint: String,
    state: Arc<State>,
}

impl Drop for Server {
    /// A last connection has each listener see that it is over: many tests have a server, and files are few.
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        for endpoint in [&self.endpoint, &self.state.storage] {
            let _ = TcpStream::connect(endpoint.trim_start_matches("http://"));
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn git(bytes: &[u8]) -> String {
    let mut sum = Sha1::new();
    sum.update(format!("blob {}\0", bytes.len()));
    sum.update(bytes);
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Server {
    pub(crate) fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let storage = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let state = Arc::new(State {
            files: Mutex::new(files),
            commit: Mutex::new(COMMIT.to_owned()),
            script: Mutex::new(Box::new(|_| Behaviour::Right)),
            log: Mutex::default(),
            storage: format!("http://{}", storage.local_addr().unwrap()),
            over: AtomicBool::new(false),
        });
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let state = state.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if state.over.load(Ordering::Relaxed) {
                        break;
                    }
                    let state = state.clone();
                    std::thread::spawn(move || serve(&state, stream, is_storage));
                }
            });
        }
        Self { endpoint, state }
    }

    pub(crate) fn behave(&self, script: impl FnMut(&Request) -> Behaviour + Send + 'static) {
        *self.state.script.lock().unwrap() = Box::new(script);
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.log.lock().unwrap())
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// A new commit, with one file changed.
    pub(crate) fn commit(&self, commit: &str, file: &str, bytes: &[u8]) {
        *self.state.commit.lock().unwrap() = commit.to_owned();
        self.state.files.lock().unwrap().insert(file.to_owned(), bytes.to_vec());
    }
}

fn is_large(path: &str) -> bool {
    path.ends_with(".safetensors")
}

/// Answers one request of a connection, and closes it.
fn serve(state: &State, stream: TcpStream, storage: bool) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, range: None, token: false, storage };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = value.trim().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            "authorization" => request.token = value.trim() == "Bearer secret",
            _ => {}
        }
    }
    state.log.lock().unwrap().push(request.clone());
    let behaviour = (state.script.lock().unwrap())(&request);
    let Behaviour::Changed(changes, end) = &behaviour else {
        return answer(state, &mut Connection { stream, collected: None }, &request, &behaviour);
    };
    let mut connection = Connection { stream, collected: Some(Vec::new()) };
    answer(state, &mut connection, &request, &Behaviour::Right)?;
    let mut bytes = connection.collected?;
    for (at, byte) in changes {
        let at = at % bytes.len();
        bytes[at] = *byte;
    }
    bytes.truncate(end.map_or(bytes.len(), |end| end % bytes.len()));
    connection.stream.write_all(&bytes).ok()
}

fn answer(state: &State, stream: &mut Connection, request: &Request, behaviour: &Behaviour) -> Option<()> {
    let storage = request.storage;
    let mut status = |status: u16, headers: &str, body: &[u8]| {
        let head =
            format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()
    };
    if let Behaviour::Status(code, headers) = behaviour {
        return status(*code, headers, b"");
    }
    let commit = state.commit.lock().unwrap().clone();
    let files = state.files.lock().unwrap().clone();
    if request.path.contains("/revision/") {
        let siblings: Vec<_> = files.keys().map(|file| serde_json::json!({ "rfilename": file })).collect();
        let body = serde_json::json!({ "sha": commit, "siblings": siblings }).to_string();
        let body = if let Behaviour::Answer(answer) = behaviour { answer.clone() } else { body };
        return status(200, "", body.as_bytes());
    }
    let file = request.path.split_once(&format!("/{commit}/")).map(|(_, file)| file.to_owned());
    let Some((file, bytes)) = file.and_then(|file| Some((file.clone(), files.get(&file)?))) else {
        return status(404, "X-Error-Code: EntryNotFound\r\n", b"");
    };
    if is_large(&file) && !storage {
        let headers = format!(
            "X-Repo-Commit: {commit}\r\nX-Linked-Size: {}\r\nX-Linked-Etag: \"{}\"\r\nETag: \"other\"\r\nLocation: {}/{commit}/{file}\r\n",
            bytes.len(),
            sha256(bytes),
            state.storage,
        );
        return status(302, &headers, b"");
    }
    // Small files are behind a redirect within the hub.
    if !storage && !request.path.starts_with("/cache/") {
        return status(307, &format!("Location: /cache/{commit}/{file}\r\n"), b"");
    }
    let etag = if storage { "\"storage's own\"".to_owned() } else { format!("W/\"{}\"", git(bytes)) };
    let start = match behaviour {
        Behaviour::WholeAlways => 0,
        _ => request.range.map_or(0, |start| start as usize),
    };
    if start >= bytes.len() && start > 0 {
        return status(416, "", b"");
    }
    let mut body = bytes[start..].to_vec();
    let range = if start > 0 {
        format!("206 X\r\nContent-Range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len())
    } else {
        "200 X".to_owned()
    };
    let head =
        format!("HTTP/1.1 {range}\r\nConnection: close\r\nETag: {etag}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    match behaviour {
        Behaviour::DropAfter(count) => stream.write_all(&body[..body.len().min(*count)]).ok(),
        Behaviour::StallAfter(count) => {
            stream.write_all(&body[..body.len().min(*count)]).ok()?;
            std::thread::sleep(Duration::from_secs(4));
            Some(())
        }
        Behaviour::Damaged => {
            if let Some(byte) = body.last_mut() {
                *byte ^= 1;
            }
            stream.write_all(&body).ok()
        }
        _ => stream.write_all(&body).ok(),
    }
}
