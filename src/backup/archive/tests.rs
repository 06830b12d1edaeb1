//! Archives as this version writes them, as another might, and with parts of them wrong.

use super::*;

const PASSPHRASE: &str = "correct horse battery staple";

/// Keeps what it is given.
#[derive(Debug, Default)]
struct Kept {
    files: Vec<(PathBuf, Vec<u8>, u32)>,
    flats: Option<String>,
}

impl Receiver for Kept {
    fn begin(&mut self, manifest: &Manifest) -> anyhow::Result<()> {
        assert_eq!(manifest.gateway.as_str(), "test");
        Ok(())
    }

    fn configuration(&mut self, path: &Path, content: &[u8], of: &Attributes) -> anyhow::Result<()> {
        self.files.push((path.to_owned(), content.to_vec(), of.mode));
        Ok(())
    }

    fn state(&mut self, path: &Path, content: &[u8]) -> anyhow::Result<()> {
        self.files.push((path.to_owned(), content.to_vec(), 0));
        Ok(())
    }

    fn flats(&mut self, document: &mut dyn Read) -> anyhow::Result<FlatsSummary> {
        // In pieces that fit none of the archive's.
        let mut text = Vec::new();
        let mut buffer = [0; 1000];
        while let length @ 1.. = document.read(&mut buffer)? {
            text.extend_from_slice(&buffer[..length]);
        }
        self.flats = Some(String::from_utf8(text)?);
        Ok(summary())
    }
}

fn summary() -> FlatsSummary {
    FlatsSummary { revision: Some(57), digest: "e3b0".to_owned(), flats: 1, keys: 2, users: 3 }
}

fn manifest() -> Manifest {
    Manifest::new(Name::new("test").unwrap(), "/state".into(), jiff::Timestamp::UNIX_EPOCH)
}

fn writer(manifest: &Manifest) -> Writer<Vec<u8>> {
    Writer::new(Vec::new(), PASSPHRASE, manifest).unwrap()
}

fn read_all(sealed: &[u8]) -> Result<Kept, String> {
    let mut kept = Kept::default();
    read(sealed, PASSPHRASE, &mut kept)
        .map(|()| kept)
        .map_err(|error| crate::domain::with_causes(error.as_ref()))
}

#[test]
fn what_is_written_is_read_in_its_order() {
    let long = format!("/etc/{}/key.pem", "a-folder-with-a-long-name/".repeat(8));
    let document = "0123456789".repeat(PIECE / 4);
    let mut writer = writer(&manifest());
    let attributes = Attributes { mode: 0o640, ..Attributes::private() };
    writer.configuration(Path::new(&long), b"secret", &attributes).unwrap();
    writer.state(Path::new("panels/entrance-1.json"), b"{}").unwrap();
    let mut flats = writer.flats();
    document.as_bytes().chunks(777).for_each(|piece| flats.write_all(piece).unwrap());
    let kept = read_all(&flats.finish(Some(summary())).unwrap()).unwrap();
    assert_eq!(kept.flats.as_deref(), Some(document.as_str()));
    let expected =
        [(long.into(), b"secret".to_vec(), 0o640), ("panels/entrance-1.json".into(), b"{}".to_vec(), 0)];
    assert_eq!(kept.files, expected);
}

#[test]
fn there_may_be_no_flats_and_there_must_be_an_end() {
    let kept = read_all(&writer(&manifest()).flats().finish(None).unwrap()).unwrap();
    assert!(kept.flats.is_none() && kept.files.is_empty());
    let without_end = writer(&manifest()).0.into_inner().unwrap().finish().unwrap();
    assert!(read_all(&without_end).unwrap_err().contains("damaged"));
    let without_manifest = Builder::new(Sealer::new(Vec::new(), PASSPHRASE).unwrap());
    let without_manifest = without_manifest.into_inner().unwrap().finish().unwrap();
    assert!(read_all(&without_manifest).unwrap_err().contains("no backup"));
}

#[test]
fn flats_that_are_not_those_of_the_backup_are_refused() {
    let mut flats = writer(&manifest()).flats();
    flats.write_all(b"{}").unwrap();
    let other = FlatsSummary { digest: "other".to_owned(), ..summary() };
    let error = read_all(&flats.finish(Some(other)).unwrap()).err().unwrap();
    assert!(error.contains("not those that it was made of"), "{error}");
}

#[test]
fn a_newer_form_says_which_version_made_it() {
    let newer = Manifest { format: FORMAT + 1, version: "7.0.0".to_owned(), ..manifest() };
    let error = read_all(&writer(&newer).flats().finish(None).unwrap()).err().unwrap();
    assert!(error.contains("version 7.0.0") && error.contains("install that version"), "{error}");
}

#[test]
fn what_this_version_does_not_know_and_what_leads_elsewhere_is_refused() {
    for name in
        ["state/other.json", "state/panels/a/b", "state/journal.db", "other", "configuration", "state"]
    {
        let mut writer = writer(&manifest());
        writer.add(name, b"", &Attributes::private()).unwrap();
        let error = read_all(&writer.flats().finish(None).unwrap()).err().unwrap();
        assert!(error.contains(name) && error.contains("newer version"), "{error}");
    }
    for name in ["../tokens.json", "state/panels/..", "configuration/../etc/passwd", "/etc/passwd"] {
        assert!(place(Path::new(name)).is_err(), "{name}");
    }
    let mut writer = writer(&manifest());
    writer.state(Path::new("tokens.json"), &vec![0; usize::try_from(LARGEST).unwrap() + 1]).unwrap();
    assert!(read_all(&writer.flats().finish(None).unwrap()).err().unwrap().contains("damaged"));
}
