//! Lists of flats and keys.

use serde_json::{Value, json};

use crate::{
    client::raw,
    site::{PUBLISHED, Site, in_intercom, start},
};

const DATE: &str = "2022-11-11 14:46:16";

/// Intercom 2: 30 flats with ids 101…130 and numbers 1…30; flat n has n % 3 keys, every second without a user.
async fn with_a_building(site: &Site) {
    let user = |id: u64| {
        json!({"id": id, "name": "n", "login": "l", "created_at": DATE, "updated_at": DATE, "expired_at": null,
               "is_licence_limit_reached": false, "ptz_priority": 1, "access_token_id": null})
    };
    let flats: Vec<Value> = (1..=30)
        .map(|n: u64| {
            let keys: Vec<Value> = (0..n % 3)
                .map(|k| {
                    json!({"id": n * 10 + k, "key": format!("{:014X}", n * 0xA0 + k),
                           "user": if k == 0 { user(n) } else { Value::Null }, "created_at": DATE, "updated_at": DATE})
                })
                .collect();
            json!({"intercom": 2, "id": 100 + n, "flat": n, "key_count": keys.len(), "users_count": 1,
                   "keys": keys, "users": [user(n)],
                   "properties": {"is_analog_line_enable": n.is_multiple_of(2), "is_sip_line_enable": true,
                                  "is_can_manage_resistance": false}})
        })
        .collect();
    site.import(&json!({"revision": 60, "flats": flats}).to_string()).await;
}

#[tokio::test]
async fn flats_are_listed_page_by_page() {
    let site = start().await;
    with_a_building(&site).await;
    let answer = site.get("/api/admin/v1/intercoms/2/flats").await;
    assert_eq!((answer.status, answer.header("x-gateway-revision")), (200, Some("60")));
    assert!(answer.body.starts_with(
        r#"{"data":[{"id":101,"flat":1,"key_count":1,"users_count":1,"properties":{"is_analog_line_enable":false,"is_sip_line_enable":true,"is_can_manage_resistance":false},"intercom_id":2},{"id":102,"#
    ), "{}", answer.body);
    let page = answer.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 25);
    let address = "http://gateway.test/api/admin/v1/intercoms/2/flats";
    assert_eq!(
        page["links"],
        json!({"first": format!("{address}?page=1"), "last": format!("{address}?page=2"),
                                     "prev": null, "next": format!("{address}?page=2")})
    );
    assert_eq!(
        page["meta"],
        json!({"current_page": 1, "from": 1, "last_page": 2, "path": address, "per_page": 25,
                                    "to": 25, "total": 30})
    );

    let last = site.get("/api/admin/v1/intercoms/2/flats?page=2&per_page=20&search=").await.json();
    assert_eq!(last["data"].as_array().unwrap().len(), 10);
    assert_eq!((&last["meta"]["from"], &last["meta"]["to"]), (&json!(21), &json!(30)));
    assert_eq!(last["links"]["prev"], format!("{address}?per_page=20&search=&page=1"));
    assert_eq!(last["links"]["next"], Value::Null);

    let beyond = site.get("/api/admin/v1/intercoms/2/flats?page=9").await.json();
    assert_eq!(
        (&beyond["data"], &beyond["meta"]["from"], &beyond["meta"]["last_page"]),
        (&json!([]), &Value::Null, &json!(2))
    );
    assert_eq!(beyond["links"]["prev"], format!("{address}?page=2"));
}

#[tokio::test]
async fn flats_are_searched_by_a_part_of_the_number() {
    let site = start().await;
    with_a_building(&site).await;
    let numbers = async |query: &str| -> Vec<u64> {
        let page = site.get(&format!("/api/admin/v1/intercoms/2/flats?{query}")).await.json();
        assert_eq!(page["meta"]["total"], page["data"].as_array().unwrap().len());
        page["data"].as_array().unwrap().iter().map(|row| row["flat"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers("search=3").await, [3, 13, 23, 30]);
    assert_eq!(numbers("search=13").await, [13]);
    assert_eq!(numbers("search=%25").await, [0; 0]);
    assert_eq!(
        site.get("/api/admin/v1/intercoms/1/flats").await.json()["meta"]["total"],
        0,
        "configured, no flats"
    );
}

#[tokio::test]
async fn keys_are_listed_with_their_flat_and_filtered() {
    let site = start().await;
    with_a_building(&site).await;
    let list = async |query: &str| -> (u64, Vec<u64>) {
        let page = site.get(&format!("/api/admin/v1/intercoms/2/keys?per_page=1000&{query}")).await.json();
        let ids = page["data"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap());
        (page["meta"]["total"].as_u64().unwrap(), ids.collect())
    };
    let (total, ids) = list("").await;
    assert_eq!((total, ids.len(), &ids[..4]), (30, 30, &[10, 20, 21, 40][..]));
    assert_eq!(list("intercom_flat_id=102").await, (2, vec![20, 21]));
    assert_eq!(list("user_id=4").await, (1, vec![40]));
    assert_eq!(list("unbound_users=1").await.0, 10);
    assert_eq!(list("unbound_users=true&intercom_flat_id=102").await, (1, vec![21]));
    assert_eq!(list("unbound_users=false&intercom_flat_id=102").await.0, 2);
    assert_eq!(list("search=00000000000141").await, (1, vec![21]), "2 * 0xA0 + 1");
    assert_eq!(list("search=aa0").await, (1, vec![170]), "17 * 0xA0, whatever the case");
    assert_eq!(list("search=G").await.0, 0);

    let row = site.get("/api/admin/v1/intercoms/2/keys?intercom_flat_id=102&per_page=1&page=2").await;
    assert!(row.body.starts_with(
        r#"{"data":[{"id":21,"key":"00000000000141","user":null,"created_at":"2022-11-11 14:46:16","updated_at":"2022-11-11 14:46:16","flat":{"id":102,"flat":2}}],"#
    ), "{}", row.body);
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let site = start().await;
    for (query, field) in [
        ("per_page=0", "per_page"),
        ("per_page=1001", "per_page"),
        ("page=0", "page"),
        ("page=x", "page"),
        ("user_id=-1", "user_id"),
        ("intercom_flat_id=a", "intercom_flat_id"),
        ("unbound_users=maybe", "unbound_users"),
    ] {
        assert_eq!(site.get(&format!("/api/admin/v1/intercoms/1/keys?{query}")).await.fields(), [field]);
    }
    // The platform's page has them, and nothing here does what they say.
    for list in ["flats", "keys"] {
        for query in [
            "sort=id",
            "dir=desc",
            "from=1",
            "to=2",
            "exclude_keys_id=7",
            "unbound_flats=1",
            "exclude_keys_id[]=7",
        ] {
            let field = query.split(['=', '[']).next().unwrap();
            let answer = site.get(&format!("/api/admin/v1/intercoms/1/{list}?{query}")).await;
            assert_eq!(answer.fields(), [field], "{query}");
            assert!(answer.body.contains("is not served by this gateway"), "{}", answer.body);
        }
        assert_eq!(site.get(&format!("/api/admin/v1/intercoms/1/{list}?sort=&sorted=1")).await.status, 200);
    }
    assert_eq!(site.get("/api/admin/v1/intercoms/9/keys").await.fields(), ["intercom"]);
    assert_eq!(site.get("/api/admin/v1/intercoms/x/flats").await.fields(), ["intercom"]);
}

#[tokio::test]
async fn links_lead_to_the_host_that_was_asked_if_it_is_one_and_else_to_where_the_request_came_in() {
    let site = start().await;
    let path = "/api/admin/v1/intercoms/1/flats";
    let origin_of = async |target: &str, lines: &[u8]| {
        let head = format!("GET {target} HTTP/1.1\r\nauthorization: Bearer {}\r\n", site.token);
        let page = raw(site.address, &[head.as_bytes(), lines, b"\r\n"].concat()).await.unwrap().json();
        let shown = page["meta"]["path"].as_str().unwrap().to_owned();
        assert_eq!(page["links"]["first"], format!("{shown}?page=1"));
        shown.strip_suffix(path).unwrap().to_owned()
    };
    for host in ["gate.local:8443", "GATE.local", "192.0.2.7", "[2001:db8::1]:8443", "[::1]"] {
        let line = format!("Host: {host}\r\n");
        assert_eq!(origin_of(path, line.as_bytes()).await, format!("http://{host}"));
    }
    let here = format!("http://{}", site.address);
    for lines in [
        &b""[..],
        b"Host:\r\n",
        b"Host: tester@gate.local\r\n",
        b"Host: gate.local/elsewhere\r\n",
        b"Host: gate.local?a=\r\n",
        b"Host: gate local\r\n",
        b"Host: gate.local:\r\n",
        b"Host: gate.local:65536\r\n",
        b"Host: gate.local:80:80\r\n",
        b"Host: https://gate.local\r\n",
        b"Host: ::1\r\n",
        b"Host: [::1\r\n",
        b"Host: \"><b\r\n",
        b"Host: \xff\r\n",
        b"Host: one.local\r\nHost: two.local\r\n",
        b"X-Forwarded-Host: gate.local\r\nForwarded: host=gate.local\r\n",
    ] {
        assert_eq!(origin_of(path, lines).await, here, "{}", String::from_utf8_lossy(lines));
    }
    // A client that believes to speak to a proxy names the host in front of the path, and that one counts.
    let absolute = format!("http://gate.local:81{path}");
    assert_eq!(origin_of(&absolute, b"Host: elsewhere.test\r\n").await, "http://gate.local:81");
    let with_user = format!("http://tester@gate.local{path}");
    assert_eq!(origin_of(&with_user, b"Host: elsewhere.test\r\n").await, here);
}

#[tokio::test]
async fn flats_are_found_by_number_key_and_name_in_all_intercoms() {
    let site = start().await;
    let mut other: Value = serde_json::from_str(PUBLISHED).unwrap();
    other["id"] = json!(77);
    other["flat"] = json!(305);
    other["keys"] = json!([]);
    other["key_count"] = json!(0);
    other["users"][0]["name"] = json!("Ёжиков Ян \"<b>\"");
    other["users"][0]["login"] = json!("Hedgehog@Mail.example");
    let flats = [in_intercom(1, PUBLISHED), in_intercom(2, &other.to_string())].join(",");
    site.import(&format!(r#"{{"revision":58,"flats":[{flats}]}}"#)).await;
    let found = async |search: &str| -> Vec<(u64, u64)> {
        let page = site.get(&format!("/api/local/v1/flats?search={search}")).await.json();
        assert_eq!(page["meta"]["total"], page["data"].as_array().unwrap().len());
        let row = |row: &Value| (row["intercom_id"].as_u64().unwrap(), row["id"].as_u64().unwrap());
        page["data"].as_array().unwrap().iter().map(row).collect()
    };
    let (first, second) = ((1, 1), (2, 77));
    assert_eq!(found("").await, [first, second]);
    for (search, flats) in [
        ("05", vec![second]),
        ("3042caac", vec![first]),
        ("000000417EE9AA", vec![first]),
        ("%D1%91%D0%B6%D0%98%D0%BA", vec![second]),
        ("hedgehog@", vec![second]),
        ("%22%3Cb", vec![second]),
        ("%20hedgehog%20", vec![second]),
        ("mail", vec![first, second]),
        ("nobody", vec![]),
        ("%25", vec![]),
        ("%27", vec![]),
    ] {
        assert_eq!(found(search).await, flats, "{search}");
    }
    let answer = site.get("/api/local/v1/flats?per_page=1&page=2&search=mail").await;
    assert_eq!(answer.header("x-gateway-revision"), Some("58"));
    let page = answer.json();
    assert_eq!((&page["meta"]["total"], &page["meta"]["to"]), (&json!(2), &json!(2)));
    let mut row = other.clone();
    for member in ["keys", "users"] {
        row.as_object_mut().unwrap().remove(member);
    }
    row["intercom_id"] = json!(2);
    assert_eq!(page["data"], json!([row]));
    for wrong in ["per_page=51", "per_page=0", "page=0"] {
        let field = wrong.split('=').next().unwrap();
        assert_eq!(site.get(&format!("/api/local/v1/flats?{wrong}")).await.fields(), [field]);
    }
}
