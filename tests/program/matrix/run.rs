//! Runs a world, and writes down what was seen of it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use super::gateway::Gateway;
use super::options::{Steer, chance};
use super::stores::{self, HttpStore};
use super::story::{Line, Phase, Story};
use super::support::PATIENCE;
use super::wire::Digest;
use super::world::{Again, Ending, LinePlan, PhasePlan, World, ping, writes};
use super::{publishers, subscribers};

/// Runs everything in a folder, where the logs and the store stay.
pub fn run(world: &World, folder: &Path) -> Story {
    let mut story = Story { secret: world.secret.clone(), ..Story::default() };
    if let Some(secret) = &world.secret {
        fs::write(folder.join("secret"), secret).expect("a file");
    }
    fs::write(folder.join("handler.py"), include_str!("handler.py")).expect("a file");
    let doors = world.phases.iter().filter_map(|plan| Some(plan.options.http.as_ref()?.doors)).next();
    let mut http = HttpStore::start(doors.unwrap_or(usize::MAX));
    let rng = &mut Rng::with_seed(world.seed ^ 0x5eed);
    for plan in &world.phases {
        let mut lines = match plan.sends_again {
            Some(again) => sent_again(&story, again, rng),
            None => Vec::new(),
        };
        lines.extend(plan.lines.iter().cloned());
        let phase = live(world, plan, &lines, folder, &http.url(), &mut story.trouble);
        story.phases.push(Phase { posts: http.posts(), ..phase });
        if !story.trouble.is_empty() {
            return story;
        }
    }
    if world.phases.iter().any(|plan| plan.options.store.is_some()) {
        let secret_file = world.secret.as_ref().map(|_| folder.join("secret"));
        story.stored =
            Some(stores::read(&folder.join("store"), world.secret.as_deref(), secret_file.as_deref()));
    }
    story
}

/// The command line of a phase's gateway.
pub fn args(world: &World, plan: &PhasePlan, folder: &Path, url: &str) -> Vec<String> {
    plan.options.args(folder, Some(url), world.secret.is_some())
}

/// The same settings in a file, and what is left of the command line.
fn in_file(args: &[String], file: &Path) -> Vec<String> {
    let mut text = String::new();
    let mut left = vec!["--config".to_owned(), file.display().to_string()];
    let mut args = args.iter().peekable();
    while let Some(name) = args.next() {
        let value = args.next_if(|value| !value.starts_with("--"));
        match (name.as_str(), value) {
            ("--json", _) => left.push(name.clone()),
            (_, None) => text += &format!("{} = true\n", &name[2..]),
            (_, Some(value)) if value.parse::<u64>().is_ok() => {
                text += &format!("{} = {value}\n", &name[2..])
            }
            (_, Some(value)) => text += &format!("{} = {value:?}\n", &name[2..]),
        }
    }
    fs::write(file, text).expect("a file");
    left
}

/// One life of the gateway.
fn live(
    world: &World,
    plan: &PhasePlan,
    lines: &[LinePlan],
    folder: &Path,
    url: &str,
    trouble: &mut Vec<String>,
) -> Phase {
    let secret = world.secret.as_deref();
    let log = folder.join("gateway.log");
    let logged = fs::read_to_string(&log).map_or(0, |text| text.len());
    let mut args = args(world, plan, folder, url);
    if plan.options.is_in_file {
        args = in_file(&args, &folder.join("gateway.toml"));
    }
    let mut gateway = Gateway::start(&args, &log);
    let address = gateway.address;
    let memory = plan.steering.iter().filter_map(memory_of).fold(plan.options.memory, usize::max);
    let mut phase = Phase {
        options: plan.options.clone(),
        killed: plan.killed_after.is_some(),
        cut_short: plan.ended_after.is_some(),
        lines: Vec::new(),
        watchers: Vec::new(),
        posts: Vec::new(),
        ledger: None,
        exit: None,
        resident: 0,
        memory,
        log: String::new(),
    };
    thread::scope(|scope| {
        let watchers: Vec<_> = plan
            .watchers
            .iter()
            .map(|patterns| subscribers::start(scope, address, patterns, secret))
            .collect();
        let everything = [">".to_owned()];
        let frozen: Vec<_> =
            (0..plan.options.frozen).map(|_| subscribers::subscribed(address, &everything, secret)).collect();
        let (done, all_done) = channel::<()>();
        let began = Instant::now();
        let publishers: Vec<_> = lines
            .iter()
            .map(|line| {
                let done = done.clone();
                scope.spawn(move || publishers::run(address, line, secret, done))
            })
            .collect();
        drop(done);
        let admin = gateway.admin().to_owned();
        let steering = scope.spawn(move || steer(&admin, &plan.steering));
        match plan.killed_after {
            Some(after) => {
                thread::sleep(after.saturating_sub(began.elapsed()));
                gateway.kill();
                phase.resident = gateway.resident();
                let _ = steering.join().expect("it only asks");
            }
            None => {
                trouble.extend(steering.join().expect("it only asks"));
                // Nothing is ever sent: each line lets go of its end when all that it sent has taken effect.
                if let Some(after) = plan.ended_after {
                    thread::sleep(after.saturating_sub(began.elapsed()));
                } else if all_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    let (_, said) = Gateway::ctl(gateway.admin(), &["status".into()]);
                    trouble.push(format!("nothing goes on: {said}"));
                }
                // What they did not take would be waited for.
                drop(frozen);
                match plan.drains_by_ctl {
                    true => trouble.extend(asked(gateway.admin(), &["drain".into()])),
                    false => gateway.terminate(),
                }
            }
        }
        phase.lines = publishers.into_iter().map(|line| line.join().expect("no panic")).collect();
        phase.watchers = watchers.into_iter().map(|watcher| watcher.join().expect("no panic")).collect();
    });
    if plan.killed_after.is_none() {
        phase.resident = gateway.resident();
        (phase.exit, phase.ledger) = gateway.end();
    }
    phase.log = fs::read_to_string(&log).expect("a log").split_off(logged);
    phase
}

/// What was said where it was not taken.
fn steer(admin: &str, steering: &[Steer]) -> Vec<String> {
    let mut trouble = Vec::new();
    for Steer { after, words } in steering {
        thread::sleep(*after);
        trouble.extend(asked(admin, words));
    }
    trouble
}

/// What is said where it is not taken.
fn asked(admin: &str, words: &[String]) -> Option<String> {
    let (code, said) = Gateway::ctl(admin, words);
    // What would leave no room for what is needed is refused, as at the start.
    let is_refused = words[0] == "set" && said.contains(" is too little for ");
    (code != 0 && !is_refused).then(|| format!("ctl {}: exit {code}: {said}", words.join(" ")))
}

fn memory_of(steer: &Steer) -> Option<usize> {
    steer.words.strip_prefix(&["set".to_owned(), "memory".to_owned()])?.first()?.parse().ok()
}

/// What was not answered so far is sent again, each connection's in its order; and some of what was.
fn sent_again(story: &Story, again: Again, rng: &mut Rng) -> Vec<LinePlan> {
    let lines: Vec<&Line> = story.phases.iter().flat_map(|phase| &phase.lines).collect();
    let told: HashSet<u64> = lines.iter().flat_map(|line| &line.replies).map(|reply| reply.id).collect();
    // A message is sent again as a whole, unless each of its fragments was answered.
    let parts = lines.iter().flat_map(|line| &line.items).filter_map(|item| Some((item.message()?, item)));
    let open: HashSet<Digest> = parts
        .filter(|(_, item)| !item.want || !told.contains(&item.id))
        .map(|(message, _)| message)
        .collect();
    let mut sent = HashSet::new();
    let mut plans = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        let mut items = Vec::new();
        for item in line.items.iter().filter(|item| item.is_copyable()) {
            let sends = match item.message() {
                Some(message) => open.contains(&message),
                None if item.want && !told.contains(&item.id) => true,
                // Whoever did not ask cannot know.
                None => chance(rng, if item.want || line.is_complete { again.told } else { 50 }),
            };
            if sends && sent.insert(item.digest) {
                items.push(item.clone());
            }
        }
        if items.is_empty() {
            continue;
        }
        items.push(Arc::new(ping(u64::MAX / 2 + at as u64, story.secret.as_deref())));
        plans.push(LinePlan { writes: writes(rng, items.len()), items, ending: Ending::HalfClose });
    }
    plans
}
