//! Archives that others made, as `post` reads them.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

use framegate::tools::records::{Flaw, Found, Walk};

/// Runs a script in `folder`; false where there is no Python. In CI there must be.
fn python(folder: &Path, script: &str) -> bool {
    match Command::new("python3").arg("-c").arg(script).current_dir(folder).stdin(Stdio::null()).status() {
        Ok(status) => {
            assert!(status.success(), "the script fails");
            true
        }
        Err(why) => {
            assert!(std::env::var_os("FRAMEGATE_TOOLS_REQUIRED").is_none(), "python3: {why}");
            println!("there is no python3 here: nothing was tried");
            false
        }
    }
}

type All = Vec<(String, Result<Vec<u8>, Flaw>)>;

fn records(path: &Path) -> (All, Result<(), String>) {
    let mut all = Vec::new();
    let walked = Walk::new(None, 1 << 20).file(path, &mut |name, found| {
        match found {
            Found::Record(_, body) => all.push((name.to_owned(), Ok(body))),
            Found::Flawed(flaw) => all.push((name.to_owned(), Err(flaw))),
            Found::LeftOut(_) => {}
        }
        ControlFlow::Continue(())
    });
    (all, walked.map(drop).map_err(|why| why.to_string()))
}

#[test]
fn a_zip_of_more_entries_and_sizes_than_it_was_made_for() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
import zipfile
with zipfile.ZipFile("many.zip", "w") as z:
    for n in range(70_000):
        z.writestr(f"{n}.json", '{"n":%d}' % n)
with zipfile.ZipFile("large.zip", "w", zipfile.ZIP_DEFLATED) as z:
    for n in range(3):
        with z.open(f"{n}", "w", force_zip64=True) as f:
            f.write(b"body %d" % n)
"#;
    if !python(folder.path(), script) {
        return;
    }
    let (all, end) = records(&folder.path().join("many.zip"));
    assert_eq!((all.len(), end), (70_000, Ok(())));
    for (n, (name, body)) in all.iter().enumerate() {
        assert_eq!((name, body.as_deref()), (&format!("{n}.json"), Ok(format!("{{\"n\":{n}}}").as_bytes())));
    }
    let (all, end) = records(&folder.path().join("large.zip"));
    assert_eq!((all.len(), end), (3, Ok(())));
    assert_eq!(all[2], ("2".to_owned(), Ok(b"body 2".to_vec())));
}

#[test]
fn a_tar_with_long_names_and_one_with_headers_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
import io, tarfile
def tar(name, format, packed, headers):
    with tarfile.open(name, "w:gz" if packed else "w", format=format) as t:
        for n in range(3):
            info = tarfile.TarInfo("folder/" * 50 + f"{n}")
            info.size = 6
            if n == 1:
                info.pax_headers = headers
            t.addfile(info, io.BytesIO(b"body %d" % n))
tar("pax.tar", tarfile.PAX_FORMAT, False, {"comment": "x" * 100_000})
tar("gnu.tar", tarfile.GNU_FORMAT, False, {})
tar("pax.tar.gz", tarfile.PAX_FORMAT, True, {})
tar("bomb.tar.gz", tarfile.PAX_FORMAT, True, {"comment": "x" * 200_000_000})
"#;
    if !python(folder.path(), script) {
        return;
    }
    for name in ["pax.tar", "gnu.tar", "pax.tar.gz"] {
        let (all, end) = records(&folder.path().join(name));
        assert_eq!((all.len(), end), (3, Ok(())), "{name}");
        for (n, (record, body)) in all.iter().enumerate() {
            assert_eq!(record, &format!("{}{n}", "folder/".repeat(50)));
            assert_eq!(body.as_deref(), Ok(format!("body {n}").as_bytes()));
        }
    }
    // What is before them is read, and nothing is held of what they go on with.
    let (all, end) = records(&folder.path().join("bomb.tar.gz"));
    assert_eq!(all.len(), 1);
    let why = end.unwrap_err();
    assert!(why.contains("a file has more than 1048576 bytes of headers"), "{why}");
    assert!(fs::metadata(folder.path().join("bomb.tar.gz")).unwrap().len() < 1 << 20);
}
