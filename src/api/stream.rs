//! The byte stream below hyper: a client that takes nothing is given up, and hyper's own errors get a body.
//!
//! hyper answers what it cannot parse by itself, with an empty body and no hook to change that; here such an answer
//! is exchanged on its way out, so that every error is JSON (contract §3). Its mark is a 4xx with
//! `content-length: 0`, which no handler of this room makes, and it is the last thing written on a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::front::ALWAYS;

/// A stream with the two duties above.
pub(super) struct Guarded<S> {
    inner: S,
    patience: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// An own error under way in place of hyper's, and how much of it is written.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S, patience: Duration) -> Self {
        Self { inner, patience, stalled: None, instead: None }
    }

    /// The stream itself.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match step(Pin::new(&mut self.inner), cx) {
            Poll::Ready(result) => {
                self.stalled = None;
                Poll::Ready(result)
            }
            Poll::Pending => {
                let patience = self.patience;
                ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            let Some(own) = own_error(bytes) else {
                return self.poll_step(cx, |inner, cx| inner.poll_write(cx, bytes));
            };
            self.instead = Some((own, 0));
        }
        while let Some((own, written)) = self.instead.take() {
            match self.poll_step(cx, |inner, cx| inner.poll_write(cx, own.get(written..).unwrap_or_default()))
            {
                Poll::Pending => {
                    self.instead = Some((own, written));
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(length)) if written + length < own.len() => {
                    self.instead = Some((own, written + length));
                }
                Poll::Ready(Ok(_)) => {}
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_step(cx, |inner, cx| inner.poll_flush(cx).map_ok(|()| 0)).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_step(cx, |inner, cx| inner.poll_shutdown(cx).map_ok(|()| 0)).map_ok(drop)
    }
}

/// A whole answer with a JSON body, after which the connection is closed.
pub(super) fn last_answer(status: &str, message: &str) -> Vec<u8> {
    let body = serde_json::json!({ "message": message }).to_string();
    let always: String = ALWAYS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{always}connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What goes out in place of `bytes`, where these end in an answer of hyper's own.
fn own_error(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes.ends_with(b"\r\n\r\n").then_some(bytes)?).ok()?;
    // An answer may precede it in the same write; in a JSON body there is no bare line break before `HTTP/1.`.
    let start = text.rfind("HTTP/1.")?;
    let (before, head) = text.split_at(start);
    let status = head.get("HTTP/1.1 ".len()..)?.split("\r\n").next()?;
    if !status.starts_with('4') || !head.contains("\r\ncontent-length: 0\r\n") {
        return None;
    }
    let message = match status.get(..3)? {
        "414" => "The address of the request is too long.",
        "431" => "The headers of the request are larger than 16 KiB, or more than 100.",
        _ => "This is no valid HTTP/1.1 request.",
    };
    Some([before.as_bytes(), &last_answer(status, message)].concat())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn only_empty_client_errors_are_exchanged() {
        let hypers = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let own = String::from_utf8(own_error(hypers.as_bytes()).unwrap()).unwrap();
        assert!(own.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{own}");
        assert!(own.ends_with("more than 100.\"}"), "{own}");
        for other in [
            "HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n",
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 30\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(own_error(other.as_bytes()), None, "{other}");
        }
        let after_another = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{hypers}");
        assert!(
            own_error(after_another.as_bytes())
                .unwrap()
                .starts_with(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 431")
        );
    }

    #[tokio::test]
    async fn an_exchanged_answer_survives_a_slow_client() {
        let (near, mut far) = tokio::io::duplex(7);
        let writer = tokio::spawn(async move {
            let mut guarded = Guarded::new(near, Duration::from_secs(60));
            guarded.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await
        });
        let mut all = String::new();
        far.read_to_string(&mut all).await.unwrap();
        writer.await.unwrap().unwrap();
        assert!(all.ends_with("{\"message\":\"This is no valid HTTP/1.1 request.\"}"), "{all}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_takes_a_little_is_not() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut guarded = Guarded::new(near, Duration::from_secs(30));
        let reader = tokio::spawn(async move {
            for _ in 0..5 {
                sleep(Duration::from_secs(20)).await;
                far.read_exact(&mut [0; 4]).await.unwrap();
            }
            far
        });
        guarded.write_all(&[b'x'; 20]).await.unwrap();
        let _far = reader.await.unwrap();
        let error = guarded.write_all(&[b'x'; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
