//! The documented endpoint against the published page.

use jiff::Timestamp;
use serde_json::json;

use crate::site::{PUBLISHED, Site, in_intercom, start};

const FLAT: &str = "/api/admin/v1/intercoms/1/flats/1";

/// The page's sample without the blanks between its tokens: fields, order and types are what is left.
fn compact(pretty: &str) -> String {
    pretty.lines().map(|line| line.trim_start().replacen("\": ", "\":", 1)).collect()
}

#[tokio::test]
async fn the_published_sample_goes_in_and_the_same_comes_out() {
    let site = start().await;
    let answer = site.get(FLAT).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.body, compact(PUBLISHED));
    assert_eq!(answer.header("x-gateway-revision"), Some("57"));
    let synced: Timestamp = answer.header("x-gateway-synced-at").unwrap().parse().unwrap();
    assert_eq!(
        site.store.cache().state().borrow().applied_at.unwrap().as_millisecond(),
        synced.as_millisecond()
    );
}

#[tokio::test]
async fn a_post_is_answered_like_a_get_whatever_its_body() {
    let site = start().await;
    let expected = compact(PUBLISHED);
    for body in ["[]", "", "{\"a\":1}", "no json at all \u{1f511}", &"x".repeat(64 << 10)] {
        let answer = site.ask("POST", FLAT, body).await;
        assert_eq!((answer.status, &answer.body), (200, &expected), "{} bytes", body.len());
        assert_eq!(answer.header("x-gateway-revision"), Some("57"));
    }
    let chunked = format!(
        "POST {FLAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
        site.token
    );
    assert_eq!(crate::client::raw(site.address, chunked.as_bytes()).await.unwrap().body, expected);
}

#[tokio::test]
async fn the_path_takes_the_record_id_and_documents_of_any_content_come_out_as_they_went_in() {
    let site = start().await;
    let mut document: serde_json::Value = serde_json::from_str(PUBLISHED).unwrap();
    document["id"] = json!(9_007_199_254_740_991_u64);
    document["flat"] = json!(77);
    document["users"][0]["name"] = json!("Ünï \"q\" \\ \u{0} \u{2028} 🔑 </script>");
    let imported = in_intercom(2, &document.to_string());
    site.import(&format!(r#"{{"revision":58,"flats":[{imported}]}}"#)).await;
    let answer = site.get("/api/admin/v1/intercoms/2/flats/9007199254740991").await;
    assert_eq!(answer.json(), document);
    assert_eq!(answer.header("x-gateway-revision"), Some("58"));
    assert_eq!(site.get("/api/admin/v1/intercoms/2/flats/77").await.fields(), ["flat"]);
}

#[tokio::test]
async fn an_import_without_revision_leaves_its_header_out() {
    let site = start().await;
    site.import(&format!(r#"{{"flats":[{}]}}"#, in_intercom(1, PUBLISHED))).await;
    let answer = site.get(FLAT).await;
    assert_eq!((answer.status, answer.header("x-gateway-revision")), (200, None));
    assert!(answer.header("x-gateway-synced-at").is_some());
}

#[tokio::test]
async fn a_wrong_id_is_a_422_in_the_documented_shape() {
    let site = start().await;
    let flats = |intercom: &str, flat: &str| format!("/api/admin/v1/intercoms/{intercom}/flats/{flat}");
    for bad in ["0", "-1", "+1", "1.0", "x", "%20", "%FF", "1e2", "99999999999999999999", "%31%00", "null"] {
        assert_eq!(site.get(&flats("1", bad)).await.fields(), ["flat"], "{bad}");
        assert_eq!(site.get(&flats(bad, "1")).await.fields(), ["intercom"], "{bad}");
        assert_eq!(site.ask("POST", &flats(bad, bad), "[]").await.fields(), ["flat", "intercom"], "{bad}");
    }
    assert_eq!(site.get(&flats("1", "2")).await.fields(), ["flat"], "no such flat");
    assert_eq!(site.get(&flats("2", "1")).await.fields(), ["flat"], "an intercom without flats");
    assert_eq!(site.get(&flats("3", "1")).await.fields(), ["intercom"], "no such intercom");
    assert_eq!(site.get(&flats("9007199254740991", "1")).await.fields(), ["intercom"]);
}

/// Without a good token nothing else of a request matters.
#[tokio::test]
async fn the_token_is_looked_at_before_anything_else() {
    let site = start().await;
    let requests = [
        ("GET", FLAT, String::new()),
        ("GET", "/api/admin/v1/intercoms/x/flats/y", String::new()),
        ("GET", "/api/admin/v1/intercoms/3/flats/99", String::new()),
        ("GET", "/nowhere", String::new()),
        ("GET", "/api/local/v1/panels", String::new()),
        ("GET", "/metrics", String::new()),
        ("GET", "/openapi.json", String::new()),
        ("DELETE", FLAT, String::new()),
        ("OPTIONS", FLAT, String::new()),
        ("POST", FLAT, "x".repeat(100_000)),
        ("POST", "/api/admin/v1/intercoms/1/open-door", "{".into()),
        ("BREW", "/%FF", String::new()),
    ];
    for (method, path, body) in &requests {
        let answer = site.ask_with(method, path, "", body).await;
        assert_eq!(
            (answer.status, answer.json()),
            (401, json!({"message": "Unauthenticated."})),
            "{method} {path}"
        );
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let token = &site.token;
    for header in [
        "authorization: Bearer\r\n".to_owned(),
        format!("authorization: Basic {token}\r\n"),
        format!("authorization: {token}\r\n"),
        format!("authorization: Bearer {}\r\n", &token[1..]),
        format!("authorization: Bearer {token}x\r\n"),
        format!("authorization: Bearer {}\r\n", token.to_uppercase()),
        format!("authorization: Bearer {token}\r\nauthorization: Bearer {token}\r\n"),
        format!("x-authorization: Bearer {token}\r\ncookie: token={token}\r\n"),
    ] {
        assert_eq!(site.ask_with("GET", FLAT, &header, "").await.status, 401, "{header}");
    }
    assert_eq!(site.ask_with("GET", &format!("{FLAT}?token={token}"), "", "").await.status, 401);
    assert_eq!(
        site.ask_with("GET", FLAT, &format!("Authorization: bearer {token}\r\n"), "").await.status,
        200
    );
}

#[tokio::test]
async fn tokens_come_and_go_without_a_restart() {
    let site = start().await;
    let later = site.tokens.add("later", true, Timestamp::UNIX_EPOCH).unwrap();
    let header = format!("authorization: Bearer {}\r\n", *later);
    assert_eq!(site.ask_with("GET", FLAT, &header, "").await.status, 200);
    site.tokens.revoke("later").unwrap();
    assert_eq!(site.ask_with("GET", FLAT, &header, "").await.status, 401);
    assert_eq!(site.get(FLAT).await.status, 200);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_a_good_token_passes_all_the_same() {
    let site = start().await;
    let guess =
        async |site: &Site| site.ask_with("GET", FLAT, "authorization: Bearer igw_guess\r\n", "").await;
    let mut limited = None;
    // A new guess is allowed every six seconds, which no loop of twelve on loopback takes.
    for _ in 0..12 {
        limited = Some(guess(&site).await);
    }
    let limited = limited.unwrap();
    assert_eq!(limited.error().0, 429);
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=7).contains(&wait), "{wait}");
    assert_eq!(site.get(FLAT).await.status, 200);
    assert_eq!(site.ask_with("GET", FLAT, "", "").await.status, 401, "who sends none does not guess");
    assert_eq!(site.ask_with("GET", "/healthz", "authorization: Bearer igw_guess\r\n", "").await.status, 200);
}
