//! Log lines: for the journal without time and with the priority that it understands, for a terminal with both
//! in words.

use std::{fmt, panic, thread};

use anyhow::Context;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
    reload,
};

use crate::gateway::LogFilter;

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Logs to stderr from now on; gives what changes the filter while the program runs.
///
/// # Errors
/// `RUST_LOG` is no filter, or there is a subscriber already.
pub fn start() -> anyhow::Result<LogFilter> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => EnvFilter::try_new(&text).with_context(|| {
            format!(
                "RUST_LOG is no filter: {text:?}; \"info\" or \"intercom_gateway::bus=debug,info\" would be"
            )
        })?,
        Err(_) => EnvFilter::new(DEFAULT_FILTER),
    };
    let usual = filter.to_string();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // systemd sets it where stderr is connected to the journal.
    let (started, filter) = if std::env::var_os("JOURNAL_STREAM").is_some() {
        let builder = builder.event_format(ForJournal).with_filter_reloading();
        let filter = reloading(builder.reload_handle(), usual);
        (builder.try_init(), filter)
    } else {
        let builder = builder.with_target(false).with_ansi(false).with_filter_reloading();
        let filter = reloading(builder.reload_handle(), usual);
        (builder.try_init(), filter)
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    Ok(filter)
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

/// Another filter in place of the `usual` one.
fn reloading<S: Subscriber>(handle: reload::Handle<EnvFilter, S>, usual: String) -> LogFilter
where
    reload::Handle<EnvFilter, S>: Send + Sync + 'static,
{
    LogFilter::new(move |filter| {
        let filter = EnvFilter::try_new(filter.unwrap_or(&usual)).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    })
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
