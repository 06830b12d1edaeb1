//! What `simulate` prints: one JSON object a line, in the words of libosdp's test panels, panels by their names.
//! No card number, typed key or secure key is ever in it.

use serde_json::{Value, json};

use super::{bank::Sighting, panel::Observation};
use crate::wire::{
    modbus::Request,
    osdp::control::{Blink, LedControl, PermanentLed, TemporaryLed},
};

/// The lines of output that belong to something that was seen; none for what only tests care about.
pub fn lines(sighting: &Sighting) -> Vec<Value> {
    let line = |ev: &str, more: Value| {
        let mut line = json!({ "t": sighting.at.as_nanos(), "ev": ev, "panel": sighting.panel });
        if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
            line.extend(more);
        }
        line
    };
    let command = |name: &str, mut more: Value| {
        more["name"] = json!(name);
        line("cmd", more)
    };
    vec![match &sighting.what {
        Observation::Sent(_) => return Vec::new(),
        Observation::Queued(id) => line("submitted", json!({ "ok": true, "event": id.0 })),
        Observation::Acknowledged(id) => line("acknowledged", json!({ "event": id.0 })),
        Observation::Unknown(id) => line("unknown", json!({ "event": id.0 })),
        Observation::Forgotten(id) => line("forgotten", json!({ "event": id.0 })),
        Observation::Online => line("online", json!({ "active": true })),
        Observation::Offline => line("online", json!({ "active": false })),
        Observation::Secured { default_key } => {
            line("sc", json!({ "active": true, "default_key": default_key }))
        }
        Observation::Unsecured => line("sc", json!({ "active": false })),
        Observation::WrongKey => line("sc", json!({ "active": false, "wrong_key": true })),
        Observation::KeySet => command("Keyset", json!({ "type": 1 })),
        Observation::Output(record) => command(
            "Output",
            json!({ "output_no": record.output, "control_code": record.action.byte(), "timer_count": record.timer }),
        ),
        Observation::OutputState { output, on } => line("output", json!({ "output": output, "on": on })),
        Observation::Led(record) => return led(record).map(|more| command("LED", more)).collect(),
        Observation::Buzzer(control) => command(
            "Buzzer",
            json!({ "reader": control.reader, "control_code": control.tone.byte(), "on_count": control.on,
                "off_count": control.off, "rep_count": control.count }),
        ),
        Observation::Text(control) => command(
            "Text",
            json!({ "reader": control.reader, "control_code": control.mode.byte(), "temp_time": control.seconds,
                "offset_row": control.row, "offset_col": control.column, "data": control.text.as_str() }),
        ),
        Observation::Comset { address, baud } => {
            command("Comset", json!({ "address": address, "baud_rate": baud }))
        }
        Observation::Manufacturer { oui: [a, b, c], length } => {
            let vendor = u32::from_be_bytes([0, *a, *b, *c]);
            command("Manufacturer", json!({ "vendor_code": vendor, "length": length }))
        }
        Observation::Written { broadcast, request } => written(*broadcast, request, line),
        Observation::Exception { function, exception } => line(
            "exception",
            json!({ "function": function, "code": exception.code(), "name": exception.name() }),
        ),
        Observation::Refused { command, reason } => {
            line("nak", json!({ "command": command, "reason": reason }))
        }
    }]
}

/// In the words of pymodbus's test panels: kind, address, values.
fn written(broadcast: bool, request: &Request, line: impl Fn(&str, Value) -> Value) -> Value {
    let (kind, address, values) = match request {
        Request::WriteCoil { address, on } => ("coil", address, json!([u8::from(*on)])),
        Request::WriteCoils { start, values } => {
            ("coil", start, json!(values.iter().map(|on| u8::from(*on)).collect::<Vec<_>>()))
        }
        Request::WriteRegister { address, value } => ("holding", address, json!([value])),
        Request::WriteRegisters { start, values } => ("holding", start, json!(values)),
        Request::Read { start, .. } => ("nothing", start, json!([])),
    };
    line("write", json!({ "kind": kind, "address": address, "values": values, "broadcast": broadcast }))
}

/// As libosdp tells it: the temporary and the permanent state each as a command of its own.
fn led(record: &LedControl) -> impl Iterator<Item = Value> {
    let part = |temporary: bool, code: u8, blink: Blink, timer: u16| {
        json!({ "reader": record.reader, "led_number": record.led, "temporary": temporary, "control_code": code,
            "on_count": blink.on, "off_count": blink.off, "on_color": blink.on_colour.byte(),
            "off_color": blink.off_colour.byte(), "timer_count": timer })
    };
    let temporary = (record.temporary != TemporaryLed::Nop)
        .then(|| part(true, record.temporary.byte(), record.temporary_blink, record.timer));
    let permanent = (record.permanent != PermanentLed::Nop)
        .then(|| part(false, record.permanent.byte(), record.permanent_blink, 0));
    temporary.into_iter().chain(permanent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Mono, Name},
        wire::osdp::control::{Colour, OutputAction, OutputControl},
    };

    fn printed(what: Observation) -> Vec<String> {
        let sighting = Sighting { at: Mono::from_nanos(7), panel: Name::new("entrance-1").unwrap(), what };
        lines(&sighting).iter().map(Value::to_string).collect()
    }

    #[test]
    fn commands_are_told_in_the_peers_words() {
        let record = OutputControl { output: 0, action: OutputAction::TemporaryOn, timer: 30 };
        assert_eq!(
            printed(Observation::Output(record)),
            [
                r#"{"control_code":5,"ev":"cmd","name":"Output","output_no":0,"panel":"entrance-1","t":7,"timer_count":30}"#
            ]
        );
        assert_eq!(
            printed(Observation::Secured { default_key: true }),
            [r#"{"active":true,"default_key":true,"ev":"sc","panel":"entrance-1","t":7}"#]
        );
    }

    #[test]
    fn an_led_record_is_told_once_for_each_state_that_it_sets() {
        let mut record = LedControl {
            reader: 0,
            led: 0,
            temporary: TemporaryLed::Set,
            temporary_blink: Blink::steady(Colour::Green),
            timer: 30,
            permanent: PermanentLed::Set,
            permanent_blink: Blink::steady(Colour::Red),
        };
        let both = printed(Observation::Led(record));
        assert!(both[0].contains(r#""on_color":2"#) && both[0].contains(r#""temporary":true"#), "{both:?}");
        assert!(both[1].contains(r#""on_color":1"#) && both[1].contains(r#""temporary":false"#), "{both:?}");
        (record.temporary, record.permanent) = (TemporaryLed::Nop, PermanentLed::Nop);
        assert_eq!(printed(Observation::Led(record)), [""; 0]);
    }
}
