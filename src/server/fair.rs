//! A connection that lets others, and its own answers, have their turn: HTTP/2 reads for as long as there is something to read
//! before it writes, and a client that sends more than fits would get no answer, not even a refusal, until it stops. And each
//! answer is a write of its own, head and end of a longer one even two, though many come together from one sync: a short write waits
//! for one turn of the tasks that are ready, and goes with theirs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// What is read of a connection at a time: some batches. To read it takes a tenth of a millisecond.
const READ_BYTES: usize = 256 * 1024;

/// What is gathered of short writes before they go. A longer one goes by itself: to copy it would cost more than it saves.
const SHORT_BYTES: usize = 16 * 1024;

/// A connection that stops reading now and then, and gathers short writes.
pub(super) struct Fair<T> {
    io: T,
    /// Bytes read since it stopped.
    read: usize,
    /// What was gathered, of which some may be written.
    gathered: Vec<u8>,
    written: usize,
    /// Whether those who wait for the thread had their turn since something was gathered.
    waited: bool,
}

impl<T> Fair<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, read: 0, gathered: Vec::new(), written: 0, waited: false }
    }

    /// Whether so many bytes more may be gathered.
    fn gathers(&self, bytes: usize) -> bool {
        self.written == 0 && self.gathered.len().saturating_add(bytes) <= SHORT_BYTES
    }
}

impl<T: AsyncWrite + Unpin> Fair<T> {
    /// Writes what was gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.gathered.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.gathered.clear();
        self.written = 0;
        self.waited = false;
        Poll::Ready(Ok(()))
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
        if self.gathers(bytes.len()) {
            self.gathered.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if self.gathers(bytes) {
            slices.iter().for_each(|slice| self.gathered.extend_from_slice(slice));
            return Poll::Ready(Ok(bytes));
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() && !self.waited {
            self.waited = true;
            // Behind those who wait for the thread: some of them have answers for this connection.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
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

    use std::io::IoSlice;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

    /// Counts the writes, of which each takes a part only.
    #[derive(Default)]
    struct Narrow {
        bytes: Vec<u8>,
        writes: usize,
        most: usize,
        /// Whether every second write is put off, and whether the last one was.
        slow: bool,
        put_off: bool,
        shut: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.put_off = self.slow && !self.put_off;
            if self.put_off {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken = &bytes[..bytes.len().min(self.most)];
            self.writes += 1;
            self.bytes.extend_from_slice(taken);
            Poll::Ready(Ok(taken.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut = true;
            Poll::Ready(Ok(()))
        }
    }

    /// Whether a flush is put off.
    async fn waits(fair: &mut Fair<Narrow>) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *fair).poll_flush(cx).is_pending())).await
    }

    #[tokio::test]
    async fn short_writes_wait_for_one_turn_of_the_others_and_go_together() {
        let mut fair = Fair::new(Narrow { most: usize::MAX, ..Narrow::default() });
        for round in 1..=2 {
            fair.write_all(b"one").await.unwrap();
            assert!(waits(&mut fair).await);
            // Those that are ready by then, in pieces as HTTP/2 writes longer ones.
            let slices = [IoSlice::new(b"t"), IoSlice::new(b"wo")];
            let gathered = std::future::poll_fn(|cx| Pin::new(&mut fair).poll_write_vectored(cx, &slices)).await;
            assert_eq!(gathered.unwrap(), 3);
            fair.write_all(b"three").await.unwrap();
            assert_eq!(fair.io.writes, round - 1);
            assert!(!waits(&mut fair).await);
            assert_eq!((fair.io.writes, &fair.io.bytes), (round, &b"onetwothree".repeat(round)));
        }
        assert!(!waits(&mut fair).await, "there is nothing to wait with");
    }

    #[tokio::test]
    async fn whatever_the_lengths_of_writes_their_bytes_come_whole_and_in_order_and_before_the_end() {
        let mut fair = Fair::new(Narrow { most: 1_000, slow: true, ..Narrow::default() });
        let mut expected = Vec::new();
        for (place, length) in
            [1, 700, SHORT_BYTES - 701, 1, SHORT_BYTES + 1, 5, 3 * SHORT_BYTES, 9, 2].into_iter().enumerate()
        {
            let bytes: Vec<u8> = (0..length).map(|at: usize| (at * 31 + place).to_le_bytes()[0]).collect();
            fair.write_all(&bytes).await.unwrap();
            if place == 5 {
                fair.flush().await.unwrap();
                assert_eq!(fair.io.bytes.len(), expected.len() + length);
            }
            expected.extend(bytes);
            assert!(fair.gathered.len() <= SHORT_BYTES);
        }
        fair.shutdown().await.unwrap();
        assert!(fair.io.bytes == expected && fair.io.shut);
    }
}
