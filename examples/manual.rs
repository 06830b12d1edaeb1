//! Writes what a package shows of the command line into a folder: the manual pages `intercom-gateway(8)`, one for each
//! of its commands, and `gateway.toml(5)`, below `man`; and the completions of each shell below `completions`.
//!
//! `cargo run --example manual -- FOLDER DATE`, where DATE is what the pages are dated.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap_complete::{Shell, generate_to};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use intercom_gateway::cli;

const FILE: &str = include_str!("../config/gateway.toml");
const SECTION: &str = "8";
const SOURCE: &str = concat!("intercom-gateway ", env!("CARGO_PKG_VERSION"));

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args();
    let folder = PathBuf::from(arguments.nth(1).context("which folder?")?);
    let date = arguments.next().context("which date?")?;
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;

    let mut program = cli::command().disable_help_subcommand(true);
    // Tells commands their full names.
    program.build();
    write_pages(program, &pages, &date)?;
    fs::write(pages.join("gateway.toml.5"), file_format(&date))?;

    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut program = cli::command();
        let name = program.get_name().to_owned();
        generate_to(shell, &mut program, name, &completions)?;
    }
    Ok(())
}

/// Writes the page of a command, and those of the commands below it.
fn write_pages(command: clap::Command, folder: &Path, date: &str) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below.clone(), folder, date)?;
    }
    // Leaked, for clap takes names that live as long as the program, which ends with the last page.
    let name: &'static str = command.get_display_name().unwrap_or(command.get_name()).to_owned().leak();
    // The name on the page is that of the file.
    let command = command.name(name);
    let man = Man::new(command).section(SECTION).manual("Intercom gateway").source(SOURCE).date(date);
    let mut page = Vec::new();
    man.render(&mut page)?;
    fs::write(folder.join(format!("{name}.{SECTION}")), page)?;
    Ok(())
}

/// Returns the shipped configuration, which shows and explains every key, as a page.
fn file_format(date: &str) -> String {
    let mut page = Roff::new();
    page.control("TH", ["gateway.toml", "5", date, SOURCE]);
    page.control("SH", ["NAME"]);
    page.text([roman("gateway.toml - the configuration of intercom-gateway")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("/etc/intercom-gateway/gateway.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman("What the package installs, with every key, its default and what it does:")]);
    page.control("PP", []);
    page.control("nf", []);
    for line in FILE.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("intercom-gateway"), roman("(8)")]);
    page.to_roff()
}
