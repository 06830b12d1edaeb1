//! The terminal of `monitor`: keys in, pictures out. What the daemon tells is read by a thread of its own, so that a key
//! never waits for it.

use std::{
    io::{self, BufRead},
    num::NonZeroU16,
    os::fd::AsFd,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
    time::Duration,
};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};

use super::{
    connect,
    picture::{Key, Picture, Wish},
    screen,
};
use crate::{cli::offline, config::Config, domain::with_causes, gateway::control::Request};

/// Events from before that are shown at first.
const EVENTS: u64 = 100;
/// How often what the daemon tells is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a daemon that is away is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// What may wait to be shown; full: the daemon waits, and tells the newest of each state.
const QUEUE: usize = 256;
/// How long a panel blinks and beeps.
const TENTHS: NonZeroU16 = NonZeroU16::new(100).unwrap();

/// What the threads say.
enum Said {
    /// The daemon tells all of it from now on.
    Begins,
    /// A line of what it tells.
    Line(String),
    /// Why nothing is told, or what became of a wish.
    Note(String),
}

/// Shows what happens until the user ends it.
pub fn run(config: &Config) -> anyhow::Result<()> {
    // Where there is nothing to be shown, the terminal stays as it is.
    let first = connect(config)?;
    let (says, said) = mpsc::sync_channel(QUEUE);
    let (reader, again) = (says.clone(), config.clone());
    thread::Builder::new()
        .name("reader".into())
        .spawn(move || {
            let mut client = Some(first);
            // The end of the receiver is the end of the program.
            while read(client.take(), &again, &reader).is_ok() {
                thread::sleep(RETRY);
            }
        })
        .context("cannot start a thread")?;
    thread::Builder::new().name("hangup".into()).spawn(end_with_terminal).context("cannot start a thread")?;
    let mut terminal = ratatui::try_init().context("cannot use this terminal: try --json")?;
    let shown = show(&mut terminal, config, &said, &says);
    ratatui::restore();
    shown
}

/// Nobody is left to be told.
struct Over;

/// Reads what the daemon tells until it breaks off.
fn read(
    client: Option<crate::gateway::control::Client>,
    config: &Config,
    says: &SyncSender<Said>,
) -> Result<(), Over> {
    let say = |said| says.send(said).map_err(|_| Over);
    let connected = client.map_or_else(|| connect(config), Ok);
    let answer = match connected.and_then(|client| client.ask(&Request::Watch { events: EVENTS })) {
        Ok(answer) => answer,
        Err(error) => return say(Said::Note(with_causes(error.as_ref()))),
    };
    say(Said::Begins)?;
    for line in answer.rest.lines().map_while(Result::ok) {
        say(Said::Line(line))?;
    }
    say(Said::Note("the daemon has ended; looking for it again".to_owned()))
}

fn show(
    terminal: &mut DefaultTerminal,
    config: &Config,
    said: &Receiver<Said>,
    says: &SyncSender<Said>,
) -> anyhow::Result<()> {
    let mut picture = Picture::new();
    loop {
        for said in said.try_iter().take(QUEUE) {
            match said {
                Said::Begins => picture.begin(),
                Said::Line(line) => {
                    if picture.take(&line).is_err() {
                        "the daemon is of another version: restart it".clone_into(&mut picture.note);
                    }
                }
                Said::Note(note) => picture.note = note,
            }
        }
        terminal.draw(|frame| screen::draw(frame, &picture)).context("cannot draw")?;
        if !event::poll(LOOK).context("cannot read the keyboard")? {
            continue;
        }
        let Some(key) = pressed(&event::read().context("cannot read the keyboard")?) else { continue };
        match picture.press(key) {
            Some(Wish::End) => return Ok(()),
            Some(Wish::Identify(panel)) => {
                picture.note = format!("asking panel {panel} to blink and beep …");
                identify(config.clone(), panel, says.clone());
            }
            None => {}
        }
    }
}

/// Ends the program with its terminal, of which the reader of keys would never hear: it reads nothing, for ever.
fn end_with_terminal() {
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
    loop {
        let out = io::stdout();
        let mut watched = [PollFd::new(out.as_fd(), PollFlags::empty())];
        let polled = poll(&mut watched, PollTimeout::NONE);
        if polled.is_ok()
            && watched.iter().any(|watched| watched.revents().is_some_and(|told| told.intersects(gone)))
        {
            std::process::exit(1);
        }
        thread::sleep(RETRY);
    }
}

/// Has a panel blink and beep, beside what is shown.
fn identify(config: Config, panel: String, says: SyncSender<Said>) {
    let ask = move || {
        let asked = panel.parse().map_err(anyhow::Error::from).and_then(|name| {
            let offline::Access::Daemon(daemon) = offline::reach(&config)? else {
                anyhow::bail!("the daemon has ended")
            };
            daemon.ask(&Request::Identify { panel: name, tenths: TENTHS })
        });
        let note = match asked {
            Ok(_) => format!("panel {panel} blinks and beeps for 10 s"),
            Err(error) => format!("panel {panel}: {}", with_causes(error.as_ref())),
        };
        // Nobody is left to read it.
        let _ = says.send(Said::Note(note));
    };
    // Without a thread the panel stays quiet, which is seen.
    let _ = thread::Builder::new().name("identify".into()).spawn(ask);
}

fn pressed(event: &Event) -> Option<Key> {
    let Event::Key(key) = event else { return None };
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        // In raw mode it is a key like any other.
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        KeyCode::Char(c) => Some(Key::Char(c)),
        KeyCode::Tab => Some(Key::Tab),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Backspace => Some(Key::Backspace),
        _ => None,
    }
}
