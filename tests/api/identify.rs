//! `identify` where there is no panel: what it says then. Real panels blink in the daemon's own tests.

use serde_json::json;

use crate::site::start;

fn path(panel: &str) -> String {
    format!("/api/local/v1/panels/{panel}/identify")
}

#[tokio::test]
async fn a_panel_that_there_is_not_is_unknown_whatever_its_name() {
    let site = start().await;
    for body in ["", "[]", "{}", r#"{"for":0.1}"#, r#"{"for":60,"other":1}"#, r#"{"for":null}"#] {
        let answer = site.ask("POST", &path("entrance-1"), body).await;
        assert_eq!(answer.fields(), ["panel"], "{body}");
        let told = "There is no panel entrance-1 in the configuration of the running daemon.";
        assert_eq!(answer.json()["message"], told);
        assert_eq!(answer.json()["errors"]["panel"], json!([format!("unknown_panel: {told}")]));
    }
    for no_name in ["Entrance-1", "%65ntrance-1", "x".repeat(65).as_str(), "%00", "..%2F"] {
        let answer = site.ask("POST", &path(no_name), "").await;
        assert_eq!(
            (answer.fields(), &answer.json()["code"]),
            (vec!["panel".into()], &json!("unknown_panel"))
        );
    }
}

#[tokio::test]
async fn a_wrong_time_is_refused_by_its_field() {
    let site = start().await;
    for bad in ["0", "0.09", "60.1", "-1", "\"10\"", "true", "[]", "1e999"] {
        let answer = site.ask("POST", &path("entrance-1"), &format!(r#"{{"for":{bad}}}"#)).await;
        if bad == "1e999" {
            // No number that JSON can hold here.
            assert_eq!(answer.fields(), ["body"]);
            continue;
        }
        assert_eq!(answer.fields(), ["for"], "{bad}");
        assert_eq!(answer.json()["code"], json!(null), "the request itself is wrong");
    }
    for body in ["nonsense", "[1]", "10"] {
        assert_eq!(site.ask("POST", &path("entrance-1"), body).await.fields(), ["body"], "{body}");
    }
    assert_eq!(site.ask("POST", &path("entrance-1"), &"x".repeat(70_000)).await.error().0, 413);
    assert_eq!(site.ask("GET", &path("entrance-1"), "").await.error().0, 405);
}

#[tokio::test]
async fn a_token_that_may_only_read_makes_no_panel_blink() {
    let site = start().await;
    let reader = site.tokens.add("reader", true, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let header = format!("authorization: Bearer {}\r\n", *reader);
    for body in ["", r#"{"for":0}"#, "nonsense"] {
        assert_eq!(site.ask_with("POST", &path("entrance-1"), &header, body).await.error().0, 403);
    }
    assert_eq!(site.ask_with("POST", &path("entrance-1"), "", "").await.status, 401);
}
