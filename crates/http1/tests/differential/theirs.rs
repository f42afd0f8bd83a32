//! What hyper makes of a message that ends with its connection.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Version, client, server};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};

use super::{Message, insert};

/// What the other end of a connection may send before it waits.
const PIPE_BYTES: usize = 256 * 1024;

pub(crate) struct Hyper(Runtime);

impl Hyper {
    pub(crate) fn new() -> Self {
        Self(Builder::new_current_thread().build().unwrap())
    }

    /// The first request that hyper's server hands to its service with the whole body.
    pub(crate) fn request(&mut self, bytes: &[u8]) -> Option<Message> {
        let seen = Rc::new(RefCell::new(None));
        let first = seen.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let first = first.clone();
            async move {
                let (head, body) = request.into_parts();
                let line = format!("{} {}", head.method, head.uri);
                let message = message(line, head.version, &head.headers, body).await;
                first.borrow_mut().get_or_insert(message);
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        self.0.block_on(async {
            let (mut peer, socket) = duplex(PIPE_BYTES);
            peer.write_all(bytes).await.unwrap();
            peer.shutdown().await.unwrap();
            let mut builder = server::conn::http1::Builder::new();
            builder.half_close(true).keep_alive(false);
            let _broken = builder.serve_connection(TokioIo::new(socket), service).await;
        });
        seen.take().flatten()
    }

    /// The response that hyper's client hands out with the whole body.
    pub(crate) fn response(&mut self, bytes: &[u8], to_head: bool) -> Option<Message> {
        self.0.block_on(async {
            let (mut peer, socket) = duplex(PIPE_BYTES);
            let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
            let method = if to_head { "HEAD" } else { "GET" };
            let request = Request::builder().method(method).uri("/").body(Empty::<Bytes>::new()).unwrap();
            let asked = async {
                let (head, body) = sender.send_request(request).await.ok()?.into_parts();
                message(head.status.as_u16().to_string(), head.version, &head.headers, body).await
            };
            let answers = async {
                let mut request = [0; 256];
                let _length = peer.read(&mut request).await;
                let _broken = peer.write_all(bytes).await;
                let _broken = peer.shutdown().await;
            };
            let connection = async {
                let _broken = connection.await;
            };
            tokio::join!(asked, answers, connection).0
        })
    }
}

async fn message(line: String, version: Version, headers: &HeaderMap, body: Incoming) -> Option<Message> {
    let body = body.collect().await.ok()?;
    let trailers = body.trailers().map(by_name).unwrap_or_default();
    let content = body.to_bytes().to_vec();
    Some(Message { line, is_http_1_1: version == Version::HTTP_11, fields: by_name(headers), content, trailers })
}

fn by_name(headers: &HeaderMap) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut fields = BTreeMap::new();
    headers.iter().for_each(|(name, value)| insert(&mut fields, name.as_str().as_bytes(), value.as_bytes()));
    fields
}
