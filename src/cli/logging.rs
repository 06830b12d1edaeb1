//! Log lines: for the journal without time and with the priority that it understands, for a terminal with both
//! in words.

use std::{fmt, panic, thread};

use anyhow::Context;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

use crate::gateway::LogFilter;

/// Says what is logged in place of [`USUAL`].
const VARIABLE: &str = "RUST_LOG";

/// What is logged unless `RUST_LOG` says otherwise.
const USUAL: LevelFilter = LevelFilter::INFO;

/// Logs to stderr from now on; returns the handle that changes the filter while the program runs.
///
/// # Errors
/// `RUST_LOG` is no filter, or there is a subscriber already.
pub fn start() -> anyhow::Result<LogFilter> {
    let usual = match std::env::var(VARIABLE) {
        Ok(text) => text.parse::<Targets>().with_context(|| {
            format!(
                "RUST_LOG is no filter: {text:?}; \"info\" or \"intercom_gateway::bus=debug,info\" would be"
            )
        })?,
        Err(_) => Targets::new().with_default(USUAL),
    };
    let (filter, handle) = reload::Layer::new(usual.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = tracing_subscriber::registry().with(filter);
    // systemd sets it where stderr is connected to the journal.
    let started = if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.with(lines.event_format(ForJournal)).try_init()
    } else {
        log.with(lines.with_target(false).with_ansi(false)).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    Ok(LogFilter::new(move |filter| {
        let filter = filter.map_or(Ok(usual.clone()), str::parse).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

/// Logs every panic from now on, once, with its place. Its words only where they stand in the source: what is put together
/// at run time may hold a key, a name or a code.
pub fn log_panics() {
    panic::set_hook(Box::new(|panicked| {
        let thread = thread::current();
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        let words = panicked.payload().downcast_ref::<&'static str>().copied();
        tracing::error!(
            place,
            thread = thread.name().unwrap_or_default(),
            "a panic: {}",
            words.unwrap_or("its words are withheld, as they may hold personal data")
        );
    }));
}

/// `<6>target: message fields`: sd-daemon(3) priorities.
struct ForJournal;

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
