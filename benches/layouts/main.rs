//! What frames of layouts cost beside native ones: `framegate bench frames` with a gateway of its own, native and with a
//! layout by turns, since what else runs on a machine changes within minutes.
//!
//! `cargo bench --bench layouts` runs everything; after `--`, `--scenario`, `--rounds` and `--seconds` choose. Without
//! cargo's `--bench`, as in `cargo test --benches`, each scenario runs once, for as long as it takes to see that it does.

use std::fs;
use std::process::{Command, ExitCode};

use framegate::core::units::grouped;
use serde_json::Value;

/// Six lines of someone else: what most devices send is about this.
const CRC16: &str = "[layout.crc16]\ntopic = \"crc16\"\nlength = \"u16 @ 0\"\ncounts = \"2..-2\"\n\
                     check = { is = \"crc-16/arc\", over = \"0..-2\", at = \"u16 @ -2\" }\n";

/// What is compared, and with what.
struct Scenario {
    name: &'static str,
    /// Options of the variant, and of the native one.
    layout: &'static [&'static str],
    native: &'static [&'static str],
    /// Whether the layout is declared here, and does not come with the program.
    declares: bool,
    figures: &'static [Figure],
}

/// A figure of one run, and what it is to be.
struct Figure {
    name: &'static str,
    of: fn(&Value) -> f64,
    aim: Aim,
}

enum Aim {
    /// Of the native one, at least or at most so much.
    LeastRatio(f64),
    MostRatio(f64),
    /// Alone.
    Least(f64),
    /// To be read.
    None,
}

const RATE: fn(&Value) -> f64 = |report| number(report, &["frames", "sent_per_s"]);
const CPU: fn(&Value) -> f64 = |report| {
    let frames = RATE(report) * number(report, &["seconds"]);
    number(report, &["gateway_spent", "cpu_s"]) * 1e6 / frames
};
const MEMORY: fn(&Value) -> f64 =
    |report| number(report, &["gateway_spent", "rss_bytes"]) / f64::from(1 << 20);

const SCENARIOS: [Scenario; 4] = [
    // 256 bytes between their length and their digest, as a native frame has them between its header and its own.
    Scenario {
        name: "generic-256",
        layout: &["--layout", "generic-sha256", "--payload", "292"],
        native: &["--payload", "256"],
        declares: false,
        figures: &[
            Figure { name: "frames/s", of: RATE, aim: Aim::LeastRatio(0.6) },
            Figure { name: "CPU a frame, µs", of: CPU, aim: Aim::MostRatio(1.8) },
        ],
    },
    Scenario {
        name: "crc16-100",
        layout: &["--layout", "crc16", "--payload", "100"],
        native: &["--payload", "100"],
        declares: true,
        figures: &[
            Figure { name: "frames/s", of: RATE, aim: Aim::Least(1.5e6) },
            Figure { name: "CPU a frame, µs", of: CPU, aim: Aim::None },
        ],
    },
    // Each is answered.
    Scenario {
        name: "gt06-100",
        layout: &["--layout", "gt06", "--payload", "100"],
        native: &["--payload", "100"],
        declares: false,
        figures: &[
            Figure { name: "frames/s", of: RATE, aim: Aim::None },
            Figure { name: "CPU a frame, µs", of: CPU, aim: Aim::None },
        ],
    },
    // They have logged in, and their identity is kept.
    Scenario {
        name: "idle-10000",
        layout: &["--layout", "gt06", "--publishers", "0", "--subscribers", "0", "--idle", "10000"],
        native: &["--publishers", "0", "--subscribers", "0", "--idle", "10000"],
        declares: false,
        figures: &[Figure { name: "memory, MiB", of: MEMORY, aim: Aim::MostRatio(1.1) }],
    },
];

struct Options {
    scenarios: Vec<&'static Scenario>,
    rounds: usize,
    seconds: String,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&words) {
        Ok(options) => run(&options),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

impl Options {
    fn parse(words: &[String]) -> Result<Options, String> {
        let is_bench = words.iter().any(|word| word == "--bench");
        let (rounds, seconds) = if is_bench { (5, "3") } else { (1, "0.2") };
        let mut options = Options { scenarios: SCENARIOS.iter().collect(), rounds, seconds: seconds.into() };
        let mut words = words.iter().filter(|word| *word != "--bench");
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => {
                    options.rounds = value()?.parse().map_err(|_| "--rounds needs a whole number")?
                }
                "--seconds" => options.seconds = value()?.clone(),
                "--scenario" => {
                    let name = value()?;
                    options.scenarios = SCENARIOS.iter().filter(|one| one.name == name).collect();
                    if options.scenarios.is_empty() {
                        let names: Vec<_> = SCENARIOS.iter().map(|one| one.name).collect();
                        return Err(format!("{name}? There are {}", names.join(", ")));
                    }
                }
                _ => return Err(format!("{word}? Give --scenario, --rounds or --seconds")),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder for the declaration");
    let declared = folder.path().join("crc16.toml");
    fs::write(&declared, CRC16).expect("it is written");
    let declared = declared.to_str().expect("a path is text");
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}, {}", load.split(' ').next().unwrap_or("unknown"), framegate::wire::implementation());
    println!(
        "\n| scenario | figure | layout | native | × | aim | |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    for scenario in &options.scenarios {
        let mut pairs = Vec::new();
        for _ in 0..options.rounds {
            let measure = |args: &[&str]| measure(options, args);
            let native = measure(scenario.native);
            let layouts: &[&str] = if scenario.declares { &["--layouts", declared] } else { &[] };
            pairs.push((measure(&[scenario.layout, layouts].concat()), native));
        }
        scenario.figures.iter().for_each(|figure| figure.print(scenario.name, &pairs));
    }
    ExitCode::SUCCESS
}

/// The report of one run, which is right or no figure at all.
fn measure(options: &Options, args: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_framegate"));
    command
        .args(["bench", "frames", "--json", "-q", "--duration", &format!("{}s", options.seconds)])
        .args(args);
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}\n{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("--json is JSON")
}

impl Figure {
    fn print(&self, scenario: &str, pairs: &[(Value, Value)]) {
        let all: Vec<[f64; 3]> = pairs
            .iter()
            .map(|(layout, native)| [(self.of)(layout), (self.of)(native)])
            .map(|[layout, native]| [layout, native, layout / native])
            .collect();
        // The ratio is that of neighbours: each pair saw the same load.
        let [layout, native, ratio] = [0, 1, 2].map(|at| median(all.iter().map(|of| of[at]).collect()));
        let (aim, is_met) = match self.aim {
            Aim::LeastRatio(least) => (format!("≥ {least} ×"), ratio >= least),
            Aim::MostRatio(most) => (format!("≤ {most} ×"), ratio <= most),
            Aim::Least(least) => (format!("≥ {}", shown(least)), layout >= least),
            Aim::None => (String::new(), true),
        };
        let verdict = match (aim.is_empty(), is_met) {
            (true, _) => "",
            (_, true) => "met",
            _ => "missed",
        };
        let name = self.name;
        let [layout, native] = [layout, native].map(shown);
        println!("| {scenario} | {name} | {layout} | {native} | {ratio:.2} | {aim} | {verdict} |");
    }
}

fn shown(value: f64) -> String {
    if value < 1000.0 { format!("{value:.2}") } else { grouped(value as u64) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(report: &Value, path: &[&str]) -> f64 {
    let found = path.iter().fold(report, |value, key| &value[key]);
    found.as_f64().unwrap_or(f64::NAN)
}
