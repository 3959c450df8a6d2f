//! Which request gets what.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::events::{self, Pages};
use super::guard::Guard;
use super::history::Sample;
use super::metrics;
use super::page::Page;
use super::process::Process;
use super::request::{Content, Request, Response};
use super::status::{self, Beside};
use super::steer::{self, unanswered};
use super::watch::Watch;
use super::{LogLevel, Options, Reload};
use crate::gateway::control::{Command, Unanswered};
use crate::gateway::snapshot::{Phase, Snapshot};

/// Everything that answers need.
pub struct Site {
    pub watch: Watch,
    pub pages: Pages,
    page: Page,
    guard: Guard,
    listen: String,
    log: Arc<dyn LogLevel>,
    reload: Option<Arc<dyn Reload>>,
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<super::AdminTls>>,
}

/// What the way of a request says, before its body is read.
pub enum Way {
    /// Answer so.
    Answer(Response),
    /// Read the body, then carry out this verb.
    Steer(String),
}

impl Site {
    /// A site of what `watch` sees.
    pub fn new(watch: Watch, guard: Guard, options: &Options) -> Site {
        Site {
            watch,
            pages: Pages::default(),
            page: Page::new(),
            guard,
            listen: options.gateway.to_string(),
            log: options.log.clone(),
            reload: options.reload.clone(),
            #[cfg(feature = "tls")]
            tls: options.tls.clone(),
        }
    }

    /// Finds the way of a request, and its answer where that takes no body.
    pub fn way(&self, request: &Request) -> Way {
        if let Some(verb) = request.path.strip_prefix("/ctl/") {
            return match self.check_steering(request) {
                Ok(()) => Way::Steer(verb.to_string()),
                Err(refused) => Way::Answer(refused),
            };
        }
        Way::Answer(self.get(request).unwrap_or_else(|refused| refused))
    }

    fn check_steering(&self, request: &Request) -> Result<(), Response> {
        self.guard.check(request)?;
        if request.method != "POST" {
            return Err(Response::error(405, "send a POST").with("Allow", "POST"));
        }
        self.guard.check_change(request)
    }

    /// Carries out a verb.
    pub fn steer(&self, verb: &str, body: &[u8]) -> Response {
        steer::steer(verb, body, &self.watch, &*self.log, self.reload.as_deref())
    }

    fn get(&self, request: &Request) -> Result<Response, Response> {
        let path = request.path.as_str();
        if !["/", "/metrics", "/status", "/subscriptions", "/events", "/healthz", "/readyz"].contains(&path) {
            return Err(Response::error(
                404,
                "there are /, /metrics, /status, /subscriptions, /events, /healthz, /readyz and /ctl/",
            ));
        }
        if !["GET", "HEAD"].contains(&request.method.as_str()) {
            return Err(Response::error(405, "send a GET").with("Allow", "GET, HEAD"));
        }
        match path {
            // These name no peer, and are asked for by whatever name a monitoring system knows.
            "/metrics" => self.metrics(),
            "/healthz" => self.health(),
            "/readyz" => self.ready(),
            _ => {
                self.guard.check(request)?;
                match path {
                    "/status" => self.status(),
                    "/subscriptions" => self.subscriptions(),
                    "/events" if request.method == "GET" => self.events(),
                    "/events" => Err(Response::error(405, "send a GET").with("Allow", "GET")),
                    _ => Ok(self.page()),
                }
            }
        }
    }

    fn page(&self) -> Response {
        Response::new(200, "text/html; charset=utf-8", Content::Text(self.page.text.clone()))
            .with("Content-Security-Policy", self.page.policy.as_str())
    }

    fn metrics(&self) -> Result<Response, Response> {
        let snapshot = self.watch.look(true).map_err(unanswered)?;
        let text = metrics::text(snapshot, Process::look());
        Ok(Response::new(200, metrics::CONTENT_TYPE, Content::Text(text)))
    }

    fn health(&self) -> Result<Response, Response> {
        match self.watch.look(false) {
            // So many commands that it must be answering.
            Ok(_) | Err(Unanswered::Busy) => Ok(Response::text(200, "ok\n")),
            Err(why) => Err(Response::text(503, format!("{why}\n"))),
        }
    }

    fn ready(&self) -> Result<Response, Response> {
        if !self.watch.is_running() {
            return Err(Response::text(503, "the gateway is starting\n"));
        }
        match self.watch.look(false) {
            Ok(snapshot) if snapshot.phase == Phase::Draining => {
                Err(Response::text(503, "the gateway is draining\n"))
            }
            Ok(snapshot) if snapshot.phase == Phase::Paused => Ok(Response::text(200, "ok, paused\n")),
            Ok(_) => Ok(Response::text(200, "ok\n")),
            Err(why) => Err(Response::text(503, format!("{why}\n"))),
        }
    }

    fn status(&self) -> Result<Response, Response> {
        let snapshot = self.watch.look(true).map_err(unanswered)?;
        Ok(Response::json(200, &self.described(&snapshot)))
    }

    fn subscriptions(&self) -> Result<Response, Response> {
        let listed = self.watch.ask(Duration::ZERO, Command::Subscriptions).map_err(unanswered)?;
        let names = listed.ok_or_else(|| {
            Response::error(409, "this gateway has no store, so no durable names: start it with --store DIR")
        })?;
        Ok(Response::json(200, &json!({"names": names})))
    }

    fn events(&self) -> Result<Response, Response> {
        let snapshot = self.watch.look(true).map_err(unanswered)?;
        let first = {
            let history = status::samples(&self.watch.history());
            let status = json!(self.described(&snapshot)).to_string();
            format!("{}{}", events::event("history", &history), events::event("status", &status))
        };
        let from = self
            .pages
            .open(first.into())
            .ok_or_else(|| Response::error(503, "as many pages are open as may be: close one"))?;
        Ok(Response::new(200, "text/event-stream", Content::Stream(from)))
    }

    fn described(&self, snapshot: &Snapshot) -> serde_json::Value {
        let log = self.log.level();
        let beside = Beside { listen: &self.listen, access: self.guard.access(), log: &log };
        json!(status::status(snapshot, self.watch.history().last(), beside))
    }

    /// Takes samples until the gateway or the server has ended.
    pub fn sample(&self) {
        self.watch.sample(|| self.pages.is_watched(), |snapshot, sample| self.sampled(snapshot, sample));
    }

    /// A sample was taken: the pages hear of it.
    fn sampled(&self, snapshot: &Snapshot, sample: &Sample) {
        if self.pages.is_watched() {
            self.pages.tell(&events::event("sample", &json!(sample).to_string()));
            if snapshot.survey.is_some() {
                self.pages.tell(&events::event("status", &self.described(snapshot).to_string()));
            }
        }
    }
}
