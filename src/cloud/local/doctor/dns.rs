//! One question to a name server, as a machine asks it: the host's own resolver may know other ways.
//! <https://www.rfc-editor.org/rfc/rfc1035>

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

/// How long a name server may take; a second question follows where the first is lost.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often it is asked.
const TRIES: usize = 2;

/// What a name server says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has an address.
    Address,
    /// It has none.
    None,
    /// It does not answer that: its code.
    Refused(u8),
}

/// The name servers of a `resolv.conf`.
pub(super) fn servers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|address| address.trim().parse().ok()).collect()
}

/// Asks a name server for a name's IPv4 address.
///
/// # Errors
/// Where it does not answer, or cannot be reached.
pub(super) fn ask(server: IpAddr, name: &str) -> io::Result<Answer> {
    let own = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(SocketAddr::new(server, 53))?;
    let id: [u8; 2] = rand::random();
    let question = question(id, name);
    let mut buffer = [0; 4096];
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        socket.send(&question)?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(answer) = read(id, &buffer[..length]) {
                    return Ok(answer);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn question(id: [u8; 2], name: &str) -> Vec<u8> {
    // Recursion is desired; one question.
    let mut bytes = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label);
    }
    // The root, type A, class IN.
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

fn read(id: [u8; 2], bytes: &[u8]) -> Option<Answer> {
    let head = bytes.get(..12).filter(|head| head[..2] == id && head[2] & 0x80 != 0)?;
    Some(match head[3] & 0x0f {
        0 if head[6..8] != [0, 0] => Answer::Address,
        0 | 3 => Answer::None,
        code => Answer::Refused(code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_put_as_servers_expect_it() {
        assert_eq!(
            question([1, 2], "pypi.org"),
            b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04pypi\x03org\x00\x00\x01\x00\x01"
        );
    }

    #[test]
    fn an_answer_is_one_to_our_question() {
        let answer = |code: u8, answers: u8| [1, 2, 0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0];
        assert_eq!(read([1, 2], &answer(0, 1)), Some(Answer::Address));
        assert_eq!(read([1, 2], &answer(0, 0)), Some(Answer::None));
        assert_eq!(read([1, 2], &answer(3, 0)), Some(Answer::None));
        assert_eq!(read([1, 2], &answer(5, 0)), Some(Answer::Refused(5)));
        assert_eq!(read([1, 3], &answer(0, 1)), None);
        assert_eq!(read([1, 2], &[1, 2, 0x81]), None);
    }

    #[test]
    fn servers_are_read() {
        let text = "# x\nnameserver 10.0.0.1\nsearch a\nnameserver\t2001:db8::1\nnameserver fe80::1%eth0\n";
        assert_eq!(servers(text), ["10.0.0.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
    }
}
