use super::*;

fn identity() -> Identity {
    Identity { source: "a.zip".into(), url: "http://h/".into(), record: "file".into() }
}

fn key(n: u32) -> Key {
    Key::of("a.zip", &n.to_string(), b"")
}

fn reason() -> Reason {
    Reason { kind: "422 No".into(), status: Some(422), text: "422 No: \"ü\" and 1 f00f".into() }
}

#[test]
fn outcomes_come_back_and_the_last_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j");
    let (mut journal, known) = Journal::open(&path, &identity()).unwrap();
    assert_eq!(known.outcome(&key(1)).unwrap(), None);
    journal.stored(&key(1));
    journal.failed(&key(2), 4, &reason());
    journal.failed(&key(3), 1, &Reason::of("timed out", "no answer"));
    journal.stored(&key(3));
    assert!(journal.to_sync().is_some(), "the header is written");
    journal.finish().unwrap();
    let busy = Journal::open(&path, &identity()).unwrap_err();
    assert!(matches!(&busy, JournalError::Busy(why) if why.contains("wait for it")), "{busy:?}");
    drop((journal, known));

    let (journal, known) = Journal::open(&path, &identity()).unwrap();
    assert_eq!(known.outcome(&key(1)).unwrap(), Some(Outcome::Stored));
    assert_eq!(known.outcome(&key(2)).unwrap(), Some(Outcome::Failed(4, reason())));
    assert_eq!(known.outcome(&key(3)).unwrap(), Some(Outcome::Stored));
    assert_eq!(known.outcome(&key(4)).unwrap(), None);
    drop((journal, known));
    let other = Identity { url: "http://other/".into(), ..identity() };
    assert!(matches!(Journal::open(&path, &other), Err(JournalError::Unfit(_))));
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j");
    let (mut journal, known) = Journal::open(&path, &identity()).unwrap();
    for n in 0..3 {
        journal.stored(&key(n));
    }
    journal.finish().unwrap();
    drop((journal, known));
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = (1..=whole.len()).filter(|&at| whole[at - 1] == b'\n').collect();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (mut journal, known) = Journal::open(&path, &identity()).unwrap();
        let expected = ends.iter().filter(|&&end| end <= len).count().saturating_sub(1);
        let found = (0..3).filter(|&n| known.outcome(&key(n)).unwrap().is_some()).count();
        assert_eq!(found, expected, "{len}");
        // What is written then is whole again.
        journal.stored(&key(9));
        journal.finish().unwrap();
        drop((journal, known));
        let (_journal, known) = Journal::open(&path, &identity()).unwrap();
        assert_eq!(known.outcome(&key(9)).unwrap(), Some(Outcome::Stored), "{len}");
    }
}

#[test]
fn a_file_of_somebody_else_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious.txt");
    for bytes in [&b"precious"[..], b"precious\n", b"\xff\0"] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Journal::open(&path, &identity()), Err(JournalError::Unfit(_))));
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}
