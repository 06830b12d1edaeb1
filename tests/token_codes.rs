//! `token add --qr` at a terminal: what a phone reads of it.

#[path = "support/mod.rs"]
mod support;

use std::{
    fs::File,
    io::Read,
    process::{Command, Stdio},
};

use nix::pty::openpty;
use support::{Daemon, Site, site::ENTRANCE};

/// Black on white, whatever the terminal's own colours are.
const BEGIN: &str = "\x1b[38;5;16;48;5;231m";
const END: &str = "\x1b[0m";

/// Runs a command whose standard error is a terminal; returns its standard output, and what the terminal shows.
fn at_terminal(mut command: Command) -> (String, String) {
    let pty = openpty(None, None).unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(pty.slave).spawn().unwrap();
    // Else this process would hold the terminal open.
    drop(command);
    let mut shown = Vec::new();
    // The end of a terminal is an error.
    let _ = File::from(pty.master).read_to_end(&mut shown);
    let mut told = String::new();
    child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(child.wait().unwrap().success());
    (told, String::from_utf8(shown).unwrap().replace("\r\n", "\n"))
}

/// Reads all codes that are shown, each as a phone does.
fn codes(shown: &str) -> Vec<String> {
    let mut codes: Vec<Vec<&str>> = vec![Vec::new()];
    for line in shown.lines() {
        match line.strip_prefix(BEGIN).and_then(|line| line.strip_suffix(END)) {
            Some(row) => codes.last_mut().unwrap().push(row),
            None if codes.last().unwrap().is_empty() => {}
            None => codes.push(Vec::new()),
        }
    }
    codes.into_iter().filter(|rows| !rows.is_empty()).map(|rows| read(&rows)).collect()
}

fn read(rows: &[&str]) -> String {
    const SIZE: usize = 3;
    let rows: Vec<Vec<char>> = rows.iter().map(|row| row.chars().collect()).collect();
    let (width, height) = (rows[0].len() * SIZE, rows.len() * 2 * SIZE);
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        let half = if (y / SIZE).is_multiple_of(2) { '▀' } else { '▄' };
        let module = rows[y / (2 * SIZE)][x / SIZE];
        if module == '█' || module == half { 0 } else { 255 }
    });
    let found = image.detect_grids();
    assert_eq!(found.len(), 1);
    found[0].decode().unwrap().1
}

#[test]
fn a_phone_reads_where_the_gateway_is_by_what_it_is_known_and_the_token() {
    let site = Site::new(ENTRANCE);
    let settings = [
        ("INTERCOM_GATEWAY__HTTP__TLS", "self-signed"),
        ("INTERCOM_GATEWAY__HTTP__LISTEN", "127.0.0.1:48443"),
    ];
    let mut daemon = Daemon::spawn(site.command(["run"]).env(settings[0].0, settings[0].1));
    let fingerprint = daemon.log.wait("the fingerprint", |line| {
        let (_, rest) = line.split_once(" fingerprint=")?;
        Some(rest.split(' ').next()?.to_owned())
    });
    let mut command = site.command(["token", "add", "phone", "--qr"]);
    command.envs(settings);
    let (told, shown) = at_terminal(command);
    let token = told.trim();
    assert_eq!((told.lines().count(), token.starts_with("igw_")), (1, true), "{told}");
    let address = format!("https://127.0.0.1:48443/#sha256={}", fingerprint.replace(':', ""));
    assert_eq!(codes(&shown), [address.as_str(), token], "{shown}");
    // What a person compares, and what they have to know.
    let (first, second) = fingerprint.split_at(fingerprint.len().div_ceil(2));
    for words in
        [first, second, "https://127.0.0.1:48443/", "A phone cannot reach 127.0.0.1", "works offline"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(shown.find("works offline") > shown.find(BEGIN), "beside the token");
    assert!(!shown.contains(token), "the token is on standard output alone: {shown}");
    daemon.stop();
}

#[test]
fn without_a_certificate_or_without_tls_the_codes_say_what_there_is() {
    let site = Site::new(ENTRANCE);
    let (told, shown) = at_terminal(site.command(["token", "add", "plain", "--qr"]));
    assert_eq!(codes(&shown), ["http://127.0.0.1:0/", told.trim()], "{shown}");

    let mut command = site.command(["token", "add", "early", "--qr", "--read-only"]);
    command.env("INTERCOM_GATEWAY__HTTP__TLS", "self-signed");
    command.env("INTERCOM_GATEWAY__HTTP__LISTEN", "192.0.2.7:8443");
    let (told, shown) = at_terminal(command);
    assert_eq!(codes(&shown), ["https://192.0.2.7:8443/", told.trim()], "{shown}");
    assert!(shown.contains("tls/cert.pem, which the daemon creates when it first serves"), "{shown}");
}

#[test]
fn where_there_is_no_terminal_the_token_is_printed_as_ever() {
    let site = Site::new(ENTRANCE);
    let ran = site.run(["token", "add", "script", "--qr"]);
    assert!(
        ran.stderr.contains("needs a terminal as standard error") && !ran.stderr.contains(BEGIN),
        "{ran:?}"
    );
    let token = ran.ok();
    assert_eq!((token.lines().count(), token.starts_with("igw_")), (1, true), "{token}");
    assert!(site.run(["token", "list"]).ok().contains("script"));
    // Without the wish for codes nothing is said.
    assert_eq!(site.run(["token", "add", "other"]).stderr, "");
}
