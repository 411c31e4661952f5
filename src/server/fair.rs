//! A connection that lets others, and its own answers, have their turn: HTTP/2 reads for as long as there is something to read
//! before it writes, and a client that sends more than fits would get no answer, not even a refusal, until it stops.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// What is read of a connection at a time: some batches. To read it takes a tenth of a millisecond.
const READ_BYTES: usize = 256 * 1024;

/// A connection that stops reading now and then.
pub(super) struct Fair<T> {
    io: T,
    /// Bytes read since it stopped.
    read: usize,
}

impl<T> Fair<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, read: 0 }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Fair<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read >= READ_BYTES {
            self.read = 0;
            // Behind those who wait for the thread.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.read = if polled.is_pending() { 0 } else { self.read + buffer.filled().len().saturating_sub(before) };
        Poll::Ready(ready!(polled))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Fair<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Connected for Fair<TcpStream> {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn one_that_always_has_more_to_read_stops_now_and_then_and_loses_nothing() {
        let bytes: Vec<u8> = (0..5 * READ_BYTES).map(|place| place.to_le_bytes()[1]).collect();
        let mut fair = Fair::new(&*bytes);
        let (mut read, mut stops) = (Vec::new(), 0);
        let mut part = [0; 1_000];
        while read.len() < bytes.len() {
            let count =
                std::future::poll_fn(|cx| match Pin::new(&mut fair).poll_read(cx, &mut ReadBuf::new(&mut part)) {
                    Poll::Pending => {
                        stops += 1;
                        Poll::Pending
                    }
                    Poll::Ready(result) => Poll::Ready(result),
                });
            count.await.unwrap();
            let end = (read.len() + part.len()).min(bytes.len());
            read.extend_from_slice(&part[..end - read.len()]);
        }
        assert_eq!((read == bytes, stops), (true, 4));
        assert_eq!(fair.read(&mut part).await.unwrap(), 0);
    }
}
