//! Which part of a new configuration a running daemon can apply, and which waits for its next start.

use std::{collections::BTreeMap, fmt};

use super::{Change, Part, SettingPath, Written};
use crate::{
    config::{Config, SecretFile, Tls},
    domain::Ordered,
};

/// What becomes of a new configuration. `effective` is valid and differs from the old one by `applied` alone, so
/// [`crate::config::findings`] of it leave out what waits, like a credential that is not there yet.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The configuration to run on: the new one, with what waits as it was.
    pub effective: Written,
    /// How it differs from the old one.
    pub applied: Vec<Change>,
    /// How the new one differs from it, and why each change waits.
    pub waiting: Vec<(Change, Wait)>,
}

/// Why a change waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Only a start applies it.
    Restart,
    /// It needs the credential of this name, which systemd has not handed over: it does so at a start only.
    Credential(String),
    /// Without another change that waits, it would not be valid.
    Together,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart => f.write_str("needs a restart: systemctl restart intercom-gateway"),
            Self::Credential(name) => write!(
                f,
                "needs a restart, at which systemd hands over the credential {name}: systemctl restart intercom-gateway"
            ),
            Self::Together => f.write_str("goes with what needs a restart"),
        }
    }
}

/// Plans the way from `old`, on which the daemon runs, to `new`. Looks for new credentials, which blocks on the disk.
pub fn plan(old: &Written, new: &Written) -> Plan {
    let changes = old.changes(new);
    let restarts = changes.iter().filter(|change| change.needs_restart());
    let mut held: BTreeMap<SettingPath, Wait> =
        restarts.map(|change| (change.at.clone(), Wait::Restart)).ordered();
    for (path, name) in new_credentials(old, new) {
        held.entry(path).or_insert(Wait::Credential(name));
    }
    let is_building = |part: &Part| matches!(part, Part::Intercom(_) | Part::Bus(_) | Part::Panel(_));
    // Where the rest is not valid alone, the whole building waits, and at last everything: the old one is valid.
    let mut effective = hold(old, new, &held);
    for also in [is_building as fn(&Part) -> bool, |_| true] {
        if effective.is_some() {
            break;
        }
        for change in changes.iter().filter(|change| also(&change.at.part)) {
            held.entry(change.at.clone()).or_insert(Wait::Together);
        }
        effective = hold(old, new, &held);
    }
    let reason =
        |change: &Change| held.iter().find(|(path, _)| path.covers(&change.at)).map(|(_, wait)| wait.clone());
    let (mut applied, mut waiting) = (Vec::new(), Vec::new());
    for change in changes {
        match reason(&change) {
            None => applied.push(change),
            Some(wait) => waiting.push((change, wait)),
        }
    }
    Plan { effective: effective.unwrap_or_else(|| old.clone()), applied, waiting }
}

/// Returns what has to wait for a credential, a panel or a section, with the credential's name: a setting of it names
/// one that is not there, and does not in `old`. Blocks on the disk.
fn new_credentials(old: &Written, new: &Written) -> Vec<(SettingPath, String)> {
    let known = credentials(&old.config);
    let is_new = |(path, key, file): &(SettingPath, &str, &SecretFile)| {
        file.is_credential() && file.path().is_err() && !known.contains(&(path.clone(), *key, *file))
    };
    let missing = credentials(&new.config).into_iter().filter(is_new);
    missing
        .map(|(path, _, file)| {
            let text = file.to_string();
            (path, text.strip_prefix("credential:").unwrap_or(&text).to_owned())
        })
        .collect()
}

/// All files that may be credentials: what waits for each, its key, and the file.
fn credentials(config: &Config) -> Vec<(SettingPath, &'static str, &SecretFile)> {
    let mut files: Vec<(Part, &'static str, &SecretFile)> = Vec::new();
    if let Tls::Files(pair) = &config.http.tls {
        files.extend([(Part::Http, "cert_file", &pair.cert_file), (Part::Http, "key_file", &pair.key_file)]);
    }
    if let Some(mqtt) = &config.mqtt {
        let pair = mqtt.client_certificate.as_ref();
        let of_mqtt = [
            ("password_file", mqtt.password_file.as_ref()),
            ("ca_file", mqtt.ca_file.as_ref()),
            ("cert_file", pair.map(|pair| &pair.cert_file)),
            ("key_file", pair.map(|pair| &pair.key_file)),
            ("signing_key_file", mqtt.signing_key_file.as_ref()),
        ];
        files.extend(of_mqtt.into_iter().filter_map(|(key, file)| Some((Part::Mqtt, key, file?))));
    }
    let keys = config.panels.iter().filter_map(|panel| Some((panel, panel.secure_key_file.as_ref()?)));
    files.extend(keys.map(|(panel, file)| (Part::Panel(panel.name.clone()), "secure_key_file", file)));
    files.into_iter().map(|(part, key, file)| (SettingPath::whole(part), key, file)).collect()
}

fn hold(old: &Written, new: &Written, held: &BTreeMap<SettingPath, Wait>) -> Option<Written> {
    if held.is_empty() {
        return Some(new.clone());
    }
    let paths: Vec<SettingPath> = held.keys().cloned().collect();
    new.hold_back(old, &paths).ok()
}
