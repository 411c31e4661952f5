//! Admission at the door: what is too much is refused on the headers, before a body is read, and bodies are counted from
//! arrival to answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::status;
use crate::engine::request::Refusal;
use crate::proto as pb;

const STREAM_PATH: &str = "/stampbook.v1.LedgerService/PostStream";
const POST_PATH: &str = "/stampbook.v1.LedgerService/Post";
const BATCH_PATH: &str = "/stampbook.v1.LedgerService/PostBatch";
/// The one method that is answered whatever is in flight: it tells how overloaded the server is.
const METRICS_PATH: &str = "/stampbook.v1.AdminService/GetMetrics";
/// What a request may say that is answered whatever is in flight: those are not counted, and have little to say.
const UNCOUNTED_BYTES_MAX: usize = 64 * 1024;
/// What only our own services are held to: health and reflection answer under load too.
const OUR_PATHS: &str = "/stampbook.v1.";

/// What is in flight, and how much of it may be.
#[derive(Debug)]
pub(super) struct Admission {
    bytes: AtomicUsize,
    bytes_max: usize,
    requests: AtomicUsize,
    requests_max: usize,
}

impl Admission {
    /// Nothing in flight, and at most so many bytes and requests.
    #[must_use]
    pub(super) fn new(bytes_max: usize, requests_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), bytes_max, requests: AtomicUsize::new(0), requests_max })
    }

    /// Bytes of bodies between arrival and answer.
    #[must_use]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Admits a request, if there is room for one more.
    fn enter(self: &Arc<Self>) -> Option<Arc<Charge>> {
        // From here on the count is given back when the charge is dropped, also when this request finds no room.
        let charge = Arc::new(Charge { admission: Arc::clone(self), bytes: AtomicUsize::new(0) });
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        (before < self.requests_max && !charge.is_crowded()).then_some(charge)
    }
}

/// A request in flight, with the bytes of it that have arrived and are not yet answered.
#[derive(Debug)]
pub(super) struct Charge {
    admission: Arc<Admission>,
    bytes: AtomicUsize,
}

impl Charge {
    /// Counts bytes that arrived; false when they are more than may be in flight.
    fn add(&self, bytes: usize) -> bool {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let before = self.admission.bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.admission.bytes_max
    }

    /// Whether as much is in flight, over all requests, as may be.
    #[must_use]
    pub(super) fn is_crowded(&self) -> bool {
        self.admission.bytes() >= self.admission.bytes_max
    }

    /// Hands on all bytes counted so far, to be released apart from the rest of the request.
    #[must_use]
    pub(super) fn split(&self) -> Load {
        Load { admission: Arc::clone(&self.admission), bytes: self.bytes.swap(0, Ordering::Relaxed) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.admission.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
        self.admission.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of a part of a request, in flight until this is dropped.
#[derive(Debug)]
pub(super) struct Load {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What is asked for, as far as admission differs by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Its answers are so small that they need not be counted until they are read.
    Post,
    /// It waits for its turn to be read.
    Batch,
    /// Its messages are admitted one by one, while it lasts.
    Stream,
    /// Any other that is counted.
    Other,
}

impl Method {
    fn of(path: &str) -> Self {
        match path {
            POST_PATH => Self::Post,
            BATCH_PATH => Self::Batch,
            STREAM_PATH => Self::Stream,
            _ => Self::Other,
        }
    }
}

type Overloaded = Arc<dyn Fn(Method) -> Option<Refusal> + Send + Sync>;

/// Puts admission before the services.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    admission: Arc<Admission>,
    overloaded: Overloaded,
}

impl AdmissionLayer {
    /// A layer that counts in `admission`; `overloaded` tells why none is taken in for now.
    pub(super) fn new(
        admission: Arc<Admission>,
        overloaded: impl Fn(Method) -> Option<Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self { admission, overloaded: Arc::new(overloaded) }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admitted { inner, admission: Arc::clone(&self.admission), overloaded: Arc::clone(&self.overloaded) }
    }
}

/// Services behind admission.
#[derive(Clone)]
pub(super) struct Admitted<S> {
    inner: S,
    admission: Arc<Admission>,
    overloaded: Overloaded,
}

impl<S> Admitted<S> {
    /// The charge of a request that is let in.
    fn admit(&self, method: Method) -> Result<Arc<Charge>, Refusal> {
        // A stream is let in at any time: it meets overload by waiting.
        match (self.overloaded)(method) {
            Some(refusal) if method != Method::Stream || refusal == Refusal::ShuttingDown => Err(refusal),
            _ => self.admission.enter().ok_or(Refusal::InFlight),
        }
    }
}

impl<S> Service<Request<Body>> for Admitted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Finishing<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        if !path.starts_with(OUR_PATHS) || path == METRICS_PATH {
            let request = request.map(|body| Body::new(Brief { body, left: UNCOUNTED_BYTES_MAX }));
            return Finishing::new(self.inner.call(request));
        }
        let method = Method::of(path);
        let streams = method == Method::Stream;
        let charge = match self.admit(method) {
            Ok(charge) => charge,
            Err(refusal) => return Finishing::new(std::future::ready(Ok(status::refused(refusal).into_http()))),
        };
        if streams {
            request.extensions_mut().insert(Arc::clone(&charge));
        }
        let counted = Arc::clone(&charge);
        let request = request.map(|body| Body::new(Counted { body, charge: counted, bounded: !streams }));
        let response = self.inner.call(request);
        Finishing::new(async move {
            let response = response.await.map(name_the_shape);
            // A stream counts its messages itself, until each is answered.
            if streams || method == Method::Post {
                response
            } else {
                response.map(|response| response.map(|body| hold(body, charge)))
            }
        })
    }
}

/// A request that was let in runs to its end also when its caller goes away: what it sent is with the engine, and counts as
/// in flight until the engine is done with it.
pub(super) struct Finishing<T: Send + 'static> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T: Send + 'static> Finishing<T> {
    fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Some(Box::pin(future)) }
    }
}

impl<T: Send + 'static> Future for Finishing<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let done = std::task::ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(done)
    }
}

impl<T: Send + 'static> Drop for Finishing<T> {
    fn drop(&mut self) {
        // Outside a runtime there is nothing to finish with: the process is on its way out.
        if let (Some(future), Ok(runtime)) = (self.future.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

/// A message that cannot be taken in is a wrong shape, and says so with the reason.
fn name_the_shape(response: Response<Body>) -> Response<Body> {
    // Only a failed call has its status in the headers.
    if !response.headers().contains_key("grpc-status") {
        return response;
    }
    let said = Status::from_header_map(response.headers());
    said.as_ref().and_then(status::unread).map_or(response, Status::into_http)
}

/// A request's body that is not counted, and fails where it is not brief.
struct Brief {
    body: Body,
    /// Bytes that may still arrive.
    left: usize,
}

impl http_body::Body for Brief {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let arrived = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        match self.left.checked_sub(arrived) {
            Some(left) => self.left = left,
            None => {
                let message = format!("a request to this method has at most {UNCOUNTED_BYTES_MAX} bytes");
                return Poll::Ready(Some(Err(status::plain(
                    Code::InvalidArgument,
                    pb::Reason::MessageTooLarge,
                    message,
                ))));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body that counts what arrives of it.
struct Counted {
    body: Body,
    charge: Arc<Charge>,
    /// Whether it fails when too much is in flight; a stream waits instead.
    bounded: bool,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let arrived = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        if arrived != 0 && !self.charge.add(arrived) && self.bounded {
            return Poll::Ready(Some(Err(status::refused(Refusal::InFlight))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer that counts as in flight until the client has read it.
fn hold(body: Body, charge: Arc<Charge>) -> Body {
    Body::new(Held { body, _charge: charge })
}

struct Held {
    body: Body,
    _charge: Arc<Charge>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use http_body::Body as _;
    use tokio::sync::oneshot;

    use super::*;

    /// A service that reads the whole body, then waits for a word before it answers.
    struct Waiting(Option<oneshot::Receiver<()>>);

    impl Service<Request<Body>> for Waiting {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let word = self.0.take();
            Box::pin(async move {
                let mut body = request.into_body();
                while let Some(frame) = frame(&mut body).await {
                    if let Err(status) = frame {
                        return Ok(status.into_http());
                    }
                }
                if let Some(word) = word {
                    let _ = word.await;
                }
                Ok(Response::new(sent(4)))
            })
        }
    }

    async fn frame(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    /// A body of so many bytes.
    fn sent(bytes: usize) -> Body {
        Body::new(Once(Some(Bytes::from(vec![0; bytes]))))
    }

    struct Once(Option<Bytes>);

    impl http_body::Body for Once {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
        }
    }

    fn batch_of(bytes: usize) -> Request<Body> {
        Request::builder().uri("/stampbook.v1.LedgerService/PostBatch").body(sent(bytes)).unwrap()
    }

    fn guarded(admission: &Arc<Admission>, word: Option<oneshot::Receiver<()>>) -> Admitted<Waiting> {
        AdmissionLayer::new(Arc::clone(admission), |_| None).layer(Waiting(word))
    }

    fn code(response: &Response<Body>) -> Option<Code> {
        Status::from_header_map(response.headers()).map(|status| status.code())
    }

    #[tokio::test]
    async fn bytes_count_until_the_answer_is_read() {
        let admission = Admission::new(100, 10);
        let response = guarded(&admission, None).call(batch_of(60)).await.unwrap();
        assert_eq!(admission.bytes(), 60);
        // There is no room for another such one.
        let refused = guarded(&admission, None).call(batch_of(60)).await.unwrap();
        assert_eq!(code(&refused), Some(Code::ResourceExhausted));
        let mut body = response.into_body();
        while frame(&mut body).await.is_some() {}
        drop(body);
        assert_eq!(admission.bytes(), 0);
        let response = guarded(&admission, None).call(batch_of(60)).await.unwrap();
        assert_eq!(code(&response), None);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_does_not_make_room_before_the_work_is_done() {
        let admission = Admission::new(100, 10);
        let (word, waiting) = oneshot::channel();
        let mut call = guarded(&admission, Some(waiting)).call(batch_of(60));
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut call).poll(cx))).await.is_pending());
        drop(call);
        tokio::task::yield_now().await;
        assert_eq!(admission.bytes(), 60);
        word.send(()).unwrap();
        while admission.bytes() != 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.requests.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn overload_is_answered_on_the_headers_and_leaves_streams_health_and_metrics_alone() {
        let admission = Admission::new(100, 1);
        let overloaded = |_| Some(Refusal::QueueFull);
        let mut guarded = AdmissionLayer::new(Arc::clone(&admission), overloaded).layer(Waiting(None));
        let refused = guarded.call(batch_of(60)).await.unwrap();
        assert_eq!(code(&refused), Some(Code::ResourceExhausted));
        assert_eq!(admission.bytes(), 0);
        for path in [STREAM_PATH, "/grpc.health.v1.Health/Check", METRICS_PATH] {
            let request = Request::builder().uri(path).body(sent(1)).unwrap();
            assert_eq!(code(&guarded.call(request).await.unwrap()), None, "{path}");
        }
    }

    #[tokio::test]
    async fn what_is_not_counted_has_little_to_say() {
        let admission = Admission::new(100, 1);
        for path in ["/grpc.health.v1.Health/Check", METRICS_PATH] {
            for (bytes, refused) in
                [(UNCOUNTED_BYTES_MAX, None), (UNCOUNTED_BYTES_MAX + 1, Some(Code::InvalidArgument))]
            {
                let request = Request::builder().uri(path).body(sent(bytes)).unwrap();
                assert_eq!(code(&guarded(&admission, None).call(request).await.unwrap()), refused, "{path}");
            }
        }
    }

    #[tokio::test]
    async fn one_request_too_many_is_refused() {
        let admission = Admission::new(100, 1);
        let (_word, waiting) = oneshot::channel();
        let mut first = guarded(&admission, Some(waiting)).call(batch_of(1));
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut first).poll(cx))).await.is_pending());
        let refused = guarded(&admission, None).call(batch_of(1)).await.unwrap();
        assert_eq!(code(&refused), Some(Code::ResourceExhausted));
    }
}
