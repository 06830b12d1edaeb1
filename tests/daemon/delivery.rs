//! From the card to the cloud: panels, the daemon, mosquitto and a consumer at once, each away for a while.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use intercom_gateway::simulate::panel::Observation;
use rumqttc::MqttOptions;
use serde_json::Value;

use crate::support::{
    Daemon, Events, Site,
    consumer::Consumer,
    flats::{self, KNOWN},
    libosdp::{self, Panels},
    mosquitto::Mosquitto,
    simulated, wait_until,
};

const ROOT: &str = "intercom/v1/test";
const SWIPED: &str = "intercom.key.swiped";
const BAUD: u32 = 115_200;
const ADDRESSES: [u8; 2] = [0, 1];
/// After so long a card is presented again.
const AGAIN: Duration = Duration::from_secs(5);

/// One line with two panels, and the cloud's own word for what is delivered.
fn site(broker: &Mosquitto) -> Site {
    let mut text = format!(
        "[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nconfirm = \"cloud\"\n\n[[intercom]]\nid = 1\n\n\
         [[bus]]\nname = \"street\"\nport = \"{{dir}}/street\"\nprotocol = \"osdp\"\nbaud = {BAUD}\n",
        broker.port
    );
    for address in ADDRESSES {
        text.push_str(&format!(
            "\n[[panel]]\nname = \"panel-{address}\"\nintercom = 1\nbus = \"street\"\naddress = {address}\n\
             lock = {{ output = 0 }}\nsecure_channel = \"install\"\n"
        ));
    }
    let site = Site::new(&text);
    site.import(57, &[flats::known()]).ok();
    site
}

/// How the consumer connects: nothing is kept for it, for its own word is what counts.
fn options(broker: &Mosquitto) -> MqttOptions {
    let mut options = Consumer::options("cloud", broker.port);
    options.set_clean_start(true).set_session_expiry_interval(Some(0));
    options
}

/// The journal without a daemon, one line an event: as the cloud is to have it.
fn journal(site: &Site) -> Vec<String> {
    site.run(["journal", "--json"]).ok().lines().map(str::to_owned).collect()
}

/// Waits until the consumer has all that the journal had; then what it has, without what came twice and in order of
/// sequence, begins with that and has no hole.
fn assert_all_arrive(consumer: &Consumer, journal: &[String]) {
    wait_until("the consumer has all of the journal", || consumer.lock().events.len() >= journal.len());
    let seen = consumer.lock();
    let sequences: Vec<u64> = seen.events.keys().map(|(_, sequence)| *sequence).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    let first: Vec<&String> = seen.events.values().take(journal.len()).collect();
    assert_eq!(first, journal.iter().collect::<Vec<_>>());
}

/// Presents the known card at both panels in turn until each has been recorded so often. libosdp keeps no replies: what
/// a busy machine is too late for is presented again.
fn swipe(panels: &mut Panels, events: &mut Events, times: usize) {
    for _ in 0..times {
        for address in ADDRESSES {
            let panel = format!("panel-{address}");
            let is_it = |event: &Value| event["type"] == SWIPED && event["subject"] == panel.as_str();
            loop {
                panels.tell(&format!("card {address} {KNOWN} 32 0"));
                if events.wait_within(AGAIN, is_it).is_some() {
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_happens_at_panels_of_others_reaches_the_cloud_although_some_are_away() {
    let mut broker = Mosquitto::open();
    let site = site(&broker);
    let consumer = Consumer::with(options(&broker), ROOT, true);
    wait_until("the consumer is there", || consumer.lock().subscribed > 0);
    let line = libosdp::line(&site.path("street"), BAUD);
    let mut panels = Panels::start(&line.ports()[1], BAUD, "0,1", &[]);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in ADDRESSES {
        events.wait_type("intercom.panel.secured");
    }
    swipe(&mut panels, &mut events, 5);

    for _ in 0..2 {
        broker.kill();
        swipe(&mut panels, &mut events, 5);
        broker.start();
        swipe(&mut panels, &mut events, 5);
    }
    let arrived = || consumer.lock().events.len();
    wait_until("it is gone on where it was", || arrived() >= events.so_far().len());

    let had = consumer.cut();
    swipe(&mut panels, &mut events, 5);
    let consumer = Consumer::resume(options(&broker), ROOT, true, had);
    swipe(&mut panels, &mut events, 5);
    let arrived = || consumer.lock().events.len();
    wait_until("it is gone on where it was", || arrived() >= events.so_far().len());
    let had = consumer.cut();
    broker.kill();
    swipe(&mut panels, &mut events, 5);
    broker.start();
    swipe(&mut panels, &mut events, 5);
    let consumer = Consumer::resume(options(&broker), ROOT, true, had);
    swipe(&mut panels, &mut events, 5);
    daemon.stop();

    let recorded = journal(&site);
    // What the end itself brought about goes up after the next start, where the farewell was too short for it.
    let daemon = Daemon::start(&site);
    assert_all_arrive(&consumer, &recorded);
    daemon.stop();
}

/// Asks for the door of a panel some tens of times a second until the endpoint is gone; counts the times that it was opened.
fn knock(address: SocketAddr, token: &str, opened: &AtomicUsize, stop: &AtomicBool) {
    let request = format!(
        "POST /api/admin/v1/intercoms/1/open-door HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 19\r\nConnection: close\r\n\r\n{{\"panel\":\"panel-0\"}}"
    );
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let Ok(mut stream) = TcpStream::connect(address) else { return };
        let mut answer = String::new();
        // Cut off at the end: no answer, so nobody was told that the door is open.
        let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        if asked.is_err() || answer.is_empty() {
            continue;
        }
        assert!(!answer.starts_with("HTTP/1.1 50"), "{answer}");
        opened.fetch_add(usize::from(answer.starts_with("HTTP/1.1 204 ")), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_of_swipes_and_requests_keeps_what_anybody_was_told() {
    let broker = Mosquitto::open();
    let site = site(&broker);
    let token = site.run(["token", "add", "knocker"]).ok();
    let consumer = Consumer::with(options(&broker), ROOT, true);
    wait_until("the consumer is there", || consumer.lock().subscribed > 0);
    let panels = simulated::Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    for _ in ADDRESSES {
        events.wait_type("intercom.panel.secured");
    }

    let (opened, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let knockers: Vec<_> = (0..4)
        .map(|_| {
            let (address, token) = (daemon.address(), token.trim().to_owned());
            let (opened, stop) = (opened.clone(), stop.clone());
            std::thread::spawn(move || knock(address, &token, &opened, &stop))
        })
        .collect();
    // Cards with numbers of their own, so that each can be found again; many wait at the panels when the end comes.
    for number in 0..300_u32 {
        let place = format!("panel-{}", number % 2);
        wait_until("the panel is polled", || panels.try_card(&place, &format!("{number:08X}")));
    }
    events.wait_type(SWIPED);
    wait_until("doors are opened by requests too", || opened.load(Ordering::Relaxed) >= 5);
    daemon.stop();
    stop.store(true, Ordering::Relaxed);
    for knocker in knockers {
        knocker.join().unwrap();
    }

    let recorded = journal(&site);
    let count = |is_it: &dyn Fn(&Value) -> bool| {
        let events = recorded.iter().map(|line| serde_json::from_str(line).unwrap());
        events.filter(|event: &Value| is_it(event)).count()
    };
    let swiped = count(&|event| event["type"] == SWIPED);
    let acknowledged =
        panels.seen().iter().filter(|seen| matches!(seen.what, Observation::Acknowledged(_))).count();
    assert!(swiped >= acknowledged, "{swiped} of {acknowledged} swipes are recorded");
    let by_token =
        count(&|event| event["type"] == "intercom.door.unlocked" && event["data"]["by"]["kind"] == "token");
    let opened = opened.load(Ordering::Relaxed);
    assert!(by_token >= opened, "{by_token} of {opened} openings are recorded");

    let daemon = Daemon::start(&site);
    assert_all_arrive(&consumer, &recorded);
    daemon.stop();
}
