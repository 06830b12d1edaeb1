//! src/api/openapi.json as a judge of answers.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::{asyncapi, asyncapi::strict};

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let published: Value = serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap();
    let mut strict = published.clone();
    strict::close(&mut strict);
    Document { published, strict, validators: Mutex::default() }
});

/// The document, as it is published and closed.
pub struct Document {
    published: Value,
    strict: Value,
    /// By the schema's place in the document, and whether it is the closed one.
    validators: Mutex<HashMap<(String, bool), Arc<Validator>>>,
}

impl Document {
    pub fn read() -> &'static Self {
        &DOCUMENT
    }

    /// Asserts that this is what the document says of such a request: the status, the type of the body and, closed,
    /// all of its members; and that the document leaves room for more members.
    #[track_caller]
    pub fn accepts(&self, method: &str, target: &str, status: u16, content_type: Option<&str>, body: &str) {
        // The target may have a host in front of its path, and a query or a fragment behind it.
        let path = target
            .strip_prefix("http://")
            .map_or(target, |rest| &rest[rest.find('/').unwrap_or(rest.len())..]);
        let path = path.split(['?', '#']).next().unwrap();
        let shown = format!("{method} {target}: {status} {body}");
        let Some(place) = self.response(method, path, status) else {
            // No path of the document, no method of the path, headers that are too large, or plain HTTP to a port of HTTPS.
            assert!(matches!(status, 400 | 401 | 404 | 405 | 429 | 431), "not in openapi.json: {shown}");
            if method != "HEAD" {
                self.judge("/components/schemas/Error", body, &shown);
            }
            return;
        };
        let response = self.published.pointer(&place).unwrap();
        let Some(content) = response["content"].as_object() else {
            assert_eq!((content_type, body), (None, ""), "{shown}");
            return;
        };
        if method == "HEAD" {
            return;
        }
        let kind = content_type.unwrap_or_default().split(';').next().unwrap();
        assert!(content.contains_key(kind), "openapi.json has no {kind}: {shown}");
        if kind == "application/json" {
            self.judge(&format!("{place}/content/application~1json/schema"), body, &shown);
        }
        if (path, status) == ("/api/local/v1/events", 200) {
            let answer: Value = serde_json::from_str(body).unwrap();
            for event in answer["data"].as_array().unwrap() {
                asyncapi::Document::read().accepts("events", event);
            }
        }
    }

    /// Asserts that this is what the document says of a schema.
    #[track_caller]
    pub fn holds(&self, schema: &str, body: &str) {
        self.judge(&format!("/components/schemas/{schema}"), body, schema);
    }

    /// Where the document describes this response.
    fn response(&self, method: &str, path: &str, status: u16) -> Option<String> {
        let fits = |template: &str| {
            let (template, given) = (template.split('/'), path.split('/'));
            // These last names stand for all that follows.
            let is_as_long = template.clone().count() == given.clone().count()
                || matches!(template.clone().next_back(), Some("{path}" | "{item}"))
                    && template.clone().count() < given.clone().count();
            is_as_long
                && template.zip(given).all(|(template, given)| template.starts_with('{') || template == given)
        };
        let paths = self.published["paths"].as_object().unwrap();
        let path = paths.keys().find(|template| fits(template))?;
        let method = if method == "HEAD" { "get" } else { &method.to_lowercase() };
        let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
        let place = format!("/paths/{}/{method}/responses/{status}", escape(path));
        let response = self.published.pointer(&place)?;
        let reference = response.get("$ref").and_then(Value::as_str);
        Some(reference.map_or(place, |reference| reference.strip_prefix('#').unwrap().to_owned()))
    }

    #[track_caller]
    fn judge(&self, place: &str, body: &str, shown: &str) {
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {shown}"));
        if let Err(wrong) = strict::judge(&self.validator(place, true), &body) {
            panic!("{shown}\nis not what openapi.json says: {wrong}");
        }
        let mut more = strict::with_more_members(&body);
        if let Some(Value::Object(errors)) = more.get_mut("errors") {
            // Its members are fields of the request.
            errors.remove("of_a_later_version");
        }
        if let Err(wrong) = strict::judge(&self.validator(place, false), &more) {
            panic!("{more}\nhas members that openapi.json does not leave room for: {wrong}");
        }
    }

    fn validator(&self, place: &str, is_strict: bool) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry((place.to_owned(), is_strict)).or_insert_with(|| {
            let document = if is_strict { &self.strict } else { &self.published };
            let schema = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "allOf": [document.pointer(place).unwrap()],
                "components": document["components"],
            });
            Arc::new(jsonschema::validator_for(&schema).unwrap())
        });
        Arc::clone(validator)
    }
}
