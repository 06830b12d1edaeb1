//! The form of an event's bytes is decided when it is written down, and goes wherever the event goes.

use std::{fs, path::Path};

use intercom_gateway::{
    domain::Form::{self, One, Unnamed},
    store::{JournalReader, Store},
};

use crate::{
    append,
    damage::{filled, overwrite},
    open, options,
};

/// Makes of a journal what a version before 0.3 would have left.
fn becomes_older(dir: &Path) {
    let journal = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    journal.execute_batch("ALTER TABLE events DROP COLUMN form").unwrap();
}

fn forms(journal: &JournalReader) -> Vec<Form> {
    journal.read(0, usize::MAX).unwrap().iter().map(|event| event.form).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_recorded_keeps_its_form_beside_new_events_and_in_a_new_journal() {
    let (dir, old) = filled().await;
    becomes_older(dir.path());
    let before = Store::open_read_only(dir.path()).unwrap();
    assert_eq!(forms(before.journal()), [Unnamed; 400], "it is read before this version has ever opened it");
    drop(before);

    let store = open(dir.path());
    let journal = store.journal();
    append(&journal, 401..=402).await;
    let both = [vec![Unnamed; 400], vec![One; 2]].concat();
    assert_eq!(forms(&journal), both);
    journal.begin_new("the cloud knows more").await.unwrap();
    append(&journal, 403..=403).await;
    assert_eq!(forms(&journal), [vec![Unnamed; 100], vec![One; 3]].concat(), "100 were not delivered");
    assert_eq!(forms(&journal.reader_of(&old).unwrap()), both);
    store.shutdown();
}

#[tokio::test]
async fn what_is_saved_of_a_damaged_journal_keeps_its_form() {
    for is_older in [true, false] {
        let (dir, _) = filled().await;
        if is_older {
            becomes_older(dir.path());
        }
        let path = dir.path().join("journal.db");
        let pages = fs::metadata(&path).unwrap().len() / 4096;
        overwrite(&path, pages - 4..pages - 2);
        let (store, report) = Store::open(options(dir.path())).unwrap();
        let saved = usize::try_from(report.salvage.unwrap().saved).unwrap();
        assert!(saved > 340, "{saved}");
        let recorded = if is_older { Unnamed } else { One };
        assert_eq!(
            forms(&store.journal()),
            [vec![recorded; saved], vec![One]].concat(),
            "and the report's is new"
        );
        store.shutdown();
    }
}
