//! How the authority is asked: one request of HTTP/1.1 over TLS on a connection of its own, bounded in time and size.

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, RETRY_AFTER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::plan;
use crate::tls::{self, TlsError};

/// The longest time for one request and its response.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest body of a response, in bytes: a chain of certificates is the longest.
const RESPONSE_BYTES_MAX: usize = 1 << 20;
/// Who asks.
const AGENT: &str = concat!("forebay/", env!("CARGO_PKG_VERSION"));

type AnyError = Box<dyn Error + Send + Sync>;

/// Asks one authority.
#[derive(Clone)]
pub(super) struct Client {
    connector: TlsConnector,
    /// For how long the last refusal has asked to wait, in seconds.
    asked_to_wait: Arc<Mutex<Option<Duration>>>,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0} is no https URL")]
    Url(Uri),
    #[error("{0} can't be reached: {1}")]
    Connect(String, #[source] std::io::Error),
    #[error("{0} has not answered within {REQUEST_TIME_MAX:?}")]
    Late(String),
}

impl Client {
    /// One that verifies the directory as the settings say.
    pub(super) fn new(plan: &plan::Acme) -> Result<Self, TlsError> {
        let (roots, _) = tls::authorities(plan.ca.as_deref(), "tls.acme.ca")?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), asked_to_wait: Arc::default() })
    }

    /// For how long the authority has asked to wait since this was last asked, when it refused a request.
    pub(super) fn take_asked_to_wait(&self) -> Option<Duration> {
        self.asked_to_wait.lock().take()
    }

    /// Gets a public resource; the response's fields are for who wants to ask again.
    pub(super) async fn get(&self, url: &str) -> Result<(HeaderMap, Bytes), AnyError> {
        let request = Request::get(url).body(Empty::<Bytes>::new())?;
        let (head, body) = self.ask(request).await?.into_parts();
        match head.status.is_success() {
            true => Ok((head.headers, body)),
            false => Err(format!("{url} answers {}", head.status).into()),
        }
    }

    async fn ask<B>(&self, request: Request<B>) -> Result<Response<Bytes>, AnyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let place = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let exchange = self.exchange(request);
        let response = tokio::time::timeout(REQUEST_TIME_MAX, exchange).await.map_err(|_| Failure::Late(place))??;
        if response.status().is_client_error() || response.status().is_server_error() {
            let wait = retry_after(response.headers());
            if wait.is_some() {
                *self.asked_to_wait.lock() = wait;
            }
        }
        Ok(response)
    }

    async fn exchange<B>(&self, mut request: Request<B>) -> Result<Response<Bytes>, AnyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let url = request.uri().clone();
        let Some(authority) = url.authority().filter(|_| url.scheme_str() == Some("https")) else {
            return Err(Failure::Url(url).into());
        };
        let host = authority.host().trim_matches(['[', ']']);
        let failed = |error| Failure::Connect(authority.to_string(), error);
        let socket = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await.map_err(failed)?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = self.connector.connect(name, socket).await.map_err(failed)?;
        *request.uri_mut() = Uri::from(url.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
        let fields = request.headers_mut();
        fields.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        fields.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answered = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        let (mut answered, mut connection) = (pin!(answered), pin!(connection));
        let mut is_open = true;
        loop {
            tokio::select! {
                biased;
                answered = &mut answered => return answered,
                // Its errors reach what waits for the response, too.
                _ended = &mut connection, if is_open => is_open = false,
            }
        }
    }
}

/// `Retry-After` in seconds. The form with a date is not read: it needs the clock, and authorities send seconds.
pub(super) fn retry_after(fields: &HeaderMap) -> Option<Duration> {
    fields.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let (parts, body) = client.ask(request).await.map_err(instant_acme::Error::Other)?.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}
