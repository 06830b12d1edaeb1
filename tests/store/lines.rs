use std::sync::mpsc::sync_channel;

use intercom_gateway::{
    domain::LineState,
    store::{ImportError, LineChanges, LineRecord, Store},
};
use rusqlite::Connection;
use tempfile::tempdir;

use crate::{
    cache::{document, flat},
    open, options,
};

fn line(intercom: u64, flat: u64, state: LineState) -> LineRecord {
    LineRecord {
        intercom,
        flat,
        state,
        told: LineState::OnHook,
        raw: Some(98),
        since: "2026-11-23T22:00:01.123Z".parse().unwrap(),
        measured_at: Some("2026-11-23T22:00:05.456Z".parse().unwrap()),
    }
}

fn keep(lines: &[LineRecord]) -> LineChanges {
    LineChanges { keep: lines.to_vec(), forget: Vec::new() }
}

#[test]
fn lines_are_there_after_a_restart_as_they_were() {
    let dir = tempdir().unwrap();
    let never_read = LineRecord { raw: None, measured_at: None, ..line(1, 2, LineState::Unknown) };
    {
        let store = open(dir.path());
        assert_eq!(store.cache().lines().unwrap(), []);
        let all = [line(2, 1, LineState::Break), never_read, line(1, 1, LineState::Short)];
        store.cache().keep_lines(keep(&all)).unwrap();
        store.cache().keep_lines(keep(&[line(1, 1, LineState::OffHook)])).unwrap();
    }
    let store = open(dir.path());
    let expected = [line(1, 1, LineState::OffHook), never_read, line(2, 1, LineState::Break)];
    assert_eq!(store.cache().lines().unwrap(), expected);
    let forget = LineChanges { keep: Vec::new(), forget: vec![(1, 1), (2, 1), (7, 7)] };
    store.cache().keep_lines(forget).unwrap();
    assert_eq!(store.cache().lines().unwrap(), [never_read]);
}

/// A change that is given up takes nothing with it that is not its own.
#[test]
fn lines_that_come_while_a_change_of_flats_is_under_way_survive_its_end_either_way() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for (revision, closes) in [(1, true), (2, false)] {
        let text = document(&revision.to_string(), &[flat(1, 1, 1, 1)]);
        let (head, tail) = text.split_at(text.len() - 2);
        // The import reads its document from a pipe that stays open meanwhile.
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let (begun, has_begun) = sync_channel(1);
        let cache = store.cache();
        let import = std::thread::spawn(move || {
            struct Tell<'a>(&'a mut std::io::PipeReader, std::sync::mpsc::SyncSender<()>);
            impl std::io::Read for Tell<'_> {
                fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                    // It reads only when the change is open; one that no longer listens has heard it.
                    let _ = self.1.try_send(());
                    self.0.read(buffer)
                }
            }
            cache.import(Tell(&mut reader, begun), &[1])
        });
        has_begun.recv().unwrap();
        let keeper = store.cache();
        let kept =
            std::thread::spawn(move || keeper.keep_lines(keep(&[line(1, revision, LineState::Short)])));
        std::io::Write::write_all(&mut writer, head.as_bytes()).unwrap();
        if closes {
            std::io::Write::write_all(&mut writer, tail.as_bytes()).unwrap();
        }
        drop(writer);
        let imported: Result<_, ImportError> = import.join().unwrap();
        assert_eq!(imported.is_ok(), closes);
        kept.join().unwrap().unwrap();
        assert!(store.cache().lines().unwrap().contains(&line(1, revision, LineState::Short)));
    }
    assert_eq!(store.cache().state().borrow().revision, Some(1));
}

#[test]
fn a_cache_from_before_lines_is_brought_up_to_date_with_all_it_has() {
    let dir = tempdir().unwrap();
    {
        let store = open(dir.path());
        let text = document("57", &[flat(1, 1, 1, 2)]);
        store.cache().import(text.as_bytes(), &[1]).unwrap();
    }
    let old = Connection::open(dir.path().join("cache.db")).unwrap();
    old.execute_batch("DROP TABLE lines; DROP TABLE rates; PRAGMA user_version = 1;").unwrap();
    drop(old);
    let (store, report) = Store::open(options(dir.path())).unwrap();
    assert_eq!(report.cache_remade, None);
    assert_eq!(store.cache().state().borrow().revision, Some(57));
    store.cache().keep_lines(keep(&[line(1, 1, LineState::Short)])).unwrap();
    assert_eq!(store.cache().lines().unwrap().len(), 1);
}

#[test]
fn a_word_of_a_newer_version_is_left_out() {
    let dir = tempdir().unwrap();
    {
        let store = open(dir.path());
        store
            .cache()
            .keep_lines(keep(&[line(1, 1, LineState::Short), line(1, 2, LineState::Break)]))
            .unwrap();
    }
    let newer = Connection::open(dir.path().join("cache.db")).unwrap();
    newer.execute("UPDATE lines SET state = 'ringing' WHERE flat = 1", []).unwrap();
    drop(newer);
    assert_eq!(open(dir.path()).cache().lines().unwrap(), [line(1, 2, LineState::Break)]);
}
