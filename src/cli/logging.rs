//! Log lines: for the journal without time and with the priority that it understands, for a terminal with both
//! in words.

use std::fmt;

use anyhow::Context;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Logs to stderr from now on.
///
/// # Errors
/// `RUST_LOG` is no filter, or there is a subscriber already.
pub fn start() -> anyhow::Result<()> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => EnvFilter::try_new(&text).with_context(|| {
            format!(
                "RUST_LOG is no filter: {text:?}; \"info\" or \"intercom_gateway::bus=debug,info\" would be"
            )
        })?,
        Err(_) => EnvFilter::new(DEFAULT_FILTER),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // systemd sets it where stderr is connected to the journal.
    let started = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.event_format(ForJournal).try_init()
    } else {
        builder.with_target(false).with_ansi(false).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
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
