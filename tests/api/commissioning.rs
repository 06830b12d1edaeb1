//! The record of commissioning over HTTP.

use serde_json::{Value, json};

use crate::site::{Site, start};

const PATH: &str = "/api/local/v1/commissioning";

async fn item(site: &Site, id: &str) -> Value {
    let list = site.get(PATH).await.json();
    let items = list["items"].as_array().unwrap().clone();
    items.into_iter().find(|item| item["id"] == id).unwrap_or_else(|| panic!("no {id}: {list}"))
}

#[tokio::test]
async fn the_list_is_told_with_what_a_handover_needs() {
    let site = start().await;
    let list = site.get(PATH).await.json();
    assert_eq!(
        (&list["gateway"], &list["version"]),
        (&json!("building-7"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(list["journal"], json!(&*site.store.journal().identity()));
    assert!(list["time"].as_str().unwrap().ends_with('Z'));
    let items = list["items"].as_array().unwrap();
    assert_eq!((&list["complete"], &list["open"]), (&json!(false), &json!(items.len())));
    assert_eq!(
        item(&site, "line/1/7/number").await,
        json!({
            "id": "line/1/7/number", "group": "line", "kind": "number", "panel": "gate", "intercom": 1, "flat": 7,
            "by_hand": true, "done": null,
        })
    );
    assert_eq!(list["panels"], json!([]), "no bus runs here");
}

#[tokio::test]
async fn a_person_confirms_what_only_a_person_sees() {
    let site = start().await;
    for (path, body) in
        [("panel/gate/identified", ""), ("line%2F1%2f7%2Fnumber", "{}"), ("line/1/7/number", "[]")]
    {
        let answer = site.ask("POST", &format!("{PATH}/{path}"), body).await;
        let confirmed = answer.json();
        assert_eq!((answer.status, &confirmed["done"]["token"]), (200, &json!("tester")), "{confirmed}");
        assert_eq!(
            (&confirmed["done"]["journal"], &confirmed["done"]["sequence"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(item(&site, confirmed["id"].as_str().unwrap()).await, confirmed);
    }
    assert_eq!(
        site.get(PATH).await.json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| !item["done"].is_null())
            .count(),
        2
    );
}

#[tokio::test]
async fn what_is_no_persons_to_confirm_is_refused_in_words() {
    let site = start().await;
    for (id, words) in [
        ("panel/gate/answered", "when the panel comes online"),
        ("line/1/7/off_hook", "when the handset is seen lifted"),
        ("panel/elsewhere/identified", "no such item"),
        ("panel", "no such item"),
        ("panel/gate/identified/", "no such item"),
        ("%00", "no such item"),
    ] {
        let answer = site.ask("POST", &format!("{PATH}/{id}"), "").await;
        assert_eq!(answer.fields(), ["item"], "{id}");
        let told = answer.json()["errors"]["item"][0].as_str().unwrap().to_owned();
        assert!(told.contains(words), "{id}: {told}");
    }
    let answer = site.ask("POST", &format!("{PATH}/panel/gate/identified"), "yes").await;
    assert_eq!(answer.fields(), ["body"]);

    let reader = site.tokens.add("reader", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let header = format!("authorization: Bearer {}\r\n", *reader);
    let answer = site.ask_with("POST", &format!("{PATH}/panel/gate/identified"), &header, "").await;
    assert_eq!(answer.error().0, 403);
    assert_eq!(site.ask_with("GET", PATH, &header, "").await.status, 200);
    assert_eq!(site.ask_with("GET", PATH, "", "").await.status, 401);
    assert_eq!(item(&site, "panel/gate/identified").await["done"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_read_or_written_just_now_is_told_so() {
    let site = start().await;
    let list = site.commissioning.list.send_replace(None);
    assert_eq!(site.get(PATH).await.error().0, 503);
    assert_eq!(site.ask("POST", &format!("{PATH}/panel/gate/identified"), "").await.error().0, 503);
    site.commissioning.list.send_replace(list);
    // Nobody takes confirmations any more, as while a disk hangs.
    site.commissioning.keeping.abort();
    let answer = site.ask("POST", &format!("{PATH}/panel/gate/identified"), "").await;
    assert_eq!((answer.error().0, answer.header("retry-after")), (503, Some("5")));
}
