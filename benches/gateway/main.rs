//! The same job by Framegate and by the best tokio programs that we can write, side by side.
//!
//! `cargo bench --bench gateway` runs everything; after `--`, `--scenario`, `--variant`, `--rounds`
//! and `--seconds` choose. This program runs itself again as the gateway and as the load, so that
//! the gateway's processor time and memory are its own. Without cargo's `--bench`, as in
//! `cargo test --benches`, only the check of every variant runs.

mod check;
mod hub;
mod load;
mod options;
mod plot;
mod process;
mod reading;
mod report;
mod scenarios;
mod targets;
mod variants;
mod wire;

use options::Options;
use variants::{VARIANTS, Variant};

/// The program's own, for all variants; without the feature they have the system's.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["gateway", name, ref slow @ ..] => {
            let variant = Variant::find(name).expect("the controller knows its variants");
            variant.run(slow.first().copied());
        }
        ["load", job] => load::run(job),
        ref words if !words.contains(&"--bench") => check_all(&VARIANTS.iter().collect::<Vec<_>>()),
        ref words => match Options::parse(words) {
            Ok(options) => bench(&options),
            Err(message) => {
                eprintln!("{message}");
                std::process::exit(2);
            }
        },
    }
}

fn bench(options: &Options) {
    println!("{}\n", process::machine());
    check_all(&options.variants);
    let runs = scenarios::run(options);
    report::print(&runs);
    targets::print(&runs);
    report::write(&runs, options);
}

/// Nothing is measured that is not right.
fn check_all(variants: &[&'static Variant]) {
    for variant in variants {
        let gateway = process::Gateway::start(variant, None);
        let frames = check::check(gateway.address, variant.verifies);
        println!("check {:22} {frames} frames: complete, in order, digests right", variant.name);
    }
    println!();
}
