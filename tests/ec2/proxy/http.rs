//! As much of an HTTP/1.1 server as the SDK needs, and no more: here a connection can be cut in the middle of an
//! answer, and a request goes on to its end when whoever sent it is gone, as it does at AWS.

use std::{collections::BTreeMap, io, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Their names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub kind: String,
    pub body: Vec<u8>,
}

/// Serves connections until its task is aborted. Where `answer` gives none, the connection is cut.
pub async fn serve<F, T>(listener: TcpListener, answer: F)
where
    F: Fn(Request) -> T + Send + Sync + 'static,
    T: Future<Output = Option<Reply>> + Send,
{
    let answer = Arc::new(answer);
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        // Whatever breaks a connection is the other end's business: it reads nothing any more.
        tokio::spawn(async move {
            let _ = connection(stream, &*answer).await;
        });
    }
}

async fn connection<F, T>(stream: TcpStream, answer: &F) -> io::Result<()>
where
    F: Fn(Request) -> T,
    T: Future<Output = Option<Reply>>,
{
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let Some(reply) = answer(request).await else { return Ok(()) };
        let head = format!(
            "HTTP/1.1 {} -\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            reply.status,
            reply.kind,
            reply.body.len()
        );
        stream.write_all(&[head.as_bytes(), &reply.body].concat()).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// The next request of a connection, whose body has a length; none at the connection's end.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request { headers, body }))
}
