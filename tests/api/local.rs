//! The gateway's own state, and its description.

use std::collections::BTreeSet;

use intercom_gateway::{
    api::{Route, routes},
    domain::{HealthCode, Name, Reason, SyncCode, SyncError, UplinkStatus},
};
use serde_json::{Value, json};

use crate::site::start;

#[tokio::test]
async fn health_needs_no_token_but_names_panels_and_the_broker_only_with_one() {
    let site = start().await;
    let without = async || site.ask_with("GET", "/healthz", "", "").await;
    for answer in [without().await, site.get("/healthz").await] {
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok", "reasons": []})));
    }
    let name = |text| Name::new(text).unwrap();
    let reasons = vec![
        Reason::new(HealthCode::PanelOffline, "entrance-1 does not answer").of_panel(&name("entrance-1")),
        Reason::new(HealthCode::Bus, "street is not open").of_bus(&name("street")),
        Reason::new(HealthCode::Broker, "broker.example.org does not answer"),
    ];
    site.health.send_modify(|health| health.reasons.clone_from(&reasons));
    let told = json!([
        {"code": "panel_offline", "message": "entrance-1 does not answer", "panel": "entrance-1"},
        {"code": "bus", "message": "street is not open", "bus": "street"},
        {"code": "broker", "message": "broker.example.org does not answer"},
    ]);
    let answer = site.get("/healthz").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "degraded", "reasons": told})));
    let reader = site.tokens.add("reader", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let header = format!("authorization: Bearer {}\r\n", *reader);
    assert_eq!(site.ask_with("GET", "/healthz", &header, "").await.json()["reasons"], told);

    let codes = json!([{"code": "panel_offline"}, {"code": "bus"}, {"code": "broker"}]);
    let wrong = "authorization: Bearer igw_guess\r\n";
    for answer in [without().await, site.ask_with("GET", "/healthz", wrong, "").await] {
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "degraded", "reasons": codes})));
    }
    let metrics = site.get("/metrics").await.body;
    let of_health: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("intercom_gateway_health_reason{")).collect();
    let sample = |code| format!("intercom_gateway_health_reason{{code=\"{code}\"}} 1");
    assert_eq!(of_health, [sample("bus"), sample("panel_offline"), sample("broker")]);

    site.health.send_modify(|health| (health.dead, health.reasons) = (true, Vec::new()));
    for answer in [without().await, site.get("/healthz").await] {
        assert_eq!((answer.status, answer.json()), (503, json!({"status": "degraded", "reasons": []})));
    }
}

#[tokio::test]
async fn events_are_read_from_any_sequence_and_by_default_the_newest() {
    let site = start().await;
    // The import has been noted already or will be: what counts is the last one here.
    let mut last = 0;
    for _ in 0..5 {
        last = site.happen().await;
    }
    let sequences = |page: &Value| -> Vec<u64> {
        let events = page["data"].as_array().unwrap().iter();
        events.map(|event| event["sequence"].as_str().unwrap().parse().unwrap()).collect()
    };
    let newest = site.get("/api/local/v1/events?limit=2").await.json();
    assert_eq!(sequences(&newest), [last - 1, last]);
    assert_eq!((&newest["last"], &newest["next"]), (&json!(last), &json!(last + 1)));
    let event = &newest["data"][1];
    assert_eq!(
        (&event["type"], &event["source"]),
        (&json!("gateway.stopping"), &json!("intercom-gateway/building-7"))
    );
    assert_eq!(event["data"]["journal"], newest["journal"]);

    let page = site.get(&format!("/api/local/v1/events?from={}&limit=3", last - 3)).await.json();
    assert_eq!((sequences(&page), &page["next"]), (vec![last - 3, last - 2, last - 1], &json!(last)));
    let none = site.get(&format!("/api/local/v1/events?from={}", last + 10)).await.json();
    assert_eq!((&none["data"], &none["next"]), (&json!([]), &json!(last + 10)));
    assert_eq!(site.get("/api/local/v1/events?limit=0&from=-1").await.fields(), ["from", "limit"]);
    assert_eq!(site.get("/api/local/v1/events?limit=1001").await.fields(), ["limit"]);
}

#[tokio::test]
async fn the_outbox_counts_what_is_not_delivered() {
    let site = start().await;
    let first = site.happen().await;
    let last = site.happen().await;
    let journal = site.store.journal();
    let outbox = site.get("/api/local/v1/outbox").await.json();
    assert_eq!((&outbox["journal"], &outbox["last"]), (&json!(&*journal.identity()), &json!(last)));
    assert_eq!((&outbox["through"], &outbox["undelivered"]), (&json!(0), &json!(last)));
    assert!(outbox["oldest_undelivered_at"].as_str().unwrap().ends_with('Z'));
    journal.set_delivered(&journal.identity(), first);
    let outbox = site.get("/api/local/v1/outbox").await.json();
    assert_eq!((&outbox["through"], &outbox["undelivered"]), (&json!(first), &json!(last - first)));
    journal.set_delivered(&journal.identity(), last);
    site.uplink.send_replace(UplinkStatus { configured: true, connected: true, ..UplinkStatus::default() });
    let outbox = site.get("/api/local/v1/outbox").await.json();
    assert_eq!((&outbox["undelivered"], &outbox["oldest_undelivered_at"]), (&json!(0), &Value::Null));
    assert_eq!(outbox["uplink"]["connected"], true);
}

#[tokio::test]
async fn sync_and_panels_are_told() {
    let site = start().await;
    let sync = site.get("/api/local/v1/sync").await.json();
    let state = site.store.cache().state().borrow().clone();
    assert_eq!((&sync["revision"], &sync["digest"]), (&json!(57), &json!(state.digest)));
    assert_eq!((&sync["flats"], &sync["keys"], &sync["users"]), (&json!(1), &json!(3), &json!(2)));
    assert_eq!(sync["error"], json!(null));
    let refused = SyncError::new(SyncCode::Digest, "another").of(Some(58)).at("digest");
    site.sync.send_modify(|sync| {
        sync.error = Some(refused);
        sync.rejected[1] = 3;
    });
    let told = json!({
        "code": "digest", "message": "another", "revision": 58, "intercom": null, "id": null, "field": "digest",
    });
    assert_eq!(site.get("/api/local/v1/sync").await.json()["error"], told);
    let metrics = site.get("/metrics").await.body;
    assert!(metrics.contains("intercom_gateway_sync_rejected_total{code=\"digest\"} 3\n"), "{metrics}");
    assert_eq!(site.get("/api/local/v1/panels").await.json(), json!({"data": []}));
}

#[tokio::test]
async fn lines_are_asked_for_by_intercom_and_measured_by_the_number_on_the_door() {
    let site = start().await;
    for path in ["/api/local/v1/lines", "/api/local/v1/lines?intercom=2"] {
        assert_eq!(site.get(path).await.json(), json!({"data": []}));
    }
    for bad in ["3", "0", "x", "-1"] {
        assert_eq!(site.get(&format!("/api/local/v1/lines?intercom={bad}")).await.fields(), ["intercom"]);
    }
    let measure =
        |intercom: &str, flat: &str| format!("/api/local/v1/intercoms/{intercom}/lines/{flat}/measure");
    assert_eq!(site.ask("POST", &measure("x", "0"), "").await.fields(), ["flat", "intercom"]);
    assert_eq!(site.ask("POST", &measure("3", "1"), "").await.fields(), ["intercom"]);
    // One that may only read is not refused: measuring opens nothing.
    let reader = site.tokens.add("reader", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let header = format!("authorization: Bearer {}\r\n", *reader);
    let answer = site.ask_with("POST", &measure("1", "1"), &header, "[]").await;
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("unknown_flat")));
    assert_eq!(answer.fields(), ["flat"]);
    assert_eq!(site.ask("POST", &measure("1", "1"), &"x".repeat(70_000)).await.error().0, 413);
}

#[tokio::test]
async fn a_gateway_says_who_it_is_and_whom_it_takes_the_asker_for() {
    let site = start().await;
    let told = site.get("/api/local/v1/self").await.json();
    assert_eq!(
        (&told["gateway"], &told["version"]),
        (&json!("building-7"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(told["journal"], *site.store.journal().identity());
    assert_eq!((&told["timezone"], &told["clock"]), (&json!("Europe/Berlin"), &json!("synchronized")));
    assert_eq!(told["token"], json!({"name": "tester", "read_only": false}));
    let time: jiff::Timestamp = told["time"].as_str().unwrap().parse().unwrap();
    assert!(time >= site.store.cache().state().borrow().applied_at.unwrap());
    let reader = site.tokens.add("reader", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let header = format!("authorization: Bearer {}\r\n", *reader);
    let told = site.ask_with("GET", "/api/local/v1/self", &header, "").await.json();
    assert_eq!(told["token"], json!({"name": "reader", "read_only": true}));
    assert_eq!(site.get("/api/local/v1/buses").await.json(), json!({"data": []}));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let site = start().await;
    site.get("/nowhere").await;
    let answer = site.get("/metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        concat!("intercom_gateway_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "intercom_gateway_healthy 1",
        "intercom_gateway_cache_records{kind=\"key\"} 3",
        "intercom_gateway_cache_revision 57",
        "intercom_gateway_http_responses_total{class=\"4xx\"} 1",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line} in:\n{}", answer.body);
    }
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("intercom_gateway_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(!answer.body.contains("3042CAAC"), "no keys in metrics");
}

#[tokio::test]
async fn a_committed_event_is_in_the_histograms_of_the_journal() {
    let site = start().await;
    let before = site.store.journal().commit_times().append_to_commit.count();
    site.happen().await;
    let page = site.get("/metrics").await.body;
    let value = |sample: &str| -> f64 {
        let name = format!("intercom_gateway_journal_{sample} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&name)).expect(sample);
        value.parse().unwrap()
    };
    for name in ["append_to_commit", "hold", "commit"] {
        assert!(
            page.contains(&format!("# TYPE intercom_gateway_journal_{name}_seconds histogram\n")),
            "{page}"
        );
        let count = value(&format!("{name}_seconds_count"));
        assert!(count >= 1.0, "{page}");
        assert!(value(&format!("{name}_seconds_bucket{{le=\"+Inf\"}}")) == count, "{page}");
        assert!(value(&format!("{name}_seconds_bucket{{le=\"0.0025\"}}")) <= count, "{page}");
    }
    assert!(value("append_to_commit_seconds_count") > before as f64, "{page}");
    let (whole, commit) = (value("append_to_commit_seconds_sum"), value("commit_seconds_sum"));
    assert!(whole > 0.0 && commit > 0.0, "{page}");
}

#[tokio::test]
async fn the_description_and_the_routes_are_one() {
    let site = start().await;
    let document = site.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let described: Vec<(String, Vec<String>)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            let item = item.as_object().unwrap();
            (path.clone(), item.keys().filter(|key| *key != "parameters").cloned().collect())
        })
        .collect();
    let mut served: Vec<(String, Vec<String>)> = routes()
        .iter()
        .map(|route| {
            (route.path.to_owned(), route.methods.iter().map(|method| (*method).to_owned()).collect())
        })
        .collect();
    served.sort();
    assert_eq!(described, served);

    for Route { path, methods, needs_token, .. } in routes() {
        let mut concrete = path.replace("{intercom}", "1").replace("{flat}", "1").replace("{panel}", "gate");
        concrete = concrete.replace("{hash}", "0").replace("{path}", "main.js");
        concrete = concrete.replace("{item}", "panel/gate/identified");
        for method in ["get", "post", "put", "patch", "delete"] {
            let answer = site.ask(&method.to_uppercase(), &concrete, "").await;
            if methods.contains(&method) {
                let item = &document["paths"][path][method];
                let responses = item["responses"].as_object().unwrap();
                assert!(responses.contains_key(&answer.status.to_string()), "{method} {path}: {answer:?}");
                let open = item["security"] == json!([{}, {"token": []}]);
                assert_eq!(open, !needs_token, "{method} {path}");
                let bare = site.ask_with(&method.to_uppercase(), &concrete, "", "").await.status;
                assert_eq!(bare != 401, open, "{method} {path}");
            } else {
                assert_eq!(answer.error().0, 405, "{method} {path}");
                let allowed: BTreeSet<String> =
                    answer.header("allow").unwrap().split(',').map(str::to_lowercase).collect();
                let heads = methods.contains(&"get").then_some("head");
                assert_eq!(allowed, methods.iter().copied().chain(heads).map(ToOwned::to_owned).collect());
                let refused = site.ask_with(&method.to_uppercase(), &concrete, "", "").await;
                assert_eq!(refused.header("allow").is_some(), !needs_token, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_described_codes_of_health_are_those_that_there_are() {
    let document = start().await.get("/openapi.json").await.json();
    let described = &document["components"]["schemas"]["KnownHealthCode"]["enum"];
    assert_eq!(*described, json!(HealthCode::ALL));
}

/// Every `$ref` leads somewhere, and every component is used.
#[tokio::test]
async fn the_description_holds_together() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = start().await.get("/openapi.json").await.json();
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for kind in ["schemas", "responses", "headers"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/{kind}/{name}")), "{kind}/{name} is not used");
        }
    }
}

/// What the document says a flat has is what the published sample has, in its order.
#[tokio::test]
async fn the_described_flat_is_the_published_one() {
    let site = start().await;
    let text = site.get("/openapi.json").await.body;
    let document: Value = serde_json::from_str(&text).unwrap();
    let sample: Value = serde_json::from_str(crate::site::PUBLISHED).unwrap();
    let names = |schema: &str| -> Vec<String> {
        let required = document["components"]["schemas"][schema]["required"].as_array().unwrap();
        required.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    for (schema, value) in [
        ("Flat", &sample),
        ("Key", &sample["keys"][0]),
        ("User", &sample["users"][0]),
        ("Properties", &sample["properties"]),
    ] {
        let mut described = names(schema);
        described.sort();
        let members: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        assert_eq!(described, members, "{schema}");
    }
}

#[tokio::test]
async fn who_finds_a_weakness_learns_without_a_token_where_to_turn() {
    let answer = start().await.ask_with("GET", "/.well-known/security.txt", "", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    let fields: Vec<_> = answer.body.lines().filter_map(|line| line.split_once(": ")).collect();
    let value = |name| fields.iter().find(|(known, _)| *known == name).unwrap().1;
    assert!(value("Contact").contains("://"), "{}", answer.body);
    let expires: jiff::Timestamp = value("Expires").parse().unwrap();
    #[allow(clippy::disallowed_methods, reason = "the reader's own clock")]
    let ahead = expires.duration_since(jiff::Timestamp::now());
    assert!(ahead.as_hours() > 24 && ahead.as_hours() < 365 * 24, "{}", answer.body);
}
