//! A survey on a port that belongs to nobody else: opens it, gives the survey time and bytes, does what it asks for.

use std::io;

use super::port::{Port, PortSettings};
use crate::{
    clock,
    panel::OsEntropy,
    survey::{Output, Plan, Survey},
    sys::Timer,
};

/// Surveys a line and hands over what it finds; ends with the survey, or with the first error of `tell`. Blocks meanwhile.
///
/// # Errors
/// The port cannot be opened, is lost, or does not take a speed; or an error of `tell`.
pub fn survey(
    port: PortSettings,
    plan: Plan,
    tell: &mut dyn FnMut(&Output) -> io::Result<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let mut port = port.open().await?;
        let timer = Timer::new()?;
        let mut survey = Survey::new(plan, Box::new(OsEntropy), clock::mono());
        run(&mut port, &timer, &mut survey, tell).await
    });
    // A name that is still being looked up must not hold the end up.
    runtime.shutdown_background();
    done
}

async fn run(
    port: &mut Port,
    timer: &Timer,
    survey: &mut Survey,
    tell: &mut dyn FnMut(&Output) -> io::Result<()>,
) -> io::Result<()> {
    let (mut buffer, mut frame) = ([0; 512], Vec::new());
    loop {
        while let Some(output) = survey.poll_output() {
            if let Output::Speed(speed) = &output {
                port.set_speed(*speed)?;
            }
            tell(&output)?;
        }
        if survey.is_over() {
            return Ok(());
        }
        frame.clear();
        if survey.poll_transmit(clock::mono(), &mut frame) {
            port.write_all(&frame).await?;
        }
        let (length, pause) = match port.allowance() {
            Ok(bytes) => (bytes.min(buffer.len()), None),
            Err(until) => (0, Some(until)),
        };
        let wake = pause.map_or(survey.next_time(), |pause| survey.next_time().min(pause));
        timer.set(wake.as_nanos())?;
        tokio::select! {
            read = port.read(buffer.get_mut(..length).unwrap_or_default()), if length > 0 => match read? {
                // An unplugged adapter reads as end-of-file, at once and for ever.
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the port is gone: was the adapter pulled?")),
                length => {
                    port.count(length);
                    survey.receive(clock::mono(), buffer.get(..length).unwrap_or_default());
                }
            },
            _ = timer.wait() => survey.advance(clock::mono()),
        }
    }
}
