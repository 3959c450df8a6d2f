//! The connections: one thread, a task each, all bounded.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use async_channel::Receiver;
use async_executor::LocalExecutor;
use async_io::{Async, Timer, block_on};
use futures_lite::future;
use trillium_http::{Body, Conn, HttpConfig, HttpContext, KnownHeaderName as Name};

use super::Options;
use super::events::EventBody;
use super::guard::Guard;
use super::request::{Content, Request, Response};
use super::routes::{Site, Way};
use super::seats::{Seat, Seats};
use super::steer;
use super::transport::{BodyNext, Patience, Timed};
use super::watch::Watch;
use crate::core::limits::{
    ACCEPT_BACKOFF, ADMIN_BODY, ADMIN_CONNECTIONS, ADMIN_HEAD, ADMIN_REQUEST, ADMIN_RESPONSE,
    ADMIN_WRONG_TOKEN,
};
use crate::gateway::control::Control;

/// Answers until it is stopped or the gateway has ended.
pub fn run(
    listener: TcpListener,
    address: SocketAddr,
    control: Control,
    options: &Options,
    stopped: Receiver<()>,
) -> io::Result<()> {
    let guard = Guard::new(address, options.token.clone(), &options.hosts);
    let site = Rc::new(Site::new(Watch::new(control), guard, options));
    let listener = Async::new(listener)?;
    let executor = Rc::new(LocalExecutor::new());
    let server =
        Server { site: site.clone(), seats: Rc::new(Seats::new(ADMIN_CONNECTIONS)), context: context() };
    let work = async {
        let accepting = executor.spawn(server.accept(listener, executor.clone()));
        let sampling =
            site.watch.sample(|| site.pages.is_watched(), |snapshot, sample| site.sampled(snapshot, sample));
        future::or(sampling, closed(&stopped)).await;
        accepting.cancel().await;
    };
    block_on(executor.run(work));
    Ok(())
}

/// Waits until the other end of a channel, over which nothing is sent, is dropped.
async fn closed(channel: &Receiver<()>) {
    let _ = channel.recv().await;
}

#[derive(Clone)]
struct Server {
    site: Rc<Site>,
    seats: Rc<Seats>,
    context: Arc<HttpContext>,
}

fn context() -> Arc<HttpContext> {
    let config = HttpConfig::default()
        .with_head_max_len(ADMIN_HEAD)
        .with_received_body_max_len(ADMIN_BODY)
        .with_received_body_max_preallocate(ADMIN_BODY as usize);
    Arc::new(HttpContext::default().with_config(config))
}

impl Server {
    async fn accept(self, listener: Async<TcpListener>, executor: Rc<LocalExecutor<'static>>) {
        loop {
            let (socket, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(why) => {
                    log::debug!("admin: accept: {why}");
                    Timer::after(ACCEPT_BACKOFF).await;
                    continue;
                }
            };
            let Some((seat, gone)) = self.seats.take(Instant::now()) else {
                log::debug!("admin: {peer} is refused: all {ADMIN_CONNECTIONS} connections are busy");
                continue;
            };
            let server = self.clone();
            executor
                .spawn(async move {
                    let patience = Patience::new(ADMIN_REQUEST);
                    let must_go = future::or(patience.ends(), closed(&gone));
                    future::or(server.serve(socket, peer, &seat, &patience), must_go).await;
                    server.seats.leave(&seat);
                })
                .detach();
        }
    }

    /// Answers the requests of one connection.
    async fn serve(
        &self,
        socket: Async<TcpStream>,
        peer: SocketAddr,
        seat: &Rc<Seat>,
        patience: &Arc<Patience>,
    ) {
        let body_next = &Arc::<BodyNext>::default();
        let transport = Timed::new(socket, patience.clone(), body_next.clone());
        let context = self.context.clone();
        let ended = context
            .run(transport, |conn| async move {
                seat.begin();
                patience.give(ADMIN_RESPONSE);
                let has_body = has_body(&conn);
                if has_body {
                    body_next.set();
                }
                let (mut conn, stays) = self.answer(conn, peer, patience).await;
                if has_body {
                    // Where the body ends and another head begins only the library knows.
                    conn.response_headers_mut().insert(Name::Connection, "close");
                } else if stays {
                    seat.end(Instant::now());
                    patience.give(ADMIN_REQUEST);
                }
                conn
            })
            .await;
        log::trace!("admin: {peer}: {ended:?}");
    }

    /// Answers one request. Whether another may follow.
    async fn answer(
        &self,
        mut conn: Conn<Timed>,
        peer: SocketAddr,
        patience: &Patience,
    ) -> (Conn<Timed>, bool) {
        let response = match self.site.way(&read(&conn)).await {
            Way::Answer(response) => response,
            Way::Steer(verb) => match conn.request_body().read_bytes().await {
                Ok(body) => {
                    log::debug!("admin: {peer} asks for {verb:?}");
                    patience.give(ADMIN_RESPONSE.saturating_add(steer::time(&verb, &body)));
                    self.site.steer(&verb, &body).await
                }
                Err(why) => Response::error(413, format!("the body cannot be read: {why}")),
            },
        };
        if response.status == 401 {
            Timer::after(ADMIN_WRONG_TOKEN).await;
        }
        write(conn, response, patience)
    }
}

/// Whether something follows its head that is no head.
fn has_body(conn: &Conn<Timed>) -> bool {
    [Name::ContentLength, Name::TransferEncoding].iter().any(|name| conn.request_headers().has_header(*name))
}

/// What of a request counts.
fn read(conn: &Conn<Timed>) -> Request {
    let headers = conn.request_headers();
    let header = |name: Name| headers.get_str(name).map(str::to_string);
    Request {
        method: conn.method().as_str().to_string(),
        path: conn.path().to_string(),
        host: conn.host().map(str::to_string),
        origin: header(Name::Origin),
        fetch_site: header(Name::SecFetchSite),
        fetch_mode: header(Name::SecFetchMode),
        content_type: header(Name::ContentType),
        authorization: header(Name::Authorization),
    }
}

/// Gives a connection its response. Whether another may follow.
fn write(mut conn: Conn<Timed>, response: Response, patience: &Patience) -> (Conn<Timed>, bool) {
    conn.set_status(response.status);
    let headers = conn.response_headers_mut();
    headers.insert(Name::ContentType, response.content_type);
    headers.insert(Name::CacheControl, "no-store");
    headers.insert(Name::XcontentTypeOptions, "nosniff");
    headers.insert(Name::ReferrerPolicy, "no-referrer");
    headers.insert(Name::XframeOptions, "DENY");
    headers.insert("cross-origin-resource-policy", "same-origin");
    for (name, value) in response.headers {
        headers.insert(name, value);
    }
    let stays = match response.body {
        Content::Text(text) => {
            conn.set_response_body(text);
            true
        }
        Content::Stream(events) => {
            patience.stream();
            conn.set_response_body(Body::new_streaming(EventBody::new(events), None));
            false
        }
    };
    (conn, stays)
}
