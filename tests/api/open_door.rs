//! `open-door` where nothing can be opened: what it says then. Real panels are opened by the daemon's own tests.

use crate::site::start;

const DOOR: &str = "/api/admin/v1/intercoms/1/open-door";

#[tokio::test]
async fn a_building_without_locks_says_so_with_a_code() {
    let site = start().await;
    for body in ["", "[]", "{}", r#"{"duration":3}"#, r#"{"panel":"entrance-1"}"#] {
        let answer = site.ask("POST", DOOR, body).await;
        assert_eq!(answer.fields(), ["panel"]);
        let json = answer.json();
        assert_eq!(json["code"], "unknown_panel", "{body}");
        assert_eq!(json["message"], "Intercom 1 has no panel with a lock.");
        assert!(json["errors"]["panel"][0].as_str().unwrap().starts_with("unknown_panel: "));
    }
}

#[tokio::test]
async fn a_token_that_floods_is_told_to_wait_and_others_are_not() {
    let site = start().await;
    let unlock = async |token: &str| {
        site.ask_with("POST", DOOR, &format!("authorization: Bearer {token}\r\n"), "").await
    };
    let mut refused = None;
    for asked in 0..100 {
        let answer = unlock(&site.token).await;
        if answer.status == 429 {
            assert!(asked >= 20, "{asked}");
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 422);
    }
    let refused = refused.expect("100 unlocks took less than 40 s");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let json = refused.json();
    assert_eq!(json["code"], "rate_limited");
    assert!(json["message"].as_str().unwrap().starts_with("Too many unlocks with this token"), "{json}");
    let other = site.tokens.add("other", false, jiff::Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(unlock(&other).await.status, 422);
    assert_eq!(site.ask("GET", "/api/local/v1/panels", "").await.status, 200);
}

#[tokio::test]
async fn wrong_requests_are_refused_by_field() {
    let site = start().await;
    for (body, fields) in [
        (r#"{"duration":0}"#, &["duration"][..]),
        (r#"{"duration":61}"#, &["duration"]),
        (r#"{"duration":"-1"}"#, &["duration"]),
        (r#"{"duration":"permanent"}"#, &["duration"]),
        (r#"{"duration":true}"#, &["duration"]),
        (r#"{"duration":"3s","panel":1}"#, &["duration", "panel"]),
        ("nonsense", &["body"]),
        ("[1]", &["body"]),
    ] {
        assert_eq!(site.ask("POST", DOOR, body).await.fields(), fields, "{body}");
    }
    let permanent = site.ask("POST", DOOR, r#"{"duration":0}"#).await;
    assert!(permanent.body.contains("a permanent opening is not offered"), "{}", permanent.body);
    assert_eq!(site.ask("POST", "/api/admin/v1/intercoms/0/open-door", "").await.fields(), ["intercom"]);
    assert_eq!(site.ask("POST", "/api/admin/v1/intercoms/9/open-door", "").await.fields(), ["intercom"]);
    assert_eq!(site.ask("POST", DOOR, &"x".repeat(70_000)).await.error().0, 413);
}

#[tokio::test]
async fn a_token_that_may_only_read_opens_nothing() {
    let site = start().await;
    let reader = site.tokens.add("reader", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let header = format!("authorization: Bearer {}\r\n", *reader);
    for body in ["", "nonsense"] {
        assert_eq!(site.ask_with("POST", DOOR, &header, body).await.error().0, 403);
    }
    assert_eq!(site.ask_with("GET", "/api/local/v1/panels", &header, "").await.status, 200);
}
