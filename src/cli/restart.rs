//! What a gateway was started with and does not read again: a reload says what of it has changed.

use std::fs;
use std::path::{Path, PathBuf};

use super::Failure;
use super::settings::Settings;

/// The configuration file, and the files that are read at the start alone, as they were.
#[derive(Debug, Default)]
pub struct Started {
    file: Option<(PathBuf, Settings, Option<toml::Value>)>,
    /// Others, by the options that name them.
    others: Vec<(&'static str, PathBuf, Option<Vec<u8>>)>,
}

impl Started {
    /// As they are now: of the file of --config with what it says, and of the settings as they are together.
    pub fn now(file: Option<(&Path, Settings)>, settings: &Settings) -> Started {
        let of_one = |name, path: &Option<PathBuf>| {
            path.as_ref().map(|path| (name, path.clone(), fs::read(path).ok()))
        };
        let layouts =
            settings.layouts.iter().flatten().map(|path| ("layouts", path.clone(), fs::read(path).ok()));
        let others = of_one("secret-file", &settings.secret_file)
            .into_iter()
            .chain(of_one("admin-token-file", &settings.admin_token_file))
            .chain(layouts)
            .collect();
        let file = file.map(|(path, settings)| (path.to_path_buf(), settings, layouts_of(path)));
        Started { file, others }
    }

    /// Whether there is a configuration file.
    pub fn is_of_file(&self) -> bool {
        self.file.is_some()
    }

    /// The names of what has changed since and needs a restart.
    ///
    /// # Errors
    /// Where the file is wrong: a restart would fail.
    pub fn changed(&self) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        if let Some((path, before, layouts)) = &self.file {
            let now = Settings::from_file(path)?;
            names = now.differing(before);
            if layouts_of(path) != *layouts {
                names.push("layout".into());
            }
        }
        for (name, path, before) in &self.others {
            if fs::read(path).ok() != *before && !names.iter().any(|known| known == name) {
                names.push((*name).into());
            }
        }
        Ok(names)
    }
}

/// The layouts that a configuration file declares.
fn layouts_of(path: &Path) -> Option<toml::Value> {
    let text = fs::read_to_string(path).ok()?;
    text.parse::<toml::Table>().ok()?.get("layout").cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (path, secret) = (folder.path().join("gateway.toml"), folder.path().join("secret"));
        let layout = "[layout.a]\ntopic = \"a\"\n";
        let text = format!("memory = \"64MiB\"\nsecret-file = \"secret\"\n{layout}");
        fs::write(&path, &text).unwrap();
        fs::write(&secret, "a secret of some length").unwrap();
        let settings = Settings::from_file(&path).unwrap();
        let started = Started::now(Some((&path, settings.clone())), &settings);
        assert_eq!(started.changed().unwrap(), Vec::<String>::new());
        fs::write(
            &path,
            text.replace("64MiB", "128MiB").replace("\"a\"", "\"b\"") + "\n[[listener]]\naddress = \"x:1\"\n",
        )
        .unwrap();
        fs::write(&secret, "another secret").unwrap();
        assert_eq!(started.changed().unwrap(), ["listener", "memory", "layout", "secret-file"]);
        fs::write(&path, "memroy = 1").unwrap();
        let wrong = started.changed().unwrap_err();
        assert!(wrong.message.contains("line 1"), "{wrong}");
    }
}
