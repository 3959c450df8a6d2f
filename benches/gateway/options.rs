//! What to measure, from the arguments.

use std::time::Duration;

use crate::scenarios::{SCENARIOS, Scenario};
use crate::variants::{VARIANTS, Variant};

/// The arguments, with everything chosen that was not given.
pub struct Options {
    pub rounds: usize,
    /// How long each run is measured.
    pub window: Duration,
    pub scenarios: Vec<&'static Scenario>,
    pub variants: Vec<&'static Variant>,
}

impl Options {
    /// Says what is wrong, and what could be given.
    pub fn parse(words: &[&str]) -> Result<Options, String> {
        let mut options = Options {
            rounds: 3,
            window: Duration::from_secs(2),
            scenarios: SCENARIOS.iter().collect(),
            variants: VARIANTS.iter().collect(),
        };
        let mut words = words.iter().filter(|word| **word != "--bench");
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match *word {
                "--rounds" => {
                    options.rounds = value()?.parse().map_err(|_| "--rounds needs a whole number")?;
                }
                "--seconds" => {
                    let seconds = value()?.parse().map_err(|_| "--seconds needs a number")?;
                    options.window = Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
                }
                "--scenario" => options.scenarios = choose(value()?, &SCENARIOS, |one| one.name)?,
                "--variant" => options.variants = choose(value()?, &VARIANTS, |one| one.name)?,
                _ => return Err(format!("{word}? Give --rounds, --seconds, --scenario or --variant")),
            }
        }
        Ok(options)
    }
}

/// Those that are named in a list with commas; a name that ends in `...` stands for all that begin so.
fn choose<T>(list: &str, all: &'static [T], name: fn(&T) -> &'static str) -> Result<Vec<&'static T>, String> {
    let mut chosen = Vec::new();
    for wanted in list.split(',') {
        let before = chosen.len();
        chosen.extend(all.iter().filter(|one| match wanted.strip_suffix("...") {
            Some(beginning) => name(one).starts_with(beginning),
            None => name(one) == wanted,
        }));
        if chosen.len() == before {
            let names: Vec<_> = all.iter().map(name).collect();
            return Err(format!("{wanted}? There are {}", names.join(", ")));
        }
    }
    Ok(chosen)
}
