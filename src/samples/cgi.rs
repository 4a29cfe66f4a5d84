//! Runs `git http-backend` as the CGI program that it is, streaming both ways.
//! <https://git-scm.com/docs/git-http-backend>

use std::{io, path::Path, pin::pin, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, ChildStdout},
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::process::{self, Account, Limits, Running};

/// All that one answer may take: a slow client is not to hold a program for ever.
const TIME: Duration = Duration::from_secs(120);

/// What a client may send, in bytes: it only lists commits.
const BODY_LIMIT: usize = 4 << 20;

/// The CGI program's own headers, in bytes.
const HEAD_LIMIT: usize = 16 << 10;

/// git's address space, in bytes: samples are small.
const MEMORY: u64 = 1 << 30;

/// A request, as far as the program is told of it.
pub(super) struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// What follows the repository in the path.
    pub path: &'static str,
    /// What follows `?`.
    pub query: &'static str,
    /// The request's headers, of which three are passed on.
    pub headers: HeaderMap,
}

/// Answers `request` to the repository at `repository`; `turn` is given back when the answer has ended.
///
/// # Errors
/// Where the program cannot be started, or what it says is no CGI answer.
pub(super) async fn run(
    repository: &Path,
    account: Option<Account>,
    request: Request,
    body: Body,
    turn: OwnedSemaphorePermit,
) -> io::Result<Response> {
    let deadline = Instant::now() + TIME;
    let mut running = Running::spawn(&mut command(repository, account, &request))?;
    let stdin = running.child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut stdout = running.child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut answer = Answer {
        sending: Sending(tokio::spawn(send(body, stdin))),
        complaints: tokio::spawn(complaints(running.child.stderr.take())),
        running,
        deadline,
        _turn: turn,
    };
    let (head, rest) = match timeout_at(deadline, read_head(&mut stdout)).await {
        Ok(Ok(parts)) => parts,
        Ok(Err(error)) => return Err(io::Error::new(error.kind(), answer.explain(error).await)),
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let mut response = parse_head(&head)?;
    let rest = stream::once(async move { Ok(rest) });
    *response.body_mut() = Body::from_stream(rest.chain(answer.stream(stdout)));
    Ok(response)
}

fn command(repository: &Path, account: Option<Account>, request: &Request) -> tokio::process::Command {
    let limits = Limits { file_size: 0, memory: MEMORY, time: TIME + Duration::from_secs(5) };
    let mut command = process::command("git", account, limits);
    command
        // git refuses a repository of another account unless it is told that this is meant. Versions up to 2.45
        // compare with the path as the program that is started in the repository has it, later ones the real one.
        .args(["-c", "safe.directory=.", "-c"])
        .arg(format!("safe.directory={}", repository.display()))
        .arg("http-backend")
        .current_dir(repository)
        .stdin(std::process::Stdio::piped())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROJECT_ROOT", repository)
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .env("REQUEST_METHOD", request.method)
        .env("PATH_INFO", format!("/{}", request.path))
        .env("QUERY_STRING", request.query);
    let pass = [
        (header::CONTENT_TYPE, "CONTENT_TYPE"),
        (header::CONTENT_ENCODING, "HTTP_CONTENT_ENCODING"),
        (HeaderName::from_static("git-protocol"), "GIT_PROTOCOL"),
    ];
    for (name, variable) in pass {
        let value = request.headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(value) = value.filter(|value| value.len() <= 200) {
            command.env(variable, value);
        }
    }
    // CONTENT_LENGTH stays unset: the program then reads to the end, chunked bodies as any other.
    command
}

/// A program at work on an answer: dropped with the answer's body, it ends.
struct Answer {
    running: Running,
    sending: Sending,
    complaints: JoinHandle<String>,
    deadline: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Answer {
    /// The rest of the answer; an error where the program failed, so that the client is not told a whole answer.
    fn stream(self, stdout: ChildStdout) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
        stream::try_unfold(Some((self, stdout)), |state| async move {
            let Some((mut answer, mut stdout)) = state else { return Ok(None) };
            let mut chunk = BytesMut::with_capacity(32 << 10);
            let read = timeout_at(answer.deadline, stdout.read_buf(&mut chunk)).await;
            if read.map_err(|_| io::ErrorKind::TimedOut)?? > 0 {
                return Ok(Some((chunk.freeze(), Some((answer, stdout)))));
            }
            // A request that is not read to its end makes the server close the connection hard, and the client
            // loses what it has not read of the answer.
            let _ = timeout_at(answer.deadline, &mut answer.sending.0).await;
            let status = timeout_at(answer.deadline, answer.running.wait()).await;
            if status.map_err(|_| io::ErrorKind::TimedOut)??.success() {
                return Ok(None);
            }
            let error = answer.explain(io::ErrorKind::BrokenPipe.into()).await;
            tracing::warn!(%error, "git http-backend ended badly");
            Err(io::Error::other(error))
        })
    }

    /// The error with what the program complained of.
    async fn explain(&mut self, error: io::Error) -> String {
        let said = tokio::time::timeout(Duration::from_secs(1), &mut self.complaints).await;
        match said {
            Ok(Ok(said)) if !said.trim().is_empty() => format!("{error}: {}", said.trim()),
            _ => error.to_string(),
        }
    }
}

/// The task that feeds the program; dropped, it stops.
struct Sending(JoinHandle<()>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Feeds the request's body to the program. A body that is too long or breaks off is one that ends early: the
/// program sees an incomplete request and says so.
async fn send(body: Body, mut stdin: ChildStdin) {
    let mut left = BODY_LIMIT;
    let mut reads = true;
    let mut chunks = pin!(body.into_data_stream());
    while let Ok(Some(chunk)) = chunks.try_next().await {
        let Some(rest) = left.checked_sub(chunk.len()) else { return };
        left = rest;
        // A program that has read enough closes its end; the rest is read away.
        reads = reads && stdin.write_all(&chunk).await.is_ok();
    }
}

async fn complaints(stderr: Option<tokio::process::ChildStderr>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = (&mut stderr).take(HEAD_LIMIT as u64).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The program's headers, and what of the body came with them.
async fn read_head(stdout: &mut ChildStdout) -> io::Result<(Bytes, Bytes)> {
    let mut bytes = BytesMut::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let mut head = bytes.split_to(end + 4);
            head.truncate(end);
            return Ok((head.freeze(), bytes.freeze()));
        }
        if bytes.len() > HEAD_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the headers have no end"));
        }
        if stdout.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the headers broke off"));
        }
    }
}

/// CGI headers as a response: `Status` is the status, 200 unless said.
fn parse_head(head: &[u8]) -> io::Result<Response> {
    let bad = |_| io::Error::new(io::ErrorKind::InvalidData, "a header cannot be read");
    let mut response = Response::new(Body::empty());
    for line in std::str::from_utf8(head).map_err(|_| bad(()))?.split("\r\n").filter(|line| !line.is_empty())
    {
        let (name, value) = line.split_once(':').ok_or_else(|| bad(()))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes()).map_err(|_| bad(()))?;
        } else {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(()))?;
            response.headers_mut().append(name, HeaderValue::from_str(value).map_err(|_| bad(()))?);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgi_headers_become_a_response() {
        let head = b"Status: 404 Not Found\r\nCache-Control: no-cache\r\nContent-Type: text/plain";
        let response = parse_head(head).unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(parse_head(b"Content-Type: a/b").unwrap().status(), StatusCode::OK);
        assert!(parse_head(b"nonsense").is_err());
        assert!(parse_head(b"Status: abc").is_err());
    }
}
