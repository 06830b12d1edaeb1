//! A peer: what one writes in an afternoon with tokio-modbus. Reads panel after panel, again and again, and tells of
//! every register that differs from the last reading.

use std::{collections::HashMap, io::Write, path::Path, time::Duration};

use intercom_gateway::clock;
use tokio_modbus::{
    Slave,
    client::{Reader, rtu},
    slave::SlaveContext,
};
use tokio_serial::SerialStream;

/// Polls the panels 1 … `panels` until it is killed.
pub fn loop_for_ever(
    port: &Path,
    baud: u32,
    panels: u8,
    lines: u16,
    timeout: Duration,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(poll(port, baud, panels, lines, timeout))
}

async fn poll(port: &Path, baud: u32, panels: u8, lines: u16, timeout: Duration) -> anyhow::Result<()> {
    let stream = SerialStream::open(&tokio_serial::new(port.to_string_lossy(), baud))?;
    let mut client = rtu::attach_slave(stream, Slave(1));
    let mut known: HashMap<(u8, u16), u16> = HashMap::new();
    let mut out = std::io::stdout().lock();
    loop {
        for panel in 1..=panels {
            client.set_slave(Slave(panel));
            let answer = tokio::time::timeout(timeout, client.read_input_registers(0, lines)).await;
            let Ok(Ok(Ok(values))) = answer else { continue };
            let now = clock::mono().as_nanos();
            for (line, raw) in (1..).zip(values) {
                if known.insert((panel, line), raw).is_some_and(|last| last != raw) {
                    writeln!(out, "line {panel} {line} {now} {raw}")?;
                }
            }
        }
    }
}
