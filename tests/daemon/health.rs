//! What is not as it should be, for programs and for people.

use intercom_gateway::domain::HealthCode;
use serde_json::json;

use crate::support::{Daemon, Site};

#[test]
fn a_gateway_that_has_no_bus_or_no_broker_says_so_without_naming_it() {
    let site = Site::new("[mqtt]\nurl = \"mqtt://127.0.0.1:1\"\n");
    let token = site.run(["token", "add", "installer"]).ok();
    let daemon = Daemon::start(&site);
    daemon.wait_reason(token.trim(), HealthCode::Broker, |reason| {
        reason["message"].as_str().unwrap().contains("127.0.0.1:1")
    });
    let codes = json!([{"code": "no_bus"}, {"code": "broker"}]);
    assert_eq!(daemon.health(), json!({"status": "degraded", "reasons": codes}));
    daemon.stop();
}
