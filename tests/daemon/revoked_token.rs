//! A token that is revoked while its request is under way, against a door that would open.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::support::{Daemon, Site, simulated, site::ENTRANCE};

const DOOR: &str = "/api/admin/v1/intercoms/1/open-door";

#[test]
fn a_token_that_is_revoked_while_the_body_comes_opens_no_door() {
    let site = Site::new(&format!("{ENTRANCE}lock = {{ output = 0 }}\nsecure_channel = \"install\"\n"));
    let [stays, goes] = ["stays", "goes"].map(|name| site.run(["token", "add", name]).ok());
    let _panels = simulated::Panels::start(&site, false);
    let mut daemon = Daemon::start(&site);
    let mut events = daemon.events(&site, 1);
    events.wait_panel("intercom.panel.online", "entrance-1");

    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    let head = format!(
        "POST {DOOR} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nExpect: 100-continue\r\n\
         Content-Length: 2\r\n\r\n",
        goes.trim()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // It has passed with its token, and is asked for its body.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    site.run(["token", "revoke", "goes"]).ok();
    stream.write_all(b"{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");

    assert_eq!(daemon.ask("POST", DOOR, stays.trim()), (204, Value::Null));
    let opened = events.wait_type("intercom.door.unlocked");
    assert_eq!(opened["data"]["by"], json!({"kind": "token", "id": "stays"}), "the first that was opened");
    daemon.stop();
}
