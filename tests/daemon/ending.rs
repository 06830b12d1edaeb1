//! SIGTERM in the middle of something that takes its time, or never ends: the daemon ends in order all the same.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::{FileExt, OpenOptionsExt},
    process::{Child, Stdio},
    sync::mpsc::TryRecvError,
    time::Duration,
};

use intercom_gateway::{clock, domain::HealthCode};
use nix::sys::termios::{self, SetArg};
use serde_json::{Value, json};

use crate::{
    building::{Building, read_flats},
    support::{
        Daemon, Site,
        cloud::Cloud,
        flats::{self, KNOWN_KEY, flat},
        lines::PATIENCE,
        mosquitto::Mosquitto,
        simulated::Panels,
        site::ENTRANCE,
    },
};

/// How long the end may take, whatever is under way, and a little for the machine.
const END: Duration = Duration::from_millis(10_500);
/// More than a socket and a pipe hold together.
const MANY_FLATS: u64 = 4000;
/// Many enough for a salvage that takes longer than it takes to ask for the end.
const MANY_EVENTS: u64 = 200_000;

fn site(mqtt: &str) -> Site {
    Site::new(&format!("{mqtt}{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"off\"\n"))
}

fn mqtt(port: u16) -> String {
    format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\n")
}

/// Stops the daemon; it ends by itself, in time, and says so.
fn ends_in_order(daemon: Daemon) {
    let wished = clock::mono();
    let log = daemon.stop();
    let took = clock::mono().since(wished);
    assert!(took < END, "it took {took:?}: {log:#?}");
    assert!(log.last().is_some_and(|line| line.ends_with("INFO stopped")), "{log:#?}");
}

/// A command of an installer that goes on.
fn begin<'a>(site: &Site, arguments: impl IntoIterator<Item = &'a str>) -> Child {
    let mut command = site.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until `look` sees something.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::mono() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(clock::mono() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_import_from_a_pipe_that_stalls() {
    let site = site("");
    let daemon = Daemon::start(&site);
    let mut stalled = begin(&site, ["import", "-"]);
    let many: Vec<Value> = (1..=MANY_FLATS).map(|number| flat(1, number, number, &[])).collect();
    let document = json!({"revision": 58, "flats": many}).to_string();
    // It has been taken over when more than the pipe and the socket hold is written.
    stalled.stdin.as_mut().unwrap().write_all(&document.as_bytes()[..document.len() / 2]).unwrap();
    ends_in_order(daemon);
    assert!(!stalled.wait().unwrap().success());
    assert!(site.run(["export", "-"]).ok().contains("\"flats\":[]"));
}

#[test]
fn an_export_to_a_pipe_that_nobody_reads() {
    let site = site("");
    let many: Vec<Value> = (1..=MANY_FLATS).map(|number| flat(1, number, number, &[])).collect();
    site.import(57, &many).ok();
    let daemon = Daemon::start(&site);
    let mut stalled = begin(&site, ["export", "-"]);
    let mut first = [0; 1];
    stalled.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    ends_in_order(daemon);
    let mut rest = String::new();
    stalled.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert!(!stalled.wait().unwrap().success(), "half an export is none: {} bytes", rest.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_which_half_has_come() {
    let broker = Mosquitto::open();
    let site = site(&mqtt(broker.port));
    let cloud = Cloud::connect(broker.port).await;
    let daemon = Daemon::start(&site);
    cloud.online(None).await;
    let flats: Vec<Value> = (1..=4).map(|number| flat(1, number, number, &[])).collect();
    let building = Building::new(58, read_flats(&json!({"flats": flats})).unwrap());
    for part in building.snapshot(None, 1).iter().take(2) {
        cloud.consumer.publish("sync/flats", part, false).await;
    }
    // A command is answered after what came before it.
    let session = cloud.online(None).await;
    cloud.ask("report", json!({}), &session).await;
    ends_in_order(daemon);
    assert_eq!(cloud.consumer.lock().status()["status"], "offline");
    assert!(site.run(["export", "-"]).ok().contains("\"flats\":[]"));
}

#[test]
fn a_salvage_of_a_large_journal() {
    let site = site("");
    site.import(57, &[flats::known()]).ok();
    let panels = Panels::start(&site, false);
    Daemon::start(&site).stop();
    let journal = site.state_dir().join("journal.db");
    let database = rusqlite::Connection::open(&journal).unwrap();
    let more = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM n WHERE n < {MANY_EVENTS} + 999)
         INSERT INTO events SELECT n, time_ms, boot, uptime_ms, synchronized, online, type, subject, data, form
         FROM n, (SELECT * FROM events ORDER BY seq LIMIT 1);
         PRAGMA wal_checkpoint (TRUNCATE)"
    );
    database.execute_batch(&more).unwrap();
    drop(database);
    let file = OpenOptions::new().write(true).open(&journal).unwrap();
    // In the middle: a page of some events.
    file.write_all_at(&[0xA5; 4096], file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();

    let set_aside = || {
        let files = fs::read_dir(site.state_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let aside = |name: &std::ffi::OsString| {
            let name = name.to_string_lossy();
            name.contains(".damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
        };
        files.filter(aside).count()
    };
    let daemon = Daemon::start(&site);
    wait("the salvage", || site.state_dir().join("journal.db.making").exists().then_some(()));
    ends_in_order(daemon);
    assert_eq!(set_aside(), 0, "it was given up");

    // It begins again, and doors do not wait for it.
    let daemon = Daemon::start(&site);
    let _ = panels.seen();
    let swipe = || {
        panels.try_card("entrance-1", flats::KNOWN);
        panels.opened_within(Duration::from_secs(1), "entrance-1").then_some(())
    };
    wait("the door", swipe);
    daemon.wait_health(HealthCode::JournalNew);
    daemon.stop();
    assert_eq!(set_aside(), 1);
}

#[test]
fn a_broker_that_accepts_and_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = site(&mqtt(silent.local_addr().unwrap().port()));
    let daemon = Daemon::start(&site);
    let (_connection, _) = silent.accept().unwrap();
    ends_in_order(daemon);
}

#[test]
fn a_port_that_takes_no_bytes() {
    let site = site("");
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut raw = termios::tcgetattr(&pty.slave).unwrap();
    termios::cfmakeraw(&mut raw);
    termios::tcsetattr(&pty.slave, SetArg::TCSANOW, &raw).unwrap();
    let name = nix::unistd::ttyname(&pty.slave).unwrap();
    std::os::unix::fs::symlink(&name, site.path("street")).unwrap();
    let mut filling: File =
        OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&name).unwrap();
    // The kernel moves what is there to the other end, and has room again.
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
    let keep_full = std::thread::spawn(move || {
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            while filling.write(&[0; 256]).is_ok() {}
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut daemon = Daemon::start(&site);
    daemon.log.wait("the stuck port", |line| line.contains("accepts no bytes").then_some(()));
    // Within the next write.
    daemon.log.wait("the next attempt", |line| line.contains("port is open").then_some(()));
    ends_in_order(daemon);
    drop(stop);
    keep_full.join().unwrap();
    drop(pty.master);
}

#[test]
fn everything_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = site(&mqtt(silent.local_addr().unwrap().port()));
    site.import(57, &[flat(1, 11, 7, &[(101, KNOWN_KEY)])]).ok();
    let panels = Panels::start(&site, false);
    let daemon = Daemon::start(&site);
    let (_connection, _) = silent.accept().unwrap();
    let mut stalled = begin(&site, ["import", "-"]);
    stalled.stdin.as_mut().unwrap().write_all(b"{\"revision\":58,").unwrap();
    let mut unread = begin(&site, ["export", "-"]);
    let mut request = std::net::TcpStream::connect(daemon.address()).unwrap();
    request.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").unwrap();
    panels.try_card("entrance-1", flats::KNOWN);
    ends_in_order(daemon);
    stalled.wait().unwrap();
    drop(unread.stdout.take());
    unread.wait().unwrap();
}
