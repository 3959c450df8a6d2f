//! `framegate serve`: runs the gateway.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::final_ledger::FinalLedger;
use super::log::Journal;
use super::periodic_report;
use super::reload::{Files, Reloader};
use super::restart::Started;
use super::settings::{ADMIN, LISTEN, Settings};
use super::start_lines::{limits_line, start_line};
use super::startup::Starting;
use super::tls::TlsPaths;
use super::{Exit, Failure, Size, dependent_options, http_sink, layouts, print, secret, spawn};
use crate::admin::{self, Admin, AdminTls};
use crate::core::limits::{RESERVED_FILES, STORE_FILES_MOST};
use crate::core::ranges::CONNECTIONS_MOST;
use crate::core::units::{many, rounded};
use crate::gateway::{Config, Listener};
use crate::gateway::{Control, Gateway};
use crate::runtime::tls::SharedSetup;
use crate::sinks::http::HttpSink;
use crate::wire::layout::Layout;

/// Runs the gateway: publishers and subscribers connect to it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// Takes settings from a TOML file: the names of these options, [[listener]] and [layout.NAME] tables. Files
    /// and folders in it are looked for beside it; options win [default: none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Prints the final ledger as one JSON object
    #[arg(long)]
    json: bool,
    /// Checks everything that it would start with, and starts nothing: the settings and their files, layouts, access and
    /// secrets. Exits 0 or 2
    #[arg(long)]
    check: bool,
    /// For a program that starts a gateway of its own: prints its addresses first, a line each, and drains when
    /// standard input ends, as it does when that program does
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

const EXAMPLES: &str = "\
Sizes are written 64KiB or 16MiB, times 250ms, 30s or 5m; a bare number is bytes or seconds.
INT or TERM finishes what was accepted, prints the ledger and exits 0, or 1 where --drain was over before the handlers \
and sinks had done everything; a second one ends at once, prints the ledger as far as it is known and exits 130. HUP \
reads the access file and the files of TLS again and ends nothing. The port answers when everything has started, the store's recovery included; from then on /readyz of \
--admin is 200.

The page is on http://127.0.0.1:7451/, metrics for Prometheus on /metrics there.

Examples:
  framegate serve
  framegate serve --listen 0.0.0.0:7450 --memory 1GiB --slow drop
  framegate serve --config gateway.toml --secret-file /etc/framegate/secret
  framegate serve --store /var/lib/framegate --store-keep 100GiB
  framegate serve --handler 'python3 thumbnails.py' --handlers 4 --max-in-flight 100
  framegate serve --http-sink http://store:8080/frames --http-max-in-flight 1000
  framegate serve --listen-tls 0.0.0.0:7453 --tls-cert gateway.pem --tls-key gateway.key --tls-client-ca ca.pem --access access.toml
  framegate serve --listen-layout gt06=0.0.0.0:5023 --listen-layout teltonika=0.0.0.0:5027

A gateway.toml:
  listen = \"0.0.0.0:7450\"
  memory = \"1GiB\"
  slow = \"drop\"";

impl Serve {
    /// Runs until a signal ends it.
    pub fn run(self, journal: Journal) -> Result<Exit, Failure> {
        let mut of_file = None;
        let settings = match &self.config {
            Some(path) => {
                let mut file = Settings::from_file(path)?;
                of_file = Some((path.as_path(), file.clone()));
                if self.settings.listen_layout.is_some()
                    && let Some(listeners) = file.listener.take()
                {
                    log::warn!(
                        "--listen-layout replaces {} of {}: give all of them in one place",
                        many(listeners.len() as u64, "listener"),
                        path.display()
                    );
                }
                self.settings.or(file)
            }
            None => self.settings,
        };
        dependent_options::check(&settings)?;
        let started_with = Started::now(of_file, &settings);
        // The sink's connections take files too, and what the store has open.
        let of_store = settings.store.as_ref().map_or(0, |_| STORE_FILES_MOST);
        let of_sink = settings
            .http_sink
            .as_ref()
            .map_or(0, |_| settings.http_max_in_flight.unwrap_or(Config::default().http_max_in_flight));
        let connections_max = connections_that_fit().saturating_sub(of_sink + of_store).max(1);
        let (workers, patrol) = (settings.workers(), settings.patrol());
        let config = settings.config(connections_max)?;
        settings.choose_digest()?;
        if config.connections_max > connections_max {
            log::warn!(
                "max-connections {} is more than the {connections_max} that the file limit allows: raise it with ulimit -n",
                config.connections_max
            );
        }
        if config.outbox_max() < config.outbox {
            log::warn!(
                "outbox {} is more than half of the memory: {} is used; raise --memory",
                Size(config.outbox),
                rounded(config.outbox_max())
            );
        }
        if settings.parts_memory.is_some() && config.parts_max() < config.parts_memory {
            log::warn!(
                "parts-memory {} is more than the memory leaves for fragments: {} is used; raise --memory",
                Size(config.parts_memory),
                rounded(config.parts_max())
            );
        }
        if let Some(line) = dedup_line(&config) {
            log::info!("{line}");
        }
        let http_sink = http_sink::options(&settings, &config)?;
        let token = secret::token("--admin-token-file", settings.admin_token_file.as_deref())?;
        let of_options = TlsPaths::of(&settings)?;
        let has_admin = !settings.admin.as_deref().unwrap_or(ADMIN).eq_ignore_ascii_case("off");
        let admin_paths = of_options.clone().filter(|_| has_admin && settings.admin_tls == Some(true));
        let admin_tls = admin_paths.as_ref().map(TlsPaths::load).transpose()?;
        if self.check {
            check_listeners(&settings, self.config.as_deref(), config)?;
            print("everything that it would start with is right\n")?;
            return Ok(Exit::Done);
        }
        let listen = settings.listen.as_deref().unwrap_or(LISTEN);
        // First what can fail or wait, with signals looked after; the port answers when everything has started.
        let mut gateway =
            bind("--listen", listen, &[], |address| Gateway::reserve(address, workers, config.clone()))?;
        let first = gateway.local_addr();
        let mut files = Files { access: settings.access.clone(), ..Files::default() };
        let own = listen_also(&settings, self.config.as_deref(), first, |option, address, wanted, own| {
            let Wanted { layout, tls } = wanted;
            let setup = tls.as_ref().map(TlsPaths::load).transpose()?.map(|setup| setup as SharedSetup);
            let bound = bind(option, address, own, |address| {
                gateway.listen_at(Listener { address, layout: layout.clone(), tls: setup.clone() })
            })?;
            files.tls.extend(tls.map(|paths| (gateway.listeners().len(), paths)));
            Ok(bound)
        })?;
        let admin_tls = admin_tls.map(|setup| Arc::new(AdminTls::new(setup)));
        files.admin = admin_tls.clone().zip(admin_paths);
        let control = gateway.control();
        let final_ledger = Arc::new(FinalLedger::new(self.json));
        let reloader = Arc::new(Reloader::new(files, started_with, control.clone()));
        let starting = Starting::begin(control.clone(), final_ledger.clone(), &config, reloader.clone())?;
        gateway.open_store().map_err(|why| Failure::usage(why.to_string()))?;
        let mut target = None;
        if let Some(options) = http_sink {
            target = Some(options.carried.target.clone());
            gateway = gateway.with_sink(|wake| HttpSink::start(options, wake))?;
        }
        let admin = match settings.admin.as_deref().unwrap_or(ADMIN) {
            off if off.eq_ignore_ascii_case("off") => None,
            address => Some(bind("--admin", address, &own, Admin::bind)?),
        };
        let started = start_line(gateway.local_addr(), &settings, &config, target.as_ref());
        let options = admin::Options {
            token,
            hosts: settings.admin_host.unwrap_or_default(),
            gateway: gateway.local_addr(),
            log: Arc::new(journal),
            reload: Some(reloader.clone()),
            tls: admin_tls.clone(),
        };

        if self.until_stdin_ends {
            drain_when_stdin_ends(control.clone())?;
        }
        let listening: Vec<String> = gateway.listeners().iter().map(listener_line).collect();
        let others: Vec<SocketAddr> = gateway.listeners().iter().map(|listener| listener.address).collect();
        let page = admin.as_ref().map(Admin::local_addr);
        // It says by /readyz that the gateway does not run yet.
        let answering = admin
            .map(|admin| admin.start(control.clone(), options))
            .transpose()
            .map_err(|why| failed(format!("cannot start the admin server: {why}: raise ulimit -u")))?;

        let reporting = patrol.map(|every| periodic_report::start(control.clone(), every));
        let reporting = reporting
            .transpose()
            .map_err(|why| failed(format!("cannot start the periodic report: {why}: raise ulimit -u")))?;
        let address = gateway.local_addr();
        let mut printed = Ok(());
        let say = || {
            log::info!("{started}");
            for line in &listening {
                log::info!("{line}");
            }
            log::info!("{}", limits_line(workers, &config));
            if let Some(page) = page {
                let scheme = if admin_tls.is_some() { "https" } else { "http" };
                log::info!("the page, metrics and ctl on {scheme}://{page}/");
            }
            if self.until_stdin_ends {
                let all = std::iter::once(&address).chain(&others).map(|address| format!("{address}\n"));
                printed = print(&all.collect::<String>());
            }
        };
        reloader.watch()?;
        starting.end();
        let ledger = gateway.run_and(say).map_err(|why| match why.kind() {
            ErrorKind::InvalidInput => Failure::usage(why.to_string()),
            ErrorKind::AddrInUse => {
                Failure::usage(format!("{why}: stop the other program or choose another address"))
            }
            _ => failed(format!("the gateway stopped: {why}")),
        })?;
        drop((answering, reporting));
        printed?;
        final_ledger.print_once(&ledger)?;
        let Some(left) = ledger.left_by_drain() else { return Ok(Exit::Done) };
        log::error!("--drain {} was over: {left}; give it longer", super::Time(config.drain));
        Ok(Exit::Partly)
    }
}

fn drain_when_stdin_ends(control: Control) -> Result<(), Failure> {
    let wait = move || {
        // An error ends it as well.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        control.drain();
    };
    spawn("stdin", wait)
}

/// Raises the limit of open files as far as the system lets us, and leaves some for everything
/// that is not a connection.
fn connections_that_fit() -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|why| {
        log::warn!("cannot raise the limit of open files: {why}");
        // POSIX promises no more than this where the limit cannot even be read.
        rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(256, |(soft, _)| soft)
    });
    usize::try_from(files.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MOST)
}

fn failed(message: String) -> Failure {
    Failure { exit: Exit::Partly, message }
}

/// An address of this gateway, and the option that said it.
type Own = (&'static str, SocketAddr);

/// Whether who listens at one address leaves none for the other.
fn is_same(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    // A port that the system chooses is another each time.
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
}

/// A name may stand for several addresses: the first one that works is it. `option` is where the
/// name was given, `own` is where the gateway listens already.
fn bind<T>(
    option: &str,
    name: &str,
    own: &[Own],
    mut listen: impl FnMut(SocketAddr) -> io::Result<T>,
) -> Result<T, Failure> {
    let addresses: Vec<SocketAddr> =
        name.to_socket_addrs().map_err(|why| no_address(option, name, &why))?.collect();
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in &addresses {
        // What is only reserved would not be in use yet.
        if own.iter().any(|(_, own)| is_same(*own, *address)) {
            last = ErrorKind::AddrInUse.into();
            continue;
        }
        match listen(*address) {
            Ok(bound) => return Ok(bound),
            Err(why) => last = why,
        }
    }
    Err(Failure::usage(match last.kind() {
        ErrorKind::AddrInUse => {
            match own.iter().find(|(_, own)| addresses.iter().any(|of| is_same(*own, *of))) {
                Some((other, own)) => format!(
                    "{name} is already in use by {other} {own} of this gateway: give one of them another address"
                ),
                None => in_use(option, name),
            }
        }
        ErrorKind::AddrNotAvailable => {
            format!("{name} is no address of this machine: choose another {option}")
        }
        ErrorKind::PermissionDenied => {
            format!("{name} may not be opened by this user: choose a port from 1024 on with {option}")
        }
        ErrorKind::InvalidInput => last.to_string(),
        _ => format!("cannot listen on {name}: {last}: choose another {option}"),
    }))
}

/// Whether all listeners could be opened, as far as that can be known without opening them.
fn check_listeners(settings: &Settings, file: Option<&Path>, mut config: Config) -> Result<(), Failure> {
    let known = |option: &str, name: &str| match name.to_socket_addrs() {
        Ok(mut addresses) => addresses.next().ok_or_else(|| {
            no_address(option, name, &io::Error::new(ErrorKind::NotFound, "the name has no address"))
        }),
        Err(why) => Err(no_address(option, name, &why)),
    };
    let first = known("--listen", settings.listen.as_deref().unwrap_or(LISTEN))?;
    match settings.admin.as_deref().unwrap_or(ADMIN) {
        off if off.eq_ignore_ascii_case("off") => {}
        address => drop(known("--admin", address)?),
    }
    let own = listen_also(settings, file, first, |option, name, wanted, own| {
        let address = bind(option, name, own, Ok)?;
        wanted.tls.as_ref().map(TlsPaths::load).transpose()?;
        config.listeners.push(Listener { address, layout: wanted.layout, tls: None });
        config.check().map_err(Failure::usage)?;
        Ok(address)
    });
    own.map(|_| ())
}

/// What is to be spoken at a listener.
struct Wanted {
    layout: Option<Arc<Layout>>,
    tls: Option<TlsPaths>,
}

/// Opens the listeners beside the first: each by the option that names it, its address, what is spoken there, and where the
/// gateway listens already.
fn listen_also(
    settings: &Settings,
    config: Option<&Path>,
    first: SocketAddr,
    mut open: impl FnMut(&str, &str, Wanted, &[Own]) -> Result<SocketAddr, Failure>,
) -> Result<Vec<Own>, Failure> {
    let option = "--listen-layout";
    let mut own: Vec<Own> = vec![("--listen", first)];
    if let Some(address) = &settings.listen_tls {
        let bound =
            open("--listen-tls", address, Wanted { layout: None, tls: TlsPaths::of(settings)? }, &own)?;
        own.push(("--listen-tls", bound));
    }
    // Whether or not they are used: a mistake in them is said when they are loaded.
    let loaded = layouts::load(settings.layouts.as_deref().unwrap_or_default(), config)?;
    let mut used = Vec::new();
    for given in settings.listen_layout.iter().flatten() {
        let Some((name, address)) = given.split_once('=') else {
            return Err(Failure::usage(format!("{option} {given}: write it as gt06=0.0.0.0:5023")));
        };
        let layout = match name {
            "native" => None,
            name => Some(layouts::find(&loaded.layouts, name).map_err(|wrong| Failure {
                message: format!("{option} {given}: {}", wrong.message),
                ..wrong
            })?),
        };
        let bound = open(option, address, Wanted { layout, tls: None }, &own)?;
        own.push((option, bound));
        used.push(name);
    }
    let of_file = config.zip(settings.listener.as_deref());
    for (file, listener) in of_file.iter().flat_map(|(file, all)| all.iter().map(move |of| (*file, of))) {
        let layout = listener.layout(file, &loaded.layouts)?;
        let option = if listener.key == "listener" { "address" } else { listener.key };
        let tls = listener.tls(file);
        // What is wrong with its files says where they are named.
        let (is_secure, wanted) = (tls.is_some(), Wanted { layout, tls });
        let bound = open(option, &listener.address, wanted, &own).map_err(|wrong| {
            if is_secure && wrong.message.contains("listener: ") {
                return wrong;
            }
            listener.wrong_address(file, wrong)
        })?;
        own.push((if listener.key == "listener" { "[[listener]]" } else { "listen-layout" }, bound));
        used.push(&listener.layout);
    }
    used.retain(|name| *name != "native");
    loaded.warn(&used);
    Ok(own)
}

fn listener_line(listener: &Listener) -> String {
    let tls = if listener.tls.is_some() { " through TLS" } else { "" };
    match &listener.layout {
        Some(layout) => format!("listening for layout {} on {}{tls}", layout.name(), listener.address),
        None => format!("listening for native frames on {}{tls}", listener.address),
    }
}

fn in_use(option: &str, name: &str) -> String {
    let off = if option == "--admin" { ", or --admin off" } else { "" };
    format!("{name} is already in use: stop the other program or choose another {option}{off}")
}

fn no_address(option: &str, name: &str, why: &io::Error) -> Failure {
    let why = match why.kind() {
        ErrorKind::InvalidInput => "not of the form HOST:PORT".to_string(),
        _ => why.to_string(),
    };
    let example = match option {
        "--admin" => ADMIN,
        "--listen-layout" | "listen-layout" => "gt06=0.0.0.0:5023",
        "address" => "0.0.0.0:5027",
        _ => LISTEN,
    };
    Failure::usage(format!("{option} {name}: {why}: write it as {example}"))
}

/// What the window holds: it is bounded in digests as well as in time.
fn dedup_line(config: &Config) -> Option<String> {
    let (window, most) = (config.dedup?, config.digests_max()?);
    let rate = most as f64 / window.as_secs_f64().max(1e-3);
    Some(format!(
        "dedup {}: up to {most} digests are remembered (1/8 of --memory); at more than {rate:.0} frames a second the \
         oldest are forgotten earlier",
        super::Time(window)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_bound_says_the_mend() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().unwrap().to_string();
        let try_to = |option, name| {
            bind(option, name, &[], |address| Gateway::bind(address, 1, Config::default())).err().unwrap()
        };
        let failure = try_to("--admin", &taken);
        assert!(failure.message.ends_with("choose another --admin, or --admin off"), "{failure}");
        for (listen, parts) in [
            (taken.as_str(), &["already in use", "choose another --listen"][..]),
            ("7450", &["HOST:PORT", "127.0.0.1:7450"]),
            ("192.0.2.1:7450", &["no address of this machine"]),
        ] {
            let failure = try_to("--listen", listen);
            assert_eq!(failure.exit, Exit::Usage);
            for part in parts {
                assert!(failure.message.contains(part), "{failure}");
            }
        }
    }

    #[test]
    fn an_address_that_is_the_gateways_own_is_blamed_on_nobody_else() {
        let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), 1, Config::default()).unwrap();
        let address = gateway.local_addr();
        let own = [("--listen", address)];
        let try_to = |name: &str| {
            bind("--listen-layout", name, &own, |address| Gateway::bind(address, 1, Config::default()))
        };
        let all = format!("0.0.0.0:{}", address.port());
        for name in [address.to_string(), all] {
            let failure = try_to(&name).err().unwrap();
            let expected = format!(
                "{name} is already in use by --listen {address} of this gateway: give one of them another address"
            );
            assert_eq!(failure.message, expected);
        }
    }

    #[test]
    fn what_the_deduplication_window_holds_is_said() {
        let config = Config { dedup: Some(std::time::Duration::from_secs(3600)), ..Config::default() };
        let line = dedup_line(&config).unwrap();
        let holds = "dedup 1h: up to 299593 digests are remembered (1/8 of --memory); at more than 83 frames a second";
        assert!(line.starts_with(holds), "{line}");
        assert_eq!(dedup_line(&Config::default()), None);
    }
}
