//! Texts without secrets and without what they say of people: what is known to be personal by word, the rest by its look.

use std::{collections::HashSet, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Pseudonyms;

/// Members of flat documents that name people or open doors.
const PERSONAL: [&str; 4] = ["name", "login", "key", "code"];
/// Letters from which on a part of a name is looked for by itself.
const PART: usize = 3;
/// Hex digits from which on a word is a key, a serial or the like.
const HEX: usize = 8;
/// Characters from which on letters and digits are a secret.
const DENSE: usize = 20;
/// Bytes in a row, as hex digits with gaps, from which on they are a frame.
const BYTES: usize = 4;
/// Values that are hidden whatever they look like, by the word before `=` or `:`.
const LABELS: [&str; 12] = [
    "digits",
    "code",
    "key",
    "raw",
    "password",
    "passphrase",
    "token",
    "login",
    "user",
    "username",
    "secret",
    "scbk",
];
/// Stands for what is hidden altogether.
const HIDDEN: &str = "<hidden>";

/// What is known to be personal or secret.
#[derive(Default)]
pub struct Words {
    /// In lower case: whole texts without spaces, and parts of names.
    words: HashSet<String>,
    /// Texts that are found only whole.
    phrases: Vec<String>,
}

impl Words {
    /// Learns a text: the name of somebody, a login, a password, the name of a token.
    pub fn learn(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        self.words.insert(text.to_lowercase());
        // The domain of an address is no person's.
        let of_person = text.rsplit_once('@').map_or(text, |(person, _)| person);
        let parts: Vec<&str> = atoms(of_person).filter(|part| part.chars().count() >= PART).collect();
        if parts.is_empty() || !text.chars().all(is_of_word) {
            self.phrases.push(text.to_owned());
        }
        self.words.extend(parts.into_iter().map(str::to_lowercase));
    }

    /// Learns the names, logins, keys and codes of a flat document.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn learn_flat(&mut self, json: &str) -> serde_json::Result<()> {
        Learning { words: self, is_personal: false }
            .deserialize(&mut serde_json::Deserializer::from_str(json))
    }

    /// Returns a text without what is known or looks like a secret.
    pub fn hide(&self, text: &str, pseudonyms: &Pseudonyms) -> String {
        let mut text = text.to_owned();
        for phrase in self.phrases.iter().filter(|phrase| text.contains(phrase.as_str())).collect::<Vec<_>>()
        {
            text = text.replace(phrase.as_str(), &pseudonyms.of(phrase));
        }
        let lines = text.split_inclusive('\n');
        lines.map(|line| self.hide_words(&hide_bytes(&hide_userinfo(line)), pseudonyms)).collect()
    }

    fn hide_words(&self, line: &str, pseudonyms: &Pseudonyms) -> String {
        let mut shown = String::with_capacity(line.len());
        let mut rest = line;
        while let Some(begin) = rest.find(is_of_word) {
            let (between, after) = rest.split_at(begin);
            shown.push_str(between);
            let end = after.find(|c| !is_of_word(c)).unwrap_or(after.len());
            let (word, after) = after.split_at(end);
            if is_hidden_already(between, after) {
                shown.push_str(word);
            } else if is_labelled(&shown) {
                shown.push_str(&pseudonyms.of(word));
            } else {
                self.hide_word(word, pseudonyms, &mut shown);
            }
            rest = after;
        }
        shown.push_str(rest);
        shown
    }

    fn hide_word(&self, word: &str, pseudonyms: &Pseudonyms, shown: &mut String) {
        let trimmed = word.trim_matches(|c: char| !c.is_alphanumeric());
        if self.words.contains(&trimmed.to_lowercase()) {
            shown.push_str(&word.replace(trimmed, &pseudonyms.of(trimmed)));
            return;
        }
        let mut rest = word;
        while let Some(begin) = rest.find(char::is_alphanumeric) {
            let (between, after) = rest.split_at(begin);
            shown.push_str(between);
            let end = after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len());
            let (atom, after) = after.split_at(end);
            if self.is_personal(atom) {
                shown.push_str(&pseudonyms.of(atom));
            } else {
                shown.push_str(atom);
            }
            rest = after;
        }
        shown.push_str(rest);
    }

    fn is_personal(&self, atom: &str) -> bool {
        let is_hex = atom.len() >= HEX && atom.bytes().all(|byte| byte.is_ascii_hexdigit());
        let has = |is_it: fn(&u8) -> bool| atom.as_bytes().iter().any(is_it);
        let is_dense = atom.len() >= DENSE && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
        is_hex || is_dense || self.words.contains(&atom.to_lowercase())
    }
}

/// Characters of logins, addresses and names of tokens.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '+')
}

fn atoms(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|atom| !atom.is_empty())
}

/// Whether a word is a pseudonym, or stands for what is hidden.
fn is_hidden_already(before: &str, after: &str) -> bool {
    before.ends_with('<') && after.starts_with('>')
}

/// Whether what stands before a word says that it is a secret.
fn is_labelled(before: &str) -> bool {
    let before = before.trim_end_matches(['"', '\'', ' ', '\\']);
    let Some(label) = before.strip_suffix(['=', ':']) else { return false };
    let label = label.trim_end_matches(['"', '\'', ' ', '\\']);
    let begin = label.rfind(|c: char| !c.is_alphanumeric()).map_or(0, |end| end + 1);
    label.get(begin..).is_some_and(|label| LABELS.contains(&label.to_lowercase().as_str()))
}

/// Takes user and password out of URLs.
fn hide_userinfo(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(after.len());
        // A password may have a slash in it, which it should not: what is before the last @ of the word goes.
        let word = after.find(char::is_whitespace).unwrap_or(after.len());
        let at = after
            .get(..end)
            .and_then(|host| host.rfind('@'))
            .or_else(|| after.get(..word).and_then(|word| word.rfind('@')));
        rest = match at {
            Some(at) => {
                shown.push_str(HIDDEN);
                after.get(at..).unwrap_or_default()
            }
            None => after,
        };
    }
    shown.push_str(rest);
    shown
}

/// Takes frames out: bytes as hex digits, with a space or a colon between them.
fn hide_bytes(line: &str) -> String {
    let bytes = line.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let is_alone = |at: usize| !bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let is_byte = |at: usize| is_hex(at) && is_hex(at + 1) && is_alone(at + 2);
    let mut shown = String::with_capacity(line.len());
    let mut at = 0;
    while at < bytes.len() {
        let is_first = at == 0 || is_alone(at - 1);
        let mut end = at;
        let mut count = 0;
        while is_first && is_byte(end) {
            count += 1;
            end += 2;
            if !matches!(bytes.get(end), Some(b' ' | b':')) || !is_byte(end + 1) {
                break;
            }
            end += 1;
        }
        if count >= BYTES {
            shown.push_str(HIDDEN);
            at = end;
        } else {
            let next =
                (at + 1..=bytes.len()).find(|next| line.is_char_boundary(*next)).unwrap_or(bytes.len());
            shown.push_str(line.get(at..next).unwrap_or_default());
            at = next;
        }
    }
    shown
}

/// Walks through a document and learns what is personal of it.
struct Learning<'a> {
    words: &'a mut Words,
    is_personal: bool,
}

impl<'de> DeserializeSeed<'de> for Learning<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Learning<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a flat document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let is_personal = PERSONAL.contains(&name.as_str());
            map.next_value_seed(Learning { words: &mut *self.words, is_personal })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Learning { words: &mut *self.words, is_personal: false })?.is_some() {}
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        if self.is_personal {
            self.words.learn(text);
        }
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(IgnoredAny).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(text: &str) -> String {
        let mut words = Words::default();
        let flat = r#"{"intercom":1,"id":11,"keys":[{"key":"0000003042CAAC","user":{"id":6,
            "name":"Анна Петрова","login":"anna@example.org","is_licence_limit_reached":false,"ptz":1.5}}],
            "codes":[{"id":1,"code":"93552"}],"users":[{"name":"Li","login":"+4915112345678","expired_at":null}]}"#;
        words.learn_flat(flat).unwrap();
        words.learn("annas-phone");
        words.learn("pa ss/w0rd");
        words.hide(text, &Pseudonyms::new().unwrap())
    }

    #[test]
    fn what_is_known_or_looks_like_a_secret_is_hidden() {
        for text in [
            "the user Петрова was refused",
            "login (anna@example.org)",
            "call +4915112345678",
            "token annas-phone was revoked",
            "the password is pa ss/w0rd!",
            "a key 0000003042CAAC, or 3042caac",
            "code 93552 is unknown",
            "digits=1234",
            r#"{\"digits\":\"1234\"}"#,
            "SCBK 303132333435363738393A3B3C3D3E3F",
            "sent 53 00 1a 2b 3c",
            "sent ff:53:00:1a",
            "mqtts://anna:geheim@broker.example.org:8883",
            "tcp://x:y@10.0.0.7:4001/",
            "igw_5f2b9c0a7de1446688aa5f2b9c0a7de1446688aa5f2b9c0a7de1446688aa5f2b",
            "eyJhbGciOiJFZERTQSJ9abc1",
            "Li is at the door",
        ] {
            let shown = hide(text);
            for canary in [
                "Петрова",
                "anna",
                "4915112345678",
                "annas",
                "w0rd",
                "3042",
                "93552",
                "1234",
                "3031",
                "53 00",
                "ff:53",
                "geheim",
                "x:y",
                "igw_5f",
                "eyJ",
                "Li ",
            ] {
                assert!(!shown.to_lowercase().contains(&canary.to_lowercase()), "{text} became {shown}");
            }
        }
    }

    #[test]
    fn what_support_needs_is_left_as_it_is() {
        for text in [
            "2026-11-30T02:54:56.676925Z  INFO intercom.panel.online {\"panel\":\"entrance-1\",\"intercom\":1}\n",
            "panel entrance-1: the line loses its answers, 90 of 120 in the last minute: check termination",
            "port = \"/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KZP45-if00-port0\" # gateway.toml:7",
            "url = \"mqtts://broker.example.org:8883\"",
            "985 exchanges, 20 without an answer, 15 with a wrong check (1.5 %)",
            "at 12:34:56 or 0.5 s",
        ] {
            assert_eq!(hide(text), text);
        }
    }
}
