//! The figures that the gateway has to reach, and whether it does.

use std::time::Duration;

use super::{
    FAST, Measured, SLOW,
    common::{figures::Samples, verdicts::Verdicts},
    latency::Latency,
    report::megabytes,
    rest::Rest,
    subject::Kind,
};
use intercom_gateway::simulate::line::LineRate;

/// (baud, panels, most milliseconds from card to event at p95).
const EVENT: [(u32, u8, f64); 4] = [(FAST, 1, 10.0), (FAST, 4, 20.0), (FAST, 16, 62.0), (SLOW, 1, 72.0)];
/// Share of the limit of the frames and gaps really sent.
const EXCHANGES: f64 = 0.95;
/// The others' card to event at p95 with one of four dead at 115200 baud, in milliseconds.
const DEAD: f64 = 60.0;
/// OUT begins within two characters and this.
const PAUSE: Duration = Duration::from_millis(1);
const RESIDENT_MB: f64 = 20.0;
const PEAK_MB: f64 = 84.0;
const PROCESSOR: f64 = 0.01;

/// Collects what was reached.
#[derive(Default)]
pub struct Goals {
    verdicts: Verdicts,
}

impl Goals {
    pub fn latency(&mut self, results: &[Measured]) {
        let ours = results.iter().filter(|(latency, _)| latency.setting.kind == Kind::Gateway);
        for (latency, exchanges) in ours {
            let (baud, panels) = (latency.setting.baud, latency.setting.panels);
            let setting = format!("{baud} baud, {panels} panels");
            if let Some((_, _, most)) = EVENT.iter().find(|(of, count, _)| (*of, *count) == (baud, panels)) {
                self.verdicts.at_most(format!("event p95, {setting}"), p95(&latency.event), *most, "ms");
            }
            let most = LineRate::osdp(baud).character() * 2 + PAUSE;
            self.verdicts.at_most(format!("OUT begins p95, {setting}"), p95(&latency.pause), ms(most), "ms");
            self.verdicts.share(format!("exchanges, {setting}"), exchanges.share(), EXCHANGES);
        }
    }

    pub fn dead(&mut self, results: &[Latency]) {
        for latency in results.iter().filter(|latency| latency.setting.kind == Kind::Gateway) {
            self.verdicts.at_most("event p95, one of four dead".into(), p95(&latency.event), DEAD, "ms");
        }
    }

    pub fn rest(&mut self, rest: &Rest) {
        self.verdicts.at_most("resident after a start".into(), megabytes(rest.resident), RESIDENT_MB, "MB");
        self.verdicts.at_most("most resident around an import".into(), megabytes(rest.peak), PEAK_MB, "MB");
        self.verdicts.at_most("processor at rest".into(), 100.0 * rest.processor, 100.0 * PROCESSOR, "%");
    }

    pub fn print(&self) {
        self.verdicts.print();
    }
}

/// Infinite where nothing was measured: that reaches no goal.
fn p95(samples: &Samples) -> f64 {
    samples.quantile(0.95).map_or(f64::INFINITY, ms)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
