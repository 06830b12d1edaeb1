//! Examples in the help of commands that say no more about themselves.

use clap::Command;

/// A command by its words, and its examples: a command line, and what it is for.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "run",
        &[
            ("run", "as the service does, with the configuration in /etc/intercom-gateway"),
            ("--config ./gateway.toml run", "by hand, beside a terminal with `simulate`"),
        ],
    ),
    (
        "check",
        &[
            ("check", "before a start or a reload"),
            ("--config new.toml check", "a configuration that is not in force yet"),
        ],
    ),
    (
        "config show",
        &[("config show", "what is in force"), ("config show | grep default", "what nobody has set")],
    ),
    ("reload", &[("reload", "after a change of the configuration, while the doors go on")]),
    (
        "apply",
        &[
            ("apply new.toml", "tries it for five minutes, then puts back what was before"),
            ("apply new.toml --trial 30m", "for longer"),
            ("apply --confirm", "keeps it"),
            ("apply --abort", "puts back what was before, now"),
        ],
    ),
    (
        "flat",
        &[
            ("flat 1 4711", "the flat of intercom 1 with the record id 4711"),
            ("flat --number 1 12", "the one with the number 12 on the door"),
        ],
    ),
    (
        "import",
        &[
            ("import flats.json", "flats, keys and users, in force at once"),
            ("import - < flats.json", "the same"),
        ],
    ),
    ("export", &[("export flats.json", "what is in force"), ("export - | jq '.revision'", "its revision")]),
    (
        "backup",
        &[
            ("backup /media/usb/building-7.backup", "asks for a passphrase"),
            ("backup building-7.backup --passphrase-file /root/passphrase", "for a timer"),
        ],
    ),
    (
        "restore",
        &[("restore --replace /media/usb/building-7.backup", "onto a new card, with the daemon stopped")],
    ),
    (
        "decode",
        &[
            ("decode line.osdpcap", "frame by frame, as far as it can be read without a key"),
            ("decode --key 00112233445566778899AABBCCDDEEFF --json line.osdpcap", "decrypted, for a program"),
        ],
    ),
    (
        "replay",
        &[
            ("replay line.osdpcap", "what this version would have done; no key is known"),
            ("--config ./gateway.toml replay line.osdpcap --flats flats.json", "what it would have decided"),
        ],
    ),
    (
        "panel pair",
        &[("panel pair entrance-1", "after the panel was swapped: within ten minutes it gets a key")],
    ),
    ("panel rekey", &[("panel rekey entrance-1", "a new key, while the doors go on")]),
    (
        "panel identify",
        &[
            ("panel identify entrance-1", "for ten seconds"),
            ("panel identify entrance-1 --for 1m", "for as long as it takes to walk there"),
        ],
    ),
    ("profile check", &[("profile check ./km-200.toml", "a profile that you have written")]),
    (
        "token add",
        &[
            ("token add laptop", "prints the token, once"),
            ("token add board --read-only", "for a display: it opens nothing"),
            ("token add phone --qr", "address and token as codes for a phone"),
        ],
    ),
    ("token list", &[("token list", "names, and when they were made; never the tokens themselves")]),
    ("token revoke", &[("token revoke laptop", "in force at once")]),
    (
        "simulate",
        &[
            ("--config ./gateway.toml simulate", "panels for a daemon on the same configuration"),
            ("--config ./gateway.toml simulate --paced", "on lines as slow as real ones"),
        ],
    ),
    (
        "completions",
        &[(
            "completions bash > /etc/bash_completion.d/intercom-gateway",
            "for all users; the package does it",
        )],
    ),
];

/// Adds the examples to the help of all commands.
pub fn add(program: Command) -> Command {
    add_below(program, "")
}

/// Adds them to the commands below one whose words are `above`.
fn add_below(command: Command, above: &str) -> Command {
    command.mut_subcommands(|below| {
        let words = format!("{above} {}", below.get_name()).trim_start().to_owned();
        let examples = EXAMPLES.iter().find(|(known, _)| *known == words).map(|(_, examples)| text(examples));
        let below = match examples {
            Some(examples) => below.after_help(examples),
            None => below,
        };
        add_below(below, &words)
    })
}

fn text(examples: &[(&str, &str)]) -> String {
    let examples =
        examples.iter().map(|(line, what_for)| format!("\n  intercom-gateway {line}\n          {what_for}"));
    format!("Examples:{}", examples.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_all(command: &Command, tell: &mut impl FnMut(&Command)) {
        let below: Vec<&Command> = command.get_subcommands().collect();
        if below.is_empty() {
            tell(command);
        }
        below.into_iter().for_each(|below| of_all(below, tell));
    }

    /// Each example is a command line that this program takes.
    #[test]
    fn every_command_has_examples_and_they_parse() {
        let program = crate::cli::command();
        let mut count = 0;
        of_all(&program, &mut |command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help
                .lines()
                .filter_map(|line| line.trim_start().split_once("intercom-gateway "))
                .map(|(_, line)| line)
                .collect();
            assert!(!examples.is_empty(), "{} has no examples: {help}", command.get_name());
            for example in examples {
                let words = example.split(['|', '>', '<']).next().unwrap_or_default().split_whitespace();
                let line = ["intercom-gateway"].into_iter().chain(words);
                let parsed = crate::cli::command().try_get_matches_from(line);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
                count += 1;
            }
        });
        assert!(count >= EXAMPLES.len());
    }
}
