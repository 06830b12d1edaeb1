//! Flat documents for tests, by seed: valid ones with all that is optional, and such as have been tampered with.

use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedMutRandom, IndexedRandom, SliceRandom},
};

/// A JSON text as it is to be written: with members that come twice, and with anything in place of a value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Numbers, literals, and what is no JSON at all.
    Plain(String),
    /// A text with its quotes and escapes.
    Text(String),
    Array(Vec<Node>),
    /// Names with their quotes and escapes.
    Object(Vec<(String, Node)>),
}

/// A document, and its text.
pub(super) struct Generated {
    pub(super) tree: Node,
    pub(super) text: String,
    /// Whether the text is what the tree says, and not damaged beyond it.
    pub(super) whole: bool,
}

/// Returns the document of a seed: every other one is valid, of sixteen one is damaged, and the rest is tampered with.
pub(super) fn document(seed: u64) -> Generated {
    let mut random = Generator(StdRng::seed_from_u64(seed));
    let mut tree = random.flat();
    let whole = seed % 16 != 15;
    if seed % 2 == 1 && whole {
        for _ in 0..random.0.random_range(1..=3) {
            random.tamper(&mut tree);
        }
    }
    let mut text = String::new();
    random.write(&tree, &mut text);
    if !whole {
        random.damage(&mut text);
    }
    Generated { tree, text, whole }
}

/// Returns a flat without keys and users.
pub(crate) fn empty(intercom: u64, id: u64, number: u64) -> String {
    let properties =
        r#"{"is_analog_line_enable":true,"is_sip_line_enable":true,"is_can_manage_resistance":true}"#;
    let nobody = r#""key_count":0,"users_count":0,"keys":[],"users":[]"#;
    format!(r#"{{"intercom":{intercom},"id":{id},"flat":{number},{nobody},"properties":{properties}}}"#)
}

const NUMBERS: [&str; 30] = [
    "0",
    "1",
    "-0",
    "-1",
    "1.0",
    "1e0",
    "1E3",
    "10e-1",
    "0.5",
    "-2.5",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740992",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "-1e999",
    "1e-999",
    "01",
    "+1",
    ".5",
    "1.",
    "1e",
    "0x1",
    "NaN",
    "-",
    "00",
    "1_0",
];
const TEXTS: [&str; 30] = [
    r#""""#,
    r#""x""#,
    r#""\ud800""#,
    r#""\udc00""#,
    r#""\ud800\ud800""#,
    r#""\udc00\ud800""#,
    r#""\ud83d\ude00""#,
    r#""\uD83D\uDE00\u0416""#,
    r#""\u0000""#,
    r#""\u001f\u007f""#,
    r#""\/\\\"\b\f\n\r\t""#,
    r#""\x""#,
    r#""\u12""#,
    "\"\n\"",
    "\"\u{7f}\u{2028}\u{10ffff}\"",
    r#""0000003042CAAC""#,
    r#""0000003042caac""#,
    r#""00000\u0033042CAAC""#,
    r#""2022-11-11 14:46:16""#,
    r#""2022-11-11T14:46:16""#,
    r#""2023-02-29 00:00:00""#,
    r#""2024-02-29 23:59:60""#,
    r#""\u0032022-11-11 14:46:16""#,
    r#""0000-01-01 00:00:00""#,
    r#""1""#,
    r#""0012""#,
    r#""123""#,
    r#""\u0031234""#,
    r#""12345678901""#,
    r#""null""#,
];
const LITERALS: [&str; 8] = ["null", "true", "false", "nul", "True", "", "[", "]"];
const SPACES: [&str; 6] = [" ", "\n", "\t", "\r\n", "  \n ", " \t"];
/// Members of all levels, and some that mean nothing.
const NAMES: [&str; 31] = [
    "intercom",
    "id",
    "flat",
    "key_count",
    "users_count",
    "keys",
    "users",
    "properties",
    "answer_resistance",
    "quiescent_resistance",
    "codes",
    "code",
    "permissions",
    "is_open_door_key",
    "is_open_door_code",
    "key",
    "user",
    "created_at",
    "updated_at",
    "name",
    "login",
    "expired_at",
    "is_licence_limit_reached",
    "ptz_priority",
    "access_token_id",
    "is_analog_line_enable",
    "is_sip_line_enable",
    "is_can_manage_resistance",
    "x",
    "Flat",
    "",
];

struct Generator(StdRng);

impl Generator {
    fn flat(&mut self) -> Node {
        let keys: Vec<Node> = (0..self.few()).map(|_| self.key()).collect();
        let users: Vec<Node> = (0..self.few()).map(|_| self.user()).collect();
        let mut members = vec![
            member("intercom", self.id()),
            member("id", self.id()),
            member("flat", self.id()),
            member("key_count", plain(keys.len())),
            member("users_count", plain(users.len())),
            member("keys", Node::Array(keys)),
            member("users", Node::Array(users)),
            member("properties", self.properties()),
        ];
        for name in ["answer_resistance", "quiescent_resistance"] {
            if self.0.random_bool(0.5) {
                let value = self.integer();
                members.push(member(name, self.or_null(value)));
            }
        }
        if self.0.random_bool(0.5) {
            let codes = Node::Array((0..self.few()).map(|_| self.code()).collect());
            members.push(member("codes", self.or_null(codes)));
        }
        if self.0.random_bool(0.5) {
            let first: usize = self.0.random_range(1..100);
            let permissions = Node::Array((0..self.few()).map(|n| self.permission(first + n)).collect());
            members.push(member("permissions", self.or_null(permissions)));
        }
        self.object(members)
    }

    fn code(&mut self) -> Node {
        let length: u32 = self.0.random_range(4..=10);
        let digits: u64 = self.0.random_range(0..10_u64.pow(length));
        let (user, date) = (self.id(), self.date());
        let members = vec![
            member("id", self.id()),
            member("code", Node::Text(format!("\"{digits:0width$}\"", width = length as usize))),
            member("user", self.or_null(user)),
            member("expired_at", self.or_null(date)),
        ];
        self.object(members)
    }

    fn permission(&mut self, user: usize) -> Node {
        let mut members = vec![member("user", plain(user))];
        members.extend(["is_open_door_key", "is_open_door_code"].map(|name| member(name, self.flag())));
        self.object(members)
    }

    fn key(&mut self) -> Node {
        let code: u64 = self.0.random_range(0..1 << 56);
        let mut members = vec![
            member("id", self.id()),
            member("key", Node::Text(format!("\"{code:014X}\""))),
            member("created_at", self.date()),
            member("updated_at", self.date()),
        ];
        if self.0.random_bool(0.9) {
            let user = self.user();
            members.push(member("user", self.or_null(user)));
        }
        self.object(members)
    }

    fn user(&mut self) -> Node {
        let mut members = vec![
            member("id", self.id()),
            member("name", self.text()),
            member("login", self.text()),
            member("created_at", self.date()),
            member("updated_at", self.date()),
            member("is_licence_limit_reached", self.flag()),
            member("ptz_priority", self.integer()),
        ];
        if self.0.random_bool(0.9) {
            let date = self.date();
            members.push(member("expired_at", self.or_null(date)));
        }
        if self.0.random_bool(0.9) {
            let id = self.integer();
            members.push(member("access_token_id", self.or_null(id)));
        }
        self.object(members)
    }

    fn properties(&mut self) -> Node {
        let names = ["is_analog_line_enable", "is_sip_line_enable", "is_can_manage_resistance"];
        let members = names.map(|name| member(name, self.flag())).into();
        self.object(members)
    }

    /// An object of these members in any order, some with an escaped name, and with others that mean nothing.
    fn object(&mut self, mut members: Vec<(String, Node)>) -> Node {
        if self.0.random_bool(0.1) {
            members.push(member("unknown", self.valid(2)));
        }
        if self.0.random_bool(0.3) {
            members.shuffle(&mut self.0);
        }
        if self.0.random_bool(0.05) {
            self.escape(&mut members);
        }
        Node::Object(members)
    }

    /// Any valid JSON.
    fn valid(&mut self, depth: u32) -> Node {
        match self.0.random_range(0..if depth == 0 { 4 } else { 6 }) {
            0 => plain(["null", "true", "false"].choose(&mut self.0).expect("three")),
            1 => plain(
                ["-0", "1.5e300", "-12.5e-3", "18446744073709551616", "7"].choose(&mut self.0).expect("five"),
            ),
            2 => self.text(),
            3 => self.integer(),
            4 => Node::Array((0..self.few()).map(|_| self.valid(depth - 1)).collect()),
            _ => Node::Object(
                (0..self.few()).map(|n| member(&format!("m{n}"), self.valid(depth - 1))).collect(),
            ),
        }
    }

    fn few(&mut self) -> usize {
        self.0.random_range(0..4)
    }

    fn id(&mut self) -> Node {
        let value: u64 = self.0.random_range(1..1 << 53);
        plain(value >> self.0.random_range(0..53_u32).min(value.ilog2()))
    }

    fn integer(&mut self) -> Node {
        let value: u64 = self.0.random_range(0..1 << 53);
        plain(value >> self.0.random_range(0..53_u32))
    }

    fn flag(&mut self) -> Node {
        plain(self.0.random_bool(0.5))
    }

    fn date(&mut self) -> Node {
        let mut part = |from: u32, below: u32| self.0.random_range(from..below);
        let (y, m, d) = (part(0, 10_000), part(1, 13), part(1, 29));
        Node::Text(format!(
            "\"{y:04}-{m:02}-{d:02} {:02}:{:02}:{:02}\"",
            part(0, 24),
            part(0, 60),
            part(0, 60)
        ))
    }

    fn text(&mut self) -> Node {
        let letters = [
            "a",
            "Ж",
            "😀",
            " ",
            "\\n",
            "\\\"",
            "\\\\",
            "\\u0041",
            "\\ud83d\\ude00",
            "\\u0000",
            "/",
            "\u{7f}",
        ];
        let text: String =
            (0..self.0.random_range(0..8)).map(|_| *letters.choose(&mut self.0).expect("some")).collect();
        Node::Text(format!("\"{text}\""))
    }

    fn or_null(&mut self, node: Node) -> Node {
        if self.0.random_bool(0.3) { plain("null") } else { node }
    }

    /// One name, its first character as an escape: the same name.
    fn escape(&mut self, members: &mut [(String, Node)]) {
        if let Some((name, _)) = members.choose_mut(&mut self.0)
            && let Some(first) = name.chars().nth(1).filter(char::is_ascii_alphanumeric)
        {
            *name = format!("\"\\u{:04x}{}", u32::from(first), &name[2..]);
        }
    }

    /// Changes one place, the deeper the less likely.
    fn tamper(&mut self, node: &mut Node) {
        let down = self.0.random_bool(0.75);
        match node {
            Node::Object(members) if down && !members.is_empty() => {
                let at = self.0.random_range(0..members.len());
                self.tamper(&mut members[at].1);
            }
            Node::Array(elements) if down && !elements.is_empty() => {
                let at = self.0.random_range(0..elements.len());
                self.tamper(&mut elements[at]);
            }
            Node::Object(members) if self.0.random_bool(0.8) => self.tamper_members(members),
            Node::Array(elements) if self.0.random_bool(0.8) => self.tamper_elements(elements),
            node => {
                let value = self.anything();
                // As a derive would also take it: the values alone.
                *node = match std::mem::replace(node, value.clone()) {
                    Node::Object(members) if self.0.random_bool(0.5) => {
                        Node::Array(members.into_iter().map(|(_, value)| value).collect())
                    }
                    _ => value,
                };
            }
        }
    }

    fn tamper_members(&mut self, members: &mut Vec<(String, Node)>) {
        let at = self.0.random_range(0..=members.len());
        let one = members.choose(&mut self.0).cloned();
        match (self.0.random_range(0..6), one) {
            (0, Some(_)) => drop(members.remove(at.min(members.len() - 1))),
            (1, Some(one)) => members.insert(at, one),
            (2, Some((name, _))) => members.insert(at, (name, self.anything())),
            (3, Some(_)) => {
                let at = at.min(members.len() - 1);
                members[at].0 = quoted(NAMES.choose(&mut self.0).expect("some"));
            }
            (4, Some(_)) => self.escape(members),
            _ => {
                let name = quoted(NAMES.choose(&mut self.0).expect("some"));
                members.insert(at, (name, self.anything()));
            }
        }
    }

    fn tamper_elements(&mut self, elements: &mut Vec<Node>) {
        let at = self.0.random_range(0..=elements.len());
        match self.0.random_range(0..4) {
            0 => elements.clear(),
            1 if at < elements.len() => drop(elements.remove(at)),
            2 if at < elements.len() => elements.push(elements[at].clone()),
            _ => elements.insert(at, self.anything()),
        }
    }

    /// What stands where something else should.
    fn anything(&mut self) -> Node {
        match self.0.random_range(0..14) {
            0..=3 => plain(NUMBERS.choose(&mut self.0).expect("some")),
            4..=7 => Node::Text((*TEXTS.choose(&mut self.0).expect("some")).to_owned()),
            8 => plain(LITERALS.choose(&mut self.0).expect("some")),
            9 => Node::Array(Vec::new()),
            10 => Node::Object(Vec::new()),
            11 => self.valid(3),
            12 => {
                let twin = member("twin", plain(1));
                Node::Array(vec![Node::Object(vec![member("z", plain(1)), twin.clone(), twin])])
            }
            _ => {
                // Around the 128 levels that are read, and far beyond.
                let depth =
                    *[100, 122, 123, 124, 125, 126, 127, 128, 129, 3000].choose(&mut self.0).expect("some");
                let (open, close) = *[("[", "]"), ("{\"d\":", "}")].choose(&mut self.0).expect("two");
                plain(format!("{}1{}", open.repeat(depth), close.repeat(depth)))
            }
        }
    }

    fn write(&mut self, node: &Node, text: &mut String) {
        self.space(text);
        match node {
            Node::Plain(value) | Node::Text(value) => text.push_str(value),
            Node::Array(elements) => {
                text.push('[');
                for (at, element) in elements.iter().enumerate() {
                    text.push_str(if at > 0 { "," } else { "" });
                    self.write(element, text);
                }
                text.push(']');
            }
            Node::Object(members) => {
                text.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    text.push_str(if at > 0 { "," } else { "" });
                    self.space(text);
                    text.push_str(name);
                    self.space(text);
                    text.push(':');
                    self.write(value, text);
                }
                text.push('}');
            }
        }
        self.space(text);
    }

    fn space(&mut self, text: &mut String) {
        if self.0.random_bool(0.02) {
            text.push_str(SPACES.choose(&mut self.0).expect("some"));
        }
    }

    /// One character is another, is not there, or ends the text; or something stands behind it.
    fn damage(&mut self, text: &mut String) {
        let at = self.0.random_range(0..=text.len());
        let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) else { return };
        let with =
            *["", "{", "}", "\"", ",", ":", "0", "\\", "é", "\u{feff}"].choose(&mut self.0).expect("some");
        match self.0.random_range(0..4) {
            0 => text.truncate(at),
            1 => text.insert_str(at, with),
            2 => text.push_str(with),
            _ => text.replace_range(at..at + character.len_utf8(), with),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn member(name: &str, value: Node) -> (String, Node) {
    (quoted(name), value)
}

fn plain(value: impl ToString) -> Node {
    Node::Plain(value.to_string())
}
